"""The threads that a rank's kernels run on.

Kernels release the GIL, so plain threads that wait asleep do: those of OpenMP wait busily for each other, and lose
milliseconds where something else wants a core.  How the work is cut must not show in a result.

Shapes: D rows, T threads.
"""

import os
import threading
from collections.abc import Callable, Sequence
from operator import itemgetter
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
Piece = tuple[int, int]         # first and last row, the latter excluded
Job = tuple[Callable[[int, int, int], T], Sequence[Piece]]      # work, pieces
_Share = tuple[int, list[Any], BaseException | None]        # number, what each job returned for its piece, or an error

GRAIN = 1 << 12     # picks that are worth the 30 us of waking a thread and as many of hearing that it is done

_lock = threading.Lock()
_count = 0
_workers = 0
# Costs 50 us a run where a ThreadPoolExecutor and its Futures cost 80.
_shares: SimpleQueue[tuple[SimpleQueue[_Share], Sequence[Job[Any]], int]] = SimpleQueue()


def set_num_threads(count: int) -> None:
    """Say how many threads kernels may use; at first, all cores that the process may run on.  Not collective."""
    global _count
    _count = max(1, count)


def num_threads() -> int:
    """T.  Not collective."""
    return _count or len(os.sched_getaffinity(0))


def cut(indptr: np.ndarray, cost: float = 1) -> list[Piece]:
    """Cut rows into at most T stretches ``(first, last)`` of about equally many entries, each worth a `GRAIN`.

    Args:
        indptr: (D + 1,) int64, ascending.
        cost: Cost of an entry, in picks.
    """
    total = int(indptr[-1] - indptr[0])
    pieces = _pieces(total * cost)
    if pieces == 1:
        return [(0, indptr.shape[0] - 1)]
    inner = np.searchsorted(indptr, indptr[0] + np.arange(1, pieces) * total // pieces)
    places = [0, *inner.tolist(), indptr.shape[0] - 1]
    return list(zip(places[:-1], places[1:], strict=True))


def stretches(count: int, cost: float = 1) -> list[Piece]:
    """`cut` of ``count`` rows with one entry each."""
    pieces = _pieces(count * cost)
    places = [count * piece // pieces for piece in range(pieces + 1)]
    return list(zip(places[:-1], places[1:], strict=True))


def _pieces(cost: float) -> int:
    return max(1, min(num_threads(), int(cost / GRAIN)))


def run(work: Callable[[int, int, int], T], pieces: Sequence[Piece]) -> list[T]:
    """``work(number, *piece)`` for each piece, at the same time: `run_all` of one job.  Not collective.

    Returns:
        What ``work`` returned for each piece.
    """
    return run_all([(work, pieces)])[0]


def run_all(jobs: Sequence[Job[T]]) -> list[list[T]]:
    """``work(number, *piece)`` for each piece of each job ``(work, pieces)``.

    Pieces of one number run on one thread, job after job; those of number 0 on this one.  So several jobs cost
    the waking of threads once.

    Returns:
        For each job, what ``work`` returned for each piece.

    Not collective.
    """
    width = max((len(pieces) for _, pieces in jobs), default=0)
    if width > 1:
        _wake(width - 1)
    done: SimpleQueue[_Share] = SimpleQueue()
    for number in range(1, width):
        _shares.put((done, jobs, number))
    shares = [_attempt(jobs, 0), *(done.get() for _ in range(1, width))]    # all, also where one has failed: they
    shares.sort(key=itemgetter(0))                                          # use the caller's memory
    for _, _, error in shares:
        if error is not None:
            raise error
    return [[shares[number][1][job] for number in range(len(pieces))] for job, (_, pieces) in enumerate(jobs)]


def over_rows(indptr: np.ndarray, work: Callable[[int, int], None]) -> None:
    """``work(first, last)`` for stretches of rows that cover all, at the same time.

    Args:
        indptr: (D + 1,) int64; a stretch is as long as its rows and entries are many.
        work: Writes to no row but its own.

    Not collective.
    """
    run(lambda _, first, last: work(first, last), cut(indptr + np.arange(indptr.shape[0]), 1 / 8))


def _attempt(jobs: Sequence[Job[Any]], number: int) -> _Share:
    """The pieces of one number, and an error to be raised by `run_all`."""
    try:
        return number, [work(number, *pieces[number]) if number < len(pieces) else None for work, pieces in jobs], None
    except BaseException as error:
        return number, [], error


def _wake(count: int) -> None:
    """Have at least ``count`` threads that wait for pieces."""
    global _workers
    with _lock:
        while _workers < count:
            threading.Thread(target=_serve, name=f"mpignn-kernel_{_workers}", daemon=True).start()
            _workers += 1


def _serve() -> None:
    while True:
        done, jobs, number = _shares.get()
        done.put(_attempt(jobs, number))
        del done, jobs      # asleep, hold no one's memory
