"""Ranks that act together, and the group of one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np

from mpignn.buffers import Pool
from mpignn.errors import MpignnError, paths_named

T = TypeVar("T")


class Group(ABC):
    """A communicator as the rest of the program needs it.  Methods are collective over the group, but for those that
    say otherwise.

    Attributes:
        rank: This process's number in the group.
        size: Number of processes.
    """

    rank: int
    size: int

    @abstractmethod
    def barrier(self) -> None:
        """Return when all have come; waits without burning the core."""

    @abstractmethod
    def bcast(self, value: Any, root: int = 0) -> Any:
        """``value`` of ``root``, on all.  Start-up only (pickles)."""

    @abstractmethod
    def allgather(self, value: Any) -> list[Any]:
        """Everybody's ``value`` in order of rank, on all.  Start-up only (pickles)."""

    @abstractmethod
    def all_sum(self, array: np.ndarray) -> np.ndarray:
        """Element-wise sum over the group, in place; returns ``array``."""

    @abstractmethod
    def exchange(self, rows: np.ndarray, counts: np.ndarray, pool: Pool,
                 problem: MpignnError | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Send rows to each rank, and get those that the others send here.

        Args:
            rows: (N, W) of equal W and dtype on all ranks, C-contiguous: first those for rank 0, then for rank 1, ...
            counts: (size,) int64 how many for each; they sum to N, which may be 0.
            pool: Where memory for the result comes from.
            problem: What is wrong on this rank; it takes part so that all learn of it.

        Returns:
            (M, W) rows, in order of the rank that sent them, and (size,) int64 how many each sent.

        Raises:
            MpignnError: On all ranks: the problem of the lowest rank that has one.
        """

    def share(self, count: int) -> tuple[int, int]:
        """The first of ``count`` things that this rank has to do, and one past its last.  Not collective."""
        return count * self.rank // self.size, count * (self.rank + 1) // self.size

    def agree(self, problem: MpignnError | None) -> None:
        """Raise the problem of the lowest rank that has one, on all ranks; else return.

        Start-up only (pickles).  Checks stay local, entering is common: call this between the two.
        """
        found = [(rank, p) for rank, p in enumerate(self.allgather(problem)) if p is not None]
        if not found:
            return
        rank, first = found[0]
        where = f"rank {rank}: " if self.size > 1 and len(found) < self.size else ""
        raise type(first)(f"{where}{first}").on_all()

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Let a block in which each rank works alone succeed on all ranks, or fail on all.

        Collective at the end of the block, not before.  Start-up only (pickles).

        Raises:
            MpignnError: On all ranks: the one that the block raised on the lowest rank where it did, or one that
                names the path of which the system says what is wrong.
        """
        problem = None
        try:
            with paths_named():
                yield
        except MpignnError as error:
            problem = error
        self.agree(problem)

    def by_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns, called on the first rank alone and told to all.  Start-up only (pickles).

        Raises:
            MpignnError: On all ranks: the one that ``make`` raised.
        """
        made: T | None = None
        problem: MpignnError | None = None
        if self.rank == 0:
            try:
                with paths_named():
                    made = make()
            except MpignnError as error:
                problem = error.on_all()
        told, problem = self.bcast((made, problem))
        if problem is not None:
            raise problem
        return cast(T, told)


class LocalGroup(Group):
    """The group of one process."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        return

    def bcast(self, value: Any, root: int = 0) -> Any:
        return value

    def allgather(self, value: Any) -> list[Any]:
        return [value]

    def all_sum(self, array: np.ndarray) -> np.ndarray:
        return array

    def exchange(self, rows: np.ndarray, counts: np.ndarray, pool: Pool,
                 problem: MpignnError | None = None) -> tuple[np.ndarray, np.ndarray]:
        self.agree(problem)
        return rows, counts
