"""Mini-batches of seed nodes.

Shapes: N seeds, F columns.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from mpignn.buffers import Pool
from mpignn.dist.graph import DistGraph
from mpignn.errors import ConfigError, IDError, UnknownName
from mpignn.graph.block import EID, NID, Block
from mpignn.kernels.rng import derive
from mpignn.loader.plan import BatchPlan, deal
from mpignn.sampling.neighbor import Names, NeighborSampler
from mpignn.transport.api import Request

# Streams of randomness under one seed.
_ORDER, _DRAWS = 1, 2

_pool = Pool()      # of all loaders: training and evaluation take turns, and need not hold memory twice


@dataclass
class LoaderStats:
    """What a trainer's loader did since the pass began.

    Attributes:
        sample_s: Wall seconds of choosing seeds and of picking and relabelling all hops.
        fetch_s: Wall seconds of gathering features and labels.
        seeds, edges, rows: Seeds, sampled edges and input rows delivered.
    """

    sample_s: float = 0.0
    fetch_s: float = 0.0
    seeds: int = 0
    edges: int = 0
    rows: int = 0


@dataclass
class _Batch:
    step: int
    size: int                       # seeds of the global batch
    input_nodes: object = None
    output_nodes: object = None
    blocks: list = field(default_factory=list)


class NodeDataLoader:
    """Blocks, features and labels for seed nodes, in an order that does not depend on the number of ranks.

    Iterating yields ``(input_nodes, output_nodes, blocks)``: DGL's tuple, ids as int64 tensors (dicts by node type
    on a heterogeneous graph).  Every trainer makes the same number of steps; its share of a step may be empty.

    Attributes:
        scale: Trainers / seeds of the current global batch.  With a loss summed over a trainer's seeds times
            ``scale``, gradients averaged over the trainers are those of the exact global mean.
        global_size: Seeds of the current global batch.
        stats: `LoaderStats` of the current pass.

    Making and iterating a loader is not collective, but all trainers must iterate in step if other ranks own rows.
    """

    def __init__(self, g: DistGraph, nids: np.ndarray | Mapping[str, np.ndarray], sampler: NeighborSampler, *,
                 batch_size: int | None = None, global_batch_size: int | None = None, shuffle: bool = False,
                 drop_last: bool = False, seed: int = 0, prefetch: int = 1):
        """Plan the passes.

        Args:
            g: The graph.
            nids: (N,) global ids of all seeds, the same on all trainers, in an order that does not depend on the
                partitioning (such as `DistGraph.split`); a dict by node type on a heterogeneous graph.
            sampler: Draws the neighbours, and says which node data comes with them.
            batch_size: Seeds of a step per trainer; or
            global_batch_size: seeds of a step over all trainers.
            shuffle: Permute the seeds anew in every epoch.
            drop_last: Leave out a last batch that is not full.
            seed: Of order and draws.
            prefetch: Batches that are prepared together.

        Raises:
            ConfigError: Not exactly one batch size, or prefetch below 1.
            IDError: A seed is outside the graph.
            UnknownName: There is no data of a name that the sampler asks for.
        """
        if (batch_size is None) == (global_batch_size is None):
            raise ConfigError("give the loader either batch_size (per trainer) or global_batch_size")
        if prefetch < 1:
            raise ConfigError(f"prefetch is {prefetch}; it must be at least 1")
        self._g, self._sampler, self._prefetch, self._seed = g, sampler, prefetch, seed
        by_type = nids if isinstance(nids, Mapping) else {g.schema.ntype(): nids}
        self._ntypes = tuple(g.schema.ntype(t) for t in by_type)
        self._ids = [_checked(g, t, np.asarray(ids)) for t, ids in by_type.items()]
        self._starts = np.cumsum([0, *(ids.size for ids in self._ids)])     # places of each type's seeds
        size = global_batch_size if batch_size is None else batch_size * g.trainers.size
        self.plan = BatchPlan(int(self._starts[-1]), size, shuffle, drop_last)
        ranks = g.topology.trainer_ranks
        self._node_of_trainer = np.asarray([g.topology.node_of_rank[r] for r in ranks], np.int64)
        self._node_feats = _by_type(g, sampler.prefetch_node_feats)
        labels = sampler.prefetch_labels
        self._labels = _by_type(g, labels if isinstance(labels, Mapping) else dict.fromkeys(self._ntypes, labels))
        self._epoch = 0
        self.scale, self.global_size, self.stats = 0.0, 0, LoaderStats()

    def __len__(self) -> int:
        return self.plan.steps

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the draws of the next pass."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple]:
        self.stats = LoaderStats()
        for first in range(0, len(self), self._prefetch):
            for batch in self._prepare(range(first, min(first + self._prefetch, len(self)))):
                self.global_size = batch.size
                self.scale = self._g.trainers.size / batch.size
                self.stats.seeds += batch.blocks[-1].num_dst_total
                self.stats.edges += sum(block.num_edges() for block in batch.blocks)
                self.stats.rows += batch.blocks[0].num_src_total
                yield batch.input_nodes, batch.output_nodes, batch.blocks

    def seeds_of(self, step: int) -> dict[str, np.ndarray]:
        """This trainer's seeds of a step, ascending by type.  Not collective."""
        return self._share(step)[0]

    def _share(self, step: int) -> tuple[dict[str, np.ndarray], int]:
        at = self.plan.positions(derive(self._seed, _ORDER, self._epoch), step)
        types = np.searchsorted(self._starts, at, side="right") - 1
        ids, home = np.empty_like(at), np.empty_like(at)
        for t, ntype in enumerate(self._ntypes):
            of_type = types == t
            ids[of_type] = self._ids[t][at[of_type] - self._starts[t]]
            home[of_type] = self._g.home(ntype, ids[of_type])
        order, bounds = deal(home, self._node_of_trainer)
        me = self._g.trainers.rank
        mine = order[bounds[me]:bounds[me + 1]]
        seeds = {ntype: np.sort(ids[mine[types[mine] == t]]) for t, ntype in enumerate(self._ntypes)}
        return seeds, at.size

    def _prepare(self, steps: range) -> list[_Batch]:
        started = time.perf_counter()
        shares = [self._share(step) for step in steps]
        keys = [derive(self._seed, _DRAWS, self._epoch, step) for step in steps]
        batches = []
        sampled = self._sampler.sample_many(self._g.service, [seeds for seeds, _ in shares], keys)
        for step, (_, size), key, (inputs, outputs, blocks) in zip(steps, shares, keys, sampled, strict=True):
            for block in blocks:
                block.key = key
                _put_ids(block)
            batches.append(_Batch(step, size, _tensors(inputs), _tensors(outputs), blocks))
        sampled_at = time.perf_counter()
        self._fetch(batches)
        self.stats.sample_s += sampled_at - started
        self.stats.fetch_s += time.perf_counter() - sampled_at
        return batches

    def _fetch(self, batches: list[_Batch]) -> None:
        """Gather features and labels of several batches, all in one request."""
        requests = []

        def ask(frame, ntype, name, ids):
            window, shape = self._g.service.node_data(ntype, name)
            out = _pool.empty((ids.size, window.spec.width), window.spec.dtype)
            requests.append(Request(window, ids, out))
            frame[name] = torch.from_numpy(out.reshape(ids.size, *shape))

        for batch in batches:
            first, last = batch.blocks[0], batch.blocks[-1]
            for ntype, names in self._node_feats.items():
                for name in names:
                    ask(first.src_frames[ntype], ntype, name, first.src_ids[ntype])
            for ntype, names in self._labels.items():
                for name in names:
                    ask(last.dst_frames[ntype], ntype, name, last.src_ids[ntype][:last.num_dst[ntype]])
        self._g.service.transport.gather(requests).wait()
        for batch in batches:
            for ntype, names in self._labels.items():
                frame = batch.blocks[-1].dst_frames[ntype]
                for name in names:
                    if not frame[name].dtype.is_floating_point:
                        frame[name] = frame[name].to(torch.int64)


def _by_type(g: DistGraph, names: Names) -> dict[str, list[str]]:
    """Names of node data by node type; names without types are those of every type that has such data."""
    if isinstance(names, Mapping):
        for ntype, of_type in names.items():
            for name in of_type:
                g.service.node_data(g.schema.ntype(ntype), name)
        return {g.schema.ntype(ntype): list(of_type) for ntype, of_type in names.items()}
    found = {t: [n for n in names if f"node/{t}/data/{n}" in g.service.transport.windows] for t in g.schema.ntypes}
    for name in names:
        if not any(name in of_type for of_type in found.values()):
            raise UnknownName(f"no node type has data named {name!r}")
    return found


def _put_ids(block: Block) -> None:
    for ntype, ids in block.src_ids.items():
        tensor = torch.from_numpy(ids)
        block.src_frames.setdefault(ntype, {})[NID] = tensor
        block.dst_frames.setdefault(ntype, {})[NID] = tensor[:block.num_dst[ntype]]
    for etype, csc in block.csc.items():
        if csc.edge_ids is not None:
            block.edge_frames.setdefault(etype, {})[EID] = torch.from_numpy(csc.edge_ids)


def _tensors(ids):
    return {t: torch.from_numpy(v) for t, v in ids.items()} if isinstance(ids, Mapping) else torch.from_numpy(ids)


def _checked(g: DistGraph, ntype: str, ids: np.ndarray) -> np.ndarray:
    ids = ids.astype(np.int64, copy=False).reshape(-1)
    bad = (ids < 0) | (ids >= g.num_nodes(ntype))
    if bad.any():
        at = int(np.argmax(bad))
        raise IDError(f"seed {at} is {ntype} {ids[at]}, but the graph has {g.num_nodes(ntype)} nodes of that type")
    return ids
