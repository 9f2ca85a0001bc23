"""Messages along the edges of a block, reduced at its destinations: the differentiable face of the segment kernels.

Shapes: S sources, D destinations, E edges, F columns.
"""

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.kernels.segment import segment_max, segment_sum, spread_max, transpose
from mpignn.nn.memory import empty


def copy_u_sum(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """The sum of the sources' rows over the in-edges of each destination; 0 without in-edges.

    Args:
        csc: D destinations, ``indices`` as rows of ``x``.
        x: (S, F) float32 or float64, on the CPU.

    Returns:
        (D, F), once differentiable in ``x``.  The same bits every time, forward and backward.

    Not collective.

    Raises:
        DataError: ``x`` has another shape, type or place, or too few rows for the edges.
    """
    return _Sum.apply(_checked(csc, x), csc, False)[1]


def copy_u_mean(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """As `copy_u_sum`, divided by the number of in-edges."""
    return _Sum.apply(_checked(csc, x), csc, True)[1]


def copy_u_max(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """As `copy_u_sum`, but the greatest row, column by column; its gradient goes to the first source that has it."""
    return _Max.apply(_checked(csc, x), csc)


def reduce_copies(csc: CSC, x: torch.Tensor, how: str) -> torch.Tensor:
    """`copy_u_sum`, `copy_u_mean` or `copy_u_max`, or the least row, by name: sum, mean, max or min."""
    if how == "min":
        return copy_u_max(csc, x.neg()).neg()
    return {"sum": copy_u_sum, "mean": copy_u_mean, "max": copy_u_max}[how](csc, x)


def self_and_sum(csc: CSC, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The destinations' own rows, ``x[:D]``, and `copy_u_sum`: cheaper to differentiate than one by one."""
    return _Sum.apply(_checked(csc, x, csc.num_dst), csc, False)


def self_and_mean(csc: CSC, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The destinations' own rows, ``x[:D]``, and `copy_u_mean`: cheaper to differentiate than one by one."""
    return _Sum.apply(_checked(csc, x, csc.num_dst), csc, True)


def in_degrees(csc: CSC, dtype: torch.dtype) -> torch.Tensor:
    """(D, 1) number of in-edges of each destination."""
    return torch.from_numpy(np.diff(csc.indptr)).to(dtype)[:, None]


class _Sum(Function):
    """Own rows of the destinations and the sum or mean of their sources.

    Slicing and summing apart would give two gradients of ``x``, one of them mostly zeros, to be added: three more
    passes over an array of S rows.  Here a gradient of a destination's own row is where its sum begins.
    """

    @staticmethod
    def forward(ctx, x, csc, mean):
        ctx.csc, ctx.mean, ctx.num_src = csc, mean, x.shape[0]
        ctx.set_materialize_grads(False)        # of two outputs one is often unused
        out = empty(csc.num_dst, x)
        segment_sum(csc.indptr, csc.indices, _rows(x), out.numpy(), mean=mean, threads=torch.get_num_threads())
        return x[:csc.num_dst], out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_self, grad):
        csc = ctx.csc
        if grad is None and grad_self is None:
            return None, None, None
        if grad is None:
            grad = torch.zeros_like(grad_self)
        if ctx.mean:
            grad = torch.div(grad, in_degrees(csc, grad.dtype).clamp_(min=1), out=empty(grad.shape[0], grad))
        out = empty(ctx.num_src, grad)
        start = None if grad_self is None else _rows(grad_self)
        segment_sum(*transpose(csc.indptr, csc.indices, ctx.num_src), _rows(grad), out.numpy(), start=start,
                    threads=torch.get_num_threads())
        return out, None, None


class _Max(Function):
    @staticmethod
    def forward(ctx, x, csc):
        out = empty(csc.num_dst, x)
        winner = empty(csc.num_dst, x[:0].int())
        segment_max(csc.indptr, csc.indices, _rows(x), out.numpy(), winner.numpy(), torch.get_num_threads())
        ctx.winner, ctx.num_src = winner.numpy(), x.shape[0]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        out = empty(ctx.num_src, grad)
        spread_max(_rows(grad), ctx.winner, out.numpy())
        return out, None


def _checked(csc: CSC, x: torch.Tensor, least: int = 0) -> torch.Tensor:
    if x.ndim != 2 or x.dtype not in (torch.float32, torch.float64) or x.device.type != "cpu":
        raise DataError(f"rows to aggregate are {x.dtype} {tuple(x.shape)} on {x.device}; "
                        "they must be float32 or float64 (rows, columns) on the CPU")
    needed = max(least, int(csc.indices.max(initial=-1)) + 1)
    if x.shape[0] < needed:
        raise DataError(f"{x.shape[0]} rows to aggregate, but the block has {needed} sources or more")
    return x


def _rows(x: torch.Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()
