"""How many rows a second does a step look up and update that are learnt for single nodes, wherever their owners are?

In each step every trainer looks up rows, drawn with repeats, gets gradients and lets `SparseAdagrad` step.  Beside it
as many rows are copied, and an embedding that torch holds for each trainer alone does the same.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.limits import COPY, plain_copy
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.nn import DistEmbedding, SparseAdagrad
from mpignn.store.graph import DistGraph

_HITS = 20_000      # rows that each trainer looks up in a step
_LR = 0.1


def measure(g: DistGraph, asked: Asked) -> list[Figure]:
    """Learn one row for each node of the graph.  Collective over the trainers."""
    num_rows, columns = g.num_nodes(), asked.config.embedding.embed_dim
    rng = np.random.default_rng(g.trainers.rank)
    ids = [torch.from_numpy(rng.integers(0, num_rows, _HITS)) for _ in range(asked.repeats + 1)]
    gradients = torch.from_numpy(rng.standard_normal((_HITS, columns), np.float32))
    ours = DistEmbedding(num_rows, columns, part_policy="even", g=g)
    plain = torch.nn.Embedding(num_rows, columns, sparse=True)

    def step(embedding: Callable[[torch.Tensor], torch.Tensor],
             optimizer: SparseAdagrad | torch.optim.Optimizer) -> Callable[[int], float]:
        def call(repeat: int) -> float:
            optimizer.zero_grad()
            embedding(ids[repeat]).backward(gradients)
            optimizer.step()
            return _HITS / 1e6
        return call

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)        # of torch, about the checks of sparse tensors
        return time_in_turn(g.trainers, [
            Timed("lookup, backward, step", "M rows/s", step(ours, SparseAdagrad([ours], _LR)), COPY),
            Timed("the same by torch", "M rows/s", step(plain, torch.optim.Adagrad(plain.parameters(), _LR)), COPY),
            plain_copy(_HITS * columns * 4, _HITS / 1e6, "M rows/s")], asked.repeats)
