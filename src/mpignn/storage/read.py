"""A partitioned graph on disk, read-only.

Shapes: P partitions, N nodes of a type.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike

from mpignn.errors import DataError, IDError, UnknownName
from mpignn.files import almost_named
from mpignn.graph.array_key import OUT, ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, EType, Schema, etype_key
from mpignn.log import beat
from mpignn.shown import Shown
from mpignn.storage.arrays import (
    Store,
    StoredArray,
    Stretch,
    damage_named,
    read_number,
    read_rows,
    stored_array,
    stretches,
)
from mpignn.storage.schema import GRAPH_FILE, MEND, SCHEMA, axis, edge_path, node_path, out_path, part_file
from mpignn.storage.user_names import UserNames, read_names

_OPEN_PARTS = 64        # part files kept open at a time: a job may have thousands of them, and few handles


class GraphFile(Shown):
    """Metadata and rows of a partitioned graph; a context manager that closes the files.  Nothing is collective.

    Attributes:
        path: Path of graph.h5.
        graph_id: Hash of all that the files hold.
        source_id: Hash of the graph in original ids, the same in every cut; ``graph_id`` in files without one.
        num_parts: P.
        schema, book: Names of the types; who owns what.
        infos: The arrays of the part files, by their paths in them.
        part_crcs: (P,) uint32 CRC-32 of each part file.
        report: Cut, halo and balance, as `mpignn.partition.report.make_report` made them.

    Raises (construction and all methods):
        DataError: A file that is missing, damaged, or of another graph.
    """

    SHOWN = ("path",)

    def __init__(self, path: str | Path, partial: bool = False, staged: Mapping[int, Path] | None = None) -> None:
        """Open a graph.

        Args:
            path: The folder, or graph.h5 in it.
            partial: Open it also if part files are missing or have the wrong size.
            staged: Copies of part files that are read instead of those beside graph.h5, by number.
        """
        path = Path(path)
        self._staged = staged or {}
        self.path = path / GRAPH_FILE if path.is_dir() else path
        if not self.path.is_file():
            meant = almost_named(path) or "; `mpignn partition SRC OUT` makes a graph"
            raise DataError(f"{self.path}: no such file{meant}")
        self._parts: dict[int, tuple[h5py.File, dict[str, StoredArray]]] = {}
        self._file = _open(self.path, "graph")
        try:
            with damage_named(str(self.path)):
                self._read_metadata()
            for problem in () if partial else self.size_problems():
                raise DataError(problem)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "GraphFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; harmless when they are closed already."""
        for file in (*(file for file, _ in self._parts.values()), self._file):
            file.close()
        self._parts.clear()

    @property
    def part_paths(self) -> list[Path]:
        """The part files, by number."""
        return [self._part_path(part) for part in range(self.num_parts)]

    def size_problems(self) -> Iterator[str]:
        """What is wrong with the part files at first sight: missing, or of another size than was written."""
        for path, size in zip(self.part_paths, self._bytes, strict=True):
            if not path.is_file():
                yield f"{path}: no such file, but the graph has {self.num_parts} parts; copy it here or {MEND}"
            elif path.stat().st_size != size:
                yield (f"{path}: expected {size} bytes, got {path.stat().st_size}: the copy is incomplete or of "
                       f"another graph; copy it again or {MEND}")

    def splits(self, key: str) -> tuple[str, ...]:
        """Names of the splits of a node type, or of an edge type given as ``src:rel:dst``."""
        return self._splits.get(key, ())

    def split(self, key: str, name: str) -> np.ndarray:
        """int64 new ids of a split, in order of original id.

        Raises:
            UnknownName: The type has no such split.
        """
        data = self._split(key, name)
        return self._split_ids(data, key, 0, data.shape[0])

    def split_size(self, key: str, name: str) -> int:
        """How many ids a split has; errors as of `split`."""
        return self._split(key, name).shape[0]

    def split_pieces(self, key: str, name: str) -> Iterator[np.ndarray]:
        """`split`, some ids at a time.

        Raises:
            UnknownName: The type has no such split.
        """
        data = self._split(key, name)
        for first, last in data.blocks():
            yield self._split_ids(data, key, first, last)

    @cached_property
    def user_names(self) -> UserNames:
        """What users call nodes and classes: where the ids are, and the names."""
        sizes = {ntype: self.book.num_nodes(ntype) for ntype in self.schema.ntypes}
        return read_names(self._file, str(self.path), self.report, sizes)

    @property
    def tables(self) -> Mapping[str, Any] | None:
        """How its data was made of tables, as `mpignn.tables.record` says; None: it was not."""
        if not self.report.get("tables", False):
            return None
        with damage_named(f"{self.path}: tables"):
            found: Mapping[str, Any] = json.loads(self._texts("tables")[0])
            return found

    def new_ids(self, ntype: str) -> np.ndarray:
        """(N,) int64 new id of each original id of a node type."""
        name = self.schema.ntype(ntype)
        return self._read_whole(f"map/{name}", np.int64, self.book.num_nodes(name))

    @cached_property
    def served(self) -> dict[str, ArrayInfo]:
        """``infos``, and ``node/<type>/new_id``: the new id of each original id, by original id."""
        maps = {name: ArrayInfo(name, np.dtype(np.int64), ())
                for name in (ArrayKey.node(t, "new_id").path for t in self.schema.ntypes)}
        return self.infos | maps

    def stored(self, name: str, part: int) -> StoredArray:
        """Where the rows are that a part file has of one of ``infos``.

        The first call asks for all arrays of all parts, so that each of these, which may be many, is opened once.
        """
        return self._all_stored[part][name]

    @cached_property
    def _all_stored(self) -> list[dict[str, StoredArray]]:
        return [{name: self._stored(part, info) for name, info in self.infos.items()}
                for part in range(self.num_parts)]

    def num_rows(self, name: str) -> int:
        """Global rows of an array, those of all parts together."""
        return int(axis(ArrayKey.parse(self._info(name).name), self.book)[0][-1])

    def edge_start(self, etype: EType, row: int, direction: str = "in") -> int:
        """Global id of the first in-edge of destination ``row``, in 0..N; the number of edges for row N.

        A read of one number, without its block's checksum.

        Args:
            etype: Edge type.
            row: Destination; of out-edges, source.
            direction: ``out``: the first place among the out-edges instead.
        """
        key = ArrayKey.out(etype, "indptr") if direction == "out" else ArrayKey.edge(etype, "indptr")
        ranges, _ = axis(key, self.book)
        edges = (self.book.out_ranges if key.kind == OUT else self.book.edge_ranges)[etype]
        part = int(np.searchsorted(ranges, row, side="right")) - 1
        if not 0 <= row <= ranges[-1]:
            raise IDError(f"{self.path}: row {row} of {etype_key(etype)} asked for, of {ranges[-1]}")
        if row == ranges[part]:
            return int(edges[part])
        data = self._stored(part, self._info(key.path))
        with damage_named(where := data.where):
            start = read_number(data, row - int(ranges[part]))
        if not edges[part] <= start <= edges[part + 1]:
            raise DataError(f"{where}[{row - ranges[part]}] = {start} is outside the partition's edges "
                            f"{edges[part]}..{edges[part + 1]}; {MEND}")
        return start

    def read(self, name: str, lo: int, hi: int, out: np.ndarray) -> None:
        """Read the global rows ``lo:hi`` of an array, verifying checksums.

        Args:
            name: One of ``served``.
            out: Flat, C-contiguous, dtype of the array: ``(hi - lo) * width`` elements; of an ``indptr``, where row v
                is the pair of elements v and v + 1, one more than rows.

        Raises:
            IDError: Rows outside the array.
        """
        self.read_many([(name, lo, hi, out, None)])

    def read_many(self, wanted: Iterable[tuple[str, int, int, np.ndarray, Store | None]], threads: int = 1) -> None:
        """`read` several times, the blocks of all spread over threads.

        Args:
            wanted: Arguments of `read`, and what copies whole elements, read but not verified yet, into ``out``;
                None: they are read into it.
            threads: That read at a time.
        """
        todo = [stretch for one in wanted for stretch in self._stretches(*one)]
        threads = min(threads, len(todo))
        if threads <= 1:        # threads take longer to start than most arrays of a graph of many types to be read
            for stretch in todo:
                _read_stretch(stretch)
                beat()
            return
        with ThreadPoolExecutor(threads) as pool:
            try:
                for _ in pool.map(_read_stretch, todo):
                    beat()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _stretches(self, name: str, lo: int, hi: int, out: np.ndarray, store: Store | None) -> list[Stretch]:
        """What there is to read for some rows; arguments and errors of `read`."""
        info = self._info(name)
        key = ArrayKey.parse(name)
        ranges, extra = axis(key, self.book)
        if name not in self.infos:
            rows = out.reshape(hi - lo)
            with damage_named(f"{self.path}: {name}"):
                data = stored_array(self._file, str(self.path), f"map/{key.owner}")
                return stretches(data, lo, hi, rows, store) if lo < hi else []
        if not 0 <= lo <= hi <= ranges[-1]:
            raise IDError(f"{self.path}: rows {lo}..{hi} of {name} asked for, of {ranges[-1]}")
        assert out.dtype == info.dtype and out.shape == ((hi - lo + extra) * info.width,), f"{name}: {out.shape}"
        rows = out.reshape(hi - lo + extra, *info.row_shape)
        found: list[Stretch] = []
        if extra and lo == hi:
            out[0] = self.edge_start(key.etype, lo, "out" if key.kind == OUT else "in")
            return found
        first = int(np.searchsorted(ranges, lo, side="right")) - 1
        last = int(np.searchsorted(ranges, hi, side="left"))
        for part in range(first, last):
            begin, end = max(lo, int(ranges[part])), min(hi, int(ranges[part + 1]))
            if begin == end:
                continue
            base = int(ranges[part])
            more = extra if end == hi else 0    # the last number of a part's indptr is the first of the next part's
            found += stretches(self._stored(part, info), begin - base, end - base + more,
                               rows[begin - lo:end - lo + more], store)
        return found

    def _read_metadata(self) -> None:
        attrs = self._file.attrs
        self.graph_id = _text(attrs["graph_id"])
        self.source_id = _text(attrs.get("source_id", self.graph_id))
        self.num_parts = int(attrs["num_parts"])
        self.schema = Schema(tuple(self._texts("types/ntype")), tuple(map(tuple, self._texts("types/etype"))))
        self.infos = {name: ArrayInfo(name, np.dtype(dtype), tuple(map(int, shape.split())))
                      for name, dtype, shape in self._texts("arrays")}
        stored_out = [e for e in self.schema.etypes if ArrayKey.out(e, "indptr").path in self.infos]
        shape = self.num_parts + 1
        self.book = RangePartitionBook(
            self.schema, {t: self._read_whole(f"ranges/{node_path(t)}", np.int64, shape) for t in self.schema.ntypes},
            {e: self._read_whole(f"ranges/{edge_path(e)}", np.int64, shape) for e in self.schema.etypes},
            {e: self._read_whole(f"ranges/{out_path(e)}", np.int64, shape) for e in stored_out})
        self._bytes = self._read_whole("parts/bytes", np.int64, self.num_parts)
        self.part_crcs = self._read_whole("parts/crc32", np.uint32, self.num_parts)
        self.report = json.loads(self._texts("report")[0])
        self._splits = {key: tuple(sorted(named)) for key, named in self.report["splits"].items()}

    def _texts(self, name: str) -> list[Any]:
        found = stored_array(self._file, str(self.path), name)
        if found.dtype.kind != "S":
            raise DataError(f"{self.path}: {name} is {found.dtype}, not text; {MEND}")
        texts = np.empty(found.shape, found.dtype)
        read_rows(found, 0, found.shape[0], texts)
        decoded: list[Any] = np.char.decode(texts, "utf-8").tolist()
        return decoded

    def _split(self, key: str, name: str) -> StoredArray:
        if name not in self.splits(key):
            known = ", ".join(self.splits(key)) or "none"
            raise UnknownName(f"{self.path}: {key!r} has no split {name!r}; it has: {known}")
        path = f"split/{key}/{name}"
        with damage_named(f"{self.path}: {path}"):
            data = stored_array(self._file, str(self.path), path)
            _expect(data, np.dtype(np.int64), (data.shape[0],))
        return data

    def _split_ids(self, data: StoredArray, key: str, first: int, last: int) -> np.ndarray:
        ids = np.empty(last - first, np.int64)
        with damage_named(f"{self.path}: {data.name}"):
            read_rows(data, first, last, ids)
        count = self.book.num_nodes(key) if key in self.schema.ntypes else self.book.num_edges(key)
        if ids.size and not (ids.min() >= 0 and ids.max() < count):
            raise DataError(f"{self.path}: {data.name} has ids outside 0..{count - 1}; {MEND}")
        return ids

    def _read_whole(self, name: str, dtype: DTypeLike, length: int | None = None) -> np.ndarray:
        with damage_named(f"{self.path}: {name}"):
            data = stored_array(self._file, str(self.path), name)
            _expect(data, np.dtype(dtype), (data.shape[0] if length is None else length,))
            out = np.empty(data.shape, dtype)
            read_rows(data, 0, out.shape[0], out)
        return out

    def _part_path(self, part: int) -> Path:
        return self._staged.get(part, self.path.parent / part_file(part))

    def _mend(self, part: int) -> str:
        return "remove it, and the next job copies it again" if part in self._staged else MEND

    def _stored(self, part: int, info: ArrayInfo) -> StoredArray:
        """An array of a part file, compared with the metadata when it is first asked for."""
        path = str(self._part_path(part))
        with damage_named(path):
            if part not in self._parts:
                self._open_part(part)
            file, known = self._parts[part]
        if info.name not in known:
            ranges, extra = axis(ArrayKey.parse(info.name), self.book)
            with damage_named(f"{path}: {info.name}"):
                data = stored_array(file, path, info.name, self._mend(part))
                _expect(data, info.dtype, (int(ranges[part + 1] - ranges[part]) + extra, *info.row_shape))
                known[info.name] = data
        return known[info.name]

    def _open_part(self, part: int) -> None:
        path = self._part_path(part)
        if len(self._parts) >= _OPEN_PARTS:
            file, _ = self._parts.pop(next(iter(self._parts)))
            file.close()
        file = _open(path, "part")
        found = (_text(file.attrs["graph_id"]), int(file.attrs["part"]))
        if found != (self.graph_id, part):
            file.close()
            raise DataError(f"{path}: expected part {part} of graph {self.graph_id}, got part {found[1]} of graph "
                            f"{found[0]}: the file belongs to another graph; {self._mend(part)}")
        self._parts[part] = file, {}

    def _info(self, name: str) -> ArrayInfo:
        if name not in self.served:
            raise UnknownName(f"{self.path}: no array {name!r}; there are: {', '.join(self.served)}")
        return self.served[name]


def _read_stretch(stretch: Stretch) -> None:
    with damage_named(stretch.array.where):
        stretch.read()


def _open(path: Path, kind: str) -> h5py.File:
    """An HDF5 file of ours; ``kind`` is graph or part."""
    with damage_named(str(path)):
        if not h5py.is_hdf5(path):
            raise DataError(f"{path}: not an HDF5 file; expected one that `mpignn partition` wrote")
        # Locks fail on some parallel file systems; nothing here is ever written again.
        file = h5py.File(path, "r", locking=False)
    with damage_named(str(path)):
        found = _text(file.attrs.get("schema", b""))
        own = {"graph": "num_parts", "part": "part"}[kind]
        if found == SCHEMA and own in file.attrs and "graph_id" in file.attrs:
            return file
        file.close()
        said = f"schema {found!r}" if found != SCHEMA else f"no attribute {own}"
        raise DataError(f"{path}: expected a {kind} file of schema {SCHEMA!r}, got one with {said}; {MEND}")


def _expect(data: StoredArray, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if data.dtype != dtype or data.shape != shape:
        raise DataError(f"{data.where}: expected {dtype} {shape}, got {data.dtype} {data.shape}; {MEND}")
    if data.dtype.kind not in "biuf":
        raise DataError(f"{data.where}: expected numbers, got {data.dtype}; {MEND}")
    if data.num_bytes:
        data.start()



def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
