"""Rows on the edges of a block: brought from its ends, weighed, normalised, dropped, reduced; all differentiable.

Where a row per edge can be avoided, `mpignn.nn.message` and `weighted_sum` avoid it.

Shapes: S sources, D destinations, E edges, H heads, K columns of a head; ``...`` is any shape of a row.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.kernels import edges as kernels
from mpignn.kernels.gather import gather_rows
from mpignn.kernels.segment import segment_sum, transpose_edges
from mpignn.nn import device, message
from mpignn.nn.apply import apply
from mpignn.nn.reused_memory import empty


def from_src(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """(E, ...) the row of each edge's source, of (S, ...) float32 or float64.  Not collective.

    Raises:
        DataError: Another type or place, or too few rows for the edges.
    """
    if device.elsewhere(x):
        return device.from_src(csc, x)
    return apply(_FromSource, _checked(csc, x, int(csc.indices.max(initial=-1)) + 1), csc)


def from_dst(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """(E, ...) the row of each edge's destination, of (D, ...) float32 or float64.  Not collective.

    Raises:
        DataError: Another type or place, or not a row for each destination.
    """
    if x.shape[0] != csc.num_dst:
        raise DataError(f"{x.shape[0]} rows of destinations, but the block has {csc.num_dst}")
    if device.elsewhere(x):
        return device.from_dst(csc, x)
    return apply(_FromDestination, _checked(csc, x), csc)


def reduce_edges(csc: CSC, x: torch.Tensor, how: str) -> torch.Tensor:
    """(D, ...) the ``sum``, ``mean``, ``max`` or ``min`` of the rows of each destination's in-edges; 0 without any.

    Args:
        csc: D destinations.
        x: (E, ...) float32 or float64.
        how: One of the four.

    Not collective.

    Raises:
        DataError: Another type or place, or not a row for each edge.
    """
    check_edges(csc, x)
    if device.elsewhere(x):
        return device.reduce_edges(csc, x, how)
    flat = _flat(_checked(csc, x))
    own = CSC(csc.indptr, np.arange(csc.num_edges, dtype=np.int32))     # each edge as a source of its own
    return message.reduce_copies(own, flat, how).view(csc.num_dst, *x.shape[1:])


def weighted_sum(csc: CSC, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The sum of the sources' rows over the in-edges of each destination, each head times its weight on the edge.

    Args:
        csc: D destinations, ``indices`` as rows of ``x``.
        x: (S, H, K) float32 or float64.
        weights: (E, H), of the type of ``x``.

    Returns:
        (D, H, K), once differentiable in ``x`` and ``weights``; 0 without in-edges.  No row per edge is made.

    Not collective.

    Raises:
        DataError: Shapes, types or places that do not fit.
    """
    check_edges(csc, weights)
    if x.ndim != 3 or weights.shape[1:] != x.shape[1:2] or weights.dtype != x.dtype:
        raise DataError(f"weights are {weights.dtype} {tuple(weights.shape)} and rows {x.dtype} {tuple(x.shape)}; they "
                        "must be of one type, (edges, heads) and (sources, heads, columns)")
    if device.elsewhere(x):
        return device.reduce_edges(csc, device.from_src(csc, x) * weights[:, :, None], "sum")
    return apply(_Weighted, _checked(csc, x, int(csc.indices.max(initial=-1)) + 1), weights, csc)


def weighted_rows(csc: CSC, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(D, F) `weighted_sum` of whole (S, F) rows by (E,) weights of any type; of 16 bits as float32."""
    check_edges(csc, weights)
    rows = wide(x)
    return weighted_sum(csc, rows[:, None], weights.to(rows.dtype).reshape(-1, 1))[:, 0].to(x.dtype)


def wide(x: torch.Tensor) -> torch.Tensor:
    """Rows of a type that is computed on edges: those of 16 bits as float32."""
    return x.float() if x.dtype.itemsize == 2 else x


def edge_softmax(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """``exp(x)`` of each edge over the sum of those of all in-edges of its destination.

    Args:
        csc: D destinations.
        x: (E, ...) float32 or float64.

    Returns:
        (E, ...), once differentiable.

    Not collective.

    Raises:
        DataError: Another type or place, or not a row for each edge.
    """
    check_edges(csc, x)
    if device.elsewhere(x):
        return device.edge_softmax(csc, x)
    return apply(_Softmax, _checked(csc, x), csc)


def edge_dropout(csc: CSC, x: torch.Tensor, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
    """Zero elements with chance p, by a hash of (key, destination, position in its row, column), and scale the rest.

    Args:
        csc: D destinations.
        x: (E, ...) float32 or float64.
        p: From 0 to 1.
        key: 64 bits: seed, step and layer in one.
        rows: (D,) int64 original ids of the destinations.

    Returns:
        (E, ...), once differentiable.

    Not collective.
    """
    check_edges(csc, x)
    if p == 0:
        return x
    if device.elsewhere(x):
        return device.edge_dropout(csc, _flat(x), p, key, rows).view_as(x)
    return apply(_Dropout, _checked(csc, x), csc, p, key, rows)


class _FromSource(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, csc: CSC) -> torch.Tensor:
        ctx.csc, ctx.num_src = csc, x.shape[0]
        return _gathered(x, csc.indices.astype(np.int64))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        out = empty(ctx.num_src, grad)
        indptr, _, place = transpose_edges(ctx.csc.indptr, ctx.csc.indices, ctx.num_src)
        _sum(indptr, place, grad, out)
        return out, None


class _FromDestination(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, csc: CSC) -> torch.Tensor:
        ctx.csc = csc
        return _gathered(x, np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        out = empty(ctx.csc.num_dst, grad)
        _sum(ctx.csc.indptr, np.arange(ctx.csc.num_edges, dtype=np.int32), grad, out)
        return out, None


class _Weighted(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weights: torch.Tensor, csc: CSC) -> torch.Tensor:
        ctx.save_for_backward(x, weights)
        ctx.csc = csc
        out = empty(csc.num_dst, x)
        kernels.weighted_sum(csc.indptr, csc.indices, _array(x), _array(weights), out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, weights = ctx.saved_tensors
        grad_x, grad_weights = empty(x.shape[0], x), empty(weights.shape[0], weights)
        transposed = transpose_edges(ctx.csc.indptr, ctx.csc.indices, x.shape[0])
        kernels.weighted_sum_backward(*transposed, _array(x), _array(weights), _array(grad), grad_x.numpy(),
                                      grad_weights.numpy())
        return grad_x, grad_weights, None


class _Softmax(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, csc: CSC) -> torch.Tensor:
        out = empty(csc.num_edges, x)
        kernels.segment_softmax(csc.indptr, _array(_flat(x)), _flat(out).numpy())
        ctx.save_for_backward(out)
        ctx.csc = csc
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (result,) = ctx.saved_tensors
        out = empty(result.shape[0], result)
        kernels.segment_softmax_backward(ctx.csc.indptr, _array(_flat(result)), _array(_flat(grad)),
                                         _flat(out).numpy())
        return out, None


class _Dropout(Function):
    """The backward draws the mask again, as that of `keyed_dropout` does."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, csc: CSC, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
        ctx.drawn = csc, p, key, rows
        return _drop(x, *ctx.drawn)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        return _drop(grad, *ctx.drawn), None, None, None, None


def _drop(x: torch.Tensor, csc: CSC, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
    out = empty(x.shape[0], x)
    kernels.edge_dropout(csc.indptr, _array(_flat(x)), key, rows, p, _flat(out).numpy())
    return out


def _gathered(x: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
    out = empty(ids.size, x)
    gather_rows(_array(_flat(x)), ids, 0, _flat(out).numpy())
    return out


def _sum(indptr: np.ndarray, indices: np.ndarray, x: torch.Tensor, out: torch.Tensor) -> None:
    segment_sum(indptr, indices, _array(_flat(x)), _flat(out).numpy())


def check_edges(csc: CSC, x: torch.Tensor) -> None:
    """Raise `DataError` unless there is a row for each edge.  Not collective."""
    if x.shape[:1] != (csc.num_edges,):
        raise DataError(f"rows of edges are {tuple(x.shape)}, but the block has {csc.num_edges} edges")


def _checked(csc: CSC, x: torch.Tensor, least: int = 0) -> torch.Tensor:
    if x.ndim == 0 or x.dtype not in (torch.float32, torch.float64):
        raise DataError(f"rows of a message are {x.dtype} {tuple(x.shape)}; they must be float32 or float64")
    if x.shape[0] < least:
        raise DataError(f"{x.shape[0]} rows of sources, but the block has {least} or more")
    return x


def _flat(x: torch.Tensor) -> torch.Tensor:
    """(N, columns), of (N, ...) with no rows too."""
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))


def _array(x: torch.Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()
