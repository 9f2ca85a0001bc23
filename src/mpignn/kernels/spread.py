"""Adding up numbers over edges, from destinations to sources.

Shapes: D destinations, E their edges, N nodes that are sources.
"""

from collections.abc import Iterable

import numpy as np

from mpignn.kernels.compiled import kernel
from mpignn.kernels.simd import read_only


def spread(rows: np.ndarray, sources: np.ndarray, numbers: np.ndarray, out: np.ndarray) -> None:
    """Add ``numbers[d]`` to ``out[s]`` for each edge from s to d.  Not collective.

    Args:
        rows: (D, 2) int64 where the edges of each destination begin and end, counted from the first one here.
        sources: (E,) where the edges come from; not checked.
        numbers: (D,) float64; the edges of a destination with 0 are passed over.
        out: (N,) float64.
    """
    _spread(read_only(rows), read_only(sources), read_only(numbers), out)


def warm(dtypes: Iterable[np.dtype]) -> None:
    """Compile the kernel for sources of these types, or load it from the cache.  Not collective."""
    for dtype in dtypes:
        spread(np.zeros((1, 2), np.int64), np.zeros(1, dtype), np.zeros(1), np.zeros(1))


@kernel
def _spread(rows: np.ndarray, sources: np.ndarray, numbers: np.ndarray, out: np.ndarray) -> None:
    for d in range(rows.shape[0]):
        number = numbers[d]
        if number != 0:
            for e in range(rows[d, 0], rows[d, 1]):
                out[sources[e]] += number
