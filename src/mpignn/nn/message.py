"""Messages along the edges of a block, reduced at its destinations: the differentiable face of the segment kernels.

Shapes: S sources, D destinations, E edges, F columns.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.kernels.segment import segment_max, segment_sum, spread_max, transpose
from mpignn.nn import device
from mpignn.nn.apply import apply, apply_for_two
from mpignn.nn.reused_memory import empty, stored

TYPES = torch.float32, torch.float64, torch.bfloat16, torch.float16


def copy_u_sum(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """The sum of the sources' rows over the in-edges of each destination; 0 without in-edges.

    Args:
        csc: D destinations, ``indices`` as rows of ``x``.
        x: (S, F) float32 or float64, or bfloat16 or float16, which are summed as float32; on the CPU.

    Returns:
        (D, F) of the type of ``x``, once differentiable in it.  The same bits every time, forward and backward.

    Not collective.

    Raises:
        DataError: ``x`` has another shape, type or place, or too few rows for the edges.
    """
    return _elsewhere(csc, x, "sum") if device.elsewhere(x) else apply_for_two(_Sum, checked(csc, x), csc, False)[1]


def copy_u_mean(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """As `copy_u_sum`, divided by the number of in-edges."""
    return _elsewhere(csc, x, "mean") if device.elsewhere(x) else apply_for_two(_Sum, checked(csc, x), csc, True)[1]


def copy_u_max(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """As `copy_u_sum`, but the greatest row, column by column; its gradient goes to the first source that has it."""
    if device.elsewhere(x):
        return _elsewhere(csc, x, "max")
    if x.dtype in TYPES[2:]:
        return copy_u_max(csc, x.float()).to(x.dtype)
    return apply(_Max, checked(csc, x, types=TYPES[:2]), csc)


def reduce_copies(csc: CSC, x: torch.Tensor, how: str) -> torch.Tensor:
    """`copy_u_sum`, `copy_u_mean` or `copy_u_max`, or the least row, by name: sum, mean, max or min."""
    if how == "min":
        return copy_u_max(csc, x.neg()).neg()
    return {"sum": copy_u_sum, "mean": copy_u_mean, "max": copy_u_max}[how](csc, x)


def self_and_sum(csc: CSC, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The destinations' own rows, ``x[:D]``, and `copy_u_sum`: cheaper to differentiate than one by one."""
    if device.elsewhere(x):
        return x[:csc.num_dst], _elsewhere(csc, x, "sum")
    return apply_for_two(_Sum, checked(csc, x, csc.num_dst), csc, False)


def self_and_mean(csc: CSC, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The destinations' own rows, ``x[:D]``, and `copy_u_mean`: cheaper to differentiate than one by one."""
    if device.elsewhere(x):
        return x[:csc.num_dst], _elsewhere(csc, x, "mean")
    return apply_for_two(_Sum, checked(csc, x, csc.num_dst), csc, True)


def in_degrees(csc: CSC, like: torch.Tensor) -> torch.Tensor:
    """(D, 1) number of in-edges of each destination, of the type and in the place of ``like``."""
    return torch.from_numpy(np.diff(csc.indptr)).to(like.device, like.dtype)[:, None]


class _Sum(Function):
    """Own rows of the destinations and the sum or mean of their sources.

    Slicing and summing apart would give two gradients of ``x``, one of them mostly zeros, to be added: three more
    passes over an array of S rows.  Here a gradient of a destination's own row is where its sum begins.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, csc: CSC, mean: bool) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.csc, ctx.mean, ctx.num_src = csc, mean, x.shape[0]
        ctx.set_materialize_grads(False)        # of two outputs one is often unused
        out = empty(csc.num_dst, x)
        segment_sum(csc.indptr, csc.indices, stored(x), stored(out), mean=mean)
        return x[:csc.num_dst], out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_self: torch.Tensor | None,
                 grad: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None]:
        csc = ctx.csc
        if grad is None:
            if grad_self is None:
                return None, None, None
            grad = torch.zeros_like(grad_self)
        if ctx.mean:
            grad = torch.div(grad, in_degrees(csc, grad).clamp_(min=1), out=empty(grad.shape[0], grad))
        out = empty(ctx.num_src, grad)
        start = None if grad_self is None else stored(grad_self)
        segment_sum(*transpose(csc.indptr, csc.indices, ctx.num_src), stored(grad), stored(out), start=start)
        return out, None, None


class _Max(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, csc: CSC) -> torch.Tensor:
        out = empty(csc.num_dst, x)
        winner = empty(csc.num_dst, x[:0].int())
        segment_max(csc.indptr, csc.indices, stored(x), out.numpy(), winner.numpy())
        ctx.winner, ctx.num_src = winner.numpy(), x.shape[0]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        out = empty(ctx.num_src, grad)
        spread_max(stored(grad), ctx.winner, out.numpy())
        return out, None


def _elsewhere(csc: CSC, x: torch.Tensor, how: str) -> torch.Tensor:
    return device.reduce_edges(csc, device.from_src(csc, x), how)


def checked(csc: CSC, x: torch.Tensor, least: int = 0, types: tuple[torch.dtype, ...] = TYPES) -> torch.Tensor:
    """``x``, if it can be aggregated along the edges of ``csc`` and has ``least`` rows; else a `DataError`."""
    if x.ndim != 2 or x.dtype not in types:
        names = ", ".join(str(t).removeprefix("torch.") for t in types)
        raise DataError(f"rows to aggregate are {x.dtype} {tuple(x.shape)}; they must be (rows, columns) of one of: "
                        f"{names}")
    needed = max(least, int(csc.indices.max(initial=-1)) + 1)
    if x.shape[0] < needed:
        raise DataError(f"{x.shape[0]} rows to aggregate, but the block has {needed} sources or more")
    return x
