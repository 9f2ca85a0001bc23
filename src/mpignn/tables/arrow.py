"""Tables in Arrow's own format, as files or streams; files of this kind are called Feather, too."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc

from mpignn.errors import DataError
from mpignn.tables.checks import check_names, damaged

_BLOCK_BYTES = 1 << 24
_KIND = "an Arrow file"


class ArrowFile:
    """A file of Arrow batches; see `mpignn.tables.table_file.TableFile`."""

    exact = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            magic = file.read(6)
        if magic[:4] == b"FEA1":
            raise DataError(f"{path}: the first version of Feather, which is no longer read; write it again, such as "
                            "with pyarrow.feather.write_feather")
        self._is_stream = magic != b"ARROW1"
        with damaged(path, _KIND):
            schema = self._open().schema
        check_names(path, schema.names)
        self.types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Columns, in the types that the file tells; batches that are large come in pieces."""
        with damaged(self.path, _KIND):
            for whole in self._whole():
                batch = whole.select(list(types))
                batch.validate(full=True)       # of what is damaged, bounds of texts could lie anywhere
                step = max(1, _BLOCK_BYTES * batch.num_rows // max(1, batch.nbytes))
                for first in range(0, batch.num_rows, step):
                    yield batch.slice(first, step)

    def settled(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """They are what the file tells."""
        return dict(types)

    def where(self, row: int) -> str:
        """Rows are counted from 1."""
        return f"{self.path}, row {row + 1}"

    def _open(self) -> ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader:
        mapped = pa.memory_map(str(self.path))
        return ipc.open_stream(mapped) if self._is_stream else ipc.open_file(mapped)

    def _whole(self) -> Iterator[pa.RecordBatch]:
        reader = self._open()
        if self._is_stream:
            yield from reader
        else:
            yield from map(reader.get_batch, range(reader.num_record_batches))
