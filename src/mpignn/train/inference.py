"""What a network says of every node: one layer after the other with all neighbors, or by sampled ones.

Layer after layer no node is computed twice, however many depend on it, and what is kept is the rows of two layers,
spread over the trainers.

Shapes: N nodes of a type, F columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch

from mpignn import stop
from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.loader.fetch import Fetch, names_on_edges
from mpignn.log import beat, phase
from mpignn.nn.stack import Rows
from mpignn.progress import each
from mpignn.sampling.block_sampler import BlockSampler, Sample
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.placement import trainer_rows
from mpignn.store.sizes import INFERENCE_BATCH
from mpignn.store.tensor import DistTensor
from mpignn.train.network import Network, rows_of

Whole = Mapping[str, DistTensor]        # (N, F) rows of all nodes, by node type
Compute = Callable[[Mapping[str, np.ndarray]], Rows]        # rows of some nodes


class _Layered(Protocol):
    """A model that can be computed layer by layer, as a `mpignn.nn.Stack` can."""

    num_layers: int

    def forward_layer(self, number: int, block: Block, x: Rows) -> Rows: ...


@torch.no_grad()
def layerwise(g: DistGraph, network: Network, sampler: BlockSampler, wanted: Sequence[str],
              batch_size: int = INFERENCE_BATCH) -> dict[str, DistTensor]:
    """The rows that the last layer gives all nodes of some types.  Collective over the trainers.

    Args:
        g: The graph.
        network: In the mode for evaluation.
        sampler: One of one hop that keeps all neighbors.
        wanted: Node types.
        batch_size: Nodes that a trainer computes at a time.

    Returns:
        (N, F) for each of the types, in new ids, owned by the trainers.

    Raises:
        ConfigError: On all trainers: the model cannot be computed layer by layer, or gives some type no rows.
        Stopped: On all trainers: one of them was asked to stop.
    """
    if not hasattr(network.model, "forward_layer") or not getattr(network.model, "num_layers", 0):
        g.trainers.agree(ConfigError("the model cannot be computed layer by layer: give it num_layers and "
                                     "forward_layer, as mpignn.nn.Stack has them, or go by sampled neighbors"))
    rows: dict[str, DistTensor] | None = None
    model = cast(_Layered, network.model)
    layers = model.num_layers
    for number in range(layers):
        def compute(seeds: Mapping[str, np.ndarray], number: int = number, before: Whole | None = rows) -> Rows:
            _, _, (block,) = _with_edges(g, network, sampler, sampler.sample(published_graph(g), seeds, 0))
            x = _inputs(g, network, block.src_ids) if before is None else _read(g, network, before, block.src_ids)
            return model.forward_layer(number, block, x)

        with phase(f"inference of layer {number + 1} of {layers}", steady=True):
            before, rows = rows, _of_all(g, wanted if number == layers - 1 else None, batch_size, compute)
            for tensor in (before or {}).values():
                tensor.free()
    assert rows is not None, "a model has a layer"
    return rows


@torch.no_grad()
def by_samples(g: DistGraph, network: Network, sampler: BlockSampler, wanted: Sequence[str], key: int,
               batch_size: int = INFERENCE_BATCH, seed_time: str | None = None) -> dict[str, DistTensor]:
    """The rows that a network gives all nodes of some types by sampled neighbors.  Collective over the trainers.

    Args:
        g, network, wanted, batch_size: As for `layerwise`.
        sampler: One of as many hops as the model has layers.
        key: Key of the draws, which are the same for a node in every call and on any number of trainers.
        seed_time: Node data that says of when each node is asked about; None: the sampler asks for no times.

    Returns:
        As `layerwise`.

    Raises:
        ConfigError: On all trainers: the model gives some type no rows.
        Stopped: On all trainers: one of them was asked to stop.
    """
    def compute(seeds: Mapping[str, np.ndarray]) -> Rows:
        _, _, blocks = _with_edges(g, network, sampler, sampler.sample(published_graph(g), seeds, key,
                                                                       times=_times(g, seeds, seed_time)))
        rows: Rows = network.model(blocks, _inputs(g, network, blocks[0].src_ids))
        return rows

    with phase("sampled inference", steady=True):
        return _of_all(g, wanted, batch_size, compute)


class DrawnRows:
    """Rows that a network gives nodes of a type by sampled neighbors, computed when they are read.

    They are those of `by_samples`.
    """

    def __init__(self, g: DistGraph, network: Network, sampler: BlockSampler, ntype: str, key: int,
                 seed_time: str | None = None) -> None:
        """Arguments as there; ``ntype`` is the type.  Not collective."""
        self._g, self._network, self._sampler, self._ntype, self._key = g, network, sampler, ntype, key
        self._seed_time = seed_time

    @torch.no_grad()
    def read_together(self, ids: np.ndarray | torch.Tensor, batch_size: int = INFERENCE_BATCH) -> torch.Tensor:
        """(n, F) rows of nodes.  Collective over the trainers.

        Args:
            ids: (n,) int64 new ids, any order, repeats and none allowed.
            batch_size: Nodes that a trainer computes at a time.
        """
        g, network = self._g, self._network
        nodes, places = np.unique(np.asarray(ids), return_inverse=True)
        steps, parts = 1 + max(g.trainers.allgather(nodes.size)) // batch_size, []
        for part in np.array_split(nodes, steps):
            seeds = {self._ntype: part}
            _, _, blocks = _with_edges(g, network, self._sampler, self._sampler.sample(
                published_graph(g), seeds, self._key, times=_times(g, seeds, self._seed_time)))
            parts.append(rows_of(network.model(blocks, _inputs(g, network, blocks[0].src_ids)), self._ntype))
            beat()
            stop.check(g.trainers)
        return torch.cat(parts)[torch.from_numpy(places)]


def _of_all(g: DistGraph, wanted: Sequence[str] | None, batch_size: int, compute: Compute) -> dict[str, DistTensor]:
    """Rows of all nodes of some types, None: of those that get any; each trainer computes what it will own."""
    rank = g.trainers.rank
    bounds = {t: trainer_rows(g.book, g.topology, t, g.num_nodes(t)) for t in (g.ntypes if wanted is None else wanted)}
    steps = 1 + max(sum(int(cuts[r + 1] - cuts[r]) for cuts in bounds.values()) for r in range(g.trainers.size)
                    ) // batch_size     # the same on all trainers, as every step may be collective
    rows: dict[str, DistTensor] = {}
    for step in each(range(steps), "part"):
        part = {t: (int(cuts[rank]) + (int(cuts[rank + 1] - cuts[rank]) * np.arange(step, step + 2) // steps))
                for t, cuts in bounds.items()}
        out = compute({t: np.arange(*span) for t, span in part.items()})
        if isinstance(out, torch.Tensor):
            out = {g.schema.ntype(): out}
        elif wanted is not None:
            out = {t: rows_of(out, t) for t in wanted}
        if step == 0:
            rows = {t: DistTensor((g.num_nodes(t), *of_type.shape[1:]), of_type.dtype, part_policy=t, g=g)
                    for t, of_type in out.items()}
        for t, of_type in out.items():
            first, last = part[t] - int(bounds[t][rank])
            rows[t].local[first:last] = of_type
        del out, of_type        # their memory serves the next step
        beat(f"part {step + 1} of {steps}")
        stop.check(g.trainers)
    for tensor in rows.values():
        tensor.sync()
    return rows


def _times(g: DistGraph, seeds: Mapping[str, np.ndarray], name: str | None) -> dict[str, np.ndarray] | None:
    """(n,) times of nodes of each type, by the name of the data that has them."""
    graph = published_graph(g)
    return None if name is None else {t: graph.read(graph.node_data(t, name)[0], ids)[:, 0] for t, ids in seeds.items()}


def _with_edges(g: DistGraph, network: Network, sampler: BlockSampler, sample: Sample) -> Sample:
    """A sample with the data of edges that its sampler names, where the network computes."""
    names = names_on_edges(g, sampler.prefetch_edge_feats)
    if names:
        fetch = Fetch(published_graph(g))
        fetch.of_blocks(sample[2], names)
        fetch.finish()
        for block in sample[2]:
            for frame in block.edge_frames.values():
                frame.update({name: network.sent(rows) for name, rows in frame.items()})
    return sample


def _inputs(g: DistGraph, network: Network, ids: Mapping[str, np.ndarray]) -> Rows:
    inputs = network.inputs
    return inputs.of_nodes({t: g.nodes[t].data[inputs.features][ids[t]] for t in inputs.reads}, ids)


def _read(g: DistGraph, network: Network, rows: Whole, ids: Mapping[str, np.ndarray]) -> Rows:
    found = {t: network.sent(tensor.read_together(ids[t])) for t, tensor in rows.items()}
    return found[g.schema.ntype()] if g.is_homogeneous else found
