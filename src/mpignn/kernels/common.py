"""What two ascending lists of ids have in common.

Shapes: A ids, B others.
"""

import numpy as np

from mpignn.kernels.compiled import kernel
from mpignn.kernels.simd import read_only


def mark_common(ids: np.ndarray, others: np.ndarray, value: int, out: np.ndarray) -> None:
    """``out[i] = value`` where ``ids[i]`` is among ``others``: one pass over both, many times faster than searching.

    Args:
        ids: (A,) int64, ascending.
        others: (B,) int32 or int64, ascending.
        value: What to write.
        out: (A,) int64.

    Not collective.
    """
    _mark_common(read_only(ids), read_only(others), value, out)


def warm() -> None:
    """Compile the kernel, or load it from the cache.  Not collective."""
    for dtype in (np.int32, np.int64):
        mark_common(np.zeros(1, np.int64), np.zeros(1, dtype), 1, np.zeros(1, np.int64))


@kernel
def _mark_common(ids: np.ndarray, others: np.ndarray, value: int, out: np.ndarray) -> None:
    at = 0
    for i in range(ids.shape[0]):
        while at < others.shape[0] and others[at] < ids[i]:
            at += 1
        if at == others.shape[0]:
            break
        if others[at] == ids[i]:
            out[i] = value
