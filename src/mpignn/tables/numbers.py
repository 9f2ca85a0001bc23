"""Files that hold one array of numbers each, as text or as Parquet, whose columns have no names that matter.

Shapes: R rows, C columns.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from mpignn.errors import DataError
from mpignn.tables.kinds import is_list

_BLOCK_BYTES = 1 << 24


def read_text(path: Path, delimiter: str = ",") -> np.ndarray:
    """A table of numbers in text without a header, compressed if the ending of its name says so.  Not collective.

    Args:
        path: Path of the file.
        delimiter: What stands between numbers.

    Returns:
        (R, C) int64 where all are whole numbers, else float64, NaN where nothing stands; (0, 1) of an empty file.

    Raises:
        DataError: The file cannot be read, rows differ in length, or what stands there is no number; names the row.
    """
    with told(path):
        try:
            table = csv.read_csv(path, csv.ReadOptions(autogenerate_column_names=True, use_threads=False,
                                                       block_size=_BLOCK_BYTES), csv.ParseOptions(delimiter=delimiter))
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return np.empty((0, 1), np.int64)
            raise
    return _array(table, path)


def read_parquet(path: Path) -> np.ndarray:
    """An array in a Parquet file.  Not collective.

    A column is a column of the array, or several where it holds lists, all of one length.  DGL notes the shape of an
    array beside it; without a note a single column of numbers has one dimension.

    Returns:
        (R,), (R, C) or (R, ...).

    Raises:
        DataError: The file cannot be read, or holds something else; names the row.
    """
    with told(path):
        table = parquet.read_table(path)
    noted = (table.schema.metadata or {}).get(b"shape", b"").decode(errors="replace")
    array = _array(table, path)
    if noted:
        shape = tuple(map(int, re.findall(r"\d+", noted)))
        if array.size != np.prod(shape, dtype=np.int64):
            raise DataError(f"{path}: holds {array.size} numbers, but notes the shape {noted}")
        return array.reshape(shape)
    return array[:, 0] if table.num_columns == 1 and not is_list(table.schema.types[0]) else array


def _array(table: pa.Table, path: Path) -> np.ndarray:
    columns = [_numbers(column, number, path) for number, column in enumerate(table.columns)]
    if len(columns) == 1:
        return columns[0]
    return np.concatenate(columns, axis=1) if columns else np.empty((table.num_rows, 0))


def _numbers(column: pa.ChunkedArray, number: int, path: Path) -> np.ndarray:
    """(R, 1) numbers of a column, or (R, C) of one of lists."""
    kind, rows = column.type, len(column)
    if is_list(kind):
        lengths = {len(value) if value.is_valid else 0 for value in column} if rows else {0}
        if len(lengths) > 1:
            raise DataError(f"{path}: column {number + 1} holds lists of different lengths: {sorted(lengths)[:2]}")
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type)
        kind = kind.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
            or pa.types.is_null(kind)):
        raise DataError(f"{path}: column {number + 1} holds {kind}, expected numbers{_first(column)}")
    array: np.ndarray = column.cast(pa.float64()).to_numpy() if pa.types.is_null(kind) else column.to_numpy()
    return array.reshape(rows, -1) if rows else array.reshape(0, 1)


def _first(column: pa.ChunkedArray) -> str:
    """Where the first value stands that is no number."""
    for row, value in enumerate(column):
        text = value.as_py()
        if text is not None and not _is_number(text):
            return f"; row {row + 1} has {text!r}"
    return ""


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a file into one of our errors."""
    if path.exists() and not path.is_file():        # a pipe would be waited on for ever
        raise DataError(f"{path}: not a file")
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not an array that can be read: {error}") from error
