"""From a graph in one process to partitions on disk.

Shapes: N nodes and E edges of a type, P partitions.
"""

import hashlib
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpignn.arguments import whole_number
from mpignn.errors import ConfigError, DataError
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.csc import in_edges, out_edges, row_chunks
from mpignn.graph.likeness import likely, misnamed_splits
from mpignn.graph.types import EType, GraphData, etype_key
from mpignn.json_text import to_json
from mpignn.partition.assign import Partitioner, assign, checked_assignment, kept
from mpignn.partition.relabel import Relabeling, new_indptr, relabel
from mpignn.partition.report import PartTally, Tally, make_report
from mpignn.storage.array_writers import ArrayWriter, write_array
from mpignn.storage.arrays import file_crc
from mpignn.storage.atomic import check_new, check_space, new_folder
from mpignn.storage.canonical import FEATURES, canonical
from mpignn.storage.check import check
from mpignn.storage.schema import (
    GRAPH_FILE,
    HEAD_BYTES,
    SCHEMA,
    edge_path,
    head_line,
    index_dtype,
    node_path,
    out_path,
    part_file,
)
from mpignn.storage.sink import writing
from mpignn.storage.sources import read_source
from mpignn.storage.user_names import named_arrays, names_report, write_names
from mpignn.storage.validate import LABELS, validate

log = logging.getLogger(__name__)

_CHUNK_EDGES = 1 << 21          # edges in hand at a time, at 40 bytes each
_CHUNK_BYTES = 1 << 24          # of rows of a feature


def partition_graph(source: object, out: str | Path, num_parts: int | None = None,
                    method: str | Path | Partitioner | None = None, seed: int = 0, out_edges: bool = False,
                    keep_dtype: bool = False, on_unknown: str | None = None,
                    balance: Sequence[str] = (), put: Mapping[str, object] | None = None,
                    like: str | Path | None = None) -> dict[str, Any]:
    """Cut a graph into partitions and write them to a new folder.  Not collective; one process.

    Args:
        source: A path, the name of a bundled data set, or a graph that the program has in memory, in one of the forms
            that ``docs/data.md`` lists.
        out: Folder to create; it appears complete or not at all.
        num_parts: P; independent of the number of ranks that will use it.  None: of a graph that is partitioned
            already, the partitions that it has.
        method: ``metis``, which is the default, or another of `mpignn.partition.methods.METHODS`, a file with one
            partition per line, or a function, as `mpignn.partition.assign.assign` takes them.
        seed: Seed of the method.
        out_edges: Store each edge a second time with its source, for `DistGraph.out_degrees` and for sampling along
            the edges; 12 bytes more an edge, on disk and in the servers' memory.
        keep_dtype: Store the numbers of nodes and edges in the type that they have, and not as
            `mpignn.storage.canonical` says, features as float32; labels have a type of their own even so.
        on_unknown: For tables: ``drop`` leaves edges out that have an end that is no node, for ``error`` they are one;
            None: as their description says.
        balance: What partitions shall have equally much of, as `mpignn.partition.assign.assign` takes it.
        put: Data and splits to add or to take instead of those that the source has, by name, arrays or paths of .npy
            files in original ids, as `mpignn.storage.put.with_arrays` takes them.
        like: A partitioned graph that was made of tables.  The tables of ``source`` get the columns, codes, means and
            classes of that one, by the names of their columns; nothing is learnt from them.

    Returns:
        The report of `mpignn.partition.report.make_report`.

    Raises:
        ConfigError: ``out`` exists, or an unknown method or impossible number of partitions; or none, for a graph
            that is not partitioned, or with a method, seed or balance.
        DataError: A source that is not a sound graph.
        ResourceError: Not enough room on the disk.
    """
    out = Path(out)
    if num_parts is not None:
        num_parts = whole_number(num_parts, "parts", 1)
    elif method is not None or seed or balance:
        raise ConfigError("method, seed and balance have no effect where partitions are kept: leave them out, or say "
                          "how many parts there shall be")
    check_new(out)
    data = read_source(source, keep_dtype, on_unknown, put, like)
    for doubt in _misnamed(data):
        log.warning("%s", doubt)
    if num_parts is None:
        parts, num_parts = kept(data)
    else:
        parts = assign(data, num_parts, "metis" if method is None else method, seed, balance)
    return _write(data, parts, num_parts, out, out_edges)


def write_graph(data: GraphData, assignment: Mapping[str, np.ndarray], num_parts: int, out: str | Path,
                out_edges: bool = False) -> dict[str, Any]:
    """Write a graph by a given assignment.  Equal input gives equal bytes.  Not collective.

    Args:
        assignment: (N,) partition of each node of each type, in ``0:num_parts``.
        out: Folder to create.
        out_edges: As in `partition_graph`.

    Returns and raises: As `partition_graph`.
    """
    data = canonical(data)
    validate(data)
    return _write(data, checked_assignment(data.num_nodes, assignment, num_parts), num_parts, Path(out), out_edges)


def _write(data: GraphData, assignment: Mapping[str, np.ndarray], num_parts: int, out: Path,
           by_source: bool) -> dict[str, Any]:
    writer = _Writer(data, assignment, num_parts, by_source)
    with new_folder(out) as folder:
        check_space(out, writer.num_bytes())
        report = writer.write(folder)
        problems = check(folder)
        if problems:
            raise DataError(f"{out}: what was written does not verify and is removed: {problems[0]}")
    return report


def _misnamed(data: GraphData) -> Iterator[str]:
    """Warnings of data that training does not look for, under a name like one that it does."""
    for ntype, named in data.node_data.items():
        for wanted in (FEATURES, LABELS):
            found = likely(wanted, set(named) - {FEATURES, LABELS})
            if wanted not in named and found is not None:
                yield (f"{ntype} has data named {found!r} and none named {wanted!r}, which training looks for: "
                       f"rename it, or train with --{wanted} {found}")
    for key, splits in data.splits.items():
        for found, wanted in misnamed_splits(splits):
            yield f"{key} has a split named {found!r} and none named {wanted!r}, which jobs look for: rename it"


def source_id(data: GraphData) -> str:
    """Hash of a graph in original ids: the same however it is cut.  Not collective."""
    if data.partitioning is not None:
        return data.partitioning.source_id
    digest = hashlib.blake2b(repr((data.schema, dict(data.num_nodes))).encode(), digest_size=16)
    arrays = {ArrayKey.edge(e, what).path: array for e, csc in data.csc.items()
              for what, array in (("indptr", csc.indptr), ("indices", csc.indices), ("edge_ids", csc.edge_ids))
              if array is not None}
    for base, named in (*((node_path(t), named) for t, named in data.node_data.items()),
                        *((edge_path(e), named) for e, named in data.edge_data.items()),
                        *((f"split/{key}", named) for key, named in data.splits.items())):
        arrays |= {f"{base}/{name}": array for name, array in named.items()}
    for name, array in sorted((arrays | dict(named_arrays(data))).items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} {_crc(array)}\n".encode())
    return digest.hexdigest()


def _crc(array: np.ndarray) -> int:
    crc, step = 0, max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for first in range(0, array.shape[0], step):
        crc = zlib.crc32(np.ascontiguousarray(array[first:first + step]).data, crc)
    return crc


class _Writer:
    def __init__(self, data: GraphData, assignment: Mapping[str, np.ndarray], num_parts: int, by_source: bool) -> None:
        self.data = data
        self.nodes: dict[str, Relabeling] = {t: relabel(assignment[t], num_parts) for t in data.num_nodes}
        self.indptr = {e: new_indptr(csc, self.nodes[e[2]]) for e, csc in data.csc.items()}
        self.out = {e: out_edges(csc, data.num_nodes[e[0]]) for e, csc in data.csc.items() if by_source}
        self.out_indptr = {e: new_indptr(out, self.nodes[e[0]]) for e, out in self.out.items()}
        self.book = RangePartitionBook(
            data.schema, {t: found.ranges for t, found in self.nodes.items()},
            {e: indptr[self.nodes[e[2]].ranges] for e, indptr in self.indptr.items()},
            {e: indptr[self.nodes[e[0]].ranges] for e, indptr in self.out_indptr.items()})
        # Where each original edge went; wanted for the splits and the out-edges only.
        self.new_edge = {e: np.empty(csc.num_edges, np.int64) for e, csc in data.csc.items()
                         if e in self.out or data.splits.get(etype_key(e))}
        self._digest = hashlib.blake2b(digest_size=16)

    def num_bytes(self) -> int:
        """Bytes on disk, to within the few KB of HDF5's own."""
        total = sum(2 * 8 * n for n in self.data.num_nodes.values())
        for etype, csc in self.data.csc.items():
            total += 8 * csc.num_dst + index_dtype(self.data.num_nodes[etype[0]]).itemsize * csc.num_edges
        for etype, out in self.out.items():
            total += 8 * out.num_dst + (8 + index_dtype(self.data.num_nodes[etype[2]]).itemsize) * out.num_edges
        for named in (*self.data.node_data.values(), *self.data.edge_data.values()):
            total += sum(array.nbytes for array in named.values())
        total += sum(array.nbytes for _, array in named_arrays(self.data))
        return total + sum(8 * ids.size for named in self.data.splits.values() for ids in named.values())

    def write(self, folder: Path) -> dict[str, Any]:
        parts = range(self.book.num_partitions())
        tallies = [self._write_part(folder / part_file(part), part) for part in parts]
        for part in parts if self.out else ():      # once all edges have their ids
            with writing(folder / part_file(part), "r+") as file:
                for etype in self.out:
                    self._write_out_edges(file, etype, part)
        splits = {key: {name: self._new_split(key, ids) for name, ids in sorted(named.items())}
                  for key, named in sorted(self.data.splits.items())}
        report = make_report(self.book, tallies, splits) | names_report(self.data)
        if self.data.tables is not None:
            report["tables"] = True
            self._note("tables", to_json(self.data.tables))
        for key, named in splits.items():
            for name, ids in named.items():
                self._note(f"split/{key}/{name}", zlib.crc32(ids.data))
        for name, array in named_arrays(self.data):
            self._note(f"{name} {array.dtype.str}", _crc(array))
        self._note("graph", [self.book.schema, {t: r.tolist() for t, r in self.book.node_ranges.items()}])
        graph_id = self._digest.hexdigest()
        for part in parts:
            with writing(folder / part_file(part), "r+") as file:
                _stamp(file, graph_id, part=part)
        with writing(folder / GRAPH_FILE, userblock_size=HEAD_BYTES) as file:
            _stamp(file, graph_id, num_parts=len(parts))
            file.attrs["source_id"] = np.bytes_(source_id(self.data))
            self._write_metadata(file, splits, report)
            paths = [folder / part_file(part) for part in parts]
            write_array(file, "parts/bytes", np.array([p.stat().st_size for p in paths], np.int64))
            write_array(file, "parts/crc32", np.array([file_crc(p) for p in paths], np.uint32))
            for path in paths:
                file[f"parts/{path.name}"] = h5py.ExternalLink(path.name, "/")
        line = head_line(file_crc(folder / GRAPH_FILE, HEAD_BYTES))
        with open(folder / GRAPH_FILE, "r+b") as raw:
            raw.write(line)
        return report

    def _write_metadata(self, file: h5py.File, splits: Mapping[str, Mapping[str, np.ndarray]],
                        report: dict[str, Any]) -> None:
        schema = self.book.schema
        tables = [] if self.data.tables is None else [("tables", [to_json(self.data.tables)])]
        for name, texts in (("types/ntype", schema.ntypes), ("types/etype", schema.etypes),
                            ("arrays", self._arrays()), *tables, ("report", [to_json(report)])):
            encoded = np.char.encode(np.array(texts), "utf-8")
            write_array(file, name, encoded, h5py.string_dtype("utf-8", encoded.dtype.itemsize))
        for ntype in schema.ntypes:
            write_array(file, f"ranges/{node_path(ntype)}", self.book.node_ranges[ntype])
            write_array(file, f"map/{ntype}", self.nodes[ntype].new_id)
        for etype in schema.etypes:
            write_array(file, f"ranges/{edge_path(etype)}", self.book.edge_ranges[etype])
        for etype, ranges in self.book.out_ranges.items():
            write_array(file, f"ranges/{out_path(etype)}", ranges)
        for key, named in splits.items():
            for name, ids in named.items():
                write_array(file, f"split/{key}/{name}", ids)
        write_names(file, self.data)

    def _arrays(self) -> list[tuple[str, str, str]]:
        """Name, dtype and shape of a row of each array of a part file."""
        found = []
        for ntype in self.data.num_nodes:
            found.append((ArrayKey.node(ntype, "orig_id").path, "<i8", ""))
            found += _data_arrays(partial(ArrayKey.node_data, ntype), self.data.node_data.get(ntype, {}))
        for etype in self.data.csc:
            indices = index_dtype(self.data.num_nodes[etype[0]]).str
            found += [(ArrayKey.edge(etype, what).path, dtype, "") for what, dtype in
                      (("indptr", "<i8"), ("indices", indices))]
            found += _data_arrays(partial(ArrayKey.edge_data, etype), self.data.edge_data.get(etype, {}))
        for etype in self.out:
            indices = index_dtype(self.data.num_nodes[etype[2]]).str
            found += [(ArrayKey.out(etype, what).path, dtype, "") for what, dtype in
                      (("indptr", "<i8"), ("indices", indices), ("edge_id", "<i8"))]
        return found

    def _write_part(self, path: Path, part: int) -> Tally:
        """Write a part file all but its attributes; returns what `PartTally` counted."""
        tally = PartTally(self.book, part)
        with writing(path) as file:
            for ntype in self.data.num_nodes:
                self._write_nodes(file, ntype, part)
            for etype in self.data.csc:
                self._write_edges(file, etype, part, tally)
        return tally.cut, tally.remote, tally.halo()

    def _write_nodes(self, file: h5py.File, ntype: str, part: int) -> None:
        lo, hi = self.book.node_ranges[ntype][part:part + 2]
        orig = self.nodes[ntype].orig_id[lo:hi]
        self._write_array(file, ArrayKey.node(ntype, "orig_id"), orig)
        for name, array in sorted(self.data.node_data.get(ntype, {}).items()):
            self._write_data(file, ArrayKey.node_data(ntype, name), array, orig)

    def _write_edges(self, file: h5py.File, etype: EType, part: int, tally: PartTally) -> None:
        csc, indptr = self.data.csc[etype], self.indptr[etype]
        lo, hi = (int(i) for i in self.book.node_ranges[etype[2]][part:part + 2])
        first_edge, num_edges = int(indptr[lo]), int(indptr[hi] - indptr[lo])
        self._write_array(file, ArrayKey.edge(etype, "indptr"), indptr[lo:hi + 1])
        new_src, path = self.nodes[etype[0]].new_id, ArrayKey.edge(etype, "indices").path
        indices = ArrayWriter(file, path, (num_edges,), index_dtype(new_src.size))
        edge_data = self.data.edge_data.get(etype, {})
        orig_edges = np.empty(num_edges if edge_data else 0, np.int64)
        for begin, end in row_chunks(indptr, lo, hi, _CHUNK_EDGES):
            degree, src, edge_ids = in_edges(csc, self.nodes[etype[2]].orig_id[begin:end])
            new = new_src[src]
            tally.add(etype, degree, new)
            indices.append(new)
            place = int(indptr[begin])
            if etype in self.new_edge:
                self.new_edge[etype][edge_ids] = np.arange(place, place + edge_ids.size)
            if edge_data:
                orig_edges[place - first_edge:place - first_edge + edge_ids.size] = edge_ids
        indices.close()
        self._note(path, indices.crcs)
        for name, array in sorted(edge_data.items()):
            self._write_data(file, ArrayKey.edge_data(etype, name), array, orig_edges)

    def _write_out_edges(self, file: h5py.File, etype: EType, part: int) -> None:
        indptr, out = self.out_indptr[etype], partial(ArrayKey.out, etype)
        lo, hi = (int(i) for i in self.book.node_ranges[etype[0]][part:part + 2])
        shape, new_dst = (int(indptr[hi] - indptr[lo]),), self.nodes[etype[2]].new_id
        self._write_array(file, out("indptr"), indptr[lo:hi + 1])
        indices = ArrayWriter(file, out("indices").path, shape, index_dtype(new_dst.size))
        ids = ArrayWriter(file, out("edge_id").path, shape, np.int64)
        for begin, end in row_chunks(indptr, lo, hi, _CHUNK_EDGES):
            _, dst, edge_ids = in_edges(self.out[etype], self.nodes[etype[0]].orig_id[begin:end])
            indices.append(new_dst[dst])
            ids.append(self.new_edge[etype][edge_ids])
        for what, writer in ("indices", indices), ("edge_id", ids):
            writer.close()
            self._note(out(what).path, writer.crcs)

    def _write_array(self, file: h5py.File, key: ArrayKey, rows: np.ndarray) -> None:
        self._note(key.path, write_array(file, key.path, rows))

    def _write_data(self, file: h5py.File, key: ArrayKey, array: np.ndarray, orig: np.ndarray) -> None:
        """Write the rows ``orig`` of an array, some MiB at a time."""
        writer = ArrayWriter(file, key.path, (orig.size, *array.shape[1:]), array.dtype.newbyteorder("="))
        step = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
        for begin in range(0, orig.size, step):
            writer.append(array[orig[begin:begin + step]])
        writer.close()
        self._note(f"{key.path} {array.dtype} {array.shape[1:]}", writer.crcs)

    def _new_split(self, key: str, ids: np.ndarray) -> np.ndarray:
        if key in self.nodes:
            new: np.ndarray = self.nodes[key].new_id[ids]
        else:
            new = self.new_edge[self.book.to_canonical_etype(key)][ids]
        return new

    def _note(self, what: str, content: object) -> None:
        """Let the graph's id depend on a part of its content."""
        self._digest.update(f"{what} {content}\n".encode())


def _data_arrays(key: Callable[[str], ArrayKey], named: Mapping[str, np.ndarray]) -> list[tuple[str, str, str]]:
    return [(key(name).path, array.dtype.newbyteorder("=").str, " ".join(map(str, array.shape[1:])))
            for name, array in sorted(named.items())]


def _stamp(file: h5py.File, graph_id: str, **numbers: int) -> None:
    file.attrs["schema"] = np.bytes_(SCHEMA)
    file.attrs["graph_id"] = np.bytes_(graph_id)
    for name, number in numbers.items():
        file.attrs[name] = np.int64(number)
