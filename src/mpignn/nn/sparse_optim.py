"""Optimizers of embeddings: the owner of a row updates it, with the gradients of all trainers.

Gradients go to the owners in one call that all trainers make.  There they are reduced in order of the trainer that
sent them, then of its calls, so that a step has the same result, to the last bit, whenever as many trainers
do the same.  Only the owner reads or writes the state of a row.

Shapes: N rows, F columns.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpignn.errors import ConfigError
from mpignn.kernels import sparse
from mpignn.kernels.rng import derive
from mpignn.nn.embedding import DistEmbedding, computed_in
from mpignn.nn.reused_memory import stored
from mpignn.shown import Shown
from mpignn.store.rows_file import load_rows, read_about_together, save_rows
from mpignn.store.tensor import DistTensor

REDUCTIONS = ("sum", "mean")

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, bool, np.ndarray]


class SparseOptimizer(Shown, ABC):
    """Updates the rows that got gradients since the last step, and no others.

    Attributes:
        lr: Learning rate; may be changed between steps.
        steps: Steps made so far; what is rounded to bfloat16 depends on them.
    """

    SHOWN = ("lr", "betas", "eps", "reduce")

    name: str       # of the method, in names of tensors and in states

    def __init__(self, params: Iterable[DistEmbedding], lr: float, reduce: str = "sum") -> None:
        """Make the state of the rows, or find that of embeddings of the same names.  Collective over the trainers.

        Args:
            params: What is learnt.
            lr: Learning rate.
            reduce: How the gradients of a row, from all calls of all trainers, become one: ``sum``, what dense
                autograd gives, or ``mean`` over them, as DGL does, which depends on the number of trainers.

        Raises:
            ConfigError: No embeddings, or a setting that cannot be meant.
        """
        self.params = list(params)
        if not self.params or not all(isinstance(param, DistEmbedding) for param in self.params):
            raise ConfigError("a sparse optimizer learns one DistEmbedding or more")
        if reduce not in REDUCTIONS:
            raise ConfigError(f"reduce {reduce!r} is not one of: {', '.join(REDUCTIONS)}")
        if not lr >= 0:
            raise ConfigError(f"the learning rate is {lr}; it must be 0 or more")
        self.lr, self.reduce, self.steps = lr, reduce, 0
        self._state = [self._make_state(param.weight) for param in self.params]

    def step(self, scale: float = 1.0) -> None:
        """Update, and empty the traces.  Collective over the trainers.

        Args:
            scale: What reduced gradients are multiplied by: 1 / trainers goes with a loss whose gradients are averaged
                over the trainers, as with ``loader.scale`` and DDP.
        """
        for number, (param, state) in enumerate(zip(self.params, self._state, strict=True)):
            weight = param.weight
            sent = weight.to_owners(*param.take_gradients())
            first, last = weight.local_bounds
            rows, places = sparse.by_row(sent.ids, sent.places, first, last - first)
            weights = stored(weight.local)
            gradients = (rows, places, sent.mine.view(weights.dtype), sent.received.view(weights.dtype), scale,
                         self.reduce == "mean", weights)
            self._update(gradients, [tensor.local.numpy() for tensor in state.values()],
                         derive(self.steps, number) & 0xFFFFFFFF)
            weight.sync()       # nobody reads a row before its owner has updated it
        self.steps += 1

    def zero_grad(self) -> None:
        """Drop gradients that no step has used.  Not collective."""
        for param in self.params:
            param.forget()

    def tensors(self) -> dict[str, DistTensor]:
        """What `step` keeps for each row of the embeddings that have a name, by name; checkpoints hold it.

        Not collective.
        """
        return {tensor.name: tensor for state in self._state for tensor in state.values() if tensor.name is not None}

    def state_dict(self) -> dict[str, Any]:
        """The settings, equal on all trainers; the rows are in `tensors`.  Not collective."""
        return {"optimizer": self.name, "reduce": self.reduce, "lr": self.lr, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the settings that `state_dict` returned.  Not collective.

        Raises:
            ConfigError: They are those of another method.
        """
        if set(state) != set(self.state_dict()) or state["optimizer"] != self.name:
            raise ConfigError(f"a state of {state.get('optimizer')}, this is {self.name}")
        for key, value in state.items():
            if key != "optimizer":
                setattr(self, key, value)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write settings and what `step` keeps for each row to one file.  Collective over the trainers.

        Rows are in order of original id, so any number of trainers can `load` it, however the graph is partitioned.
        The embeddings themselves are not in it; `mpignn.checkpoint.save` keeps both together, those that have names.

        Args:
            file: Its name; a file that has it already is replaced when all is written.

        Raises:
            ConfigError: On all trainers: no file can be made there, or the rows stand for edges.
            ResourceError: On all trainers: the disk is full.
        """
        about = json.dumps(self.state_dict(), allow_nan=False)
        save_rows(Path(file), self.params[0].registry, self._by_place(), about)

    def load(self, file: str | os.PathLike[str]) -> None:
        """Go on from what `save` wrote of an optimizer of embeddings of the same shapes.  Collective over the trainers.

        Args:
            file: As given to `save`; all trainers must see it.

        Raises:
            ConfigError: On all trainers: it is of another method.
            DataError: On all trainers: no such file, one of other embeddings, or a damaged one; some rows may be
                replaced then.
        """
        path, registry = Path(file), self.params[0].registry
        about = read_about_together(path, registry)
        with registry.trainers.all_or_none():
            try:
                self.load_state_dict({name: tuple(value) if isinstance(value, list) else value
                                      for name, value in json.loads(about or "{}").items()})
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from None
        load_rows(path, registry, self._by_place())

    def _by_place(self) -> dict[str, DistTensor]:
        """The tensors of the state, also of embeddings without a name, by number of the embedding and what it is."""
        return {f"{number}/{what}": tensor for number, state in enumerate(self._state)
                for what, tensor in state.items()}

    @abstractmethod
    def _make_state(self, weight: DistTensor) -> dict[str, DistTensor]:
        """Tensors of zeros.  Collective over the trainers."""

    @abstractmethod
    def _update(self, gradients: Gradients, state: list[np.ndarray], noise: int) -> None:
        """Update the rows owned: the first arguments of a kernel, the state as of `_make_state`, its last argument."""


class SparseSGD(SparseOptimizer):
    """``w -= lr g``."""

    name = "sgd"

    def _make_state(self, weight: DistTensor) -> dict[str, DistTensor]:
        return {}

    def _update(self, gradients: Gradients, state: list[np.ndarray], noise: int) -> None:
        sparse.sgd(*gradients, self.lr, noise)


class SparseAdagrad(SparseOptimizer):
    """``s += g^2; w -= lr g / (sqrt(s) + eps)``: Duchi, Hazan and Singer 2011."""

    name = "adagrad"

    def __init__(self, params: Iterable[DistEmbedding], lr: float, eps: float = 1e-10, reduce: str = "sum") -> None:
        """As `SparseOptimizer`; ``eps`` keeps from dividing by 0.  Collective over the trainers."""
        self.eps = _positive("eps", eps)
        super().__init__(params, lr, reduce)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "eps": self.eps}

    def _make_state(self, weight: DistTensor) -> dict[str, DistTensor]:
        return {"square": weight.beside("adagrad/square", dtype=computed_in(weight.dtype))}

    def _update(self, gradients: Gradients, state: list[np.ndarray], noise: int) -> None:
        squares, = state
        sparse.adagrad(*gradients, squares, self.lr, self.eps, noise)


class SparseAdam(SparseOptimizer):
    """Adam (Kingma and Ba 2015), of which each row counts its own steps: those in which it got gradients."""

    name = "adam"

    def __init__(self, params: Iterable[DistEmbedding], lr: float, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, reduce: str = "sum") -> None:
        """As `SparseOptimizer`.  Collective over the trainers.

        Args:
            params, lr, reduce: As there.
            betas: Decay of the moments.
            eps: Added to the root of the corrected second moment.
        """
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(f"betas are {betas}; they must be two numbers from 0 to below 1")
        self.betas, self.eps = (betas[0], betas[1]), _positive("eps", eps)
        super().__init__(params, lr, reduce)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "betas": self.betas, "eps": self.eps}

    def _make_state(self, weight: DistTensor) -> dict[str, DistTensor]:
        kind = computed_in(weight.dtype)
        return {"mean": weight.beside("adam/mean", dtype=kind), "square": weight.beside("adam/square", dtype=kind),
                "steps": weight.beside("adam/steps", (), torch.int32)}

    def _update(self, gradients: Gradients, state: list[np.ndarray], noise: int) -> None:
        means, squares, steps = state
        sparse.adam(*gradients, means, squares, steps, self.lr, self.betas, self.eps, noise)


def _positive(what: str, value: float) -> float:
    if not value > 0:
        raise ConfigError(f"{what} is {value}; it must be more than 0")
    return value
