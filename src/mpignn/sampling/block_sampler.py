"""What a sampler is: the base of ours and of one's own, and what a batch is drawn for.

Shapes: D seeds of a node type, X excluded edges of an edge type.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.types import ByEType, EType, Schema
from mpignn.sampling.blocks import to_block
from mpignn.sampling.draw import Edges, Front, Ids, Workspace, by_ntype, check_exclude, check_unique
from mpignn.sampling.frontier import Frontier
from mpignn.sampling.rule import ALL, Fanout, Named, NamedOfNodes, Rule, make_rules
from mpignn.sampling.sources import tell_sources
from mpignn.shown import Shown
from mpignn.store.graph import DistGraph
from mpignn.store.published import PublishedGraph

Sample = tuple[Ids, Ids, list[Block]]
Names = Sequence[str] | ByEType[Sequence[str]]


@dataclass(frozen=True)
class SamplerInput:
    """What one mini-batch is drawn for.

    Attributes:
        nodes: (D,) ids of the seeds of each node type, unique; a type may be missing.  Where the graph has one node
            type, an array will do.
        key: What its draws depend on besides the graph: an integer such as ``derive(seed, epoch, step)``.
        exclude: (X,) edges of each edge type that no block may hold, ascending, each once.
        times: (D,) times of the seeds, where edges are chosen by time; a seed may then be there at several times.
    """

    nodes: Ids
    key: int
    exclude: Edges = field(default_factory=dict)
    times: Ids | None = None


class ForThreads:
    """What may be declared fit for a thread: ``class Mine(Base, in_thread=True)``.

    Attributes:
        in_thread: Whether it calls MPI through nothing but the graph that it is given.  Each class says so for itself,
            since its code may do more than that of the class above.
    """

    in_thread: ClassVar[bool] = False

    def __init_subclass__(cls, in_thread: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.in_thread = in_thread


class BlockSampler(ForThreads, Shown):
    """Draws the blocks of mini-batches, one a layer: the base of samplers of one's own, which loaders take as they are.

    Override `sample_frontier`.  A sampler may be used by several threads at a time, if that may.  A class that defines
    it declares beside its base what it can: ``class Mine(BlockSampler, takes_excluded=True)``.

    Attributes:
        takes_excluded: Whether `sample_frontier` takes ``exclude_edges``, as `sample_neighbors` does; else excluded
            edges are taken out of what it has drawn.
        draws_together: Whether the class draws many batches at a time without `sample_frontier`.
        num_layers: Blocks of a mini-batch.
        return_eids: Whether blocks hold global edge ids.
        prefetch_node_feats, prefetch_labels, prefetch_edge_feats: As given.
        node_timestamp_attr_name, edge_timestamp_attr_name: Data by which edges are chosen by time; None: they are not.
    """

    SHOWN: ClassVar[tuple[str, ...]] = ("num_layers",)

    takes_excluded: ClassVar[bool] = False
    draws_together: ClassVar[bool] = False
    node_timestamp_attr_name: NamedOfNodes = None
    edge_timestamp_attr_name: Named = None

    def __init_subclass__(cls, takes_excluded: bool = False, draws_together: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        by = next(kind for kind in cls.__mro__ if "sample_frontier" in vars(kind))
        if by is cls or not issubclass(by, BlockSampler):      # what is declared of another sample_frontier is void
            cls.takes_excluded, cls.draws_together = takes_excluded, draws_together

    def __init__(self, num_layers: int, return_eids: bool = False, prefetch_node_feats: Names = (),
                 prefetch_labels: Names = (), source_info: bool = False, prefetch_edge_feats: Names = ()) -> None:
        """Say how many layers there are.

        Args:
            num_layers: At least 1.
            return_eids: Put global edge ids into the blocks; they are there with ``prefetch_edge_feats``, too.
            prefetch_node_feats: Node data that a loader puts into ``blocks[0].srcdata``: names, or names by node
                type; without types, of every node type that has such data.
            prefetch_labels: Node data that a loader puts into ``blocks[-1].dstdata``, whole numbers as int64: likewise;
                without types, of every node type that has seeds.
            source_info: Put original ids and in-degrees of all sources into the blocks.  A degree counts the edges of
                the whole graph that may be drawn: not those that are excluded, or left out by mask, weight 0 or time,
                for which the rows of all sources are looked at once more.
            prefetch_edge_feats: Edge data that a loader puts into ``block.edata`` of all blocks: names, or names by
                edge type; without types, of every edge type that has such data.

        Raises:
            ConfigError: Fewer than one layer.
        """
        if num_layers < 1:
            raise ConfigError(f"{num_layers} layers: a sampler draws at least one")
        self.num_layers = num_layers
        self.return_eids, self._source_info = bool(return_eids) or bool(prefetch_edge_feats), bool(source_info)
        self.prefetch_node_feats, self.prefetch_labels = prefetch_node_feats, prefetch_labels
        self.prefetch_edge_feats = prefetch_edge_feats

    def sample_frontier(self, block_id: int, g: DistGraph | PublishedGraph, nodes: Mapping[str, np.ndarray],
                        key: tuple[int, int]) -> Frontier:
        """Draw the edges of one block: the point to override.

        Args:
            block_id: Number of the block; 0 is the input layer's, ``num_layers - 1`` the seeds'.
            g: The graph.
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

    def sample(self, graph: PublishedGraph, seeds: Ids, key: int, exclude: Edges | None = None,
               times: Ids | None = None) -> Sample:
        """Draw one mini-batch: `sample_many` of one."""
        return self.sample_many(graph, [SamplerInput(seeds, key, exclude or {}, times)])[0]

    def sample_many(self, graph: PublishedGraph, inputs: Sequence[SamplerInput]) -> list[Sample]:
        """Draw several mini-batches.

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
        if self.temporal or any(batch.times is not None for batch in inputs):
            raise ConfigError(f"{type(self).__name__} draws by sample_frontier, which knows no times: only a "
                              "NeighborSampler that does not override it chooses edges by time")
        return [self._sample(graph, front) for front in fronts_of(graph, inputs)]

    def _sample(self, graph: PublishedGraph, front: Front) -> Sample:
        """One mini-batch, hop by hop."""
        blocks: list[Block] = []
        for hop in range(self.num_layers):
            frontier = self._frontier(self.num_layers - 1 - hop, graph, front, (front.key[0], hop))
            block = to_block(frontier, front.nodes)
            if not self.return_eids:
                block.csc = {etype: replace(csc, edge_ids=None) for etype, csc in block.csc.items()}
            blocks.append(block)
            front.nodes = dict(block.src_ids)
        if self._source_info:
            tell_sources(graph, Workspace(), [front], self._rules(graph, ALL), [blocks])
        return result_of(graph.schema, blocks)

    def _frontier(self, block_id: int, graph: PublishedGraph, front: Front, key: tuple[int, int]) -> Frontier:
        """The edges of one block without those that are excluded."""
        draw: Callable[..., Frontier] = self.sample_frontier
        nodes, gone = dict(front.nodes), front.exclude
        if self.takes_excluded:
            return draw(block_id, graph, nodes, key, exclude_edges=gone)
        frontier = draw(block_id, graph, nodes, key)
        return Frontier(graph, {e: edges.without(gone[e]) if e in gone else edges
                                  for e, edges in frontier.edges.items()})

    def _rules(self, graph: PublishedGraph, fanout: Fanout) -> dict[EType, Rule]:
        """Which edges may be drawn."""
        return make_rules(graph, fanout)


def fronts_of(graph: PublishedGraph, inputs: Sequence[SamplerInput], unique: bool = True) -> list[Front]:
    """The seeds of each batch as what is to expand, checked but for their times.  Not collective.

    Args:
        graph: The graph.
        inputs: The batches.
        unique: Whether a seed must be there once.
    """
    fronts = []
    for batch in inputs:
        nodes = by_ntype(graph, batch.nodes, "seed")
        for ntype, ids in nodes.items() if unique else ():
            check_unique(ids, f"seed of type {ntype!r}")
        fronts.append(Front((batch.key, 0), nodes, check_exclude(graph, batch.exclude)))
    return fronts


def result_of(schema: Schema, made: Sequence[Block]) -> Sample:
    """What `BlockSampler.sample_many` returns for the blocks of a batch, that of the seeds first."""
    blocks = list(made[::-1])
    inputs = dict(blocks[0].src_ids)
    outputs = {t: ids[:blocks[-1].num_dst[t]] for t, ids in blocks[-1].src_ids.items()}
    if schema.is_homogeneous:
        return inputs[schema.ntype()], outputs[schema.ntype()], blocks
    return inputs, outputs, blocks
