"""Where the arrays of a graph go while its tables are read: into memory as long as they fit, and then into files."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from mpignn.comm.group import Group, LocalGroup
from mpignn.large.arrays import Cast, FileArray, LargeArray
from mpignn.large.disk import has_space
from mpignn.large.scratch import Scratch
from mpignn.large.spool import Spool

_FILE_BYTES = 1 << 26       # a smaller array is written as fast once more
_COPIES = 3     # of an array on the disk: the parts, the array, and room for other ones


class Room:
    """What memory there is for the arrays of a graph.

    Attributes:
        group: The ranks that read the tables together.
        scratch: Where to put what does not fit memory; None: all fits.
    """

    def __init__(self, scratch: Scratch | None = None) -> None:
        self.scratch = scratch
        self.group: Group = LocalGroup() if scratch is None else scratch.group

    def array(self, dtype: DTypeLike, *shape: int) -> np.ndarray | FileArray:
        """An array without values, in memory if all that have been asked for fit.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if self.scratch is None or (self.group.size == 1 and self.scratch.hold(num_bytes)):
            return np.empty(shape, dtype)
        return self.scratch.array(dtype, *shape)

    def lasting(self, dtype: DTypeLike, *shape: int) -> np.ndarray | FileArray:
        """An array without values that stays as it is until the graph is made.  Collective over the group.

        A large one goes to a file, where the disk has room: so it is kept for a command that comes after this one, if
        this one is stopped, without being written for that.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if self.scratch is not None and self.group.size == 1 and num_bytes >= _FILE_BYTES and has_space(
                self.scratch.out, _COPIES * num_bytes):
            return self.scratch.array(dtype, *shape)
        return self.array(dtype, *shape)

    def growing(self, row_bytes: int) -> "Growing":
        """Numbers of this rank that come some at a time, in memory as long as ``row_bytes`` for each fit it."""
        return Growing(row_bytes, self.scratch)

    def together(self, own: LargeArray) -> "np.ndarray | Chain":
        """Numbers of this rank, and behind them those of the next, and so on.  Collective over the group."""
        if self.group.size == 1 and isinstance(own, np.ndarray):
            return own
        return Chain(self.group.allgather(own))

    def joined(self, own: LargeArray) -> np.ndarray | FileArray:
        """The same in one array.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        if self.group.size == 1 and not isinstance(own, Cast):
            return own
        counts = self.group.allgather(own.shape[0])
        made, first = self.files().array(own.dtype, sum(counts), *own.shape[1:]), sum(counts[:self.group.rank])
        with self.alone():
            step = self.files().rows(made.row_bytes)
            for begin in range(0, own.shape[0], step):
                made.write(first + begin, own[begin:begin + step])
        return made

    def of_first(self, rows: np.ndarray | None) -> np.ndarray | FileArray:
        """An array that the first rank has, for all.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        kind = self.group.bcast(None if rows is None else (rows.dtype, rows.shape))
        if self.group.size == 1 and rows is not None:
            return rows
        made = self.files().array(kind[0], *kind[1])
        with self.alone():
            step = self.files().rows(made.row_bytes)
            for begin in range(0, 0 if rows is None else len(rows), step):
                made.write(begin, np.asarray(rows)[begin:begin + step])
        return made

    def pieces(self, count: int, row_bytes: int) -> Iterator[tuple[int, int]]:
        """This rank's share of so many rows, as many at a time as fit.  Not collective."""
        if self.scratch is None:
            yield 0, count
        else:
            yield from self.scratch.pieces(count, row_bytes)

    def files(self) -> Scratch:
        """Where files go; there are some only where not all fits."""
        assert self.scratch is not None, "all fits"
        return self.scratch

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which each rank works alone: an error of one is one of all.  Collective at its end.

        Raises:
            MpignnError: On all ranks: what the block raises on any, or the disk is full.
        """
        with self.group.all_or_none() if self.scratch is None else self.scratch.alone():
            yield


@dataclass(frozen=True)
class Chain:
    """Numbers in several arrays, one after the other, which are read by slices."""

    parts: Sequence[LargeArray]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self.size)
        found, begin = [self.parts[0][:0]], 0
        for part in self.parts:
            if begin < last and first < begin + part.size:
                found.append(part[max(0, first - begin):last - begin])
            begin += part.size
        return np.concatenate(found)


Array = np.ndarray | FileArray | Chain


def chained(*arrays: Array) -> Chain:
    """Arrays one after the other.  Not collective."""
    return Chain([part for array in arrays for part in (array.parts if isinstance(array, Chain) else [array])])


def put(array: np.ndarray | FileArray, first: int, rows: np.ndarray) -> None:
    """Write rows of an array.  Not collective.

    Raises:
        OSError: The disk is full.
    """
    if isinstance(array, FileArray):
        array.write(first, rows)
    else:
        array[first:first + len(rows)] = rows


class Growing:
    """Numbers of this rank that come some at a time: in memory as long as they fit, and then in a file."""

    def __init__(self, row_bytes: int, scratch: Scratch | None) -> None:
        self._row_bytes, self._scratch = row_bytes, scratch
        self._blocks = deque[np.ndarray]()
        self._spool: Spool | None = None
        self.size = 0

    def add(self, rows: np.ndarray) -> None:
        """Take the next ones.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        self._blocks.append(rows)
        self.size += rows.size
        if self._scratch is not None and not self._scratch.fits(self._row_bytes * self.size):
            self._spool = self._spool or Spool(self._scratch, rows.dtype)
            while self._blocks:
                self._spool.append(self._blocks.popleft())

    def whole(self) -> np.ndarray | FileArray:
        """All of them, of which some have come; once.  Not collective."""
        if self._spool is not None:
            return self._spool.array
        made, first = np.empty(self.size, self._blocks[0].dtype), 0
        while self._blocks:     # the memory of what is copied goes to what comes
            block = self._blocks.popleft()
            made[first:first + block.size] = block
            first += block.size
        return made
