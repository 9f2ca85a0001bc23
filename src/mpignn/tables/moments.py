"""Mean and deviation of columns, the same numbers to the last bit whoever reads which rows in which blocks.

Rows are summed by stretches that begin at the same rows for any number of ranks, and these are merged in pairs, pairs
of pairs, and so on, as in Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample
variances.

Shapes: R rows of a block, S rows of a stretch, W columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.comm.group import Group

_VALUES = 1 << 16       # of a stretch


@dataclass(frozen=True)
class _Rows:
    """Rows of a stretch that is not whole here, n of them.

    Attributes:
        first: The first one.
        values: (n, W) float64, 0 where they are missing.
        missing: (n, W) booleans.
        in_train: (n,) booleans.
    """

    first: int
    values: np.ndarray
    missing: np.ndarray
    in_train: np.ndarray


@dataclass(frozen=True)
class _Merged:
    """What 2**level stretches hold together.

    Attributes:
        level, number: Which: the first is stretch ``number << level``.
        of_train, of_all: (4, W): how many values, their mean, the sum of the squares of what they differ from it by,
            and the largest.
    """

    level: int
    number: int
    of_train: np.ndarray
    of_all: np.ndarray


class Moments:
    """Mean and deviation of the training rows, and of all rows where none is for training.

    Args:
        width: W.
        first: Row with which this rank begins.
    """

    def __init__(self, width: int, first: int) -> None:
        self._width = width
        self._stretch = max(1, _VALUES // max(1, width))
        self._next = first
        self._open: list[_Rows] = []        # the end of what has come, if it does not end a stretch
        self._parts: list[_Rows | _Merged] = []
        self._of_train, self._of_all = np.zeros((4, width)), np.zeros((4, width))

    def add(self, values: np.ndarray, missing: np.ndarray, in_train: np.ndarray) -> None:
        """Take the next block of this rank.  Not collective.

        Args:
            values: (R, W) numbers.
            missing: (R, W) booleans: those that count for nothing.
            in_train: (R,) booleans.
        """
        done = 0
        while done < len(values):
            step = min(len(values) - done, self._stretch - self._next % self._stretch)
            some = slice(done, done + step)
            self._open.append(_Rows(self._next, np.where(missing[some], 0, values[some]).astype(np.float64),
                                    missing[some], in_train[some]))
            done, self._next = done + step, self._next + step
            if self._next % self._stretch == 0:
                self._close()

    def add_missing(self, count: int) -> None:
        """Take so many rows of which all is missing.  Not collective."""
        for first in range(0, count, self._stretch):
            shape = min(self._stretch, count - first), self._width
            self.add(np.zeros(shape), np.ones(shape, bool), np.zeros(shape[0], bool))

    def agree(self, group: Group) -> None:
        """Let all ranks know the moments of the rows of all.  Collective over the group."""
        parts = [part for of_rank in group.allgather([*self._parts, *self._open]) for part in of_rank
                 if _width(part) == self._width]
        merged: list[_Merged] = []
        for part in self._whole(parts):
            _push(merged, part)
        for part in merged:
            self._of_train = _of_both(self._of_train, part.of_train)
            self._of_all = _of_both(self._of_all, part.of_all)

    def mean(self) -> np.ndarray:
        mean: np.ndarray = self._found()[1]
        return mean

    def deviation(self) -> np.ndarray:
        """That of a column; 1 where all its values are equal, but for the rounding of their mean."""
        count, _, squares, largest = self._found()
        deviation = np.sqrt(squares / np.maximum(count, 1))
        found: np.ndarray = np.where(deviation <= 4 * np.finfo(np.float64).eps * largest, 1, deviation)
        return found

    def _found(self) -> np.ndarray:
        return self._of_train if self._of_train[0].any() else self._of_all

    def _close(self) -> None:
        rows, self._open = self._open, []
        if rows[0].first % self._stretch:
            self._parts += rows     # another rank has its begin
        else:
            _push(self._parts, self._of_stretch(rows))

    def _whole(self, parts: Iterable[_Rows | _Merged]) -> Iterator[_Merged]:
        """The same, rows of each stretch as one."""
        rows: list[_Rows] = []
        for part in parts:
            if rows and (isinstance(part, _Merged) or part.first // self._stretch != rows[0].first // self._stretch):
                yield self._of_stretch(rows)
                rows = []
            if isinstance(part, _Merged):
                yield part
            else:
                rows.append(part)
        if rows:
            yield self._of_stretch(rows)

    def _of_stretch(self, rows: Sequence[_Rows]) -> _Merged:
        values, missing = (np.concatenate([getattr(some, name) for some in rows]) for name in ("values", "missing"))
        in_train = np.concatenate([some.in_train for some in rows])
        with np.errstate(over="ignore", invalid="ignore"):      # what is no number then is refused
            return _Merged(0, rows[0].first // self._stretch, _moments(values[in_train], missing[in_train]),
                           _moments(values, missing))


def _width(part: _Rows | _Merged) -> int:
    return int((part.values if isinstance(part, _Rows) else part.of_all).shape[1])


def _push(merged: list[_Rows | _Merged] | list[_Merged], part: _Merged) -> None:
    """Add what comes behind others, and merge it with its other half, and so on."""
    while merged:
        last = merged[-1]
        if not isinstance(last, _Merged) or last.level != part.level or last.number + 1 != part.number or (
                last.number % 2):
            break
        merged.pop()
        part = _Merged(part.level + 1, last.number // 2, _of_both(last.of_train, part.of_train),
                       _of_both(last.of_all, part.of_all))
    merged.append(part)


def _moments(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(4, W) of the (R, W) numbers of a stretch, which are 0 where they are missing."""
    count = np.count_nonzero(~missing, axis=0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    mean = mean + np.where(missing, 0, values - mean).sum(axis=0) / np.maximum(count, 1)   # less what sums round
    apart = np.where(missing, 0, values - mean)
    return np.stack([count, mean, (apart**2).sum(axis=0), np.abs(values).max(axis=0, initial=0)])


def _of_both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        count = one[0] + other[0]
        share = other[0] / np.maximum(count, 1)
        step = other[1] - one[1]
        return np.stack([count, one[1] + step * share, one[2] + other[2] + step**2 * one[0] * share,
                         np.maximum(one[3], other[3])])
