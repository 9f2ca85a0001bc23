"""Ranks that are threads of one process, for tests of what they read together and without MPI."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.group import LocalGroup
from mpignn.errors import MpignnError


class ThreadGroup(LocalGroup):
    """A rank among threads, as far as tables need a group."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, told: list[Any]) -> None:
        self.rank, self.size = rank, size
        self._barrier, self._told = barrier, told

    def barrier(self) -> None:
        self._barrier.wait(60)

    def bcast(self, value: Any, root: int = 0) -> Any:
        return self.allgather(value)[root]

    def allgather(self, value: Any) -> list[Any]:
        self._told[self.rank] = value
        self.barrier()
        found = list(self._told)
        self.barrier()
        return found

    def all_sum(self, array: np.ndarray) -> np.ndarray:
        array[...] = np.sum(self.allgather(array.copy()), axis=0)
        return array

    def exchange(self, rows: np.ndarray, counts: np.ndarray, pool: Pool,
                 problem: MpignnError | None = None) -> tuple[np.ndarray, np.ndarray]:
        self.agree(problem)
        sent = self.allgather(np.split(rows, np.cumsum(counts)[:-1]))
        got = [of_rank[self.rank] for of_rank in sent]
        return np.concatenate(got), np.array([len(some) for some in got])


def on_threads(size: int, call: Callable[[ThreadGroup], Any]) -> list[Any]:
    """What a function returns on each of so many ranks."""
    barrier, told = threading.Barrier(size), [None] * size
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: call(ThreadGroup(rank, size, barrier, told)), range(size)))
