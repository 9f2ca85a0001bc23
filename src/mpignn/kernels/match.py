"""Which places of a row hold a wanted source, and what a seed edge's draws derive from.

Shapes: R rows, M edges in them, N pairs asked about.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import DTypeLike

from mpignn.kernels.compiled import kernel
from mpignn.kernels.rng import draw

_U64 = np.uint64


@kernel
def match(indptr: np.ndarray, sources: np.ndarray, row_of: np.ndarray, wanted: np.ndarray, first: np.ndarray,
          count: np.ndarray) -> None:
    """Find the places of each wanted source in its row; equal sources lie side by side.

    Args:
        indptr: (R + 1,) int64; row r is ``sources[indptr[r]:indptr[r + 1]]``.
        sources: (M,) int32 or int64.
        row_of: (N,) int64 row of each pair.
        wanted: (N,) int64 source of each pair.
        first: (N,) int64, written: place in the row of the first such source; 0 if there is none.
        count: (N,) int64, written: how many there are.
    """
    for i in range(row_of.shape[0]):
        start, end = indptr[row_of[i]], indptr[row_of[i] + 1]
        at = start
        while at < end and sources[at] != wanted[i]:
            at += 1
        last = at
        while last < end and sources[last] == wanted[i]:
            last += 1
        first[i] = at - start if last > at else 0
        count[i] = last - at


@kernel
def edge_keys(key: np.uint64, dst: np.ndarray, place: np.ndarray, out: np.ndarray) -> None:
    """64 bits for each edge out of its identity, which does not depend on the partitioning.

    Args:
        key: uint64 of the step and edge type.
        dst: (N,) int64 original ids of the destinations.
        place: (N,) int64 places of the edges in their rows.
        out: (N,) uint64, written.
    """
    for i in range(dst.shape[0]):
        out[i] = draw(draw(key, _U64(dst[i])), _U64(place[i]))


@kernel
def number_keys(keys: np.ndarray, numbers: np.ndarray, out: np.ndarray) -> None:
    """``out[i]`` = word ``numbers[i]`` of the stream ``keys[i]``; (N,) uint64, int64 and uint64."""
    for i in range(keys.shape[0]):
        out[i] = draw(keys[i], _U64(numbers[i]))


def warm(index_dtypes: Iterable[DTypeLike]) -> None:
    """Compile the kernels for these types of ``indices``, or load them from the cache."""
    zeros, keys = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    for dtype in index_dtypes:
        match(np.array([0, 1]), np.zeros(1, dtype), zeros, zeros, zeros.copy(), zeros.copy())
    edge_keys(_U64(0), zeros, zeros, keys)
    number_keys(keys, zeros, keys.copy())
