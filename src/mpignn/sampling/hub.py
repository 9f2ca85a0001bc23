"""Sampling that draws little of hubs: in graphs with a few nodes of very many in-edges, batches stay smaller.

Shapes: D nodes to expand, E edges.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mpignn.arguments import whole_number
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.sampling.draw import Edges
from mpignn.sampling.fetch import read_at_once
from mpignn.sampling.frontier import Frontier, FrontierEdges, sample_neighbors
from mpignn.sampling.rule import ALL, Fanout, Named, checked_fanouts
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.published import PublishedGraph


class HubSampler(BlockSampler, in_thread=True, takes_excluded=True):
    """Draws as `NeighborSampler`, but of a node with many in-edges of a type only a few of them.

    Whether a node is a hub depends on its in-edges in the whole graph, so on nothing that differs between ranks.
    """

    def __init__(self, fanouts: Sequence[Fanout], degree: int = 100, keep: int = 2, mask: Named = None,
                 **options: Any) -> None:
        """Say how much to draw.

        Args:
            fanouts: In-edges of each destination, as for `NeighborSampler`: input layer first; -1 all.
            degree: A node with more in-edges of a type is a hub there.
            keep: In-edges kept of a hub, if the fanout does not say fewer.
            mask: As in `sample_neighbors`; edges without a mark count in degrees.
            options: Those of `BlockSampler`.

        Raises:
            ConfigError: No fanouts, or one that is no integer of -1 to 2**31 - 1; or a degree or number to keep that is
                none.
        """
        self.fanouts = checked_fanouts(fanouts)
        super().__init__(len(fanouts), **options)
        self._degree, self._keep = whole_number(degree, "degree", 1), whole_number(keep, "keep", 0, 1 << 31)
        self._mask = mask

    def sample_frontier(self, block_id: int, g: DistGraph | PublishedGraph, nodes: Mapping[str, np.ndarray],
                        key: tuple[int, int], exclude_edges: Edges | None = None) -> Frontier:
        """The edges of one block, in more round trips than `NeighborSampler` makes: of hubs a second time.

        Not collective.
        """
        graph, fanout = published_graph(g), self.fanouts[block_id]
        hubs = {}
        for etype in graph.schema.etypes:
            bounds = read_at_once(graph.transport, graph.adjacency(etype).rows, nodes[etype[2]])
            hubs[etype] = bounds[:, 1] - bounds[:, 0] > self._degree
        draw = partial(sample_neighbors, graph, nodes, exclude_edges=exclude_edges, key=key, mask=self._mask)
        many = draw(fanout)
        if not any(hub.any() for hub in hubs.values()):
            return many
        few = draw({e: self._few(k) for e, k in fanout.items()} if isinstance(fanout, Mapping) else self._few(fanout))
        return Frontier(graph, {e: _chosen(many[e], few[e], hub) for e, hub in hubs.items()})

    def _few(self, fanout: int) -> int:
        return self._keep if fanout == ALL else min(fanout, self._keep)


def _chosen(many: FrontierEdges, few: FrontierEdges, hub: np.ndarray) -> FrontierEdges:
    """The edges of each node out of one of two draws for the same nodes: where ``hub`` is True the second."""
    counts = np.where(hub, np.diff(few.indptr), np.diff(many.indptr))
    indptr = np.zeros(hub.size + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    start = np.where(hub, few.indptr[:-1] + many.eid.size, many.indptr[:-1])        # in both draws, end to end
    at = np.repeat(start - indptr[:-1], counts) + np.arange(indptr[-1])
    return FrontierEdges(many.nodes, indptr, np.concatenate([many.neighbors, few.neighbors])[at],
                         np.concatenate([many.eid, few.eid])[at])
