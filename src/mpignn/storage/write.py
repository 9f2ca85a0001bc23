"""From a graph to partitions on disk, by one process or by all ranks of a job.

Shapes: N nodes and E edges of a type, P partitions.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial, reduce
from pathlib import Path
from typing import Any, Unpack

import h5py
import numpy as np
from zlib_ng.zlib_ng import crc32

from mpignn.arguments import given_path, whole_number
from mpignn.comm.group import Group, LocalGroup
from mpignn.errors import ConfigError, DataError
from mpignn.graph.array_key import EDGE, NODE, OUT, ArrayKey
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import GraphData
from mpignn.json_text import to_json
from mpignn.large.arrays import LargeArray
from mpignn.large.disk import check_space
from mpignn.large.scratch import Scratch, scratch_in
from mpignn.log import phase
from mpignn.partition.assign import Partitioner, assign, check_choice, checked_assignment, is_together, kept, takes_long
from mpignn.partition.methods import is_mute
from mpignn.partition.relabel import Relabeling, relabel
from mpignn.partition.report import PartTally, Tally, make_report
from mpignn.progress import display
from mpignn.storage.array_writers import ArrayWriter, write_array
from mpignn.storage.arrays import ArrayType, file_crc
from mpignn.storage.assigned import AssignedFile, left_by_stops
from mpignn.storage.atomic import check_new, new_folder
from mpignn.storage.canonical import canonical
from mpignn.storage.check import check
from mpignn.storage.form import SourceOptions
from mpignn.storage.forms.partitioned import is_partitioned
from mpignn.storage.kept_read import KeptRead
from mpignn.storage.part_files import PartFiles
from mpignn.storage.schema import GRAPH_FILE, HEAD_BYTES, SCHEMA, axis, edge_path, head_line, node_path, out_path
from mpignn.storage.shared_rows import shared_neighbors
from mpignn.storage.sink import writing
from mpignn.storage.source_id import Checksums, source_id
from mpignn.storage.sources import read_source
from mpignn.storage.user_names import named_arrays, names_report, write_names
from mpignn.storage.validate import misnamed, validate
from mpignn.storage.write_parts import PartWriter

log = logging.getLogger(__name__)

_CHUNK_EDGES = 1 << 21          # counted at a time
_ID_BYTES = 24      # of an id in hand
_CUT_BYTES = 24         # of an edge of the source, while a graph is cut in memory


def partition_graph(source: object, out: str | Path, num_parts: int | None = None,
                    method: str | Path | Partitioner | None = None, seed: int = 0, out_edges: bool = False,
                    balance: Sequence[str] = (), memory: int | None = None, group: Group | None = None,
                    progress: str = "none", **options: Unpack[SourceOptions]) -> dict[str, Any]:
    """Cut a graph into partitions and write them to a new folder.  Collective over the group, if there is one.

    The files are the same for any group and any memory.

    Args:
        source: A path, the name of a bundled data set, or a graph that the program has in memory, in one of the forms
            that ``docs/guide/data.md`` lists.
        out: Folder to create; it appears complete or not at all.
        num_parts: P; independent of the number of ranks that will use it.  None: of a graph that is partitioned
            already, the partitions that it has.
        method: ``metis``, which is the default, or another of `mpignn.partition.methods.METHODS`, a file with one
            partition per line, or a function, as `mpignn.partition.assign.assign` takes them.
        seed: Seed of the method.
        out_edges: Store each edge a second time with its source, for `DistGraph.out_degrees` and for sampling along
            the edges; 12 bytes more an edge, on disk and in the servers' memory.
        balance: What partitions shall have equally much of, as `mpignn.partition.assign.assign` takes it.
        memory: Bytes that a rank may take for edges and rows in hand; what does not fit goes through files beside
            ``out``.  None: half of what is free.
        group: The ranks that do it together, which all see the folder of ``out``; None: this process alone.
        progress: How to tell how far the work is, as `mpignn.progress.Display` takes it.
        options: How the source is read, by the names in `mpignn.storage.form.SourceOptions`: ``keep_dtype``,
            ``on_unknown``, ``like``, ``put``, ``put_tables``.

    Returns:
        The report of `mpignn.partition.report.make_report`.

    Raises:
        ConfigError: ``out`` exists, or an unknown method or impossible number of partitions; or none, for a graph
            that is not partitioned; or an option that has no effect.
        DataError: A source that is not a sound graph.
        ResourceError: Not enough room on the disk.
    """
    group = group or LocalGroup()
    with group.all_or_none():
        out = given_path(out, "out")
        if num_parts is not None:
            num_parts = whole_number(num_parts, "parts", 1)
        elif method is not None or seed or balance:
            raise ConfigError("method, seed and balance have no effect where partitions are kept: leave them out, or "
                              "say how many parts there shall be")
    group.by_first(lambda: _check_place(out))
    method = "metis" if method is None else method
    if num_parts is not None:
        number = num_parts
        group.by_first(lambda: check_choice(number, method, seed, balance))     # before anything is read
    with (display.showing(progress if group.rank == 0 else "none"), ExitStack() as stack,
          _new_folder(out, group) as folder,
          scratch_in(folder, out, group, memory) as scratch):
        checksums = Checksums(group)
        with phase(f"read {source}" if isinstance(source, str | Path) else "read the graph"):
            data = _read(source, scratch, options, checksums, stack)
        for doubt in misnamed(data) if group.rank == 0 else ():
            log.warning("%s", doubt)
        if num_parts is None:
            return _write(data, _relabeled(lambda: kept(data), scratch), folder, out_edges, scratch, checksums)
        assigned = stack.enter_context(_assigned(data, num_parts, method, seed, balance, scratch, checksums))
        of_second = f"cut into {num_parts} partitions" if is_mute(method) else None
        return _write(data, _relabeled(lambda: (assigned(), num_parts), scratch, of_second), folder, out_edges, scratch,
                      checksums)


def write_graph(data: GraphData, assignment: Mapping[str, np.ndarray], num_parts: int, out: str | Path,
                out_edges: bool = False) -> dict[str, Any]:
    """Write a graph by a given assignment.  Equal input gives equal bytes.  Not collective.

    Args:
        assignment: (N,) partition of each node of each type, in ``0:num_parts``.
        out: Folder to create.
        out_edges: As in `partition_graph`.

    Returns and raises: As `partition_graph`.
    """
    data, out, group = canonical(data), Path(out), LocalGroup()
    validate(data)
    parts = checked_assignment(data.num_nodes, assignment, num_parts)
    with _new_folder(out, group) as folder, scratch_in(folder, out, group) as scratch:
        return _write(data, _relabeled(lambda: (parts, num_parts), scratch), folder, out_edges, scratch, Checksums())


def _check_place(out: Path) -> None:
    """Raise `ConfigError` unless a folder can be made there, outside all partitioned graphs."""
    check_new(out)
    for folder in out.resolve().parents:
        if is_partitioned(folder / GRAPH_FILE):
            raise ConfigError(f"{out} is in the folder of the partitioned graph {folder}, and would be removed with "
                              "it: choose another name")


@contextmanager
def _new_folder(out: Path, group: Group) -> Iterator[Path]:
    """`mpignn.storage.atomic.new_folder` of all ranks.  Collective over the group."""
    with group.all_or_none(), ExitStack() as stack:
        yield group.by_first(lambda: stack.enter_context(new_folder(out)))


@contextmanager
def _assigned(data: GraphData, num_parts: int, method: str | Path | Partitioner, seed: int, balance: Sequence[str],
              scratch: Scratch, checksums: Checksums) -> Iterator[Callable[[], Mapping[str, np.ndarray]]]:
    """What gives each node its partition; what takes long is kept in a file until the block ends well, or fails.

    Collective over the group of ``scratch``.

    Yields:
        What the first rank is to call.
    """
    group, num_edges = scratch.group, sum(csc.num_edges for csc in data.csc.values())
    file = None
    if takes_long(method, num_parts):
        file = AssignedFile(scratch.out, data, num_parts, str(method), seed, balance, checksums)
    left = None if file is None or group.rank else file.read()
    made: Mapping[str, np.ndarray] | None = left
    if is_together(method, balance) and not scratch.fits(_CUT_BYTES * num_edges) and not group.bcast(left is not None):
        with phase(f"cut into {num_parts} partitions"):
            made = assign(data, num_parts, method, seed, balance, partial(shared_neighbors, data, scratch))

    @phase(f"cut into {num_parts} partitions")
    def assigned() -> Mapping[str, np.ndarray]:
        found = assign(data, num_parts, method, seed, balance) if made is None else made
        return found if file is None or left is not None else file.keep(found)

    with nullcontext() if file is None else left_by_stops(file.remove, group):
        yield assigned


def _read(source: object, scratch: Scratch, options: SourceOptions, checksums: Checksums, until_made: ExitStack
          ) -> GraphData:
    """The source, or what a command has read of it that was stopped; kept until the stack is closed, or fails.

    Collective over the group of ``scratch``.
    """
    source = given_path(source, "source") if isinstance(source, str | os.PathLike) else source
    kept = KeptRead(source, options, scratch, checksums)
    until_made.enter_context(left_by_stops(kept.remove, scratch.group))
    data = kept.load()
    if data is None:
        data = read_source(source, scratch, **options)
        kept.keep(data)
    return data


def _relabeled(assigned: Callable[[], tuple[Mapping[str, np.ndarray], int]], scratch: Scratch,
               of_second: str | None = None) -> dict[str, Relabeling]:
    """New ids by an assignment and the number of partitions, which the first rank makes; the others read the ids in
    files.  The phase ``of_second`` is told by the second rank.  Collective over the group of ``scratch``."""
    made: list[tuple[Mapping[str, np.ndarray], int]] = []

    def make() -> None:
        made.append(assigned())

    with display.showing_for(of_second or "", of_second is not None and scratch.group.rank == 1):
        scratch.group.by_first(make)

    def relabeled() -> dict[str, Relabeling]:
        assignment, num_parts = made.pop()
        found = {ntype: relabel(parts, num_parts) for ntype, parts in assignment.items()}
        if scratch.group.size > 1:
            found = {ntype: Relabeling(scratch.kept(of.new_id).rows, of.ranges) for ntype, of in found.items()}
        return found

    return scratch.group.by_first(relabeled)


def _write(data: GraphData, nodes: Mapping[str, Relabeling], folder: Path, by_source: bool, scratch: Scratch,
           checksums: Checksums) -> dict[str, Any]:
    with phase("count edges of partitions"):
        writer = _Writer(data, nodes, by_source, scratch, checksums)
    scratch.group.by_first(lambda: check_space(scratch.out, writer.num_bytes()))
    report = writer.write(folder)

    problems = check(folder, scratch.group)
    if problems:
        raise DataError(f"{scratch.out}: what was written does not verify and is removed: {problems[0]}").on_all()
    return report


class _Writer:
    """Writes the files of a graph."""

    def __init__(self, data: GraphData, nodes: Mapping[str, Relabeling], by_source: bool, scratch: Scratch,
                 checksums: Checksums) -> None:
        """Collective over the group of ``scratch``.

        Args:
            data: The graph; what users call things is needed on the first rank only.
            nodes: New ids of the nodes of each type.
            by_source: Whether each edge is stored with its source, too.
            scratch: Where to keep what does not fit memory.
            checksums: Those of the arrays of the graph.
        """
        self._data, self._nodes, self._scratch, self._checksums = data, nodes, scratch, checksums
        self._parts = PartWriter(data, nodes, by_source, scratch)
        self._book = self._parts.book

    def num_bytes(self) -> int:
        """Bytes on disk, to within the few KB of HDF5's own.  Not collective."""
        data = self._data
        total = 0
        for info in self._parts.infos:
            ranges, more = axis(ArrayKey.parse(info.name), self._book)
            rows = int(ranges[-1]) + more * self._book.num_partitions()
            total += ArrayType((rows, *info.row_shape), info.dtype).num_bytes
        total += sum(8 * n for n in data.num_nodes.values()) + sum(array.nbytes for _, array in named_arrays(data))
        return total + sum(8 * ids.size for named in data.splits.values() for ids in named.values())

    def write(self, folder: Path) -> dict[str, Any]:
        """Write all files; returns the report.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        files = PartFiles(folder, self._parts.infos, self._book, self._scratch)
        self._parts.write(files)
        with phase("write checksums"):
            crcs = files.finish()
        with phase("count edges between partitions"):
            tallies = files.each(lambda part: self._tally(files, part))
        with phase("identify the graph"):
            source = source_id(self._data, self._checksums)
        report, graph_id = self._scratch.group.by_first(lambda: self._end(tallies, crcs))

        def stamp(part: int) -> tuple[int, int]:
            with writing(files.paths[part], "r+") as file:
                _stamp(file, graph_id, part=part)
            return files.paths[part].stat().st_size, file_crc(files.paths[part])

        with phase("seal part files"):
            stamped = files.each(stamp)
        with phase("write graph.h5"), self._scratch.alone():
            self._seal(folder, files, stamped, graph_id, source, report)
        return report

    def _seal(self, folder: Path, files: PartFiles, stamped: Sequence[tuple[int, int]], graph_id: str, source: str,
              report: dict[str, Any]) -> None:
        """Write the file that tells of all others, on the first rank."""
        if self._scratch.group.rank == 0:
            with writing(folder / GRAPH_FILE, userblock_size=HEAD_BYTES) as file:
                _stamp(file, graph_id, num_parts=len(stamped))
                file.attrs["source_id"] = np.bytes_(source)
                self._write_metadata(file, report)
                write_array(file, "parts/bytes", np.array([size for size, _ in stamped], np.int64))
                write_array(file, "parts/crc32", np.array([crc for _, crc in stamped], np.uint32))
                for path in files.paths:
                    file[f"parts/{path.name}"] = h5py.ExternalLink(path.name, "/")
            line = head_line(file_crc(folder / GRAPH_FILE, HEAD_BYTES))
            with open(folder / GRAPH_FILE, "r+b") as raw:
                raw.write(line)

    def _tally(self, files: PartFiles, part: int) -> Tally:
        """Count what the edges of a part come from, by its file."""
        tally = PartTally(self._book, part)
        for etype in self._book.canonical_etypes:
            starts = files.read(part, ArrayKey.edge(etype, "indptr").path)[:]
            indices = files.read(part, ArrayKey.edge(etype, "indices").path)
            for begin, end in row_chunks(starts, 0, starts.size - 1, _CHUNK_EDGES):
                lo, hi = (int(starts[row] - starts[0]) for row in (begin, end))
                tally.add(etype, np.diff(starts[begin:end + 1]), indices[lo:hi])
        return tally.cut, tally.remote, tally.halo()

    def _end(self, tallies: Sequence[Tally], crcs: Sequence[Mapping[str, tuple[int, ...]]]
             ) -> tuple[dict[str, Any], str]:
        """The report, and the id of the graph.  The first rank alone."""
        data = self._data
        report = make_report(self._book, tallies, self._new_splits()) | names_report(data)
        digest = hashlib.blake2b(digest_size=16)

        def note(what: str, content: object) -> None:
            digest.update(f"{what} {content}\n".encode())

        if data.tables is not None:
            report["tables"] = True

        infos = {info.name: (info, ArrayKey.parse(info.name)) for info in self._parts.infos}
        for of_kind in ((NODE, EDGE), (OUT,)):
            for of_part in crcs:
                for name, (info, key) in infos.items():
                    if key.kind in of_kind:
                        kind = "" if key.data_name is None else f" {info.dtype} {info.row_shape}"
                        note(name + kind, list(of_part[name]))
        if data.tables is not None:
            note("tables", to_json(data.tables))
        for of, named in self._new_splits().items():
            for name, pieces in named.items():
                note(f"split/{of}/{name}", reduce(lambda crc, ids: crc32(ids, crc), pieces, 0))
        for name, array in named_arrays(data):
            note(f"{name} {array.dtype.str}", self._checksums.of_own(array))
        note("graph", [self._book.schema, {t: r.tolist() for t, r in self._book.node_ranges.items()}])
        return report, digest.hexdigest()

    def _new_splits(self) -> dict[str, dict[str, Iterator[np.ndarray]]]:
        """int64 new ids of each split, some at a time."""
        return {key: {name: self._new_ids(key, ids) for name, ids in sorted(named.items())}
                for key, named in sorted(self._data.splits.items())}

    def _new_ids(self, key: str, ids: LargeArray) -> Iterator[np.ndarray]:
        of_type = self._nodes[key].new_id if key in self._nodes else self._parts.new_edge[
            self._book.to_canonical_etype(key)]
        step = self._scratch.rows(_ID_BYTES)
        for first in range(0, len(ids), step):
            yield of_type[ids[first:first + step]]

    def _write_metadata(self, file: h5py.File, report: dict[str, Any]) -> None:
        schema = self._book.schema
        arrays = [(info.name, info.dtype.str, " ".join(map(str, info.row_shape))) for info in self._parts.infos]
        tables = [] if self._data.tables is None else [("tables", [to_json(self._data.tables)])]
        for name, texts in (("types/ntype", schema.ntypes), ("types/etype", schema.etypes), ("arrays", arrays),
                            *tables, ("report", [to_json(report)])):
            encoded = np.char.encode(np.array(texts), "utf-8")
            write_array(file, name, encoded, h5py.string_dtype("utf-8", encoded.dtype.itemsize))
        for ntype in schema.ntypes:
            write_array(file, f"ranges/{node_path(ntype)}", self._book.node_ranges[ntype])
            write_array(file, f"map/{ntype}", np.asarray(self._nodes[ntype].new_id))
        for etype in schema.etypes:
            write_array(file, f"ranges/{edge_path(etype)}", self._book.edge_ranges[etype])
        for etype, ranges in self._book.out_ranges.items():
            write_array(file, f"ranges/{out_path(etype)}", ranges)
        for key, named in self._new_splits().items():
            for name, pieces in named.items():
                writer = ArrayWriter(file, f"split/{key}/{name}", self._data.splits[key][name].shape, np.int64)
                for ids in pieces:
                    writer.append(ids)
                writer.close()
        write_names(file, self._data)


def _stamp(file: h5py.File, graph_id: str, **numbers: int) -> None:
    file.attrs["schema"] = np.bytes_(SCHEMA)
    file.attrs["graph_id"] = np.bytes_(graph_id)
    for name, number in numbers.items():
        file.attrs[name] = np.int64(number)
