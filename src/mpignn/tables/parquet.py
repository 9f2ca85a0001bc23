"""Tables in the Parquet format."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mpignn.tables.checks import check_names, damaged
from mpignn.tables.table_file import Advance, Look, Part, untold

_BLOCK_BYTES = 1 << 24
_BUFFER_BYTES = 1 << 20
_MOST_ROWS = 1 << 20


class ParquetTable:
    """A Parquet file; see `mpignn.tables.table_file.TableFile`."""

    exact, unit = True, "rows"
    is_whole = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with damaged(path, "a Parquet file"):
            # Groups of rows are not read as a whole, nor all of them ahead.
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            schema = self._file.schema_arrow
        check_names(path, schema.names)
        self.types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))
        self.size: int = self._file.metadata.num_rows

    def batches(self, types: Mapping[str, pa.DataType], part: Part | None = None, advance: Advance = untold
                ) -> Iterator[pa.RecordBatch]:
        """Columns, in the types that the file tells; blocks do not cross groups of rows."""
        begin, end = (0, self.size) if part is None else part
        groups, row = self._groups(begin, end)
        with damaged(self.path, "a Parquet file"):
            for whole in self._file.iter_batches(self._rows_of_a_block(set(types)), groups, list(types)):
                batch = whole.slice(max(0, begin - row), max(0, end - max(begin, row)))
                row += whole.num_rows
                if batch.num_rows:      # a group of which only some rows are wanted may be read in several batches
                    batch.validate(full=True)       # not all texts need be UTF-8
                    yield batch.select(list(types))
                    advance(batch.num_rows)
                if row >= end:
                    break

    def fitting(self, kinds: Mapping[str, Sequence[pa.DataType]], part: Part | None = None, advance: Advance = untold
                ) -> dict[str, tuple[pa.DataType, ...]]:
        """They are what the file tells; nothing is read."""
        advance(self.size if part is None else part[1] - part[0])
        return {name: tuple(some) for name, some in kinds.items()}

    def look(self, first: int, last: int, advance: Advance = untold) -> tuple[Look, Look]:
        """A stretch is of rows; nothing is read."""
        advance(last - first)
        return Look(first, last - first), Look(first, last - first)

    def where(self, row: int) -> str:
        """Rows are counted from 1."""
        return f"{self.path}, row {row + 1}"

    def _groups(self, begin: int, end: int) -> tuple[list[int], int]:
        """The groups with the rows ``begin:end``, and the first row of the first of them."""
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.metadata.num_row_groups)]
        firsts = [0, *itertools.accumulate(sizes)]
        groups = [i for i in range(len(sizes)) if firsts[i] < end and firsts[i + 1] > begin]
        return groups, firsts[groups[0]] if groups else 0

    def _rows_of_a_block(self, wanted: set[str]) -> int:
        metadata = self._file.metadata
        num_bytes = num_rows = 0
        for i in range(min(metadata.num_row_groups, 16)):
            group = metadata.row_group(i)
            columns = map(group.column, range(group.num_columns))
            num_bytes += sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] in wanted)
            num_rows += group.num_rows
        return max(1, min(_MOST_ROWS, _BLOCK_BYTES * num_rows // max(1, num_bytes)))
