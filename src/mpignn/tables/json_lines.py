"""Tables of which each line is a JSON object."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.json as json
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.tables.checks import first_line
from mpignn.tables.kinds import TYPED
from mpignn.tables.lines import line_not_utf8, line_of_row

_BLOCK_BYTES = 1 << 23


class JsonLines:
    """A file of JSON objects; see `mpignn.tables.table_file.TableFile`.

    Args:
        path: Its path.
        packed: As in `mpignn.tables.delimited.DelimitedFile`.
        as_text: Columns whose numbers must not be rounded.
    """

    exact = False

    def __init__(self, path: Path, packed: str | None, as_text: Sequence[str]) -> None:
        self.path = path
        self._packed = packed
        with self._explained():
            schema = self._reader({}, "infer").schema
            wide = {name: pa.uint64() for name in as_text if name in schema.names
                    and pt.is_floating(schema.field(name).type)}
            # Arrow rounds integers above 2^63 unless it is told what they are.
            schema = self._reader(wide, "infer").schema if wide else schema
            self.types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Columns, read as these types."""
        with self._explained():
            for batch in self._reader(types, "ignore"):
                batch.validate(full=True)       # Arrow takes texts here as they are
                yield batch.select(list(types))

    def settled(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Types that hold all values; what is a number in one row is none in any other."""
        if self._can_be(types):
            return dict(types)
        found = {}
        for name, kind in types.items():
            wider = TYPED if pt.is_null(kind) else (pa.float64(),) if pt.is_integer(kind) else ()
            found[name] = next((k for k in (kind, *wider) if self._can_be({name: k})), pa.string())
        return found

    def where(self, row: int) -> str:
        """The line."""
        line = line_of_row(self._raw(), row, lambda text: not text.strip(), None)
        return f"{self.path}, row {row + 1}" if line is None else f"{self.path}, line {line}"

    def _can_be(self, types: Mapping[str, pa.DataType]) -> bool:
        try:
            for _ in self._reader(types, "ignore"):
                pass
        except pa.ArrowInvalid:
            return False
        return True

    def _raw(self) -> IO[bytes]:
        stream: IO[bytes] = pa.input_stream(str(self.path), compression=self._packed)
        return stream

    def _reader(self, types: Mapping[str, pa.DataType], others: str) -> pa.RecordBatchReader:
        schema = pa.schema(list(types.items()))
        return json.open_json(self._raw(), json.ReadOptions(block_size=_BLOCK_BYTES),
                              json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {first_line(error)}; it is damaged, or was not written to "
                            "its end: write it again") from error
        except (pa.ArrowException, UnicodeDecodeError) as error:
            if line_not_utf8(self._raw()) is not None:
                raise DataError(f"{self.path}, line {line_not_utf8(self._raw())}: not UTF-8; convert the file, such "
                                "as with `iconv -f latin1 -t utf8`") from error
            said = first_line(error)
            if "Empty JSON" in said:
                raise DataError(f"{self.path}: is empty; expected an object in each line") from error
            said = re.sub(r" in row \d+$", "", said)
            raise DataError(f"{self.path}: cannot be read as JSON lines: {said}; expected an object in each line, and "
                            "values of one type under each name") from error
