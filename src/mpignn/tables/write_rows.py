"""Tables that people and other programs read, written some rows at a time: CSV, TSV and Parquet.

Equal rows give equal bytes.

Shapes: n rows in hand.
"""

import gzip
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from mpignn.tables.columns import Coded, Column
from mpignn.tables.delimited import MISSING
from mpignn.tables.endings import TableKind

_GROUP_BYTES = 1 << 25      # of columns, in a row group of a Parquet file
_LEVEL = 6                  # of gzip


class TableWriter:
    """Writes a table from its first row to its last; a context manager that completes the file.

    Raises (all methods):
        OSError: The file cannot be written.
    """

    def __init__(self, path: Path, kind: TableKind) -> None:
        """Make a file, which must not be there.  Not collective."""
        self._file: IO[bytes] = path.open("xb")
        self._rows: _TextRows | _ParquetRows = (
            _ParquetRows(self._file) if kind.separator is None else
            _TextRows(self._file, kind.separator, kind.gzipped))

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self._rows.end(error is None)
        finally:
            self._file.close()

    def append(self, columns: Mapping[str, Column]) -> None:
        """Write the next rows: columns by name, the same ones each time, of equal length."""
        self._rows.append(pa.RecordBatch.from_arrays(list(map(_arrow, columns.values())), list(columns)))


def _arrow(column: Column) -> pa.Array:
    if isinstance(column, Coded):
        codes = pa.array(column.codes.astype(np.int32))
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.names, pa.string())).dictionary_decode()
    if isinstance(column, np.ndarray):
        return pa.array(column)
    if column.bounds is None:
        return pa.array(column.values)
    bounds = (column.bounds - column.bounds[0]).astype(np.int32)
    values = column.values[column.bounds[0]:column.bounds[-1]]
    return pa.StringArray.from_buffers(len(column), pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(values)))


class _TextRows:
    """Lines of values between separators, quoted where they must be, in the way of RFC 4180."""

    def __init__(self, file: IO[bytes], separator: str, gzipped: bool) -> None:
        self._separator = separator
        self._packed = gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) if gzipped else None
        self._file: Any = self._packed or file
        self._began = False

    def append(self, rows: pa.RecordBatch) -> None:
        if not self._began:
            self._began = True
            self._write([pa.array([name]) for name in rows.schema.names])
        if rows.num_rows:
            self._write(rows.columns)

    def end(self, whole: bool) -> None:
        if self._packed is not None and whole:
            self._packed.close()

    def _write(self, columns: list[pa.Array]) -> None:
        texts = [self._quoted(column) if pa.types.is_string(column.type) else column.cast(pa.string())
                 for column in columns]
        lines = pc.binary_join_element_wise(*texts, self._separator)
        lines = pc.binary_join_element_wise(lines, "", "\n")
        first, last = np.frombuffer(lines.buffers()[1], np.int32)[[lines.offset, lines.offset + len(lines)]]
        self._file.write(memoryview(lines.buffers()[2])[first:last])

    def _quoted(self, texts: pa.Array) -> pa.Array:
        """Texts, those in quotation marks that would be read as something else without."""
        special = pc.or_(pc.match_substring_regex(texts, f'["\r\n{self._separator}]'),
                         pc.is_in(texts, pa.array(MISSING)))
        if not pc.any(special).as_py():
            return texts
        doubled = pc.replace_substring(texts, '"', '""')
        return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), texts)


class _ParquetRows:
    """Groups of rows of about equal size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: parquet.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0

    def append(self, rows: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, rows.schema)
        if rows.num_rows:
            self._waiting.append(rows)
            self._bytes += rows.nbytes
        if self._bytes >= _GROUP_BYTES:
            self._write(self._writer)

    def end(self, whole: bool) -> None:
        if self._writer is None:
            return
        if whole:
            self._write(self._writer)
            self._writer.close()
            return
        with suppress(OSError):         # it would write the file's end; the first error is the one that counts
            self._writer.close()

    def _write(self, writer: parquet.ParquetWriter) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            writer.write_table(table, row_group_size=table.num_rows)
            self._waiting, self._bytes = [], 0
