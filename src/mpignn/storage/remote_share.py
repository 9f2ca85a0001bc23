"""How much of what will be sampled lies in other partitions, before there is a job.

A trainer's seeds are taken to be of one partition, as they are where each has a node for itself: what a batch draws
from nodes of other partitions is on other nodes then.

Hop 1 is exact.  A seed with d in-edges of a type, c of them from other partitions, draws k = min(fanout, d), each set
of k alike, so it draws k c / d from others on average, as the hypergeometric distribution says.  This is summed over
all seeds and types.  How many edges are drawn, the sum of k, is no matter of chance.

Later hops depend on which nodes are met, and which again.  They are measured: batches of seeds are drawn and expanded
as `mpignn.sampling.neighbor.NeighborSampler` does it, each node once a hop, those of the hop before once more.  A share
is a ratio of sums over these batches, each partition's weighted by the batches that it has in an epoch.

Shapes: S seeds of a partition, D destinations, E edges drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import EType
from mpignn.storage.mapped import MappedRows
from mpignn.storage.read import GraphFile
from mpignn.unique import unique

_CHUNK = 1 << 20        # rows or edges in hand at a time
_BATCHES = 16       # drawn at least, and one of each partition
_MOST_PARTS = 64        # that batches are drawn of; of more, so many that lie evenly among them


@dataclass(frozen=True)
class Share:
    """What a batch meets, on average.

    Attributes:
        count: Edges that a hop draws, or nodes.
        remote: Edges among them from nodes of other partitions than the seeds', or such nodes.
    """

    count: float
    remote: float

    @property
    def share(self) -> float:
        return self.remote / self.count if self.count else 0.0


@dataclass(frozen=True)
class RemoteShares:
    """What is expected of a batch.

    Attributes:
        of_training: Whether seeds are the training nodes: all nodes where there are none.
        num_seeds: Seeds of a batch, on average.
        hops: Edges drawn, the seeds' hop first.
        inputs: Nodes whose features are read, each once.
    """

    of_training: bool
    num_seeds: float
    hops: tuple[Share, ...]
    inputs: Share


def remote_shares(graph: GraphFile, fanouts: Sequence[int], batch_size: int) -> RemoteShares:
    """What to expect where neighbors are drawn alike, without replacement.  Not collective.

    What is in memory are the ids of training nodes, a batch, and some MiB of edges.  Checksums are not compared.

    Args:
        graph: Open.
        fanouts: In-edges kept of each node and edge type, input layer first; -1 for all.
        batch_size: Seeds of a batch; all that a partition has where these are fewer.

    Raises:
        DataError: A part file that is damaged.
    """
    seeds = _Seeds(graph)
    walk = _Walk(graph, seeds, tuple(reversed(fanouts)))
    parts = [part for part in range(graph.num_parts) if seeds.count(part)]
    sizes = {part: min(batch_size, seeds.count(part)) for part in parts}
    batches = {part: seeds.count(part) / size for part, size in sizes.items()}      # in an epoch
    if not parts:
        return RemoteShares(False, 0, (Share(0, 0),) * len(fanouts), Share(0, 0))
    total = sum(batches.values())
    drawn = np.array([walk.first_hop(part) for part in parts]).sum(0) / total
    if len(parts) > _MOST_PARTS:
        parts = [parts[number * len(parts) // _MOST_PARTS] for number in range(_MOST_PARTS)]
    rounds = -(-_BATCHES // len(parts))
    met = np.zeros((len(fanouts) + 1, 2))
    for part in parts:
        for number in range(rounds):
            met += batches[part] * walk.batch(part, sizes[part], np.random.default_rng([part, number]))
    met /= rounds * sum(batches[part] for part in parts)
    hops = (Share(*drawn), *(Share(*some) for some in met[1:-1]))
    num_seeds = sum(batches[part] * size for part, size in sizes.items()) / total
    return RemoteShares(seeds.of_training, num_seeds, hops, Share(*met[-1]))


class _Seeds:
    """The training nodes of all types, or all nodes if there are none.

    Attributes:
        of_training: Which of the two.
    """

    def __init__(self, graph: GraphFile) -> None:
        self._ranges = graph.book.node_ranges
        self._ids = {t: np.sort(graph.split(t, "train")) for t in graph.schema.ntypes if "train" in graph.splits(t)}
        self.of_training = any(ids.size for ids in self._ids.values())

    def count(self, part: int) -> int:
        """How many a partition has."""
        return sum(last - first for first, last in (self._span(part, ntype) for ntype in self._ranges))

    def of(self, part: int, ntype: str) -> Iterator[np.ndarray]:
        """Those of a partition and type, ascending, some at a time."""
        first, last = self._span(part, ntype)
        for begin in range(first, last, _CHUNK):
            yield self._named(ntype, np.arange(begin, min(last, begin + _CHUNK)))

    def drawn(self, part: int, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """So many of a partition, each once, ascending."""
        places, found = np.sort(rng.choice(self.count(part), size, replace=False, shuffle=False)), {}
        for ntype in self._ranges:
            first, last = self._span(part, ntype)
            found[ntype] = self._named(ntype, places[(places >= 0) & (places < last - first)] + first)
            places -= last - first
        return found

    def _span(self, part: int, ntype: str) -> tuple[int, int]:
        """First place of a partition's among the seeds of a type, and one past the last."""
        lo, hi = self._ranges[ntype][part:part + 2].tolist()
        if not self.of_training:
            return lo, hi
        first, last = np.searchsorted(self._ids.get(ntype, np.empty(0, np.int64)), [lo, hi]).tolist()
        return first, last

    def _named(self, ntype: str, places: np.ndarray) -> np.ndarray:
        return self._ids[ntype][places] if self.of_training and places.size else places


class _Walk:
    """Reads the edges that a hop meets.  Its pairs of numbers are edges or nodes, and those that are remote."""

    def __init__(self, graph: GraphFile, seeds: _Seeds, fanouts: Sequence[int]) -> None:
        """``fanouts`` are those of the seeds first."""
        self._ranges, self._etypes = graph.book.node_ranges, graph.schema.etypes
        self._seeds, self._fanouts = seeds, fanouts
        self._indptr = {e: MappedRows(graph, ArrayKey.edge(e, "indptr"), verified=False) for e in self._etypes}
        self._indices = {e: MappedRows(graph, ArrayKey.edge(e, "indices"), verified=False) for e in self._etypes}

    def first_hop(self, part: int) -> np.ndarray:
        """What all seeds of a partition are expected to draw."""
        total, fanout = np.zeros(2), self._fanouts[0]
        for etype in self._etypes:
            for rows in self._seeds.of(part, etype[2]):
                start, degree = self._rows(etype, rows)
                for begin, end in row_chunks(_running(degree), 0, rows.size, _CHUNK):
                    of_row = np.repeat(np.arange(end - begin), degree[begin:end])
                    edges = np.arange(of_row.size) + (start[begin:end] - _running(degree[begin:end])[:-1])[of_row]
                    outside = self._outside(part, etype[0], self._indices[etype].read(edges))
                    cut = np.bincount(of_row[outside], minlength=end - begin)
                    kept = _kept(degree[begin:end], fanout)
                    total += kept.sum(), (kept * cut / np.maximum(1, degree[begin:end])).sum()
        return total

    def batch(self, part: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """(hops + 1, 2): what each hop of one batch draws, and the input nodes."""
        nodes, found = self._seeds.drawn(part, size, rng), []
        for fanout in self._fanouts:
            met, total = dict(nodes), np.zeros(2)
            for etype in self._etypes:
                start, degree = self._rows(etype, nodes[etype[2]])
                for begin, end in row_chunks(_running(_kept(degree, fanout)), 0, degree.size, _CHUNK):
                    rows, places = _drawn(degree[begin:end], fanout, rng)
                    sources = self._indices[etype].read(start[begin:end][rows] + places)
                    total += sources.size, self._outside(part, etype[0], sources).sum()
                    met[etype[0]] = unique(np.concatenate([met[etype[0]], sources]))
            nodes = met
            found.append(total)
        inputs = [(ids.size, self._outside(part, ntype, ids).sum()) for ntype, ids in nodes.items()]
        return np.array([*found, np.sum(inputs, axis=0)])

    def _rows(self, etype: EType, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(D,) first edge of each row, and in-degree."""
        start, end = self._indptr[etype].read(rows).T
        return start, end - start

    def _outside(self, part: int, ntype: str, ids: np.ndarray) -> np.ndarray:
        lo, hi = self._ranges[ntype][part:part + 2]
        outside: np.ndarray = (ids < lo) | (ids >= hi)
        return outside


def _kept(degree: np.ndarray, fanout: int) -> np.ndarray:
    return degree if fanout < 0 else np.minimum(degree, fanout)


def _running(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _drawn(degree: np.ndarray, fanout: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows and places in them of what is drawn of each row, each set alike: by Floyd's algorithm (Bentley 1987)."""
    whole = (degree <= fanout) | (fanout < 0)
    rows = np.repeat(np.flatnonzero(whole), degree[whole])
    places = np.arange(rows.size) - np.repeat(_running(degree[whole])[:-1], degree[whole])
    large = np.flatnonzero(~whole)
    chosen = np.empty((large.size, max(0, fanout)), np.int64)
    for number in range(max(0, fanout) if large.size else 0):
        top = degree[large] - fanout + number
        place = rng.integers(0, top + 1)
        again = (chosen[:, :number] == place[:, None]).any(1)
        chosen[:, number] = np.where(again, top, place)
    return np.concatenate([rows, np.repeat(large, chosen.shape[1])]), np.concatenate([places, chosen.reshape(-1)])
