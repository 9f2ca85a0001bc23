"""Rows that are learnt, spread over the trainers.

Shapes: N rows, K rows asked for, F columns.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.book import checked_ids
from mpignn.graph.types import EType
from mpignn.kernels.rng import derive
from mpignn.kernels.sparse import uniform
from mpignn.nn.reused_memory import empty
from mpignn.store.given import takes_ids
from mpignn.store.registry import the_only_registry
from mpignn.store.tensor import DistTensor

if TYPE_CHECKING:
    from mpignn.store.graph import DistGraph

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The type in which rows of a type are updated, and that of what their optimizer keeps."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


class DistEmbedding(nn.Module):
    """A table of vectors, each owned by one trainer, learnt through an optimizer of `mpignn.nn.sparse_optim`.

    ``emb(ids)`` gives rows as a leaf tensor; what a backward pass brings to it waits in a trace until the optimizer's
    ``step`` or ``zero_grad``.  Rows without gradients leave no trace.  The rows are no parameters: they
    are in no ``state_dict``, and DDP knows nothing of them.

    Attributes:
        weight: The `DistTensor` (N, F); persistent if it has a name, so that checkpoints hold it.
        num_embeddings, embedding_dim: N and F.
        registry: The tensors of the trainers, to which `weight` belongs.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, name: str | None = None,
                 init_func: Callable[..., torch.Tensor] | None = None, part_policy: str | EType | None = None,
                 dtype: torch.dtype = torch.float32, g: "DistGraph | None" = None) -> None:
        """Make the rows, or find those of that name.  Collective over the trainers.

        Args:
            num_embeddings: N.
            embedding_dim: F.
            name: By which the rows are found again.
            init_func: ``init_func(shape, dtype)`` gives the first values of the rows that this trainer owns; one of
                three arguments is also given their original ids, (n,) int64 (the row numbers where rows stand for
                no nodes), so that values need not depend on who owns what.  None: uniform in (-1, 1), a
                hash of ``torch.initial_seed()``, name, original id and column.
            part_policy, g: As for `DistTensor`.
            dtype: float32, float64, or bfloat16, of which half the bytes are held and moved.

        Raises:
            ConfigError: Another dtype; and what `DistTensor` raises.
        """
        super().__init__()
        if dtype not in DTYPES:
            raise ConfigError(f"an embedding of {dtype}: it is learnt in float32, float64 or bfloat16")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        registry = self.registry = the_only_registry() if g is None else g.registry

        def by_original_ids(shape: tuple[int, ...], dtype: torch.dtype, rows: torch.Tensor) -> torch.Tensor:
            policy = registry.policy(num_embeddings, part_policy)
            ids = torch.from_numpy(registry.original_ids(policy, rows.numpy()))
            return init_func(shape, dtype, ids) if init_func is not None else _uniform(name, shape, dtype, ids)

        first = by_original_ids if init_func is None or takes_ids(init_func) else init_func
        self.weight = DistTensor((num_embeddings, embedding_dim), dtype, name, first, part_policy, name is not None, g)
        self._calls = 0
        self._trace: dict[int, tuple[np.ndarray, torch.Tensor]] = {}

    def forward(self, ids: ArrayLike) -> torch.Tensor:
        """(K, F) rows in the order of ``ids``, a leaf.  Collective over the trainers.

        All trainers call it equally often; each asks for rows of its own, or for none.

        Args:
            ids: (K,) whole numbers: tensor, array or list; any order, repeats allowed.

        Raises:
            IDError: A row that is not there; the first is named.
        """
        given = np.array(ids.detach().cpu().numpy() if isinstance(ids, torch.Tensor) else ids)
        ids = checked_ids(given, self.num_embeddings, f"row of {self.weight.name or 'an embedding'}")
        rows = self.weight.read_together(ids, empty(ids.size, self.weight.local))
        if torch.is_grad_enabled():
            rows.requires_grad_()
            rows.register_post_accumulate_grad_hook(partial(self._note, self._calls, ids))
            self._calls += 1
        return rows

    def take_gradients(self) -> tuple[np.ndarray, torch.Tensor]:
        """Empty the trace.  Not collective.

        Returns:
            (K,) int64 rows that a backward pass has reached, in order of the calls that gave them, and (K, F) their
            gradients.
        """
        traced = [self._trace.pop(call) for call in sorted(self._trace)]
        if len(traced) == 1:
            return traced[0][0], _gradient(traced[0][1])
        ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in traced)])
        return ids, torch.cat([self.weight.local[:0], *(_gradient(rows) for _, rows in traced)])

    def forget(self) -> None:
        """Drop the gradients of the trace.  Not collective."""
        self._trace.clear()

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, name={self.weight.name!r}"

    def _note(self, call: int, ids: np.ndarray, rows: torch.Tensor) -> None:
        """A gradient has come to the rows of a call.  Until then only the graph that leads to the loss holds them."""
        self._trace[call] = ids, rows


def _gradient(rows: torch.Tensor) -> torch.Tensor:
    assert rows.grad is not None, "noted when it came"
    return rows.grad


def _uniform(name: str | None, shape: tuple[int, ...], dtype: torch.dtype, ids: torch.Tensor) -> torch.Tensor:
    values = torch.empty(shape, dtype=computed_in(dtype))
    key = derive(torch.initial_seed(), zlib.crc32((name or "").encode()))
    uniform(key, ids.numpy(), 1.0, values.numpy())
    return values.to(dtype)
