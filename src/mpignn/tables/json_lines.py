"""Tables of which each line is a JSON object."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.json as arrow_json
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.tables.checks import UNREADABLE, first_line
from mpignn.tables.lines import Bytes, Stretch, line_of_row, split_lines
from mpignn.tables.table_file import Advance, Look, Part, Reached, look_at_all, untold

_BETWEEN = re.compile(rb"\}\s*\n\s*\{")
_CHUNK = 1 << 20
_FIRST_BYTES = 1 << 23         # names that come later are not found
_BLOCK_BYTES = 1 << 21


class JsonLines:
    """A file of JSON objects; see `mpignn.tables.table_file.TableFile`.

    Args:
        path: Its path.
        packed: As in `mpignn.tables.delimited.DelimitedFile`.
        as_text: Columns whose numbers must not be rounded, nor their texts read as times.
    """

    exact, unit = False, "bytes"

    def __init__(self, path: Path, packed: str | None, as_text: Sequence[str]) -> None:
        self.path, self.size = path, path.stat().st_size
        self._packed, self.is_whole = packed, packed is not None
        with self._explained():
            schema = self._reader({}, "infer").schema
            # Arrow rounds integers above 2^63 unless it is told what they are, and takes texts such as 2021-05-01 for
            # times.
            kinds = {name: schema.field(name).type for name in as_text if name in schema.names}
            wide = {name: pa.uint64() if pt.is_floating(kind) else pa.string() for name, kind in kinds.items()
                    if pt.is_floating(kind) or pt.is_timestamp(kind)}
            schema = self._reader(wide, "infer").schema if wide else schema
            self.types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def batches(self, types: Mapping[str, pa.DataType], part: Part | None = None, advance: Advance = untold
                ) -> Iterator[pa.RecordBatch]:
        """Columns, read as these types."""
        # A number is not read as a text, nor a text as a number: whoever wants that converts what comes.
        readable = {name: kind if _word(kind) == _word(self.types[name]) else self.types[name]
                    for name, kind in types.items()}
        reached = Reached(advance, part or (0, self.size))
        with self._explained():
            raw = pa.OSFile(str(self.path))
            for batch in self._reader(readable, "ignore", raw, part):
                batch.validate(full=True)       # Arrow takes texts here as they are
                yield batch.select(list(types))
                reached.tell(raw)
        reached.finish()

    def fitting(self, kinds: Mapping[str, Sequence[pa.DataType]], part: Part | None = None, advance: Advance = untold
                ) -> dict[str, tuple[pa.DataType, ...]]:
        """Those that hold all values; what is a number in one row is none in any other."""
        reached, found = Reached(advance, part or (0, self.size)), {name: tuple(some) for name, some in kinds.items()}
        if not self._can_be({name: some[0] for name, some in kinds.items()}, part, reached):
            found = {name: tuple(kind for kind in some if self._can_be({name: kind}, part, reached))
                     for name, some in kinds.items()}
        reached.finish()
        return found

    def look(self, first: int, last: int, advance: Advance = untold) -> tuple[Look, Look]:
        """A stretch is of bytes, and begins with the first object behind a line break in it; what is packed is not
        cut."""
        if self.is_whole:
            return look_at_all(self, {}, advance)
        with open(self.path, "rb") as stream:
            part = _object_begin(stream, first, self.size), _object_begin(stream, last, self.size)
        reached, num_rows = Reached(advance, (first, last)), 0
        with self._explained():
            raw = pa.OSFile(str(self.path))
            for batch in self._reader({}, "ignore", raw, part) if part[0] < part[1] else ():
                num_rows += batch.num_rows
                reached.tell(raw)
        reached.finish()
        return Look(part[0], num_rows), Look(part[0], num_rows)

    def where(self, row: int) -> str:
        """The line."""
        line = line_of_row(self._raw(), row, lambda text: not text.strip(), None)
        return f"{self.path}, row {row + 1}" if line is None else f"{self.path}, line {line}"

    def _can_be(self, types: Mapping[str, pa.DataType], part: Part | None, reached: Reached) -> bool:
        with self._explained():
            raw = pa.OSFile(str(self.path))
            try:
                for _ in self._reader(types, "ignore", raw, part):
                    reached.tell(raw)
            except (pa.ArrowInvalid, UnicodeDecodeError):
                return False
        return True

    def _raw(self, file: pa.NativeFile | None = None) -> Bytes:
        file = pa.OSFile(str(self.path)) if file is None else file
        stream: Bytes = file if self._packed is None else pa.CompressedInputStream(file, self._packed)
        return stream

    def _reader(self, types: Mapping[str, pa.DataType], others: str, raw: pa.NativeFile | None = None,
                part: Part | None = None) -> pa.RecordBatchReader:
        schema = pa.schema(list(types.items()))
        size = _FIRST_BYTES if others == "infer" else _BLOCK_BYTES
        stream = self._raw(raw) if raw is None or part is None or self.is_whole else Stretch(raw, *part)
        return arrow_json.open_json(stream, arrow_json.ReadOptions(block_size=size),
                              arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:        # of what is compressed
            raise DataError(f"{self.path}: cannot be read: {first_line(error)}; it is damaged, or was not written to "
                            "its end: write it again") from error
        except UNREADABLE as error:
            raise DataError(f"{self.path}{self._culprit() or f': cannot be read as JSON lines: {first_line(error)}'}; "
                            "expected an object in each line, and values of one type under each name") from error

    def _culprit(self) -> str | None:
        """The first line with which something is wrong, and what."""
        found: dict[str, tuple[str, int]] = {}
        number = 0
        for number, line in enumerate(split_lines(self._raw()), 1):
            where = f", line {number}: "
            try:
                pairs = json.loads(line.decode("utf-8-sig"), object_pairs_hook=list) if line.strip() else []
            except UnicodeDecodeError:
                return f"{where}not UTF-8; convert the file, such as with `iconv -f latin1 -t utf8`"
            except ValueError as error:
                return f"{where}not JSON: {error}"
            if not line.strip().startswith((b"{", b"\xef\xbb\xbf{")):
                if line.strip():
                    return f"{where}not an object"
                continue
            for place, (name, value) in enumerate(pairs):
                if name in (earlier for earlier, _ in pairs[:place]):
                    return f"{where}{name} stands in it twice"
                word = _WORDS.get(type(value), "something else")
                before, first = found.setdefault(name, (word, number)) if value is not None else (word, 0)
                if before != word:
                    return f"{where}{name} is {word}, but {before} in line {first}"
        return None if number else ": is empty"


def _object_begin(stream: IO[bytes], place: int, size: int) -> int:
    """Where the first object begins that a line break, behind a place of a text, parts from the one before it.

    Texts hold no line breaks, and two objects in one another or in a list have more than blanks between them.
    """
    if not place:
        return 0
    stream.seek(place)
    text, begin = b"", place
    while chunk := stream.read(_CHUNK):
        text += chunk
        found = _BETWEEN.search(text)
        if found is not None:
            return begin + found.end() - 1
        end = max(0, text.rfind(b"}"))
        text, begin = text[end:], begin + end
    return size


_WORDS = {bool: "true or false", int: "a number", float: "a number", str: "a text"}


def _word(kind: pa.DataType) -> str:
    if pt.is_integer(kind) or pt.is_floating(kind):
        return "a number"
    return "a text" if pt.is_string(kind) or pt.is_timestamp(kind) else str(kind)
