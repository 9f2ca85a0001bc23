"""Tables in the Parquet format."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mpignn.tables.checks import check_names, damaged

_BLOCK_BYTES = 1 << 24
_BUFFER_BYTES = 1 << 20
_MOST_ROWS = 1 << 20


class ParquetTable:
    """A Parquet file; see `mpignn.tables.table_file.TableFile`."""

    exact = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with damaged(path, "a Parquet file"):
            # Groups of rows are not read as a whole, nor all of them ahead.
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            schema = self._file.schema_arrow
        check_names(path, schema.names)
        self.types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Columns, in the types that the file tells; blocks do not cross groups of rows."""
        with damaged(self.path, "a Parquet file"):
            for batch in self._file.iter_batches(self._rows_of_a_block(set(types)), columns=list(types)):
                batch.validate(full=True)       # not all texts need be UTF-8
                yield batch.select(list(types))

    def settled(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """They are what the file tells."""
        return dict(types)

    def where(self, row: int) -> str:
        """Rows are counted from 1."""
        return f"{self.path}, row {row + 1}"

    def _rows_of_a_block(self, wanted: set[str]) -> int:
        metadata = self._file.metadata
        num_bytes = num_rows = 0
        for i in range(min(metadata.num_row_groups, 16)):
            group = metadata.row_group(i)
            columns = map(group.column, range(group.num_columns))
            num_bytes += sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] in wanted)
            num_rows += group.num_rows
        return max(1, min(_MOST_ROWS, _BLOCK_BYTES * num_rows // max(1, num_bytes)))
