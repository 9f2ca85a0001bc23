"""Dropout that does not depend on which rank computes a row.

Shapes: N rows, F columns.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mpignn.errors import ConfigError
from mpignn.kernels.dropout import dropout
from mpignn.nn import device
from mpignn.nn.apply import apply
from mpignn.nn.reused_memory import empty, stored


def keyed_dropout(x: torch.Tensor, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
    """Zero elements with chance p, by a hash of (key, original id of the row, column), and scale the rest.

    Args:
        x: (N, F) float32, float64, bfloat16 or float16.
        p: From 0 to 1.
        key: 64 bits: seed, step and layer in one.
        rows: (N,) int64 original ids.

    Returns:
        (N, F), once differentiable in ``x``.

    Not collective.
    """
    if p == 0:
        return x
    return device.keyed_dropout(x, p, key, rows) if device.elsewhere(x) else apply(_Dropout, x, p, key, rows)


class KeyedDropout(nn.Module):
    """`keyed_dropout` while training, nothing otherwise."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"dropout {p} is not a probability")
        self.p = p

    def forward(self, x: torch.Tensor, key: int, rows: np.ndarray) -> torch.Tensor:
        """Arguments as for `keyed_dropout`.  Not collective."""
        return keyed_dropout(x, self.p, key, rows) if self.training else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _Dropout(Function):
    """The backward draws the mask again instead of keeping it: a hash costs less than reading memory."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
        ctx.drawn = p, key, rows
        return _drop(x, p, key, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return _drop(grad, *ctx.drawn), None, None, None


def _drop(x: torch.Tensor, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
    out = empty(x.shape[0], x)
    dropout(stored(x), key, rows, p, stored(out))
    return out
