"""Kernels over the rows of a block on several threads.

A row is the work of one thread, so results do not depend on how many there are.

Shapes: D rows.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

_LEAST = 1 << 15        # rows and edges of a stretch: less is done sooner than another thread wakes


def over_rows(indptr: np.ndarray, threads: int, run: Callable[[int, int], None]) -> None:
    """Call ``run(lo, hi)`` for stretches of rows that cover all, as many at a time as there are threads.

    Args:
        indptr: (D + 1,) int64; a stretch is as long as its rows and edges are many.
        threads: At most so many; the caller's is one of them.
        run: Must release the GIL, and write to no row but its own.

    Not collective.
    """
    rows = indptr.shape[0] - 1
    work = rows + int(indptr[-1] - indptr[0])
    pieces = max(1, min(threads, work // _LEAST))
    if pieces == 1:
        run(0, rows)
        return
    done = indptr + np.arange(rows + 1) - indptr[0]
    cuts = np.searchsorted(done, np.arange(pieces + 1) * work // pieces).tolist()
    started = [_pool(threads - 1).submit(run, lo, hi) for lo, hi in zip(cuts[1:], cuts[2:], strict=False)]
    run(cuts[0], cuts[1])
    for piece in started:
        piece.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernel")
