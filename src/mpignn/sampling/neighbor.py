"""Mini-batches by neighbors drawn hop by hop (Hamilton, Ying and Leskovec 2017, GraphSAGE)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpignn.arguments import whole_number
from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.types import EType
from mpignn.sampling.block_sampler import BlockSampler, Names, Sample, SamplerInput, fronts_of, result_of
from mpignn.sampling.blocks import close_hop
from mpignn.sampling.draw import Edges, Workspace, draw_hop
from mpignn.sampling.frontier import Frontier, sample_neighbors
from mpignn.sampling.rule import ALL, Fanout, Named, NamedOfNodes, Rule, checked_fanouts, make_rules, time_dtype
from mpignn.sampling.sources import tell_sources
from mpignn.sampling.timed import check_times
from mpignn.store.graph import DistGraph
from mpignn.store.published import PublishedGraph


class NeighborSampler(BlockSampler, in_thread=True, takes_excluded=True, draws_together=True):
    """Draws a number of in-edges of every destination, alike or in proportion to weights.

    What a destination draws is a function of (key, hop, edge type, its original id): the same for any partitioning,
    any number of ranks and any timing.

    Attributes:
        fanouts: As given.
    """

    SHOWN = ("fanouts", "_prob", "_mask", "_replace")

    def __init__(self, fanouts: Sequence[Fanout], prob: Named = None, replace: bool = False, mask: Named = None,
                 return_eids: bool = False, prefetch_node_feats: Names = (), prefetch_labels: Names = (),
                 source_info: bool = False, node_timestamp_attr_name: NamedOfNodes = None,
                 edge_timestamp_attr_name: Named = None, prefetch_edge_feats: Names = ()) -> None:
        """Say how much to draw.

        Args:
            fanouts: In-edges kept of each destination, one entry a layer, in DGL's order: INPUT layer first, so the
                last entry is for the seeds.  -1 keeps all, once each; 0 none.  A mapping names every edge type.
            prob, replace, mask: As in `sample_neighbors`.
            return_eids, prefetch_node_feats, prefetch_labels, source_info, prefetch_edge_feats: As in `BlockSampler`.
            edge_timestamp_attr_name: Edge data, one number an edge, named as ``prob``.  Each seed has a time, and all
                that is drawn for it, in every hop, are edges older than that: of a time less than the seed's.  An edge
                type without such data is not restricted.
            node_timestamp_attr_name: Node data, one number a node, named likewise: edges from nodes older than the
                seed's time.  With both, both must be.  Temporal sampling as of GraphBolt's ``TemporalNeighborSampler``.

        Raises:
            ConfigError: No fanouts, or one that is no integer of -1 to 2**31 - 1.
        """
        self.fanouts = checked_fanouts(fanouts)
        super().__init__(len(fanouts), return_eids, prefetch_node_feats, prefetch_labels, source_info,
                         prefetch_edge_feats)
        self._prob, self._replace, self._mask = prob, bool(replace), mask
        self.node_timestamp_attr_name = node_timestamp_attr_name
        self.edge_timestamp_attr_name = edge_timestamp_attr_name
        self._idle: list[Workspace] = []

    def sample_frontier(self, block_id: int, g: DistGraph | PublishedGraph, nodes: Mapping[str, np.ndarray],
                        key: tuple[int, int], exclude_edges: Edges | None = None) -> Frontier:
        """The edges that this sampler draws for a block.  Not collective.

        Where a class below overrides it, batches are drawn by it, one after the other; else all together.
        """
        return sample_neighbors(g, nodes, self.fanouts[block_id], "in", self._prob, self._replace,
                                exclude_edges, key, self._mask)

    def sample_many(self, graph: PublishedGraph, inputs: Sequence[SamplerInput]) -> list[Sample]:
        """As `BlockSampler.sample_many`, with two round trips to other nodes per hop for all batches together.

        A third one asks for times of neighbors.  Nothing is sent where the view has all rows that are met.  Excluded
        edges, and those not older than the seed, are taken out before the draw, so that a destination keeps as many as
        its fanout says of those left.
        """
        if not self.draws_together:
            return super().sample_many(graph, inputs)
        hops = [self._rules(graph, entry) for entry in reversed(self.fanouts)]
        fronts = fronts_of(graph, inputs, unique=not self.temporal)
        for front, batch in zip(fronts, inputs, strict=True):
            if self.temporal == (batch.times is None):
                raise ConfigError("edges are chosen by time: give the time of each seed" if self.temporal else
                                  "seeds have times, but the sampler has no name of timestamps to compare them with")
            if batch.times is not None:
                front.times = check_times(front.nodes, batch.times, graph.schema, time_dtype(hops[0]))
        blocks: list[list[Block]] = [[] for _ in fronts]
        # Taken out and put back by single operations, so that threads never share one.  An exception loses it,
        # since its bitmaps may then hold marks.
        try:
            space = self._idle.pop()
        except IndexError:
            space = Workspace()
        for hop, rules in enumerate(hops):
            draws = draw_hop(graph, space, fronts, rules, self.return_eids, hop)
            for front, drawn, made in zip(fronts, draws, blocks, strict=True):
                made.append(close_hop(graph, space, front, drawn, self.return_eids))
                front.nodes, front.times, front.key = made[-1].src_ids, made[-1].src_times, (front.key[0], hop + 1)
        if self._source_info:
            tell_sources(graph, space, fronts, hops[-1], blocks)
        self._idle.append(space)
        return [result_of(graph.schema, made) for made in blocks]

    def _rules(self, graph: PublishedGraph, fanout: Fanout) -> dict[EType, Rule]:
        return make_rules(graph, fanout, self._replace, self._prob, self._mask, self.edge_timestamp_attr_name,
                          self.node_timestamp_attr_name)


MultiLayerNeighborSampler = NeighborSampler


class MultiLayerFullNeighborSampler(NeighborSampler, in_thread=True):
    """Keeps all in-edges of every destination."""

    def __init__(self, num_layers: int, **options: Any) -> None:
        """``options`` are those of `NeighborSampler`."""
        super().__init__([ALL] * whole_number(num_layers, "num_layers", 1, 1 << 31), **options)
