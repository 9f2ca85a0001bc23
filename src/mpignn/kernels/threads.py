"""The threads that a rank's kernels run on.

Kernels release the GIL, so plain threads that wait asleep do: those of OpenMP wait busily for each other, and lose
milliseconds where something else wants a core.  How the work is cut must not show in a result.

Shapes: D rows, T threads.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

GRAIN = 1 << 14     # picks, or rows read, that are worth the 30 to 50 us of waking a thread

_lock = threading.Lock()
_count = 0
_pool: ThreadPoolExecutor | None = None


def set_num_threads(count: int) -> None:
    """Say how many threads kernels may use; at first, all cores that the process may run on.  Not collective."""
    global _count, _pool
    with _lock:
        _count, _pool = max(1, count), None


def num_threads() -> int:
    """T.  Not collective."""
    return _count or len(os.sched_getaffinity(0))


def cut(indptr: np.ndarray, grain: int | None = None) -> list[tuple[int, int]]:
    """Cut rows into at most T stretches ``(first, last)`` of about equally many entries, at least ``grain`` each.

    Args:
        indptr: (D + 1,) int64, ascending.
        grain: `GRAIN`, if not given.
    """
    total = int(indptr[-1] - indptr[0])
    pieces = max(1, min(num_threads(), total // (grain or GRAIN)))
    if pieces == 1:
        return [(0, indptr.shape[0] - 1)]
    inner = np.searchsorted(indptr, indptr[0] + np.arange(1, pieces) * total // pieces)
    places = [0, *inner.tolist(), indptr.shape[0] - 1]
    return list(zip(places[:-1], places[1:], strict=True))


def stretches(count: int, grain: int | None = None) -> list[tuple[int, int]]:
    """`cut` of ``count`` rows with one entry each."""
    pieces = max(1, min(num_threads(), count // (grain or GRAIN)))
    places = [count * piece // pieces for piece in range(pieces + 1)]
    return list(zip(places[:-1], places[1:], strict=True))


def run(work: Callable, pieces: list) -> list:
    """``work(number, *piece)`` for each piece, at the same time; the first one on this thread.

    Returns:
        What ``work`` returned for each piece.

    Not collective.
    """
    if len(pieces) == 1:
        return [work(0, *pieces[0])]
    others = [_workers().submit(work, number, *piece) for number, piece in enumerate(pieces[1:], 1)]
    try:
        first = work(0, *pieces[0])
    finally:
        rest = [other.result() for other in others]     # also where this thread's piece failed: they use its memory
    return [first, *rest]


def over_rows(indptr: np.ndarray, work: Callable[[int, int], None]) -> None:
    """``work(first, last)`` for stretches of rows that cover all, at the same time.

    Args:
        indptr: (D + 1,) int64; a stretch is as long as its rows and entries are many.
        work: Writes to no row but its own.

    Not collective.
    """
    run(lambda _, first, last: work(first, last), cut(indptr + np.arange(indptr.shape[0]), 2 * GRAIN))


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(num_threads() - 1, thread_name_prefix="mpignn-kernel")
        return _pool
