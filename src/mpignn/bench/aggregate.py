"""How fast are rows reduced along the edges of a block, forward and backward?

The first block of a batch, of the edge type with the most edges in it, with rows of ``hidden`` columns: a mean of the
sources' rows, and attention.  Bytes are those of a row read for each edge and one written for each node; many come from
caches, so more than a copy can be reached.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import embedding_bag, leaky_relu

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.limits import COPY, plain_copy
from mpignn.bench.sample import draw_seeds
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.errors import ConfigError
from mpignn.graph.csc import CSC
from mpignn.nn import edges
from mpignn.nn.message import copy_u_mean
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import DistGraph, published_graph


def measure(g: DistGraph, asked: Asked) -> list[Figure]:
    """Reduce along the edges of a block.  Collective over the trainers.

    Raises:
        ConfigError: On all trainers: heads that do not divide the columns.
    """
    columns, heads = asked.config.model.hidden, asked.config.model.heads
    if columns % heads:
        raise ConfigError(f"--hidden {columns} is not a multiple of --heads {heads}").on_all()
    sampler = NeighborSampler(asked.config.sampling.fanouts)
    _, _, blocks = sampler.sample(published_graph(g), draw_seeds(g, asked.config.loader.batch_size, 0), 0)
    etype, csc = max(blocks[0].csc.items(), key=lambda entry: entry[1].num_edges)
    num_src = blocks[0].src_ids[etype[0]].size
    rows = torch.rand(num_src, columns, generator=torch.Generator().manual_seed(0)).requires_grad_()
    forward = (csc.num_edges + csc.num_dst) * columns * 4 / 1e9
    backward = (csc.num_edges + num_src) * columns * 4 / 1e9

    def timed(name: str, reduced: Callable[[], torch.Tensor], gradients: bool = True) -> Timed:
        seen = torch.ones(csc.num_dst, columns)

        def call(_: int) -> float:
            rows.grad = None
            out = reduced()
            if not gradients:
                return forward
            out.backward(seen)
            return forward + backward
        return Timed(name, "GB/s", call, COPY)

    indices, offsets = torch.from_numpy(csc.indices).long(), torch.from_numpy(csc.indptr[:-1])
    return time_in_turn(g.trainers, [
        timed("mean, forward", lambda: copy_u_mean(csc, rows), gradients=False),
        timed("mean, forward and backward", lambda: copy_u_mean(csc, rows)),
        timed("torch's embedding_bag, both", lambda: embedding_bag(indices, rows, offsets, mode="mean")),
        timed(f"attention of {heads} heads, both", lambda: _attention(csc, rows, heads)),
        plain_copy(csc.num_edges * columns * 4)], asked.repeats)


def _attention(csc: CSC, rows: torch.Tensor, heads: int) -> torch.Tensor:
    """As a layer of gat does it, with attention that is part of the rows."""
    x = rows.view(rows.shape[0], heads, -1)
    score = x.sum(-1)
    weights = edges.edge_softmax(csc, leaky_relu(edges.from_src(csc, score) + edges.from_dst(csc, score[:csc.num_dst])))
    return edges.weighted_sum(csc, x, weights).flatten(1)
