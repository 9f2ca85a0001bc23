"""What becomes of a column: numbers as they are or standardised, and values by number or as columns of 0 and 1.

An `Encoder` looks at all blocks of a column, where it `looks`, and then makes rows of numbers of each block.

Shapes: R rows of a block, W numbers made of each.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.tables.description import MEAN, Column
from mpignn.tables.kinds import is_list, is_number, is_text

MOST_COLUMNS = 1000
"""How many values a column of which ``onehot`` makes columns may have."""

Where = Callable[[int], str]
"""File and line of a row of a block, for messages."""


class Encoder(Protocol):
    """Makes numbers of a column.

    Attributes:
        looks: Whether it must see all blocks before it makes numbers of any.
        row_shape: Shape of what is made of a value: () or (W,); known once it has looked.
        dtype: Type of the numbers that it makes.
        names: What users call the numbers that it makes, if these stand for values.
    """

    @property
    def looks(self) -> bool: ...

    @property
    def names(self) -> tuple[str, ...] | None: ...

    @property
    def row_shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def look(self, array: pa.Array, in_train: np.ndarray, where: Where) -> None:
        """See a block.  Not collective.

        Args:
            array: R values.
            in_train: (R,) booleans: the rows that are learnt from.
            where: For messages.
        """

    def rows(self, array: pa.Array, where: Where) -> np.ndarray:
        """(R, *row_shape) numbers of type ``dtype``.  Not collective.

        Raises:
            DataError: A value is missing, or cannot be such a number; names the file and the line.
        """


def encoder(column: Column, kind: pa.DataType) -> Encoder:
    """What makes numbers of a column of this type.  Not collective.

    Raises:
        DataError: Nothing can as it is described.
    """
    if column.how in ("onehot", "code"):
        if is_list(kind):
            raise DataError(f"{column.column!r} holds lists, which are no values to be told apart: take them as "
                            "numbers")
        if not (is_text(kind) or is_number(kind) or pt.is_null(kind)):
            raise DataError(f"{column.column!r} holds values of type {kind}, which are not told apart: leave it out, "
                            "or write it as texts or numbers")
        return _Categories(column)
    if is_text(kind):
        raise DataError(f"{column.column!r} holds texts, not numbers: write {{column = \"{column.column}\", as = "
                        "\"onehot\"}, or as = \"code\", or leave it out")
    return _Numbers(column, kind)


def plain(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(R,) numbers, and (R,) booleans: those that are missing.  Not collective.

    Times are int64 seconds since 1970; a missing number is NaN among floating-point ones, and 0 among whole ones.

    Args:
        array: Numbers, truth values, dates or times.
    """
    kind = array.type
    if pt.is_date(kind) or pt.is_timestamp(kind):
        seconds = array if pt.is_date(kind) else pc.floor_temporal(array, unit="second")
        return plain(seconds.cast(pa.timestamp("s", getattr(kind, "tz", None))).cast(pa.int64()))
    if pt.is_decimal(kind) or pt.is_null(kind):
        array = array.cast(pa.float64())
    missing = np.asarray(array.is_null())
    if array.null_count:
        gap = False if pt.is_boolean(kind) else float("nan") if pt.is_floating(array.type) else 0
        array = array.fill_null(pa.scalar(gap, array.type))
    values = np.asarray(array)
    if values.dtype.kind == "f":
        missing = missing | np.isnan(values)
    return values, missing


class _Numbers:
    """Numbers, or lists of equally many."""

    names = None

    def __init__(self, column: Column, kind: pa.DataType) -> None:
        self._column = column
        self._lists = is_list(kind)
        self._width: int | None = kind.list_size if pt.is_fixed_size_list(kind) else None if self._lists else 1
        self._moments = _Moments() if column.how == "standard" or column.fill == MEAN else None
        self.looks = self._moments is not None or self._width is None
        if isinstance(column.fill, str) and column.fill != MEAN:
            raise DataError(f"{column.column!r} holds numbers, and cannot be filled with {column.fill!r}: give a "
                            f"number, or {MEAN!r}")
        entry = kind.value_type if self._lists else kind
        self.dtype = plain(pa.array([], entry))[0].dtype if is_number(entry) else np.dtype(np.float64)
        if not (is_number(entry) or pt.is_null(entry)):
            raise DataError(f"{column.column!r} holds values of type {kind}, of which no numbers are made: leave it "
                            "out")
        if self._moments is not None:
            self.dtype = np.dtype(np.float64)
        if column.fill is not None and column.fill != MEAN:
            self.dtype = _with_fill(self.dtype, column)

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self._width or 0,) if self._lists else ()

    def look(self, array: pa.Array, in_train: np.ndarray, where: Where) -> None:
        if self._width is None:
            lengths = pc.drop_null(pc.list_value_length(array))
            self._width = int(lengths[0].as_py()) if len(lengths) else None
        if self._moments is not None and self._width is not None:
            self._moments.add(*self._values(array, where), in_train)

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
        return values.astype(self.dtype, copy=False).reshape(len(array), *self.row_shape)

    def _values(self, array: pa.Array, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """(R, W) numbers, and booleans: those that are missing; raises where one is infinite."""
        values, missing = self._of_lists(array, where) if self._lists else (part[:, None] for part in plain(array))
        bad = np.flatnonzero(np.isinf(values).any(axis=1))
        if bad.size:
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
        given = np.asarray(array.is_valid())
        entries, gaps = plain(array.drop_null().flatten())
        values, absent = np.zeros((len(array), width), entries.dtype), np.ones((len(array), width), bool)
        values[given], absent[given] = entries.reshape(-1, width), gaps.reshape(-1, width)
        return values, absent

    def _fill(self, place: str) -> np.ndarray:
        """What stands for what is missing, (W,) or of one number; raises that of the first, if nothing does."""
        column, fill = self._column.column, self._column.fill
        if fill is None:
            raise DataError(f'{place}: {column} is missing; write it there, or into graph.toml, which `mpignn '
                            f'describe` begins, what stands for it: {{column = "{column}", fill = 0}}, or fill = '
                            f'"{MEAN}"')
        if self._moments is not None and fill == MEAN:
            return self._moments.mean()
        return np.array(fill, self.dtype)


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


class _Moments:
    """Mean and deviation of the training rows, and of all rows where none is for training.

    Moments of blocks are merged as in Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for
    computing sample variances.
    """

    def __init__(self) -> None:
        # Rows: how many values, their mean, sum of the squares of what they differ from it by, the largest.
        self._of_train, self._of_all = np.zeros((4, 1)), np.zeros((4, 1))

    def add(self, values: np.ndarray, missing: np.ndarray, in_train: np.ndarray) -> None:
        """Take a block, (R, W)."""
        values = np.where(missing, 0, values).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):      # what is no number then is refused
            self._of_train = _merged(self._of_train, _moments(values[in_train], missing[in_train]))
            self._of_all = _merged(self._of_all, _moments(values, missing))

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


def _moments(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(4, W) of the (R, W) numbers of a block, which are 0 where they are missing."""
    count = np.count_nonzero(~missing, axis=0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    mean = mean + np.where(missing, 0, values - mean).sum(axis=0) / np.maximum(count, 1)   # less what sums round
    apart = np.where(missing, 0, values - mean)
    return np.stack([count, mean, (apart**2).sum(axis=0), np.abs(values).max(axis=0, initial=0)])


def _merged(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    count = one[0] + other[0]
    share = other[0] / np.maximum(count, 1)
    step = other[1] - one[1]
    return np.stack([count, one[1] + step * share, one[2] + other[2] + step**2 * one[0] * share,
                     np.maximum(one[3], other[3])])


class _Categories:
    """Values that are told apart, and by their order become numbers."""

    looks = True

    def __init__(self, column: Column) -> None:
        self._column = column
        self._found: set[Any] = set()
        self._values: pa.Array | None = None

    @property
    def names(self) -> tuple[str, ...] | None:
        return None if self._column.how == "onehot" else tuple(map(str, self._sorted()))

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32 if self._column.how == "onehot" else np.int64)

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (len(self._found),) if self._column.how == "onehot" else ()

    def look(self, array: pa.Array, in_train: np.ndarray, where: Where) -> None:
        self._found.update(pc.unique(self._filled(array, where)).to_pylist())
        if self._column.how == "onehot" and len(self._found) > MOST_COLUMNS:
            raise DataError(f"{where(0)}: {self._column.column} has {len(self._found)} values up to here, of which "
                            f'as = "onehot" would make as many columns, at most {MOST_COLUMNS}: leave it out, or make '
                            'numbers of it by as = "code"')

    def rows(self, array: pa.Array, where: Where) -> np.ndarray:
        array = self._filled(array, where)
        if self._values is None:
            self._values = pa.array(self._sorted(), array.type)
        codes: np.ndarray = np.asarray(pc.index_in(array, self._values)).astype(np.int64)
        if self._column.how == "code":
            return codes
        rows = np.zeros((codes.size, len(self._found)), np.float32)
        rows[np.arange(codes.size), codes] = 1
        return rows

    def _sorted(self) -> list[Any]:
        return sorted(self._found)

    def _filled(self, array: pa.Array, where: Where) -> pa.Array:
        missing = absent(array)
        if not missing.any():
            return array
        if self._column.fill is None:
            row = int(np.flatnonzero(missing)[0])
            raise DataError(f"{where(row)}: {self._column.column} is missing; write it there, or into graph.toml, "
                            "which `mpignn describe` begins, what stands for it: fill = \"unknown\"")
        try:
            fill = pa.scalar(self._column.fill, array.type)
        except (pa.ArrowException, OverflowError) as error:
            raise DataError(f"{self._column.column!r} holds {array.type}, and cannot be filled with "
                            f"{self._column.fill!r}") from error
        return pc.if_else(pa.array(missing), fill, array)


def absent(array: pa.Array) -> np.ndarray:
    """(R,) booleans: null, no number, or a text without letters.  Not collective."""
    missing = array.is_null(nan_is_null=True)
    if is_text(array.type):
        missing = pc.or_(missing, pc.equal(array, "").fill_null(True))
    return np.asarray(missing)
