"""How often batches will hold a node, told without drawing any: which rows of other nodes are worth a copy.

Two measures.  The out-degree: a batch reads nodes as sources of edges, so the more edges lead from a node the more
often it is read, wherever the seeds are.  And the *vertex-inclusion probability* (Kaler et al. 2023, SALIENT++) that a
batch of a node's trainers holds it, which knows where their seeds are, and how many neighbors are drawn.

With q(v) the probability that v is among the nodes that a hop expands, and a chance of w(v) that it draws a given one
of its in-edges, min(1, fanout / in-degree), the nodes that the next hop expands are those and what was drawn:

    q'(u) = 1 - (1 - q(u)) * product over all edges u -> v of (1 - q(v) w(v))

That is exact for one hop, where destinations draw independently of each other, of a graph whose edges join each pair of
nodes once.  For more hops it takes events to be independent that are not, such as that two neighbors of a node are
expanded.

Each trainer goes through the edges of a part of the destinations; logarithms of the products are summed over
all of them.

Shapes: N nodes of a type, S training nodes or edges.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mpignn.comm.group import Group
from mpignn.comm.transport import GraphArray
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import EType
from mpignn.kernels.spread import spread
from mpignn.roles import Topology
from mpignn.store.placement import trainer_rows
from mpignn.store.published import PublishedGraph

CHUNK = 1 << 20        # rows, or edges of other nodes, in hand at a time

Chances = Mapping[str, np.ndarray]
Drawn = Callable[[int, np.ndarray], np.ndarray]


class Visits:
    """Looks at the edges of a graph, each trainer at those into a part of the nodes."""

    def __init__(self, graph: PublishedGraph, topology: Topology, trainers: Group) -> None:
        """Not collective."""
        self._graph, self._trainers = graph, trainers
        self._share: dict[str, tuple[int, int]] = {}
        for ntype in graph.schema.ntypes:
            cuts = trainer_rows(graph.book, topology, ntype, graph.book.num_nodes(ntype))
            self._share[ntype] = int(cuts[trainers.rank]), int(cuts[trainers.rank + 1])

    def out_degrees(self) -> dict[str, np.ndarray]:
        """(N,) float64 edges that lead from each node, of all types together.  Collective over the trainers."""
        return self._sums(lambda etype, first, degrees: np.ones(degrees.size))

    def chances(self, seeds: Chances, fanouts: Sequence[int], drawn: Drawn) -> dict[str, np.ndarray]:
        """(N,) float64 probability that a batch holds a node, by type.  Collective over the trainers.

        Args:
            seeds: (N,) float64 probability that a batch's seeds hold it, by type; the same on all trainers.
            fanouts: In-edges drawn of a node and edge type, the seeds' hop first; -1 for all.
            drawn: ``drawn(fanout, degrees)`` is the chance of each edge of a node with so many.
        """
        held = {ntype: chance.copy() for ntype, chance in seeds.items()}
        for fanout in fanouts:
            def logs(etype: EType, first: int, degrees: np.ndarray, fanout: int = fanout) -> np.ndarray:
                chance = held[etype[2]][first:first + degrees.size]
                some = np.flatnonzero(chance)
                found = np.zeros(degrees.size)
                found[some] = _log_of_not(chance[some] * drawn(fanout, degrees[some]))
                return found

            for ntype, sums in self._sums(logs).items():
                held[ntype] = 1 - (1 - held[ntype]) * np.exp(sums)
        return held

    def _sums(self, numbers: Callable[[EType, int, np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        """For each node the sum over its out-edges of what ``numbers(etype, first, in-degrees)`` gives destinations."""
        graph = self._graph
        sums = {ntype: np.zeros(graph.book.num_nodes(ntype)) for ntype in graph.schema.ntypes}
        for etype in graph.schema.etypes:
            for first, rows, sources in self._edges(etype):
                spread(rows, sources, numbers(etype, first, rows[:, 1] - rows[:, 0]), sums[etype[0]])
        for of_type in sums.values():
            self._trainers.all_sum(of_type)
        return sums

    def _edges(self, etype: EType) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """The edges of this trainer's share, some destinations at a time: the first of these, where their edges begin
        and end among those here, and the sources of all."""
        adjacency = self._graph.adjacency(etype)
        begin, end = self._share[etype[2]]
        for lo in range(begin, end, CHUNK):
            rows = _stretch(self._graph, adjacency.rows, lo, min(end, lo + CHUNK))
            edges = np.append(rows[:, 0], rows[-1, 1])
            most = int(edges[-1] - edges[0]) if _is_here(adjacency.indices, edges[0], edges[-1]) else CHUNK
            for first, last in row_chunks(edges, 0, len(rows), max(1, most)):
                sources = _stretch(self._graph, adjacency.indices, int(edges[first]), int(edges[last])).reshape(-1)
                yield lo + first, rows[first:last] - edges[first], sources


def seed_chances(seeds: np.ndarray, count: float, num_nodes: int) -> np.ndarray:
    """(N,) float64 probability that ``count`` of the (S,) seeds, drawn alike, hold a node.  Not collective."""
    found = np.zeros(num_nodes)
    if seeds.size:
        found[seeds] = min(1.0, count / seeds.size)
    return found


def end_chances(ends: np.ndarray, chance: float, num_nodes: int) -> np.ndarray:
    """(N,) float64 logarithm of the probability that no edge of a batch has a node for its end.  Not collective.

    Args:
        ends: (S,) int64 one end of each training edge.
        chance: That a batch holds a given one of these.
        num_nodes: N.
    """
    found: np.ndarray = np.bincount(ends, minlength=num_nodes) * _log_of_not(np.array([chance]))
    return found


def _log_of_not(chance: np.ndarray) -> np.ndarray:
    """The logarithm of 1 - chance; where that is certain the least that leaves exp something to add to."""
    found: np.ndarray = np.log1p(-np.minimum(chance, 1 - 2 ** -52))
    return found


def _is_here(array: GraphArray, first: int, last: int) -> bool:
    return array.lo <= first and last <= array.hi


def _stretch(graph: PublishedGraph, array: GraphArray, first: int, last: int) -> np.ndarray:
    """(last - first, W) rows of an array that lie side by side, no copies where they are here."""
    if _is_here(array, first, last):
        return array.local[first - array.lo:last - array.lo]
    return graph.read(array, np.arange(first, last))
