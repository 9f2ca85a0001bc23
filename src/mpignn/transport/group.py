"""Ranks that act together, and the group of one."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from mpignn.errors import MpignnError


class Group(ABC):
    """A communicator as the rest of the program needs it.  Every method is collective over the group.

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
    def allgather(self, value: Any) -> list:
        """Everybody's ``value`` in order of rank, on all.  Start-up only (pickles)."""

    @abstractmethod
    def all_sum(self, array: np.ndarray) -> np.ndarray:
        """Element-wise sum over the group, in place; returns ``array``."""

    def agree(self, problem: MpignnError | None) -> None:
        """Raise the problem of the lowest rank that has one, on all ranks; else return.

        Start-up only (pickles).  Checks stay local, entering is common: call this between the two.
        """
        found = [(rank, p) for rank, p in enumerate(self.allgather(problem)) if p is not None]
        if not found:
            return
        rank, first = found[0]
        where = f"rank {rank}: " if self.size > 1 and len(found) < self.size else ""
        error = type(first)(f"{where}{first}")
        error.agreed = True
        raise error


class LocalGroup(Group):
    """The group of one process."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        return

    def bcast(self, value: Any, root: int = 0) -> Any:
        return value

    def allgather(self, value: Any) -> list:
        return [value]

    def all_sum(self, array: np.ndarray) -> np.ndarray:
        return array
