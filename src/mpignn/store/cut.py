"""How the arrays of a graph are cut over the servers of a job, and what is held more than once.

Shapes: S servers, P partitions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpignn.comm.sharded import ArraySpec, array_spec
from mpignn.graph.array_key import EDGE, IN, NODE, OUT, ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, EType, etype_key
from mpignn.roles import Topology
from mpignn.storage.schema import axis

AUTO = "auto"
HALO = "halo"
WHOLE = ("topology", "all")
REPLICATED = ("none", HALO, *WHOLE)
"""What each node may hold a copy of: nothing, in-edges of the nodes around its own, or, as each group of nodes may, the
whole structure, or everything."""
SMALL_BYTES = 2**30
"""A structure of so many bytes is held by every node unless it is said otherwise: that saves all messages for sampling,
which are most of what several nodes cost, and even a small node has many times this memory."""


def server_rows(ranges: np.ndarray, num_servers: int) -> np.ndarray:
    """Where the rows of one type are cut for the servers.

    Server s owns the stretch from s P / S to (s + 1) P / S of the partitions laid end to end, so a server
    holds several partitions, one, or a slice of one.

    Args:
        ranges: (P + 1,) first row of each partition.
        num_servers: S.

    Returns:
        (S + 1,) int64 first row of each server.
    """
    parts = ranges.shape[0] - 1
    place = np.arange(num_servers + 1, dtype=np.int64) * parts
    part, rest = place // num_servers, place % num_servers
    after = np.minimum(part + 1, parts)
    first: np.ndarray = ranges[part] + (ranges[after] - ranges[part]) * rest // num_servers
    return first


@dataclass(frozen=True)
class Replication:
    """Which whole arrays are held more than once, and by whom.

    Attributes:
        what: One of `REPLICATED`.
        first, last: The servers ``first`` to ``last - 1`` hold this node's copy together.
    """

    what: str
    first: int
    last: int

    def covers(self, name: str) -> bool:
        """Whether the array of that name is held more than once."""
        return self.what == "all" or self.what == "topology" and ArrayKey.parse(name).is_structure


def array_specs(book: RangePartitionBook, infos: Iterable[ArrayInfo], num_servers: int,
                edge_start: Callable[..., int], copies: Replication | None = None) -> list[ArraySpec]:
    """How the arrays of a graph are cut over the servers, as seen from one node.

    Without copies that is the same everywhere.  A replicated array is cut over the servers of the node's own copy, and
    all others own none of its rows.  Such arrays come last, so that where the other ones lie in the memory
    of a node does not depend on the copies there.

    Args:
        book: Sizes and ranges.
        infos: The arrays.
        num_servers: S.
        edge_start: ``edge_start(etype, row)`` is the first global edge id of destination ``row``; where the book has
            out-edges, ``edge_start(etype, row, "out")`` the first place of those of source ``row``.
        copies: What is replicated.
    """
    def cut(first: int, last: int) -> dict[tuple[str, str], tuple[int, ...]]:
        nodes = {t: server_rows(book.node_ranges[t], last - first).tolist() for t in book.schema.ntypes}
        cuts = {(NODE, t): rows for t, rows in nodes.items()}
        cuts |= {(EDGE, etype_key(e)): [edge_start(e, row) for row in nodes[e[2]]] for e in book.schema.etypes}
        cuts |= {(OUT, etype_key(e)): [edge_start(e, row, OUT) for row in nodes[e[0]]] for e in book.out_ranges}
        return {key: tuple([0] * first + rows + rows[-1:] * (num_servers - last)) for key, rows in cuts.items()}

    def cut_all(infos: list[ArrayInfo], bounds: Mapping[tuple[str, str], tuple[int, ...]]) -> list[ArraySpec]:
        specs = []
        for info in infos:
            key = ArrayKey.parse(info.name)
            if key.what == "indptr":
                rows = bounds[NODE, key.etype[0 if key.kind == OUT else 2]]
                specs.append(array_spec(info.name, info.dtype, 2, rows, 1, "structure"))
            else:
                kind = "structure" if key.is_structure else "feature"
                specs.append(array_spec(info.name, info.dtype, info.width, bounds[key.kind, key.owner], kind=kind))
        return specs

    copied = [] if copies is None else [info for info in infos if copies.covers(info.name)]
    single = [info for info in infos if info not in copied]
    specs = cut_all(single, cut(0, num_servers)) if single else []
    if copies is not None and copied:
        specs += cut_all(copied, cut(copies.first, copies.last))
    return specs


def parts_of(specs: Iterable[ArraySpec], book: RangePartitionBook, server: int) -> set[int]:
    """The partitions that a server has rows of.  Not collective.

    Args:
        specs: How the arrays are cut, as seen from the server's node.
        book: Ranges of the partitions.
        server: Number of the server.
    """
    found: set[int] = set()
    for spec in specs:
        ranges, _ = axis(ArrayKey.parse(spec.name), book)
        lo, hi = spec.bounds[server:server + 2]
        if lo < hi:
            first, last = np.searchsorted(ranges, lo, side="right") - 1, np.searchsorted(ranges, hi)
            found.update((first + np.flatnonzero(np.diff(ranges[first:last + 1]))).tolist())
    return found


@dataclass(frozen=True)
class Placement:
    """Where the arrays of a graph lie in a job.  Made on one rank, which reads the files, and sent to all.

    Attributes:
        book: Sizes and ranges.
        infos: The arrays by name.
        topology: Node and role of every rank.
        replicate: One of `REPLICATED`.
        groups: First server and one past the last that hold the copy for each node.
        edge_starts: First edge of the rows at which servers cut, by edge type, row and direction.
        halos: (P,) how many nodes lie around those of each partition, by node type, as the graph's report has it.
    """

    book: RangePartitionBook
    infos: Mapping[str, ArrayInfo]
    topology: Topology
    replicate: str
    groups: tuple[tuple[int, int], ...]
    edge_starts: Mapping[tuple[EType, int, str], int]
    halos: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def specs(self, node: int) -> list[ArraySpec]:
        """How the arrays are cut over the servers, as seen from a node; see `array_specs`.  Not collective."""
        return array_specs(self.book, list(self.infos.values()), len(self.topology.server_ranks),
                           lambda etype, row, direction=IN: self.edge_starts[etype, row, direction],
                           Replication(self.replicate, *self.groups[node]))


def place(book: RangePartitionBook, infos: Mapping[str, ArrayInfo], topology: Topology,
          edge_start: Callable[..., int], replicate: str = "none", width: int = 1,
          halos: Mapping[str, Sequence[int]] | None = None) -> Placement:
    """Place the arrays of a graph in a job.  Not collective.

    Args:
        book, infos: Partition book and arrays of the graph.
        topology: Node and role of every rank.
        edge_start: As in `array_specs`.
        replicate: One of `REPLICATED`; or `AUTO`: the structure where several nodes train on one of at most
            `SMALL_BYTES`, else nothing.
        width: Nodes that share a copy, see `Topology.copy_groups`.
        halos: As the attribute of `Placement`.
    """
    if replicate == AUTO:
        replicate = "topology" if len(topology.nodes) > 1 and _structure_bytes(book, infos) <= SMALL_BYTES else "none"
    groups = topology.copy_groups(width)
    cuts = {len(topology.server_ranks)} | {last - first for first, last in groups if replicate in WHOLE}
    starts: dict[tuple[EType, int, str], int] = {}
    for servers in cuts:
        rows = {t: server_rows(book.node_ranges[t], servers).tolist() for t in book.schema.ntypes}
        for server in range(servers + 1):       # those of a partition together: its file is opened once
            starts |= {(e, rows[e[2]][server], IN): edge_start(e, rows[e[2]][server]) for e in book.schema.etypes}
            starts |= {(e, rows[e[0]][server], OUT): edge_start(e, rows[e[0]][server], OUT) for e in book.out_ranges}
    return Placement(book, dict(infos), topology, replicate, groups, starts, halos or {})


def _structure_bytes(book: RangePartitionBook, infos: Mapping[str, ArrayInfo]) -> int:
    return sum(int(axis(key, book)[0][-1]) * info.width * info.dtype.itemsize
               for key, info in ((ArrayKey.parse(name), info) for name, info in infos.items()) if key.is_structure)
