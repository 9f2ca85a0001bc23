"""Mini-batches of seed nodes.

Shapes: N seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mpignn.comm.turns import Course
from mpignn.graph.block import Block
from mpignn.loader.ahead import Via
from mpignn.loader.base import DistDataLoader
from mpignn.loader.fetch import Fetch, names_by_ntype, names_on_edges, put_ids, tensors
from mpignn.loader.share import Share
from mpignn.loader.times import SeedTimes
from mpignn.sampling.block_sampler import BlockSampler, SamplerInput
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.published import PublishedGraph

Batch = tuple[Any, Any, list[Block]]        # input nodes, output nodes, blocks


class NodeDataLoader(DistDataLoader[str]):
    """Blocks, features and labels for seed nodes, in an order that does not depend on the number of ranks.

    Iterating yields ``(input_nodes, output_nodes, blocks)``: DGL's tuple, ids as int64 tensors (dicts by node type
    on a heterogeneous graph).  For the rest see `DistDataLoader`.
    """

    def __init__(self, g: DistGraph, nids: ArrayLike | Mapping[str, ArrayLike], sampler: BlockSampler, *,
                 batch_size: int | None = None, input_time: ArrayLike | Mapping[str, ArrayLike] | None = None,
                 **options: Any) -> None:
        """Plan the passes.  Collective over the trainers if not ``use_ddp``, else not collective.

        Args:
            g: The graph.
            nids: (N,) global ids of all seeds, the same on all trainers, in an order that does not depend on the
                partitioning (such as `DistGraph.split`); a dict by node type on a heterogeneous graph.
            sampler: Draws the neighbors, and says which node data comes with them.
            batch_size: Seeds of a step per trainer.
            input_time: (N,) time of each seed, for a sampler that chooses edges by time, a dict by node type, or the
                name of node data.  None: what the seeds have under its ``node_timestamp_attr_name``.
            options: Those of `DistDataLoader`, but ``collate_fn``.

        Raises:
            ConfigError: As `DistDataLoader`; or the sampler asks for times and there are none, or the other way round.
            DataError: Not one time for each seed.
            IDError: A seed is outside the graph.
            UnknownName: There is no data of a name that the sampler asks for.
        """
        self._g, self._sampler = g, sampler
        super().__init__(nids, batch_size, None, g=g, **options)
        self._node_feats = names_by_ntype(g, sampler.prefetch_node_feats)
        self._labels = names_by_ntype(g, sampler.prefetch_labels, self._ids)
        self._edge_feats = names_on_edges(g, sampler.prefetch_edge_feats)
        self._times = SeedTimes(sampler, self._ids, input_time, self._kind, published_graph(g),
                                sampler.node_timestamp_attr_name, PublishedGraph.node_data)

    def _kind(self, kind: str | None) -> str:
        return self._g.schema.ntype(kind)

    def _checked(self, kind: str, ids: Any) -> np.ndarray:
        return self._in_graph(ids, self._g.num_nodes(kind), kind)

    def _home(self, kind: str, ids: np.ndarray) -> np.ndarray:
        return self._g.home(kind, ids)

    def _graphs(self) -> tuple[DistGraph, ...]:
        return (self._g,)

    def _course(self) -> Course | None:
        return self._course_over(self._g)

    def _in_thread(self) -> bool:
        return self._sampler.in_thread

    def _blocks(self, batch: Batch) -> Sequence[Block]:
        return batch[2]

    def _make(self, shares: Sequence[Share[str]], via: Via) -> tuple[list[Batch], list[Fetch]]:
        started = self._clock()
        graph = via(published_graph(self._g))
        batches, fetch = [], Fetch(graph)
        times = self._times.of(graph, shares)
        wanted = [SamplerInput(share.ids, share.key, times=None if times is None else times[b])
                  for b, share in enumerate(shares)]
        sampled = self._sampler.sample_many(graph, wanted)
        for share, (inputs, outputs, blocks) in zip(shares, sampled, strict=True):
            for block in blocks:
                block.key = share.key
                put_ids(block)
            first, last = blocks[0], blocks[-1]
            for ntype, names in self._node_feats.items():
                fetch.nodes(first.src_frames[ntype], ntype, names, first.src_ids[ntype])
            fetch.of_blocks(blocks, self._edge_feats)
            for ntype, names in self._labels.items():
                ids = last.src_ids[ntype][:last.num_dst[ntype]]
                fetch.nodes(last.dst_frames[ntype], ntype, names, ids, label=True)
            batches.append((tensors(inputs), tensors(outputs), blocks))
        self.stats.sample_s += self._clock() - started
        return batches, [fetch]
