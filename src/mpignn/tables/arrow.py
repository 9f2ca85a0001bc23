"""Tables in Arrow's own format, as files or streams; files of this kind are called Feather, too."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc

from mpignn.errors import DataError
from mpignn.tables.checks import check_names, damaged
from mpignn.tables.table_file import Advance, Look, Part, Reached, look_at_all, untold

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
        self.is_whole = magic != b"ARROW1"      # a stream
        self.unit = "bytes" if self.is_whole else "batches"
        with damaged(path, _KIND):
            reader, _ = self._open()
            schema = reader.schema
            self.size: int = path.stat().st_size if self.is_whole else reader.num_record_batches
        check_names(path, schema.names)
        self.types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def batches(self, types: Mapping[str, pa.DataType], part: Part | None = None, advance: Advance = untold
                ) -> Iterator[pa.RecordBatch]:
        """Columns, in the types that the file tells; batches that are large come in pieces."""
        with damaged(self.path, _KIND):
            for whole in self._whole(part, advance):
                batch = whole.select(list(types))
                batch.validate(full=True)       # of what is damaged, bounds of texts could lie anywhere
                step = max(1, _BLOCK_BYTES * batch.num_rows // max(1, batch.nbytes))
                for first in range(0, batch.num_rows, step):
                    yield batch.slice(first, step)

    def fitting(self, kinds: Mapping[str, Sequence[pa.DataType]], part: Part | None = None, advance: Advance = untold
                ) -> dict[str, tuple[pa.DataType, ...]]:
        """They are what the file tells; nothing is read."""
        advance(self.size if part is None else part[1] - part[0])
        return {name: tuple(some) for name, some in kinds.items()}

    def look(self, first: int, last: int, advance: Advance = untold) -> tuple[Look, Look]:
        """A stretch is of batches; streams are read as a whole."""
        if self.is_whole:
            return look_at_all(self, {}, advance)
        with damaged(self.path, _KIND):
            reader, _ = self._open(ipc.IpcReadOptions(included_fields=[0]))
            found = Look(first, sum(reader.get_batch(i).num_rows for i in range(first, last)))
        advance(last - first)
        return found, found

    def where(self, row: int) -> str:
        """Rows are counted from 1."""
        return f"{self.path}, row {row + 1}"

    def _open(self, options: ipc.IpcReadOptions | None = None
              ) -> tuple[ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader, pa.NativeFile]:
        mapped = pa.memory_map(str(self.path))
        return ipc.open_stream(mapped) if self.is_whole else ipc.open_file(mapped, options=options), mapped

    def _whole(self, part: Part | None, advance: Advance) -> Iterator[pa.RecordBatch]:
        reader, mapped = self._open()
        reached = Reached(advance, (0, self.size if self.is_whole else 0))
        for batch in reader if self.is_whole else map(reader.get_batch, range(*(part or (0, self.size)))):
            yield batch
            if self.is_whole:
                reached.tell(mapped)
            else:
                advance(1)
        reached.finish()
