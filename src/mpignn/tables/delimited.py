"""Tables whose rows are lines of text.

A value is missing if it is empty, or one of `MISSING` that is not in quotes.  Values in quotes may hold delimiters,
line breaks, and quotes that are written twice.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mpignn.errors import DataError
from mpignn.tables.checks import UNREADABLE, check_names, first_line
from mpignn.tables.kinds import first_bad, holds
from mpignn.tables.lines import (
    Bytes,
    Stretch,
    has_cr_alone,
    line_begin,
    line_not_utf8,
    line_of_row,
    look_at_rows,
    unclosed_quote,
)
from mpignn.tables.table_file import Advance, Look, Part, Reached, look_at_all, untold

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A")
"""What stands for a missing value, in numbers as in texts."""

_BLOCK_BYTES = 1 << 21         # Arrow reads 32 of them ahead
_MOST_SHOWN = 60
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)")


@dataclass(frozen=True)
class Dialect:
    """How rows are written.

    Attributes:
        delimiter: What separates values.
        quotes: Whether values may be in quotes.
        skipped: Whether a line is no row.
        cleaned: What makes of the text one whose rows follow each other, values separated by the delimiter alone.
    """

    delimiter: str
    quotes: bool = True
    skipped: Callable[[bytes], bool] = lambda line: not line.strip(b"\r")
    cleaned: Callable[[Bytes], Bytes] = lambda stream: stream


class DelimitedFile:
    """A file of lines; see `mpignn.tables.table_file.TableFile`.

    Args:
        path: Its path.
        packed: How it is compressed, as Arrow calls that; None: it is not.
        dialect: How its rows are written.
        header: Names of the columns; None: they stand in the first row.
        as_text: Columns whose types are not guessed.
    """

    exact, unit = False, "bytes"

    def __init__(self, path: Path, packed: str | None, dialect: Dialect, header: Sequence[str] | None,
                 as_text: Sequence[str]) -> None:
        self.path, self.size = path, path.stat().st_size
        self._packed, self._dialect = packed, dialect
        self.is_whole = packed is not None or has_cr_alone(path)
        self._header = None if header is None else list(header)
        self._no_rows = False
        with self._explained({}):
            schema = self._schema(dict.fromkeys(as_text, pa.string()))
            names = schema.names
        check_names(path, names)
        self.types: Mapping[str, pa.DataType] = dict(zip(names, schema.types, strict=True))
        self._names = names
        if pa.binary() in schema.types:
            raise self._not_utf8()

    def batches(self, types: Mapping[str, pa.DataType], part: Part | None = None, advance: Advance = untold
                ) -> Iterator[pa.RecordBatch]:
        """Columns, read as these types."""
        reached = Reached(advance, part or (0, self.size))
        if self._no_rows:
            reached.finish()
            return
        texts = {i for i, kind in enumerate(types.values()) if kind == pa.string()}
        with self._explained(types):
            raw = self._file()
            for batch in self._reader(types, part=part, raw=raw):
                yield pa.RecordBatch.from_arrays(
                    [_without_empty(array) if i in texts else array for i, array in enumerate(batch.columns)],
                    names=list(types))
                reached.tell(raw)
        reached.finish()

    def fitting(self, kinds: Mapping[str, Sequence[pa.DataType]], part: Part | None = None, advance: Advance = untold
                ) -> dict[str, tuple[pa.DataType, ...]]:
        """Those that hold all values; where the narrowest do, all do."""
        found, reached = {name: tuple(some) for name, some in kinds.items()}, Reached(advance, part or (0, self.size))
        try:
            if not self._no_rows:
                raw = self._file()
                for _ in self._reader({name: some[0] for name, some in found.items()}, part=part, raw=raw):
                    reached.tell(raw)
            reached.finish()
            return found
        except UNREADABLE:
            pass        # read what is there as texts
        for batch in self.batches(dict.fromkeys(kinds, pa.string()), part):
            for name, array in zip(kinds, batch.columns, strict=True):
                texts = pc.utf8_trim_whitespace(array)
                found[name] = tuple(kind for kind in found[name] if holds(kind, texts))
        reached.finish()
        return found

    def look(self, first: int, last: int, advance: Advance = untold) -> tuple[Look, Look]:
        """A stretch is of bytes, and begins with the first line that begins in it; what is packed is not cut."""
        if self.is_whole:
            return look_at_all(self, {self._names[0]: pa.string()}, advance)
        with open(self.path, "rb") as stream:
            begin, end = line_begin(stream, first), line_begin(stream, last)
            reached = Reached(advance, (first, last))
            found = look_at_rows(Stretch(stream, begin, end), self._dialect.skipped, self._quoting(), reached)
            reached.finish()
        named = begin == 0 and self._header is None and found[0].num_rows > 0
        return (replace(found[0], num_rows=found[0].num_rows - 1) if named else found[0]), found[1]

    def where(self, row: int) -> str:
        """The line, or the row, counted from 1, if rows are not lines."""
        line = line_of_row(self._raw(), row + (self._header is None), self._dialect.skipped, self._quoting())
        return f"{self.path}, row {row + 1}" if line is None else f"{self.path}, line {line}"

    def _quoting(self) -> bytes | None:
        return self._dialect.delimiter.encode() if self._dialect.quotes else None

    def _file(self) -> pa.NativeFile:
        return pa.OSFile(str(self.path))

    def _raw(self, file: pa.NativeFile | None = None) -> Bytes:
        file = self._file() if file is None else file
        stream: Bytes = file if self._packed is None else pa.CompressedInputStream(file, self._packed)
        return stream

    def _schema(self, types: Mapping[str, pa.DataType]) -> pa.Schema:
        try:
            return self._reader(types, ()).schema
        except pa.ArrowInvalid as error:
            if "cannot infer number of columns" not in str(error):
                raise
        # Arrow takes a single line for a row of unknown width if nothing ends it.
        text = self._raw().read().decode()
        self._no_rows = True
        reader = csv.open_csv(pa.BufferReader(f"{text}\n".encode()), parse_options=self._parsing())
        return reader.schema

    def _parsing(self) -> csv.ParseOptions:
        return csv.ParseOptions(delimiter=self._dialect.delimiter, newlines_in_values=self._dialect.quotes,
                                quote_char='"' if self._dialect.quotes else False)

    def _reader(self, types: Mapping[str, pa.DataType], columns: Sequence[str] | None = None, ahead: bool = True,
                part: Part | None = None, raw: pa.NativeFile | None = None) -> csv.CSVStreamingReader:
        """Arrow's, of the columns whose types are given; of all, if ``columns`` is empty.

        Only one that does not read ahead tells the numbers of rows.
        """
        raw = self._file() if raw is None else raw
        header, stream = self._header, self._raw(raw)
        if part is not None and not self.is_whole:
            header = self._names if part[0] else header
            stream = Stretch(raw, *part)
        return csv.open_csv(
            self._dialect.cleaned(stream),
            csv.ReadOptions(use_threads=ahead, block_size=_BLOCK_BYTES, column_names=header),
            self._parsing(),
            csv.ConvertOptions(column_types=dict(types), strings_can_be_null=True, quoted_strings_can_be_null=False,
                               null_values=list(MISSING), include_columns=list(types if columns is None else columns)))

    @contextmanager
    def _explained(self, types: Mapping[str, pa.DataType]) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            raise self._explanation(error, types) from error

    def _explanation(self, error: Exception, types: Mapping[str, pa.DataType]) -> DataError:
        said = first_line(error)
        if isinstance(error, OSError):
            return DataError(f"{self.path}: cannot be read: {said}; it is damaged, or was not written to its end: "
                             "write it again")
        if self._raw().read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return DataError(f"{self.path}: is UTF-16; convert the file, such as with `iconv -f utf16 -t utf8`")
        unreadable = isinstance(error, UnicodeDecodeError) or "UTF8" in said or "\ufffd" in str(error)
        if unreadable and line_not_utf8(self._raw()) is not None:
            return self._not_utf8()
        if "Empty CSV" in said:
            return DataError(f"{self.path}: is empty; expected {'rows' if self._header else 'a line of names'}")
        unclosed = unclosed_quote(self._raw(), self._dialect.skipped, self._quoting())
        if unclosed is not None:
            return DataError(f"{self.path}, line {unclosed}: a value begins with a quote that is never closed; close "
                             "it, or write a quote that belongs to a value twice, and the value in quotes")
        if "straddl" in said:
            return DataError(f"{self.path}: a row is longer than {_BLOCK_BYTES >> 20} MiB; write it as Parquet")
        if "conversion error" in said:
            return self._bad_value(types)
        return self._ragged() or DataError(f"{self.path}: cannot be read: {said}")

    def _not_utf8(self) -> DataError:
        return DataError(f"{self.path}, line {line_not_utf8(self._raw())}: not UTF-8; convert the file, such as with "
                         "`iconv -f latin1 -t utf8`")

    def _ragged(self) -> DataError | None:
        """What to say of the first row that has too many values or too few."""
        try:
            for _ in self._reader({}, (), ahead=False):
                pass
        except pa.ArrowInvalid as error:
            found = _RAGGED.search(str(error))
            if found is None:
                return None
            number, expected, actual, text = found.groups()
            quotes = "; a value that holds a delimiter is written in quotes" if self._dialect.quotes else ""
            where = self.where(int(number) - 1 - (self._header is None))
            text = text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + " ..."
            values = "value" if actual == "1" else "values"
            return DataError(f"{where}: {actual} {values}, expected {expected}: {text}{quotes}")
        return None

    def _bad_value(self, types: Mapping[str, pa.DataType]) -> DataError:
        row = 0
        for batch in self.batches(dict.fromkeys(types, pa.string())):
            bad = {name: first_bad(pc.utf8_trim_whitespace(array), types[name])
                   for name, array in zip(types, batch.columns, strict=True)}
            found = {name: at for name, at in bad.items() if at is not None}
            if found:
                name = min(found, key=lambda name: found[name])
                value = batch.column(list(types).index(name))[found[name]].as_py()
                return DataError(f"{self.where(row + found[name])}: {name} is {value!r}, expected {types[name]}")
            row += batch.num_rows
        return DataError(f"{self.path}: a value cannot be read as {', '.join(map(str, types.values()))}")


def _without_empty(texts: pa.Array) -> pa.Array:
    empty = pc.equal(texts, "")
    return pc.if_else(empty, None, texts) if pc.any(empty).as_py() else texts
