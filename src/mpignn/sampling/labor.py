"""Layer-neighbor sampling, LABOR-0 (Balin and Catalyurek 2023): destinations agree on which sources they take.

Shapes: D nodes to expand, E edges.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpignn.kernels.rng import derive, units
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.sampling.draw import Edges
from mpignn.sampling.fetch import read_at_once
from mpignn.sampling.frontier import Frontier, sample_neighbors
from mpignn.sampling.rule import ALL, Fanout, checked_fanouts, make_rules
from mpignn.store.graph import DistGraph
from mpignn.store.published import PublishedGraph


class LaborSampler(BlockSampler, in_thread=True, takes_excluded=True):
    """Draws about as many in-edges of every destination as `NeighborSampler`, from far fewer sources.

    A destination with d in-edges and fanout k takes source t if a number r_t between 0 and 1 is below k / d: k edges on
    average, each as likely as by `NeighborSampler`.  All destinations of a hop see the same r_t, a function of
    (key, hop, source type, original id of t).  Excluded edges are taken out before the draw.
    """

    SHOWN = ("fanouts",)

    def __init__(self, fanouts: Sequence[Fanout], **options: Any) -> None:
        """Say how much to draw.

        Args:
            fanouts: In-edges of each destination on average, as for `NeighborSampler`: input layer first; -1 all.
            options: Those of `BlockSampler`.

        Raises:
            ConfigError: No fanouts, or one that is no integer of -1 to 2**31 - 1.
        """
        self.fanouts = checked_fanouts(fanouts)
        super().__init__(len(fanouts), **options)

    def sample_frontier(self, block_id: int, g: DistGraph | PublishedGraph, nodes: Mapping[str, np.ndarray],
                        key: tuple[int, int], exclude_edges: Edges | None = None) -> Frontier:
        """The edges of one block; reads whole rows.  Not collective."""
        frontier = sample_neighbors(g, nodes, ALL, exclude_edges=exclude_edges)
        graph, kept = frontier.graph, {}
        for etype, rule in make_rules(graph, self.fanouts[block_id]).items():
            edges = frontier[etype]
            if rule.fanout != ALL:
                sources, places = np.unique(edges.neighbors, return_inverse=True)
                orig = read_at_once(graph.transport, graph.orig_ids(etype[0]), sources.astype(np.int64))[:, 0]
                chance = units(derive(*key, graph.schema.ntypes.index(etype[0])), orig)[places]
                degree = np.diff(edges.indptr)
                edges = edges.where(chance * np.repeat(degree, degree) < rule.fanout)
            kept[etype] = edges
        return Frontier(graph, kept)
