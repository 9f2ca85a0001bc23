"""Memory for results that are made anew for every batch.

The first touch of fresh 4 KiB pages costs ten times the copy into them, so large results lie in memory that
was used before: in slabs that nobody holds any more.
"""

import math
import mmap
import sys
import threading

import numpy as np
from numpy.typing import DTypeLike

_ALIGN = 2 << 20        # a slab is a multiple of a huge page


class Pool:
    """Hands out arrays over slabs of private memory and reuses a slab once its last array is gone.

    An array of the pool is like any other: it stays valid as long as something refers to it.  Threads may share a pool.
    """

    def __init__(self) -> None:
        self._slabs: list[np.ndarray] = []
        self._lock = threading.Lock()       # two threads must not find the same slab free

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An uninitialised C-contiguous array.  Not collective.

        The smallest free slab that is large enough serves; if none is, a new one is made and the largest free
        one, too small as it is, is given back to the system.
        """
        dtype = np.dtype(dtype)
        size = (math.prod(shape) if isinstance(shape, tuple) else int(shape)) * dtype.itemsize
        if size < _ALIGN // 8:
            return np.empty(shape, dtype)
        with self._lock:
            return self._slab_for(size)[:size].view(dtype).reshape(shape)

    def _slab_for(self, size: int) -> np.ndarray:
        free = sorted((s for s in range(len(self._slabs)) if sys.getrefcount(self._slabs[s]) == _IDLE),
                      key=lambda s: self._slabs[s].size)
        fitting = next((s for s in free if self._slabs[s].size >= size), None)
        if fitting is None:
            if free:
                self._slabs.pop(free[-1])
            fitting = len(self._slabs)
            self._slabs.append(_slab(size + size // 4))
        return self._slabs[fitting]


def _slab(size: int) -> np.ndarray:
    memory = mmap.mmap(-1, -(-size // _ALIGN) * _ALIGN, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _idle_count() -> int:
    """What `sys.getrefcount` says of a list's element that nothing else refers to."""
    slabs = [np.empty(1, np.uint8)]
    return next(sys.getrefcount(slabs[s]) for s in range(1))


_IDLE = _idle_count()
