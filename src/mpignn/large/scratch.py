"""Files for what does not fit memory while a graph is made, and how much fits.

Shapes: N rows of an array.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from mpignn.comm.group import Group
from mpignn.large.arrays import FileArray, LargeArray
from mpignn.large.disk import check_space, full_disk_named
from mpignn.mpi.host import available_memory
from mpignn.progress import counted

_MOST_ROWS = 1 << 21        # in hand, where nothing else is said


class Scratch:
    """A folder that all ranks of a group see, and goes when the graph is made.

    Attributes:
        out: What is made, as errors call it.
        group: Those who make it together.
        memory: Bytes that each of them may take for rows in hand.
        folder: Where the files are.
    """

    def __init__(self, folder: Path, out: Path, group: Group, memory: int) -> None:
        """Not collective.

        Args:
            folder: One that is there.
        """
        self.out, self.group, self.memory = out, group, memory
        self.folder = folder
        self._made: Counter[str] = Counter()
        self._held = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which each rank writes alone: a full disk of one is an error of all.  Collective at its end.

        Raises:
            ResourceError: On all ranks: the disk is full.
            MpignnError: On all ranks: what the block raises on any.
        """
        with self.group.all_or_none(), full_disk_named(self.out):
            yield

    @contextmanager
    def stage(self, name: str, total: int, unit: str = "") -> Iterator[Callable[[int], None]]:
        """A phase of this rank's share of some work.  Not collective.

        Args:
            name: What is done.
            total: How many things this rank has to do.
            unit: What they are, as `mpignn.progress.Count` takes it.

        Yields:
            What to call with the number of those that are done.
        """
        with counted(name, total, unit) as advance:
            yield advance

    def fits(self, num_bytes: int) -> bool:
        """Whether one process alone makes the graph, and has as much memory beside what it holds.  Not collective."""
        return self.group.size == 1 and self._held + num_bytes <= self.memory

    def hold(self, num_bytes: int) -> bool:
        """Take so many bytes more until the graph is made, or give some back.  Not collective.

        Args:
            num_bytes: Below 0: as many are given back.

        Returns:
            Whether there were as many: half the memory may be taken, the rest is for rows in hand.
        """
        if num_bytes > 0 and self._held + num_bytes > self.memory // 2:
            return False
        self._held += num_bytes
        return True

    def rows(self, row_bytes: int, most: int | None = None) -> int:
        """How many rows to have in hand, where each takes so many bytes: at least one.  Not collective.

        Args:
            most: More gain nothing.
        """
        return max(1, min(most or _MOST_ROWS, self.memory // max(1, row_bytes)))

    def rows_of_share(self, indptr: np.ndarray) -> tuple[int, int]:
        """The rows whose first edge is in this rank's share of all edges, and one past the last.  Not collective."""
        num_edges, num_rows = int(indptr[-1]), indptr.size - 1
        begin, end = (num_rows if place == num_edges else int(np.searchsorted(indptr, place))
                      for place in self.group.share(num_edges))
        return begin, end

    def array(self, dtype: DTypeLike, *shape: int) -> FileArray:
        """An array without values, which any rank may write.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        made = self._new("shared", dtype, shape)
        with self.alone():
            if self.group.rank == 0:
                check_space(self.out, made.nbytes)
                made.create()
        return made

    def own(self, dtype: DTypeLike, *shape: int) -> FileArray:
        """An array without values of this rank.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        made = self._new(f"of-{self.group.rank}", dtype, shape)
        with full_disk_named(self.out):
            made.create()
        return made

    def kept(self, array: LargeArray) -> FileArray:
        """An array of this rank, which all may read once they know of it.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        made = self.own(array.dtype, *array.shape)
        with full_disk_named(self.out):
            step = self.rows(array.nbytes // max(1, array.shape[0]))
            for first in range(0, array.shape[0], step):
                made.write(first, array[first:first + step])
        return made

    def _new(self, kind: str, dtype: DTypeLike, shape: tuple[int, ...]) -> FileArray:
        self._made[kind] += 1       # all ranks make the same shared ones
        return FileArray(self.folder / f"{kind}-{self._made[kind]}", np.dtype(dtype), shape)

    def pieces(self, count: int, row_bytes: int) -> Iterator[tuple[int, int]]:
        """This rank's share of so many rows, as many at a time as fit.  Not collective."""
        first, last = self.group.share(count)
        step = self.rows(row_bytes)
        for begin in range(first, last, step):
            yield begin, min(last, begin + step)


@contextmanager
def scratch_in(folder: Path, out: Path, group: Group, memory: int | None = None) -> Iterator[Scratch]:
    """A `Scratch` for a block, whose files are removed at its end.  Collective over the group.

    Args:
        folder: In which it makes a folder of its own.
        out, group: As for `Scratch`.
        memory: As for `Scratch`; None: half of what is free.

    Raises:
        ResourceError: On all ranks: the disk is full.
    """
    own = folder / "scratch"
    with full_disk_named(out):
        group.by_first(own.mkdir)
    yield Scratch(own, out, group, available_memory()[0] // 2 if memory is None else memory)
    group.by_first(lambda: shutil.rmtree(own))
