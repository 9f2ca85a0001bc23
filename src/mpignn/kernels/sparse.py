"""Optimizer updates of single rows: gradients of the same row summed in a fixed order, then one update of it.

The sum and the update are one pass, bound by three or four random streams of rows (gradient, weight, state), so the
rows of the next few updates are asked for ahead.

Rows of bfloat16 are computed with as float32, their state is float32, and what is stored of a row is rounded at random,
so that many small updates add up.

Shapes: K gradients, R rows owned, W columns.
"""

import math

import numpy as np
from numpy.typing import DTypeLike

from mpignn.kernels.compiled import inlined, kernel, kernel_with
from mpignn.kernels.rng import draw, word
from mpignn.kernels.simd import narrow_at_random, prefetch, read_only, widen

_AHEAD = 6          # gradients
_DIGIT = 11         # bits of a key sorted at a time: 2048 counters stay in the first cache
_LINE = 64          # bytes
_11 = np.uint64(11)     # a double has 53 bits
_COLUMN = np.uint32(0x9E3779B9)


def by_row(ids: np.ndarray, places: np.ndarray, lo: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort gradients by the row that they are for, those of a row in the order given.  Not collective.

    Radix sort from the least significant digit on, which is stable.

    Args:
        ids: (K,) int64 rows, all in ``lo:lo + num_rows``; not checked.
        places: (K,) int64 what goes with them.
        lo, num_rows: The rows owned.

    Returns:
        (K,) ``ids - lo``, ascending, and (K,) their places.
    """
    rows, order = np.empty_like(ids), np.empty_like(places)
    _sort(read_only(ids), read_only(places), lo, max(1, num_rows - 1).bit_length(), rows, order)
    return rows, order


def sgd(rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: float, mean: bool,
        weights: np.ndarray, lr: float, noise: int = 0) -> None:
    """``w -= lr g`` for each row that has gradients.

    Args:
        rows, places: (K,) as of `by_row`.
        mine, received: (M, W) gradients: the one at place p is ``mine[p]``, or ``received[p - M]``.
        factor: What the reduced gradient is multiplied by.
        mean: Reduce by the mean of a row's gradients, not by their sum.
        weights: (R, W) float32, float64 or bfloat16 as uint16, as the gradients; changed.
        lr: Learning rate.
        noise: What the rounding of bfloat16 depends on, besides the numbers; another one for each step.

    Not collective.
    """
    total, kind = _total(weights)
    _sgd(rows, places, read_only(mine), read_only(received), kind(factor), mean, weights, kind(lr), total,
         np.uint32(noise))


def adagrad(rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: float, mean: bool,
            weights: np.ndarray, squares: np.ndarray, lr: float, eps: float, noise: int = 0) -> None:
    """``s += g^2; w -= lr g / (sqrt(s) + eps)``: Duchi, Hazan and Singer 2011.  Not collective.

    Args:
        rows, places, mine, received, factor, mean, weights, lr, noise: As for `sgd`.
        squares: (R, W) s, as the weights, float32 where these are bfloat16; changed.
        eps: Against division by 0.
    """
    total, kind = _total(weights)
    _adagrad(rows, places, read_only(mine), read_only(received), kind(factor), mean, weights, squares, kind(lr),
             kind(eps), total, np.uint32(noise))


def adam(rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: float, mean: bool,
         weights: np.ndarray, means: np.ndarray, squares: np.ndarray, steps: np.ndarray, lr: float,
         betas: tuple[float, float], eps: float, noise: int = 0) -> None:
    """Adam (Kingma and Ba 2015) on the rows that have gradients, each with a step count of its own.  Not collective.

    Args:
        rows, places, mine, received, factor, mean, weights, lr, noise: As for `sgd`.
        means, squares: (R, W) the moments, as the weights, float32 where these are bfloat16; changed.
        steps: (R,) int32 updates of each row so far; changed.
        betas: Decay of the moments.
        eps: Added to the square root of the corrected second moment.
    """
    total, kind = _total(weights)
    _adam(rows, places, read_only(mine), read_only(received), kind(factor), mean, weights, means, squares, steps,
          lr, betas[0], betas[1], kind(eps), total, np.uint32(noise))


def uniform(key: int, ids: np.ndarray, bound: float, out: np.ndarray) -> None:
    """Fill ``out[i]`` with numbers between ``-bound`` and ``bound``, a function of key, ``ids[i]`` and column.

    Args:
        key: 64 bits.
        ids: (N,) int64, 0 or more.
        out: (N, W) float32 or float64.

    Not collective.
    """
    _uniform(np.uint64(key), read_only(ids), bound, out)


def warm(optimizer: str, dtype: DTypeLike = np.float32) -> None:
    """Compile the kernels of an optimizer, or load them from the cache.

    Args:
        optimizer: ``sgd``, ``adagrad`` or ``adam``.
        dtype: Type of the weights, uint16 for bfloat16.
    """
    ids, rows = np.zeros(1, np.int64), np.zeros((1, 1), dtype)
    state = np.zeros((1, 1), _total(rows)[1])
    uniform(0, ids, 1.0, state)
    gradients = (*by_row(ids, ids, 0, 1), rows, rows[:0], 1.0, False, rows.copy())
    if optimizer == "sgd":
        sgd(*gradients, 0.0)
    elif optimizer == "adagrad":
        adagrad(*gradients, state, 0.0, 1.0)
    else:
        adam(*gradients, state, state.copy(), np.zeros(1, np.int32), 0.0, (0.0, 0.0), 1.0)


def _total(weights: np.ndarray) -> tuple[np.ndarray, type[np.floating]]:
    """(W,) memory for the gradient of a row, and the type to compute in."""
    kind = np.dtype(np.float32 if weights.dtype == np.uint16 else weights.dtype)
    return np.empty(weights.shape[1], kind), kind.type


@kernel
def _sort(ids: np.ndarray, places: np.ndarray, lo: int, bits: int, rows: np.ndarray, order: np.ndarray) -> None:
    count = ids.shape[0]
    from_rows, from_order = np.empty_like(rows), np.empty_like(order)
    for i in range(count):
        from_rows[i], from_order[i] = ids[i] - lo, places[i]
    mask = (1 << _DIGIT) - 1
    starts = np.empty(mask + 2, np.int64)
    for shift in range(0, bits, _DIGIT):
        starts[:] = 0
        for i in range(count):
            starts[((from_rows[i] >> shift) & mask) + 1] += 1
        for digit in range(mask):
            starts[digit + 1] += starts[digit]
        for i in range(count):
            digit = (from_rows[i] >> shift) & mask
            rows[starts[digit]], order[starts[digit]] = from_rows[i], from_order[i]
            starts[digit] += 1
        for i in range(count):      # one by one: of whole arrays numba compiles the text of an error, for 2 s
            from_rows[i], from_order[i] = rows[i], order[i]


@inlined
def _ask(address: int, size: int) -> None:
    for at in range(0, size, _LINE):
        prefetch(address + at)


@inlined
def _ask_gradient(i: int, places: np.ndarray, mine: np.ndarray, received: np.ndarray) -> None:
    size = mine.shape[1] * mine.itemsize
    if i < places.shape[0]:
        place = places[i]
        if place < mine.shape[0]:
            _ask(np.int64(mine.ctypes.data) + place * size, size)
        else:
            _ask(np.int64(received.ctypes.data) + (place - mine.shape[0]) * size, size)


@inlined
def _ask_row(i: int, rows: np.ndarray, array: np.ndarray) -> None:
    size = array.shape[1] * array.itemsize
    if i < rows.shape[0]:
        _ask(np.int64(array.ctypes.data) + rows[i] * size, size)


@inlined
def _reduce(at: int, rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: np.floating,
            mean: bool, total: np.ndarray) -> int:
    """The gradients of the row at ``at``, reduced to ``total``; returns where those of the next row begin."""
    total[:] = 0
    end = at
    while end < rows.shape[0] and rows[end] == rows[at]:
        place = places[end]
        if place < mine.shape[0]:
            for j in range(total.shape[0]):
                total[j] += widen(mine[place, j])
        else:
            for j in range(total.shape[0]):
                total[j] += widen(received[place - mine.shape[0], j])
        end += 1
    scale = factor / total.dtype.type(end - at) if mean else factor
    for j in range(total.shape[0]):
        total[j] *= scale
    return end


@inlined
def _store(weights: np.ndarray, row: int, j: int, value: np.floating, noise: np.uint32) -> None:
    weights[row, j] = narrow_at_random(value, weights[row, j], np.uint32(noise + np.uint32(j) * _COLUMN))


@kernel
def _sgd(rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: np.floating, mean: bool,
         weights: np.ndarray, lr: np.floating, total: np.ndarray, noise: np.uint32) -> None:
    at = 0
    while at < rows.shape[0]:
        _ask_gradient(at + _AHEAD, places, mine, received)
        _ask_row(at + _AHEAD, rows, weights)
        row, at = rows[at], _reduce(at, rows, places, mine, received, factor, mean, total)
        for j in range(total.shape[0]):
            _store(weights, row, j, widen(weights[row, j]) - lr * total[j], noise)


@kernel_with(error_model="numpy")    # a check for division by 0 would keep it scalar
def _adagrad(rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: np.floating,
             mean: bool, weights: np.ndarray, squares: np.ndarray, lr: np.floating, eps: np.floating, total: np.ndarray,
             noise: np.uint32) -> None:
    at = 0
    while at < rows.shape[0]:
        _ask_gradient(at + _AHEAD, places, mine, received)
        _ask_row(at + _AHEAD, rows, weights)
        _ask_row(at + _AHEAD, rows, squares)
        row, at = rows[at], _reduce(at, rows, places, mine, received, factor, mean, total)
        for j in range(total.shape[0]):
            squares[row, j] += total[j] * total[j]
            _store(weights, row, j, widen(weights[row, j]) - lr * total[j] / (np.sqrt(squares[row, j]) + eps), noise)


@kernel_with(error_model="numpy")
def _adam(rows: np.ndarray, places: np.ndarray, mine: np.ndarray, received: np.ndarray, factor: np.floating, mean: bool,
          weights: np.ndarray, means: np.ndarray, squares: np.ndarray, steps: np.ndarray, lr: float, first: float,
          second: float, eps: np.floating, total: np.ndarray, noise: np.uint32) -> None:
    kind = total.dtype.type
    keep, new = kind(second), kind(1 - second)
    step = kind(1 - first)
    at = 0
    while at < rows.shape[0]:
        _ask_gradient(at + _AHEAD, places, mine, received)
        _ask_row(at + _AHEAD, rows, weights)
        _ask_row(at + _AHEAD, rows, means)
        _ask_row(at + _AHEAD, rows, squares)
        row, at = rows[at], _reduce(at, rows, places, mine, received, factor, mean, total)
        steps[row] += 1
        rate = kind(lr / (1 - first ** steps[row]))
        spread = kind(1 / math.sqrt(1 - second ** steps[row]))
        for j in range(total.shape[0]):
            means[row, j] += step * (total[j] - means[row, j])
            squares[row, j] = keep * squares[row, j] + new * total[j] * total[j]
            change = rate * means[row, j] / (np.sqrt(squares[row, j]) * spread + eps)
            _store(weights, row, j, widen(weights[row, j]) - change, noise)


@kernel
def _uniform(key: np.uint64, ids: np.ndarray, bound: float, out: np.ndarray) -> None:
    for i in range(ids.shape[0]):
        stream = draw(key, np.uint64(ids[i]))
        for j in range(out.shape[1]):
            out[i, j] = bound * (np.float64(word(stream, np.uint64(j)) >> _11) * 2.0 ** -52 - 1.0)
