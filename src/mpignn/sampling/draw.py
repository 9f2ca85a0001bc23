"""One hop drawn for several batches together, with two round trips to other nodes, and for each batch in the view.

The first asks for the rows of the nodes to expand, the second for the neighbors picked.  Where edges have weights,
marks or times, it asks for those of whole rows, and for all neighbors with them: what is picked is known only then.
Where the neighbors have times, a third asks for these.

Shapes: D nodes of a type to expand, E picks, X excluded edges, T threads, L edges of all rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.transport import GraphArray
from mpignn.errors import DataError, IDError
from mpignn.graph.book import checked_ids
from mpignn.graph.types import ByEType, EType, etype_key
from mpignn.kernels import threads
from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, pick_edges, pick_neighbors, pick_neighbors_left, plan_rows
from mpignn.kernels.relabel import mark
from mpignn.kernels.rng import derive, number_moments, number_repeats
from mpignn.kernels.weigh import close_gaps, pick_weighted, take
from mpignn.sampling.fetch import RowReader, read_at_once
from mpignn.sampling.positions import Positions, positions
from mpignn.sampling.rule import Rule
from mpignn.sampling.whole_rows import WholeRows, excluded
from mpignn.store.published import PublishedGraph

Edges = ByEType[np.ndarray]
Ids = Mapping[str, np.ndarray] | np.ndarray


@dataclass
class Front:
    """The nodes to expand in one batch.

    Attributes:
        key: What their draws depend on besides edge type and original id.
        nodes: (D,) int64 ids of each node type.
        orig: (D, 1) int64 original ids, as far as read.
        bounds: (D, 2) int64 start and end of the rows for each edge type, as far as read.
        exclude: (X,) int64 edges never picked, sorted and unique, for edge types that have any.
        repeats: Whether a node may be there several times; it then draws anew each time.
        times: (D,) int64 or float64 time of each node of each type: a node may be there under several, and draws anew
            for each.  None where time does not matter.
    """

    key: tuple[int, ...]
    nodes: Mapping[str, np.ndarray]
    exclude: Mapping[EType, np.ndarray] = field(default_factory=dict)
    repeats: bool = False
    times: Mapping[str, np.ndarray] | None = None
    orig: dict[str, np.ndarray] = field(default_factory=dict)
    bounds: dict[EType, np.ndarray] = field(default_factory=dict)


@dataclass
class Draw:
    """The picks of one edge type in one batch.

    Attributes:
        etype: The edge type.
        rule: How they are chosen.
        key: Key of the draws.
        orig: (D,) int64 number of each node in its draws.
        bounds: (D, 2) int64 its row.
        gone, taken: As in `kernels.pick`.
        indptr: (D + 1,) int64 where the picks of each node begin.
        longest: Edges of the longest row.
        outside: Rows with edges outside the view.
        edge_ids: (E,) int64 global ids; None where they are not asked for and not needed.
        neighbors: (E,) ids; None while they are still to be drawn from the view.
    """

    etype: EType
    rule: Rule
    key: np.uint64
    orig: np.ndarray
    bounds: np.ndarray
    gone: np.ndarray
    taken: np.ndarray
    indptr: np.ndarray
    longest: int = 0
    outside: int = 0
    edge_ids: np.ndarray | None = None
    neighbors: np.ndarray | None = None

    def rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """``orig``, ``bounds``, ``gone``, ``taken`` and ``indptr`` of some of the nodes, as kernels want them.

        Kernels get views rather than the numbers of first and last: an index that may be negative for all the
        compiler knows costs a tenth of the time.
        """
        return (self.orig[first:last], self.bounds[first:last], self.gone, self.taken[first:last],
                self.indptr[first:last + 1])


class Workspace:
    """Memory that a call needs for itself: slabs for results, bitmaps that are all 0 between uses, and positions."""

    def __init__(self) -> None:
        self.pool = Pool()
        self._bits = np.zeros((1, 64), np.uint64)
        self._positions: dict[str, Positions] = {}

    def bits(self, longest: int) -> np.ndarray:
        """(T, ...) a bit for each position of a row of ``longest`` edges, for each thread."""
        count, words = self._bits.shape
        if words * 64 < longest or count < threads.num_threads():
            self._bits = np.zeros((threads.num_threads(), max(words, 2 * (longest // 64 + 1))), np.uint64)
        return self._bits

    def positions(self, ntype: str, num_nodes: int) -> Positions:
        """What gives positions to the nodes of a type, of which there are always as many."""
        found = self._positions.get(ntype)
        if found is None or found.seen.shape[0] < threads.num_threads():
            found = self._positions[ntype] = positions(num_nodes)
        return found


def by_ntype(graph: PublishedGraph, nodes: Ids, what: str) -> dict[str, np.ndarray]:
    """Ids of every node type, copied: contiguous and writable is the one kind the kernels are compiled for.

    Args:
        graph: The graph.
        nodes: (D,) ids by node type, of which some may be missing; or of the only one.
        what: What they are called in messages.

    Raises:
        IDError: No integers, or the first one that is outside the graph.
        UnknownName: No such node type.
    """
    schema = graph.schema
    if not isinstance(nodes, Mapping):
        nodes = {schema.ntype(): nodes}
    found = {ntype: np.empty(0, np.int64) for ntype in schema.ntypes}
    for name, given in nodes.items():
        ntype = schema.ntype(name)
        found[ntype] = checked_ids(given, graph.book.num_nodes(ntype), f"{what} of type {ntype!r}").copy()
    return found


def check_unique(ids: np.ndarray, what: str) -> None:
    """Raise IDError if an id is there twice; names the first."""
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if again.size:
        raise IDError(f"{what}: {ids[again.min()]} is given twice; they must be unique")


def check_exclude(graph: PublishedGraph, exclude: Edges | None) -> dict[EType, np.ndarray]:
    """Edges to exclude by canonical edge type, leaving out empty ones.  Not collective.

    Raises:
        IDError: No edge of that id.
        DataError: Ids that do not ascend strictly.
        UnknownName: No such edge type.
    """
    checked = {}
    for name, given in (exclude or {}).items():
        etype = graph.schema.etype(name)
        ids = checked_ids(given, graph.book.num_edges(etype), f"excluded {etype_key(etype)!r} edge")
        if (ids[1:] <= ids[:-1]).any():
            raise DataError(f"excluded {etype_key(etype)!r} edges must ascend, each once: use numpy.unique")
        if ids.size:
            checked[etype] = np.ascontiguousarray(ids)
    return checked


def draw_hop(graph: PublishedGraph, space: Workspace, fronts: Sequence[Front], rules: Mapping[EType, Rule],
             return_eids: bool, hop: int | None = None) -> list[list[Draw]]:
    """Draw the edges of one hop: for each batch, and each edge type in the schema's order.

    Args:
        graph: The graph.
        space: Memory for the results.
        fronts: The nodes; rows that are known already, of the first nodes, are not read again.
        rules: How edges are chosen.
        return_eids: Fill in ``edge_ids``.
        hop: What the transport counts the rows under.

    Not collective.

    Raises:
        DataError: A weight is negative, infinite or not a number; the edge is named.
    """
    reader = RowReader(graph.transport, hop)
    read_fronts(graph, space, fronts, [etype for etype, rule in rules.items() if rule.fanout != 0], reader)
    draws: list[list[Draw]] = []
    looking = []
    for front in fronts:
        numbers = {t: orig.reshape(-1) for t, orig in front.orig.items()}
        if front.repeats:
            numbers = {t: number_repeats(orig) for t, orig in numbers.items()}
        if front.times is not None:
            numbers = {t: number_moments(orig, front.times[t]) for t, orig in numbers.items()}
        draws.append([])
        for number, (etype, rule) in enumerate(rules.items()):
            draw = _plan(graph, space, front, number, etype, rule, numbers[etype[2]])
            draws[-1].append(draw)
            if draw.neighbors is not None:
                continue
            if rule.looks:
                looking.append(_Picked(graph, front, draw, reader))
            elif draw.outside or return_eids or front.times is not None:
                draw.edge_ids = _pick_edges(space, draw)
                array = graph.adjacency(etype).indices
                draw.neighbors = space.pool.empty(draw.indptr[-1], array.spec.dtype)
                reader.read(array, draw.edge_ids, draw.neighbors.reshape(-1, 1))
    reader.finish()
    for picked in looking:
        picked.rows.ask_times(reader)
    reader.finish()
    for picked in looking:
        picked.pick(graph, space)
    return draws


def draw_in_view(graph: PublishedGraph, space: Workspace, draws: Sequence[Draw]) -> None:
    """Draw, of one batch, what `draw_hop` has left since the view has all rows for it, and mark all neighbors.

    Not collective.  Both at once, while a neighbor is in the cache: the marks, in ``space``, are for the block that is
    made next, so each batch has its turn.
    """
    for draw in draws:
        if draw.neighbors is not None:
            mark(draw.neighbors, space.positions(draw.etype[0], graph.book.num_nodes(draw.etype[0])).seen[0])
    threads.run_all([_picking(graph, space, draw) for draw in draws if draw.neighbors is None])


def _picking(graph: PublishedGraph, space: Workspace, draw: Draw) -> threads.Job[None]:
    """What `threads.run_all` shall do to fill ``draw.neighbors`` from the view, and to mark them.  Not collective."""
    array = graph.adjacency(draw.etype).indices
    bits, seen = space.bits(draw.longest), space.positions(draw.etype[0], graph.book.num_nodes(draw.etype[0])).seen
    neighbors = draw.neighbors = space.pool.empty(draw.indptr[-1], array.spec.dtype)
    pick = pick_neighbors_left if draw.taken.shape[0] else pick_neighbors
    return lambda number, first, last: pick(
        draw.key, draw.rule.replace, *draw.rows(first, last), bits[number], array.flat, array.lo, seen[number],
        neighbors), threads.cut(draw.indptr)


def read_fronts(graph: PublishedGraph, space: Workspace, fronts: Sequence[Front], etypes: Iterable[EType],
                reader: RowReader) -> None:
    """Fill in ``orig``, and ``bounds`` for these edge types, of which only what is new is read.  Not collective."""
    for front in fronts:
        for ntype, nodes in front.nodes.items():
            front.orig[ntype] = _extend(graph.orig_ids(ntype), nodes, front.orig.get(ntype), space.pool, reader)
        for etype in etypes:
            front.bounds[etype] = _extend(graph.adjacency(etype).rows, front.nodes[etype[2]],
                                          front.bounds.get(etype), space.pool, reader)
    reader.finish()


def _extend(array: GraphArray, nodes: np.ndarray, known: np.ndarray | None, pool: Pool,
            reader: RowReader) -> np.ndarray:
    rows = pool.empty((nodes.shape[0], array.spec.width), array.spec.dtype)
    have = 0 if known is None else known.shape[0]
    if have:
        rows[:have] = known
    reader.read(array, nodes[have:], rows[have:])
    return rows


def _pick_edges(space: Workspace, draw: Draw) -> np.ndarray:
    bits, edge_ids = space.bits(draw.longest), space.pool.empty(draw.indptr[-1], np.int64)
    threads.run(lambda number, first, last: pick_edges(
        draw.key, draw.rule.replace, *draw.rows(first, last), bits[number], edge_ids), threads.cut(draw.indptr))
    return edge_ids


def _plan(graph: PublishedGraph, space: Workspace, front: Front, number: int, etype: EType, rule: Rule,
          orig: np.ndarray) -> Draw:
    """Lay out the picks of an edge type."""
    array = graph.adjacency(etype).indices
    indptr = space.pool.empty(orig.shape[0] + 1, np.int64)
    key = np.uint64(derive(*front.key, number))
    bounds = front.bounds[etype] if rule.fanout else np.empty((0, 2), np.int64)        # not read for no edges
    draw = Draw(etype, rule, key, orig, bounds, NONE_GONE, NONE_TAKEN, indptr)
    if rule.fanout == 0:
        indptr[:] = 0
        draw.edge_ids, draw.neighbors = np.empty(0, np.int64), np.empty(0, array.spec.dtype)
        return draw
    draw.gone, draw.taken = excluded(draw.bounds, front.exclude.get(etype))
    draw.longest, draw.outside = plan_rows(draw.bounds, draw.taken, rule.fanout, rule.replace, array.lo, array.hi,
                                           indptr)
    return draw


class _Picked:
    """Whole rows that picks are made from, edge by edge."""

    def __init__(self, graph: PublishedGraph, front: Front, draw: Draw, reader: RowReader) -> None:
        self.draw, self._orig = draw, front.orig[draw.etype[2]]
        self._indices = graph.adjacency(draw.etype).indices
        times = None if front.times is None else front.times[draw.etype[2]]
        self.rows = WholeRows(graph, draw.etype, draw.rule, draw.bounds, times, reader, (self._indices,))

    def pick(self, graph: PublishedGraph, space: Workspace) -> None:
        """Draw, once the rows are there."""
        draw, rule, rows = self.draw, self.draw.rule, self.rows
        longest = int((draw.bounds[:, 1] - draw.bounds[:, 0]).max(initial=0))
        edge_ids = space.pool.empty(draw.indptr[-1], np.int64)
        counts = np.empty(draw.orig.shape[0], np.int64)
        values, marks_at = rows.looked_at()
        bad = threads.run(lambda _, first, last: pick_weighted(
            draw.key, rule.fanout, rule.replace, *(*draw.rows(first, last), *values), rows.lo, rows.away[first:last],
            marks_at[first:last], longest, edge_ids, counts[first:last]), threads.cut(draw.indptr, 2))
        if max(bad) >= 0:
            raise DataError(self._bad_weight(graph, int(min(edge for edge in bad if edge >= 0))))
        if counts.sum() != draw.indptr[-1]:
            close_gaps(counts, draw.indptr, edge_ids)
        picked = draw.edge_ids = edge_ids[:draw.indptr[-1]]
        flat, fetched = rows.values(self._indices)
        neighbors = draw.neighbors = space.pool.empty(draw.indptr[-1], self._indices.spec.dtype)
        threads.run(lambda _, first, last: take(
            flat, fetched, rows.lo, rows.away[first:last], draw.bounds[first:last], draw.indptr[first:last + 1],
            picked, neighbors), threads.cut(draw.indptr, 1 / 4))

    def _bad_weight(self, graph: PublishedGraph, edge: int) -> str:
        draw, array = self.draw, self.draw.rule.weights
        assert array is not None, "without weights none is bad"
        row = np.flatnonzero((draw.bounds[:, 0] <= edge) & (edge < draw.bounds[:, 1]))[0]
        value = read_at_once(graph.transport, array, np.array([edge]))[0, 0]
        return (f"{array.spec.name} of edge {edge}, in-edge {edge - draw.bounds[row, 0]} of {draw.etype[2]} "
                f"{self._orig[row, 0]} (original id), is {value}; weights are finite and not negative")
