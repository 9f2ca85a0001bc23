"""The embeddings of a run: which node types have them, and their part in steps and in the choice of the best."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from mpignn.config import Config
from mpignn.nn.embedding import DistEmbedding
from mpignn.nn.sparse_optim import SparseAdagrad, SparseAdam, SparseSGD
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor
from mpignn.train.finite import is_finite

_OPTIMIZERS = {"adam": SparseAdam, "adagrad": SparseAdagrad, "sgd": SparseSGD}


def make_embeddings(g: DistGraph, config: Config, widths: Mapping[str, int],
                    dtype: torch.dtype) -> dict[str, DistEmbedding]:
    """The embeddings that the settings ask for, by node type.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of the run.
        widths: Columns of the features of each node type, 0 where it has none.
        dtype: Type of the rows, where the settings name no other.
    """
    if config.embedding.embed_precision == "bf16":
        dtype = torch.bfloat16
    return {ntype: DistEmbedding(g.num_nodes(ntype), columns, f"embedding/{ntype}", part_policy=ntype, dtype=dtype, g=g)
            for ntype, columns in config.embedding_columns(widths).items()}


class Embeddings:
    """Embeddings with their optimizer.

    Their rows, the state of the optimizer and the best rows are persistent tensors, so checkpoints hold them.
    """

    def __init__(self, embeddings: Iterable[DistEmbedding], config: Config, num_trainers: int) -> None:
        """Collective over the trainers.

        Args:
            embeddings: One or more.
            config: Settings of the run.
            num_trainers: Whose gradients are averaged.
        """
        settings = config.embedding
        self._lr = config.train.lr if settings.embed_lr is None else settings.embed_lr
        self._optimizer = _OPTIMIZERS[settings.embed_optimizer](embeddings, self._lr)
        self._scale = 1 / num_trainers
        self._kept = False

    def step(self, rate: float) -> None:
        """Update the rows that the step has met.  Collective over the trainers.

        Args:
            rate: What the learning rate is multiplied by.
        """
        self._optimizer.lr = self._lr * rate
        self._optimizer.step(self._scale)

    def is_finite(self) -> bool:
        """Whether this trainer's rows are, and what the optimizer keeps of them.  Not collective."""
        weights = (embedding.weight for embedding in self._optimizer.params)
        return all(is_finite(tensor.local) for tensor in (*weights, *self._optimizer.tensors().values()))

    def keep(self) -> None:
        """Remember the rows as they are.  Collective over the trainers."""
        for embedding in self._optimizer.params:
            embedding.weight.beside("best").local.copy_(embedding.weight.local)
        self._kept = True

    def restore(self) -> Callable[[], None]:
        """Go back to the rows last kept, if any were; returns what undoes that.  Both collective over the trainers."""
        weights = [embedding.weight for embedding in self._optimizer.params]
        now = [weight.local.clone() for weight in weights]
        if self._kept:
            _fill(weights, [weight.beside("best").local for weight in weights])
        return lambda: _fill(weights, now)

    def state_dict(self) -> dict[str, Any]:
        """What is not in the tensors, equal on all trainers.  Not collective."""
        return {"optimizer": self._optimizer.state_dict(), "kept": self._kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.  Not collective."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._kept = state["kept"]


def _fill(weights: Sequence[DistTensor], rows: Sequence[torch.Tensor]) -> None:
    for weight, of_weight in zip(weights, rows, strict=True):
        weight.local.copy_(of_weight)
        weight.sync()
