"""Pairs of nodes that (probably) no edge joins: what link prediction learns to tell from edges.

What is drawn for an edge is a function of (key, edge type, its original destination, its place in the row there), and
counts in original ids, so it does not depend on ranks or partitions; `Local` is the exception.

Shapes: E edges, k pairs for each of them, M pairs in question.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mpignn.arguments import whole_number
from mpignn.errors import DataError
from mpignn.graph.book import checked_ids
from mpignn.graph.types import ByEType, EType, etype_key
from mpignn.kernels.match import edge_keys, number_keys
from mpignn.kernels.permute import permute_each
from mpignn.kernels.rng import derive
from mpignn.sampling.block_sampler import ForThreads
from mpignn.shown import Shown
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.lookup import find_edges, match_edges
from mpignn.store.published import PublishedGraph

_MOST_TRIES = 4096          # for one pair; more than that many edges of a random choice in a row mean that all are
_MOST_AT_ONCE = 1 << 18     # pairs looked up together

_LARGEST = 1 << 62          # choices that can be put into a random order


@dataclass(frozen=True)
class SeedEdges:
    """Edges of one type, of one or several batches.

    Attributes:
        etype: Their type.
        src, dst: (E,) int64 ids of their ends.
        keys: (E,) uint64 that the draws for each derive from, see `seed_keys`.
        batch: (E,) int64 number of the batch of each.
        place: (E,) int64 place of each in its global batch.
        whole_dst: For each batch the (G,) destinations of the global batch.
    """

    etype: EType
    src: np.ndarray
    dst: np.ndarray
    keys: np.ndarray
    batch: np.ndarray
    place: np.ndarray
    whole_dst: Sequence[np.ndarray]


class NegativeSampler(ForThreads, Shown, ABC):
    """Draws k pairs for each edge.

    The choices of a pair are put into a random order of its own, and the first that is allowed is taken: each allowed
    choice is equally likely, and where there is none this ends.

    Attributes:
        k: As given.
        whole_batch: Whether `SeedEdges.whole_dst` is needed.
    """

    SHOWN = ("k",)

    whole_batch = False

    def __init__(self, k: int, exclude_self_loops: bool = False, exclude_edges: bool = False) -> None:
        """Say how many pairs, and which shall not be among them.

        Args:
            k: Pairs for each edge.
            exclude_self_loops: None from a node to itself.
            exclude_edges: None that an edge of that type joins.

        Raises:
            ConfigError: k is no positive integer.
        """
        self.k = whole_number(k, "k", 1, 1 << 31)
        self._no_loops, self._no_edges = exclude_self_loops, exclude_edges

    def __call__(self, g: DistGraph, eids: ArrayLike | ByEType[ArrayLike],
                 key: int = 0) -> tuple[np.ndarray, np.ndarray] | dict[EType, tuple[np.ndarray, np.ndarray]]:
        """Pairs for some edges of a graph, taken as one batch.

        Args:
            g: The graph.
            eids: (E,) global ids, or a dict of them by edge type.
            key: 64 bits that the draws depend on.

        Returns:
            (E k,) int64 sources and (E k,) destinations, those of an edge side by side; by edge type if ``eids`` are.

        Not collective.

        Raises:
            DataError: A pair has no choice that is allowed.
            IDError: An id outside the graph.
        """
        drawn = {}
        for name, ids in (eids if isinstance(eids, Mapping) else {None: eids}).items():
            etype = g.schema.etype(name)
            ids = checked_ids(ids, g.num_edges(etype), f"id of a {etype_key(etype)!r} edge")
            src, dst = find_edges(published_graph(g), etype, ids)
            number = g.schema.etypes.index(etype)
            keys = seed_keys(published_graph(g), etype, ids, dst, [np.uint64(derive(key, number))], [ids.size])
            edges = SeedEdges(etype, src, dst, keys, np.zeros(ids.size, np.int64), np.arange(ids.size), [dst])
            drawn[etype] = self.draw(published_graph(g), edges)
        return drawn if isinstance(eids, Mapping) else next(iter(drawn.values()))

    def draw(self, graph: PublishedGraph, edges: SeedEdges) -> tuple[np.ndarray, np.ndarray]:
        """(E k,) int64 ids of the sources and of the destinations, those of an edge side by side.  Not collective.

        Raises:
            DataError: A pair has no choice that is allowed, or none within 4096 choices.
        """
        edge = np.repeat(np.arange(edges.src.size), self.k)
        keys = np.empty(edge.size, np.uint64)
        number_keys(edges.keys[edge], np.tile(np.arange(self.k), edges.src.size), keys)
        choices = self._choices(graph, edges)[edge]
        src, dst = np.empty(edge.size, np.int64), np.empty(edge.size, np.int64)
        tried = np.zeros(edge.size, np.int64)
        pending = np.arange(edge.size)
        while pending.size:
            spent = pending[tried[pending] >= np.minimum(choices[pending], _MOST_TRIES)]
            if spent.size:
                raise self._none_left(graph, edges, edge[spent[0]], choices[spent[0]])
            # Twice as many choices of a pair in each round; those that are hard to settle come first.
            width = np.clip(tried[pending], 1, choices[pending] - tried[pending])
            now = pending[:max(1, int(np.searchsorted(np.cumsum(width), _MOST_AT_ONCE, side="right")))]
            width = width[:now.size]
            begin = np.cumsum(width) - width
            pair = np.repeat(now, width)
            place = tried[pair] + np.arange(pair.size) - np.repeat(begin, width)
            picked = np.empty(pair.size, np.int64)
            permute_each(keys[pair], choices[pair], place, picked)
            pair_src, pair_dst = self._pairs(graph, edges, edge[pair], picked)
            good = np.flatnonzero(self._allowed(graph, edges.etype, pair_src, pair_dst))
            settled, which = np.unique(pair[good], return_index=True)       # of each pair the first
            src[settled], dst[settled] = pair_src[good[which]], pair_dst[good[which]]
            tried[now] += width
            pending = np.concatenate([np.setdiff1d(now, settled, assume_unique=True), pending[now.size:]])
        return src, dst

    @abstractmethod
    def _choices(self, graph: PublishedGraph, edges: SeedEdges) -> np.ndarray:
        """(E,) int64 number of choices for a pair of each edge."""

    @abstractmethod
    def _pairs(self, graph: PublishedGraph, edges: SeedEdges, which: np.ndarray,
               picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) sources and (M,) destinations that choice ``picked[i]`` of edge ``which[i]`` means."""

    def _allowed(self, graph: PublishedGraph, etype: EType, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
        good = np.ones(src.size, bool)
        if self._no_loops and etype[0] == etype[2]:
            good &= src != dst
        if self._no_edges:
            asked = np.flatnonzero(good)
            _, count = match_edges(graph, etype, src[asked], dst[asked])
            good[asked] = count == 0
        return good

    def _none_left(self, graph: PublishedGraph, edges: SeedEdges, edge: int, choices: int) -> DataError:
        src, dst = (int(graph.read(graph.orig_ids(ntype), ids[edge:edge + 1])[0, 0])
                    for ntype, ids in ((edges.etype[0], edges.src), (edges.etype[2], edges.dst)))
        what = f"all {choices}" if choices <= _MOST_TRIES else f"the first {_MOST_TRIES} of {choices}"
        return DataError(f"no negative for the {etype_key(edges.etype)!r} edge from {src} to {dst} (original ids): "
                         f"{what} pairs to choose from are edges or self loops; allow these, or leave the edge out")


class PerSourceUniform(NegativeSampler, in_thread=True):
    """The edge's source with any destination of the type, each equally likely: DGL's sampler of that name."""

    def _choices(self, graph: PublishedGraph, edges: SeedEdges) -> np.ndarray:
        return np.full(edges.src.size, graph.book.num_nodes(edges.etype[2]))

    def _pairs(self, graph: PublishedGraph, edges: SeedEdges, which: np.ndarray,
               picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return edges.src[which], _renumbered(graph, edges.etype[2], picked)


Uniform = PerSourceUniform      # DGL's alias


class GlobalUniform(NegativeSampler, in_thread=True):
    """Any source with any destination, each pair equally likely: DGL's sampler of that name."""

    def _choices(self, graph: PublishedGraph, edges: SeedEdges) -> np.ndarray:
        choices = graph.book.num_nodes(edges.etype[0]) * graph.book.num_nodes(edges.etype[2])
        if choices > _LARGEST:
            raise DataError(f"{etype_key(edges.etype)!r} has {choices} pairs of nodes, more than 2**62: draw "
                            "PerSourceUniform")
        return np.full(edges.src.size, choices)

    def _pairs(self, graph: PublishedGraph, edges: SeedEdges, which: np.ndarray,
               picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        src, dst = np.divmod(picked, graph.book.num_nodes(edges.etype[2]))
        return _renumbered(graph, edges.etype[0], src), _renumbered(graph, edges.etype[2], dst)


class InBatch(NegativeSampler, in_thread=True):
    """The edge's source with the destination of another edge of its type in the global batch, each equally likely.

    Destinations that occur often in the batch are drawn often, and one may be the edge's own if several edges share
    it.  An edge that is the only one of its type in the batch has no other, and gets its own.
    """

    whole_batch = True

    def _choices(self, graph: PublishedGraph, edges: SeedEdges) -> np.ndarray:
        sizes = np.asarray([max(1, dst.size - 1) for dst in edges.whole_dst], np.int64)
        choices: np.ndarray = sizes[edges.batch]
        return choices

    def _pairs(self, graph: PublishedGraph, edges: SeedEdges, which: np.ndarray,
               picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = np.cumsum([0, *(dst.size for dst in edges.whole_dst)])
        batch, other = edges.batch[which], starts[1:][edges.batch[which]] - starts[edges.batch[which]] > 1
        picked = picked + (other & (picked >= edges.place[which]))
        return edges.src[which], np.concatenate(edges.whole_dst)[starts[batch] + picked]


class Local(NegativeSampler, in_thread=True):
    """The edge's source with any destination in this node's memory, so that the draw fetches nothing.

    What it draws depends on the partitioning and on where ranks are, unlike anything else here.  On a node that holds
    no destination it draws from all.
    """

    def _choices(self, graph: PublishedGraph, edges: SeedEdges) -> np.ndarray:
        lo, hi = self._range(graph, edges.etype[2])
        return np.full(edges.src.size, hi - lo)

    def _pairs(self, graph: PublishedGraph, edges: SeedEdges, which: np.ndarray,
               picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return edges.src[which], picked + self._range(graph, edges.etype[2])[0]

    @staticmethod
    def _range(graph: PublishedGraph, ntype: str) -> tuple[int, int]:
        array = graph.orig_ids(ntype)
        return (array.lo, array.hi) if array.hi > array.lo else (0, array.spec.num_rows)


def seed_keys(graph: PublishedGraph, etype: EType, eids: np.ndarray, dst: np.ndarray, keys: Sequence[np.uint64],
              counts: Sequence[int]) -> np.ndarray:
    """(E,) uint64 keys of edges of several batches, from what does not depend on the partitioning.

    Args:
        graph: The graph.
        etype: Their type.
        eids, dst: (E,) int64 global ids and destinations, batch after batch.
        keys: Keys of each batch and this type.
        counts: Edges of each batch.

    Not collective.
    """
    orig = graph.read(graph.orig_ids(etype[2]), dst).reshape(-1)
    place = eids - graph.read(graph.adjacency(etype).rows, dst)[:, 0]
    out, begin = np.empty(eids.size, np.uint64), 0
    for key, count in zip(keys, counts, strict=True):
        part = slice(begin, begin + count)
        edge_keys(key, orig[part], place[part], out[part])
        begin += count
    return out


def _renumbered(graph: PublishedGraph, ntype: str, orig: np.ndarray) -> np.ndarray:
    return graph.read(graph.new_ids(ntype), orig).reshape(-1)
