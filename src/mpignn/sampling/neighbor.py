"""Samplers: the blocks of mini-batches, by neighbors drawn hop by hop (Hamilton, Ying and Leskovec 2017, GraphSAGE).

Shapes: D seeds of a node type, X excluded edges of an edge type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpignn.arguments import whole_number
from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.types import ByEType, EType, Schema
from mpignn.sampling.blocks import close_hop, to_block
from mpignn.sampling.draw import (
    Edges,
    Front,
    Ids,
    Workspace,
    by_ntype,
    check_exclude,
    check_unique,
    draw_hop,
)
from mpignn.sampling.frontier import Frontier, sample_neighbors
from mpignn.sampling.rule import ALL, Fanout, Named, NamedOfNodes, Rule, checked_fanouts, make_rules, time_dtype
from mpignn.sampling.sources import tell_sources
from mpignn.sampling.timed import check_times
from mpignn.store.graph import DistGraph
from mpignn.store.service import GraphService

Sample = tuple[Ids, Ids, list[Block]]
Names = Sequence[str] | ByEType[Sequence[str]]


class BlockSampler:
    """Draws the blocks of mini-batches, one a layer: the base of samplers of one's own, which loaders take as they are.

    Override `sample_frontier`.  A sampler may be used by several threads at a time, if that may.

    Attributes:
        num_layers: Blocks of a mini-batch.
        return_eids: Whether blocks hold global edge ids.
        prefetch_node_feats, prefetch_labels: As given.
        node_timestamp_attr_name, edge_timestamp_attr_name: Data by which edges are chosen by time; None: they are not.
    """

    node_timestamp_attr_name: NamedOfNodes = None
    edge_timestamp_attr_name: Named = None

    def __init__(self, num_layers: int, return_eids: bool = False, prefetch_node_feats: Names = (),
                 prefetch_labels: Names = (), source_info: bool = False) -> None:
        """Say how many layers there are.

        Args:
            num_layers: At least 1.
            return_eids: Put global edge ids into the blocks.
            prefetch_node_feats: Node data that a loader puts into ``blocks[0].srcdata``: names, or names by node
                type; without types, of every node type that has such data.
            prefetch_labels: Node data that a loader puts into ``blocks[-1].dstdata``, whole numbers as int64: likewise;
                without types, of every node type that has seeds.
            source_info: Put original ids and in-degrees of all sources into the blocks.  A degree counts the edges of
                the whole graph that may be drawn: not those that are excluded, or left out by mask, weight 0 or time,
                for which the rows of all sources are looked at once more.

        Raises:
            ConfigError: Fewer than one layer.
        """
        if num_layers < 1:
            raise ConfigError(f"{num_layers} layers: a sampler draws at least one")
        self.num_layers = num_layers
        self.return_eids, self._source_info = bool(return_eids), bool(source_info)
        self.prefetch_node_feats, self.prefetch_labels = prefetch_node_feats, prefetch_labels

    def sample_frontier(self, block_id: int, g: DistGraph | GraphService, nodes: Mapping[str, np.ndarray],
                        key: tuple[int, int]) -> Frontier:
        """Draw the edges of one block: the point to override.

        Args:
            block_id: Number of the block; 0 is the input layer's, ``num_layers - 1`` the seeds'.
            g: The graph, or its service.
            nodes: (D,) int64 ids to expand of each node type, unique.
            key: What draws may depend on besides the nodes: (key of the mini-batch, hop).

        Returns:
            Edges into ``nodes``, such as `sample_neighbors` returns for this key; if others are left out or added, keep
            to what does not depend on ranks and partitions.

        Not collective.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which edges to draw: define sample_frontier")

    @property
    def temporal(self) -> bool:
        """Whether edges are chosen by time."""
        return self.node_timestamp_attr_name is not None or self.edge_timestamp_attr_name is not None

    def sample(self, service: GraphService, seeds: Ids, key: int, exclude: Edges | None = None,
               times: Ids | None = None) -> Sample:
        """Draw one mini-batch: `sample_many` of one."""
        return self.sample_many(service, [seeds], [key], [exclude or {}], None if times is None else [times])[0]

    def sample_many(self, service: GraphService, seeds: Sequence[Ids], keys: Sequence[int],
                    exclude: Sequence[Edges] | None = None, times: Sequence[Ids] | None = None) -> list[Sample]:
        """Draw several mini-batches.

        Args:
            service: The graph.
            seeds: For each batch the (D,) ids of the seeds of each node type, unique; a type may be missing.  Where
                the graph has one node type, an array will do.
            keys: For each batch, what its draws depend on besides the graph: an integer such as
                ``derive(seed, epoch, step)``.
            exclude: For each batch the (X,) edges of each edge type that no block may hold, ascending, each once.
                Edges of `sample_frontier` are taken out after they were drawn.
            times: For each batch the (D,) times of the seeds, where edges are chosen by time; a seed may then be there
                at several times.

        Returns:
            For each batch (input_nodes, output_nodes, blocks): the ids of the sources of the first block, the seeds in
            the order given, and one `Block` a layer, input layer first.  Ids are dicts by node type, bare
            arrays where the graph has one node and one edge type.

        Raises:
            ConfigError: A mapping of fanouts leaves out an edge type; or times are given or missing without reason.
            IDError: A seed or excluded edge is no integer, outside the graph or given twice; names the first.
            UnknownName: A node type, edge type or data that the graph does not have.
            DataError: A weight is negative, infinite or not a number: names the edge.  Or times are no numbers of the
                kind of the graph's.

        Not collective.
        """
        if self.temporal or times is not None:
            raise ConfigError(f"{type(self).__name__} draws by sample_frontier, which knows no times: only a "
                              "NeighborSampler that does not override it chooses edges by time")
        samples = []
        for nodes, key, gone in _batches(service, seeds, keys, exclude):
            blocks: list[Block] = []
            for hop in range(self.num_layers):
                frontier = self._drawn(self.num_layers - 1 - hop, service, dict(nodes), (key, hop), gone)
                block = to_block(frontier, nodes)
                if not self.return_eids:
                    block.csc = {etype: replace(csc, edge_ids=None) for etype, csc in block.csc.items()}
                blocks.append(block)
                nodes = dict(block.src_ids)
            if self._source_info:
                tell_sources(service, Workspace(), [Front((key,), nodes, gone)], self._rules(service, ALL), [blocks])
            samples.append(_result(service.schema, blocks))
        return samples

    def _drawn(self, block_id: int, service: GraphService, nodes: Mapping[str, np.ndarray], key: tuple[int, int],
               gone: Mapping[EType, np.ndarray]) -> Frontier:
        """The edges of one block without those that are excluded."""
        frontier = self.sample_frontier(block_id, service, nodes, key)
        return Frontier(service, {e: edges.without(gone[e]) if e in gone else edges
                                  for e, edges in frontier.edges.items()})

    def _rules(self, service: GraphService, fanout: Fanout) -> dict[EType, Rule]:
        """Which edges may be drawn."""
        return make_rules(service, fanout)


class NeighborSampler(BlockSampler):
    """Draws a number of in-edges of every destination, alike or in proportion to weights.

    What a destination draws is a function of (key, hop, edge type, its original id): the same for any partitioning,
    any number of ranks and any timing.

    Attributes:
        fanouts: As given.
    """

    def __init__(self, fanouts: Sequence[Fanout], prob: Named = None, replace: bool = False, mask: Named = None,
                 return_eids: bool = False, prefetch_node_feats: Names = (), prefetch_labels: Names = (),
                 source_info: bool = False, node_timestamp_attr_name: NamedOfNodes = None,
                 edge_timestamp_attr_name: Named = None) -> None:
        """Say how much to draw.

        Args:
            fanouts: In-edges kept of each destination, one entry a layer, in DGL's order: INPUT layer first, so the
                last entry is for the seeds.  -1 keeps all, once each; 0 none.  A mapping names every edge type.
            prob, replace, mask: As in `sample_neighbors`.
            return_eids, prefetch_node_feats, prefetch_labels, source_info: As in `BlockSampler`.
            edge_timestamp_attr_name: Edge data, one number an edge, named as ``prob``.  Each seed has a time, and all
                that is drawn for it, in every hop, are edges older than that: of a time less than the seed's.  An edge
                type without such data is not restricted.
            node_timestamp_attr_name: Node data, one number a node, named likewise: edges from nodes older than the
                seed's time.  With both, both must be.  Temporal sampling as of GraphBolt's ``TemporalNeighborSampler``.

        Raises:
            ConfigError: No fanouts, or one that is no integer of -1 to 2**31 - 1.
        """
        self.fanouts = checked_fanouts(fanouts)
        super().__init__(len(fanouts), return_eids, prefetch_node_feats, prefetch_labels, source_info)
        self._prob, self._replace, self._mask = prob, bool(replace), mask
        self.node_timestamp_attr_name = node_timestamp_attr_name
        self.edge_timestamp_attr_name = edge_timestamp_attr_name
        self._idle: list[Workspace] = []

    def sample_frontier(self, block_id: int, g: DistGraph | GraphService, nodes: Mapping[str, np.ndarray],
                        key: tuple[int, int]) -> Frontier:
        """The edges that this sampler draws for a block.  Not collective.

        Where a class below overrides it, batches are drawn by it, one after the other; else all together.
        """
        return sample_neighbors(g, nodes, self.fanouts[block_id], "in", self._prob, self._replace, None, key,
                                self._mask)

    def sample_many(self, service: GraphService, seeds: Sequence[Ids], keys: Sequence[int],
                    exclude: Sequence[Edges] | None = None, times: Sequence[Ids] | None = None) -> list[Sample]:
        """As `BlockSampler.sample_many`, with two round trips to other nodes per hop for all batches together.

        A third one asks for times of neighbors.  Nothing is sent where the view has all rows that are met.  Excluded
        edges, and those not older than the seed, are taken out before the draw, so that a destination keeps as many as
        its fanout says of those left.
        """
        if type(self).sample_frontier is not NeighborSampler.sample_frontier:
            return super().sample_many(service, seeds, keys, exclude, times)
        if self.temporal == (times is None):
            raise ConfigError("edges are chosen by time: give the time of each seed" if self.temporal else
                              "seeds have times, but the sampler has no name of timestamps to compare them with")
        hops = [self._rules(service, entry) for entry in reversed(self.fanouts)]
        fronts = [Front((key, 0), nodes, gone) for nodes, key, gone in
                  _batches(service, seeds, keys, exclude, unique=not self.temporal)]
        for front, given in zip(fronts, times or (), strict=self.temporal):
            front.times = check_times(front.nodes, given, service.schema, time_dtype(hops[0]))
        blocks: list[list[Block]] = [[] for _ in fronts]
        # Taken out and put back by single operations, so that threads never share one.  An exception loses it,
        # since its bitmaps may then hold marks.
        try:
            space = self._idle.pop()
        except IndexError:
            space = Workspace()
        for hop, rules in enumerate(hops):
            draws = draw_hop(service, space, fronts, rules, self.return_eids, hop)
            for front, drawn, made in zip(fronts, draws, blocks, strict=True):
                made.append(close_hop(service, space, front, drawn, self.return_eids))
                front.nodes, front.times, front.key = made[-1].src_ids, made[-1].src_times, (front.key[0], hop + 1)
        if self._source_info:
            tell_sources(service, space, fronts, hops[-1], blocks)
        self._idle.append(space)
        return [_result(service.schema, made) for made in blocks]

    def _rules(self, service: GraphService, fanout: Fanout) -> dict[EType, Rule]:
        return make_rules(service, fanout, self._replace, self._prob, self._mask, self.edge_timestamp_attr_name,
                          self.node_timestamp_attr_name)


MultiLayerNeighborSampler = NeighborSampler


class MultiLayerFullNeighborSampler(NeighborSampler):
    """Keeps all in-edges of every destination."""

    def __init__(self, num_layers: int, **options: Any) -> None:
        """``options`` are those of `NeighborSampler`."""
        super().__init__([ALL] * whole_number(num_layers, "num_layers", 1, 1 << 31), **options)


def _batches(service: GraphService, seeds: Sequence[Ids], keys: Sequence[int],
             exclude: Sequence[Edges] | None,
             unique: bool = True) -> list[tuple[dict[str, np.ndarray], int, dict[EType, np.ndarray]]]:
    """Seeds, key and excluded edges of each batch, checked."""
    batches = []
    for given, key, gone in zip(seeds, keys, [{}] * len(seeds) if exclude is None else exclude, strict=True):
        nodes = by_ntype(service, given, "seed")
        for ntype, ids in nodes.items() if unique else ():
            check_unique(ids, f"seed of type {ntype!r}")
        batches.append((nodes, key, check_exclude(service, gone)))
    return batches


def _result(schema: Schema, made: Sequence[Block]) -> Sample:
    """For the blocks of a batch, that of the seeds first."""
    blocks = list(made[::-1])
    inputs = dict(blocks[0].src_ids)
    outputs = {t: ids[:blocks[-1].num_dst[t]] for t, ids in blocks[-1].src_ids.items()}
    if schema.is_homogeneous:
        return inputs[schema.ntype()], outputs[schema.ntype()], blocks
    return inputs, outputs, blocks
