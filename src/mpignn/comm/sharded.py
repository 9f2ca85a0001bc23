"""Arrays cut by rows over ranks: what they are, and how every rank reads them.

Shapes: S owners, N rows asked for, W elements in a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class ArraySpec:
    """One array, cut by rows over its owners: the servers, or the trainers.

    Attributes:
        name: Unique within the transport.
        dtype: Type of an element.
        width: Elements in a row, W.
        bounds: (S + 1,) row numbers, ascending; owner s has rows ``bounds[s]:bounds[s + 1]``.
        step: Elements between the starts of two rows.  Less than ``width`` where rows overlap: with
            width 2 and step 1, row v of an ``indptr`` is the pair (start, end) of v's in-edges.
        kind: What `Stats` counts its rows as when they are read.
    """

    name: str
    dtype: np.dtype
    width: int
    bounds: tuple[int, ...]
    step: int
    kind: str = "feature"

    @property
    def num_rows(self) -> int:
        return self.bounds[-1]

    @cached_property
    def cuts(self) -> np.ndarray:
        """(S + 1,) int64 ``bounds``, to search in: NumPy takes longer to read a tuple of many than to search them."""
        return np.array(self.bounds, np.int64)

    def elements(self, first: int, last: int) -> int:
        """Elements that hold the rows of owners ``first`` to ``last - 1``; 0 if there are none."""
        if first == last:
            return 0
        return (self.bounds[last] - self.bounds[first]) * self.step + self.width - self.step


def array_spec(name: str, dtype: DTypeLike, width: int, bounds: Iterable[int], step: int | None = None,
               kind: str = "feature") -> ArraySpec:
    """An `ArraySpec` whose rows do not overlap unless ``step`` says so; it keeps a tuple of ints as it is."""
    kept = bounds if isinstance(bounds, tuple) else tuple(int(b) for b in bounds)
    return ArraySpec(name, np.dtype(dtype), int(width), kept,
                     int(width if step is None else step), kind)


class Pending(ABC):
    """Rows under way."""

    @abstractmethod
    def wait(self) -> None:
        """Return when every ``out`` that was asked for is filled.  Not collective."""

    def done(self) -> bool:
        """Whether `wait` would return at once; False where that cannot be told.  Not collective."""
        return False

    def leave(self) -> None:
        """Give it up: when this returns, nothing arrives in memory any more.  Not collective."""
        self.wait()


class ShardedArray(ABC):
    """An array cut by rows over ranks, which every rank that holds it reads by global row number.

    Two kinds: `comm.transport.GraphArray`, which servers own and nobody writes once it is published, and
    `comm.writable.WritableArray`, which trainers own and write.

    Attributes:
        spec: The whole array.
        lo, hi: The rows ``lo:hi`` are here.
        local: (hi - lo, W) these rows, no copy.
    """

    spec: ArraySpec
    lo: int
    hi: int
    local: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether all rows are here."""
        return self.lo == 0 and self.hi == self.spec.num_rows

    @abstractmethod
    def gather(self, ids: np.ndarray, out: np.ndarray) -> Pending:
        """Start copying row ``ids[i]`` to ``out[i]``.  Not collective.

        Args:
            ids: (N,) rows, any integers, any order, repeats and N = 0 allowed.
            out: (N, W), C-contiguous, dtype of the array; filled once ``wait()`` of the result returns.

        Raises:
            IDError: An id that is no row; the first is named.
            CommError: ``out`` has the wrong shape or dtype.
        """

    @abstractmethod
    def gather_together(self, ids: np.ndarray, out: np.ndarray) -> None:
        """Copy row ``ids[i]`` to ``out[i]``; no trainer is waited for but in this call.  Collective over the trainers.

        Arguments and errors as for `gather`; each trainer has its own, none at all allowed.
        """
