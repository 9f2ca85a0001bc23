"""Numbers on the edges of a block: weights of its sources, their softmax, their dropout.

Shapes: S sources, D destinations, E edges, H heads, K columns of a head.
"""

import numpy as np
from numpy.typing import DTypeLike

from mpignn.kernels.compiled import kernel, kernel_with
from mpignn.kernels.rng import GOLDEN, draw, mix
from mpignn.kernels.simd import prefetch_row, read_only
from mpignn.kernels.threads import over_rows

_AHEAD = 16     # edges
_G, _32 = np.uint64(GOLDEN), np.uint64(32)
# A dot product may be summed in the order that the machine's vectors suggest; it is the same order every time.
_DOT = {"reassoc", "contract", "nsz"}


def weighted_sum(indptr: np.ndarray, indices: np.ndarray, x: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """``out[d, h]`` is the sum of ``weights[e, h] * x[indices[e], h]`` over the in-edges e of d; 0 without in-edges.

    Args:
        indptr: (D + 1,) int64.
        indices: (E,) int32 or int64, rows of ``x``; not checked.
        x: (S, H, K) float32 or float64, C-contiguous.
        weights: (E, H), C-contiguous, dtype of ``x``.
        out: (D, H, K), C-contiguous, dtype of ``x``.

    Not collective.
    """
    assert out.shape == (indptr.size - 1, *x.shape[1:]) and weights.shape == (indices.size, x.shape[1])
    assert x.flags.c_contiguous and weights.flags.c_contiguous and out.dtype == x.dtype == weights.dtype
    indptr, fixed = read_only(indptr), (read_only(indices), read_only(x), read_only(weights))
    over_rows(indptr, lambda lo, hi: _weighted(indptr[lo:hi + 1], *fixed, out[lo:hi]))


def weighted_sum_backward(out_indptr: np.ndarray, out_indices: np.ndarray, out_edges: np.ndarray, x: np.ndarray,
                          weights: np.ndarray, grad: np.ndarray, grad_x: np.ndarray, grad_weights: np.ndarray) -> None:
    """The backward of `weighted_sum`, both gradients in one pass over the sources and their out-edges.

    Args:
        out_indptr, out_indices, out_edges: The transposed block, from `segment.transpose`.
        x, weights: As in `weighted_sum`.
        grad: (D, H, K) gradients of its results.
        grad_x: (S, H, K), filled.
        grad_weights: (E, H), filled.

    Not collective.
    """
    assert grad_x.shape == x.shape and grad_weights.shape == weights.shape and grad.flags.c_contiguous
    indptr = read_only(out_indptr)
    fixed = (read_only(out_indices), read_only(out_edges), read_only(weights), read_only(grad))
    x = read_only(x)
    over_rows(indptr, lambda lo, hi: _weighted_back(indptr[lo:hi + 1], *fixed, x[lo:hi], grad_x[lo:hi],
                                                    grad_weights))


def segment_softmax(indptr: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """``out[e, h] = exp(x[e, h]) / sum of exp(x[f, h])`` over the in-edges f of the destination of e.

    Args:
        indptr: (D + 1,) int64.
        x, out: (E, H) float32 or float64, C-contiguous.

    Not collective.
    """
    assert x.shape == out.shape and x.dtype == out.dtype
    indptr, x = read_only(indptr), read_only(x)
    over_rows(indptr, lambda lo, hi: _softmax(indptr[lo:hi + 1], x, out))


def segment_softmax_backward(indptr: np.ndarray, out: np.ndarray, grad: np.ndarray, grad_x: np.ndarray) -> None:
    """The backward of `segment_softmax`, from its result ``out`` and the gradient ``grad`` of that."""
    assert out.shape == grad.shape == grad_x.shape
    indptr, out, grad = read_only(indptr), read_only(out), read_only(grad)
    over_rows(indptr, lambda lo, hi: _softmax_back(indptr[lo:hi + 1], out, grad, grad_x))


def edge_dropout(indptr: np.ndarray, x: np.ndarray, key: int, rows: np.ndarray, p: float, out: np.ndarray) -> None:
    """Dropout drawn for (key, original id of the destination, position of the edge in its row, head).  Own backward.

    Args:
        indptr: (D + 1,) int64.
        x, out: (E, H) float32 or float64, C-contiguous; may be the same.
        key: 64 bits: seed, step and layer in one.
        rows: (D,) int64 original ids.
        p: Chance of being dropped, from 0 to 1.

    Not collective.
    """
    assert x.shape == out.shape and rows.shape[0] == indptr.shape[0] - 1
    scale = x.dtype.type(1 / (1 - p)) if p < 1 else x.dtype.type(0)
    threshold = np.uint64(round(p * 2**32))
    indptr, x, rows = read_only(indptr), read_only(x), read_only(rows)
    over_rows(indptr, lambda lo, hi: _drop(indptr[lo:hi + 1], x, np.uint64(key), rows[lo:hi], threshold, scale, out))


@kernel
def _weighted(indptr: np.ndarray, indices: np.ndarray, x: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    heads, columns = x.shape[1], x.shape[2]
    rows, size = x.ctypes.data, heads * columns * x.itemsize
    for d in range(out.shape[0]):
        out[d] = 0
        for e in range(indptr[d], indptr[d + 1]):
            if e + _AHEAD < indices.shape[0]:
                ahead = rows + indices[e + _AHEAD] * size
                for at in range(0, size, 64):
                    prefetch_row(ahead + at)
            source = indices[e]
            for h in range(heads):
                weight = weights[e, h]
                for j in range(columns):
                    out[d, h, j] += weight * x[source, h, j]


@kernel_with(fastmath=_DOT)
def _weighted_back(indptr: np.ndarray, indices: np.ndarray, edges: np.ndarray, weights: np.ndarray, grad: np.ndarray,
                   x: np.ndarray, grad_x: np.ndarray, grad_weights: np.ndarray) -> None:
    heads, columns = x.shape[1], x.shape[2]
    rows, size = grad.ctypes.data, heads * columns * x.itemsize
    for s in range(grad_x.shape[0]):
        grad_x[s] = 0
        for p in range(indptr[s], indptr[s + 1]):
            if p + _AHEAD < indices.shape[0]:
                ahead = rows + indices[p + _AHEAD] * size
                for at in range(0, size, 64):
                    prefetch_row(ahead + at)
            d, e = indices[p], edges[p]
            for h in range(heads):
                weight = weights[e, h]
                dot = weight - weight
                for j in range(columns):
                    grad_x[s, h, j] += weight * grad[d, h, j]
                    dot += x[s, h, j] * grad[d, h, j]
                grad_weights[e, h] = dot


@kernel
def _softmax(indptr: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    for d in range(indptr.shape[0] - 1):
        first, end = indptr[d], indptr[d + 1]
        for h in range(x.shape[1]):
            if first == end:
                continue
            top = x[first, h]
            for e in range(first + 1, end):
                top = max(top, x[e, h])
            total = top - top
            for e in range(first, end):
                out[e, h] = np.exp(x[e, h] - top)
                total += out[e, h]
            for e in range(first, end):
                out[e, h] /= total


@kernel
def _softmax_back(indptr: np.ndarray, out: np.ndarray, grad: np.ndarray, grad_x: np.ndarray) -> None:
    for d in range(indptr.shape[0] - 1):
        first, end = indptr[d], indptr[d + 1]
        for h in range(out.shape[1]):
            if first == end:
                continue
            total = out[first, h] * grad[first, h]
            for e in range(first + 1, end):
                total += out[e, h] * grad[e, h]
            for e in range(first, end):
                grad_x[e, h] = out[e, h] * (grad[e, h] - total)


@kernel
def _drop(indptr: np.ndarray, x: np.ndarray, key: np.uint64, rows: np.ndarray, threshold: np.uint64, scale: np.floating,
          out: np.ndarray) -> None:
    zero = scale - scale
    for d in range(rows.shape[0]):
        word = draw(key, np.uint64(rows[d]))
        for e in range(indptr[d], indptr[d + 1]):
            for h in range(x.shape[1]):
                word += _G
                out[e, h] = x[e, h] * scale if mix(word) >> _32 >= threshold else zero


def warm(dtype: DTypeLike = np.float32) -> None:
    """Compile the kernels for a dtype and int32 indices, or load them from the cache."""
    indptr, one, x = np.array([0, 1]), np.zeros(1, np.int32), np.zeros((1, 1, 1), dtype)
    w = np.zeros((1, 1), dtype)
    weighted_sum(indptr, one, x, w, np.empty_like(x))
    weighted_sum_backward(indptr, one, one, x, w, x, np.empty_like(x), np.empty_like(w))
    segment_softmax(indptr, w, np.empty_like(w))
    segment_softmax_backward(indptr, w, w, np.empty_like(w))
    edge_dropout(indptr, w, 0, np.zeros(1, np.int64), 0.5, np.empty_like(w))
