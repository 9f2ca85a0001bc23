"""What becomes of a column: numbers as they are or standardised, and values by number or as columns of 0 and 1.

An `Encoder` looks at all blocks of a column, where it `looks`, and then makes rows of numbers of each block.  One that
is given what another has learnt makes the same numbers of new rows, without a look at them.

Shapes: R rows of a block, W numbers made of each.
"""

from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.comm.group import Group
from mpignn.errors import DataError
from mpignn.tables.categories import Categories
from mpignn.tables.description import MEAN, Column
from mpignn.tables.kinds import is_list, is_number, is_text, sort_of
from mpignn.tables.learnt import LearntColumn, LearntNumbers, LearntValues, check_sort, nothing_stands_for
from mpignn.tables.moments import Moments
from mpignn.tables.values import Where, plain


class Encoder(Protocol):
    """Makes numbers of a column.

    Attributes:
        looks: Whether it must see more blocks before it makes numbers of any.
        row_shape: Shape of what is made of a value: () or (W,); known once it has looked.
        dtype: Type in which the numbers that it makes are stored.
        names: What users call the numbers that it makes, if these stand for values.
        learnt: What it has learnt, once it has looked.
    """

    @property
    def looks(self) -> bool: ...

    @property
    def names(self) -> tuple[str, ...] | None: ...

    @property
    def learnt(self) -> LearntColumn: ...

    @property
    def row_shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def look(self, array: pa.Array, in_train: np.ndarray, first: int, where: Where) -> None:
        """See a block of this rank, the next one.  Not collective.

        Args:
            array: R values.
            in_train: (R,) booleans: the rows that are learnt from.
            first: The row with which it begins, counted through the rows of all ranks.
            where: For messages.
        """

    def agree(self, group: Group) -> None:
        """End the look: take what the other ranks have seen, too.  Collective over the group.

        Raises:
            DataError: On all ranks: they have seen too many values.
        """

    def rows(self, array: pa.Array, where: Where) -> np.ndarray:
        """(R, *row_shape) numbers, which ``dtype`` holds, or those that it has learnt from do.  Not collective.

        Raises:
            DataError: A value is missing, or cannot be such a number; names the file and the line.
        """


def encoder(column: Column, kind: pa.DataType, learnt: LearntColumn | None = None) -> Encoder:
    """What makes numbers of a column of this type.  Not collective.

    Args:
        column: What is made of it.
        kind: Its type.
        learnt: What was learnt of that column of other tables; None: it learns from this one.

    Raises:
        DataError: Nothing can as it is described, or the column holds something else than that of the other tables.
    """
    if learnt is not None:
        check_sort(column.column, kind, learnt.sort)
    if column.how in ("onehot", "code"):
        if is_list(kind):
            raise DataError(f"{column.column!r} holds lists, which are no values to be told apart: take them as "
                            "numbers")
        if not (is_text(kind) or is_number(kind) or pt.is_null(kind)):
            raise DataError(f"{column.column!r} holds values of type {kind}, which are not told apart: leave it out, "
                            "or write it as texts or numbers")
        assert learnt is None or isinstance(learnt, LearntValues), "as described"
        return Categories(column, kind, learnt)
    if is_text(kind):
        raise DataError(f"{column.column!r} holds texts, not numbers: write {{column = \"{column.column}\", as = "
                        "\"onehot\"}, or as = \"code\", or leave it out")
    assert learnt is None or isinstance(learnt, LearntNumbers), "as described"
    return _Numbers(column, kind, learnt)


class _Numbers:
    """Numbers, or lists of equally many."""

    names = None

    def __init__(self, column: Column, kind: pa.DataType, learnt: LearntNumbers | None) -> None:
        self._column, self._kind, self._given = column, kind, learnt
        self._lists = is_list(kind) if learnt is None else learnt.width is not None
        self._width: int | None = kind.list_size if pt.is_fixed_size_list(kind) else None if self._lists else 1
        needs_moments = column.how == "standard" or column.fill == MEAN
        self._needs_moments = needs_moments
        self._learning: Moments | None = None
        self._moments: Moments | _KnownMoments | None = None
        self._first, self._missing = 0, 0       # row of this rank, and how many from there on are missing
        if learnt is not None:
            self._width = 1 if learnt.width is None else learnt.width
            self._moments = _KnownMoments(learnt) if needs_moments else None
        self.looks = learnt is None and (needs_moments or self._width is None)
        if isinstance(column.fill, str) and column.fill != MEAN:
            raise DataError(f"{column.column!r} holds numbers, and cannot be filled with {column.fill!r}: give a "
                            f"number, or {MEAN!r}")
        entry = kind.value_type if is_list(kind) else kind
        self.dtype = plain(pa.array([], entry))[0].dtype if is_number(entry) else np.dtype(np.float64)
        if not (is_number(entry) or pt.is_null(entry)):
            raise DataError(f"{column.column!r} holds values of type {kind}, of which no numbers are made: leave it "
                            "out")
        if needs_moments:
            self.dtype = np.dtype(np.float64)
        if column.fill is not None and column.fill != MEAN:
            self.dtype = _with_fill(self.dtype, column)
        self._made = self.dtype
        if learnt is not None:
            self.dtype = np.dtype(learnt.dtype)

    @property
    def learnt(self) -> LearntNumbers:
        if self._given is not None:
            return self._given
        mean: list[float] = [] if self._moments is None else self._moments.mean().tolist()
        deviation: list[float] = []
        if self._moments is not None and self._column.how == "standard":
            deviation = self._moments.deviation().tolist()
        return LearntNumbers(sort_of(self._kind), str(self.dtype), (self._width or 0) if self._lists else None,
                             tuple(mean), tuple(deviation))

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self._width or 0,) if self._lists else ()

    def look(self, array: pa.Array, in_train: np.ndarray, first: int, where: Where) -> None:
        if self._width is None:
            lengths = pc.drop_null(pc.list_value_length(array))
            self._width = int(lengths[0].as_py()) if len(lengths) else None
            self.looks = self._needs_moments or self._width is None
        if not self._needs_moments:
            return
        if self._learning is None:
            self._first = first - self._missing
        if self._width is None:
            self._missing += len(array)
        else:
            self._begun(self._width).add(*self._values(array, where), in_train)

    def agree(self, group: Group) -> None:
        self._width = next((width for width in group.allgather(self._width) if width is not None), None)
        if self._needs_moments:
            self._begun(self._width or 1).agree(group)      # where lists differ in length, an error is to come

    def rows(self, array: pa.Array, where: Where) -> np.ndarray:
        values, missing = self._values(array, where)
        if missing.any():
            values = np.where(missing, self._fill(where(int(np.argwhere(missing)[0, 0]))), values)
        if self._column.how == "standard" and self._moments is not None:
            deviation = self._moments.deviation()
            if not np.isfinite(deviation).all():
                raise DataError(f"{where(0)}: {self._column.column} holds numbers of which some are too large to be "
                                "squared, as their deviation needs: scale them")
            values = (values - self._moments.mean()) / deviation
        return values.astype(self._made, copy=False).reshape(len(array), *self.row_shape)

    def _begun(self, width: int) -> Moments:
        if self._learning is None:
            self._learning = self._moments = Moments(width, self._first)
            self._learning.add_missing(self._missing)
        return self._learning

    def _values(self, array: pa.Array, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """(R, W) numbers, and booleans: those that are missing; raises where one is infinite."""
        if self._lists:
            lists = array if is_list(array.type) else array.cast(pa.list_(pa.float64()))
            values, missing = self._of_lists(lists, where)
        else:
            values, missing = (part[:, None] for part in plain(array))
        infinite = np.isinf(values)
        if infinite.any():
            bad = np.flatnonzero(infinite.any(axis=1))
            raise DataError(f"{where(int(bad[0]))}: {self._column.column} is not finite")
        return values, missing

    def _of_lists(self, array: pa.Array, where: Where) -> tuple[np.ndarray, np.ndarray]:
        width = self._width or 0
        if not width and len(array):
            raise DataError(f"{where(0)}: {self._column.column} holds lists without entries: leave it out")
        lengths = pc.list_value_length(array)
        wrong = np.flatnonzero(np.asarray(lengths.fill_null(width)) != width)
        if wrong.size:
            raise DataError(f"{where(int(wrong[0]))}: {self._column.column} has {lengths[wrong[0]].as_py()} entries, "
                            f"where other rows have {width}: all lists must be of one length")
        if not array.null_count:
            entries, gaps = plain(array.flatten())
            return entries.reshape(len(array), width), gaps.reshape(len(array), width)
        given = np.asarray(array.is_valid())
        entries, gaps = plain(array.drop_null().flatten())
        values, absent = np.zeros((len(array), width), entries.dtype), np.ones((len(array), width), bool)
        values[given], absent[given] = entries.reshape(-1, width), gaps.reshape(-1, width)
        return values, absent

    def _fill(self, place: str) -> np.ndarray:
        """What stands for what is missing, (W,) or of one number; raises that of the first, if nothing does."""
        column, fill = self._column.column, self._column.fill
        if fill is None and self._given is not None:
            raise nothing_stands_for(place, column)
        if fill is None:
            raise DataError(f'{place}: {column} is missing; write it there, or into graph.toml, which `mpignn '
                            f'describe` begins, what stands for it: {{column = "{column}", fill = 0}}, or fill = '
                            f'"{MEAN}"')
        if self._moments is not None and fill == MEAN:
            return self._moments.mean()
        return np.array(fill, self._made)


def _with_fill(dtype: np.dtype, column: Column) -> np.dtype:
    """The type that holds the numbers of a column and what fills it exactly; raises if there is none."""
    refused = DataError(f"{column.column!r} holds numbers of type {dtype}, and cannot be filled with {column.fill}: "
                        "give a number that such a type holds")
    try:
        fill = float(column.fill or 0)
    except OverflowError as error:
        raise refused from error
    if not np.isfinite(fill):
        raise refused
    if dtype.kind == "f" or not fill.is_integer():
        with np.errstate(over="ignore"):
            return dtype if dtype.kind == "f" and dtype.type(fill) == fill else np.dtype(np.float64)
    if dtype.kind == "b":
        if fill in (0, 1):
            return dtype
        dtype = np.dtype(np.int64)
    found = np.result_type(dtype, np.min_scalar_type(int(column.fill or 0)))
    if found.kind not in "iu":
        raise refused
    return found


class _KnownMoments:
    """Mean and deviation that were learnt from other rows."""

    def __init__(self, learnt: LearntNumbers) -> None:
        self._learnt = learnt

    def mean(self) -> np.ndarray:
        return np.array(self._learnt.mean)

    def deviation(self) -> np.ndarray:
        return np.array(self._learnt.deviation)
