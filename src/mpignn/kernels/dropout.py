"""Dropout whose mask is a function of what is dropped, not of who computes it or when.

Element (row, column) draws 32 bits from a hash of (key, original id of the row, column) and stays if they are not
below p 2^32.  No mask is stored: the backward pass draws it again.

Shapes: N rows, F columns.
"""

import numpy as np
from numpy.typing import DTypeLike

from mpignn.kernels.compiled import kernel
from mpignn.kernels.rng import GOLDEN, draw, mix
from mpignn.kernels.simd import narrow, read_only, widen

_G, _32 = np.uint64(GOLDEN), np.uint64(32)


def dropout(x: np.ndarray, key: int, rows: np.ndarray, p: float, out: np.ndarray) -> None:
    """``out[i, j] = x[i, j] / (1 - p)``, or 0 where element j of row ``rows[i]`` is dropped.

    Its own backward: gradients of ``out`` in, gradients of ``x`` out.

    Args:
        x: (N, F) float32 or float64, or bfloat16 as uint16 or float16 as int16; C-contiguous.
        key: 64 bits: seed, step and layer in one.
        rows: (N,) int64 original ids.
        p: Chance of being dropped, from 0 to 1.
        out: As ``x``; may be ``x``.

    Not collective.
    """
    assert x.shape == out.shape and x.shape[0] == rows.shape[0]
    kind = np.float64 if x.dtype == np.float64 else np.float32
    scale = kind(1 / (1 - p)) if p < 1 else kind(0)
    _dropout(read_only(x), np.uint64(key), read_only(rows), np.uint64(round(p * 2**32)), scale, out)


def warm(dtype: DTypeLike = np.float32) -> None:
    """Compile the kernel for a dtype, or load it from the cache."""
    x = np.zeros((1, 1), dtype)
    dropout(x, 0, np.zeros(1, np.int64), 0.5, x)


@kernel
def _dropout(x: np.ndarray, key: np.uint64, rows: np.ndarray, threshold: np.uint64, scale: np.floating,
             out: np.ndarray) -> None:
    zero = scale - scale
    for i in range(x.shape[0]):
        word = draw(key, np.uint64(rows[i]))
        for j in range(x.shape[1]):
            word += _G
            kept = widen(x[i, j]) * scale if mix(word) >> _32 >= threshold else zero
            out[i, j] = narrow(kept, x.dtype.type(0))
