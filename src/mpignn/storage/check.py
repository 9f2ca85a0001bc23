"""Whether a partitioned graph on disk is what it says it is.

Shapes: N nodes of a type, E edges of a type, R rows in hand.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.comm.group import Group, LocalGroup
from mpignn.errors import MpignnError, paths_named
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.bits import Bits
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import EType, etype_key
from mpignn.log import phase
from mpignn.partition.report import PartTally, Tally, make_report
from mpignn.progress import counting, each
from mpignn.storage.arrays import file_crc, rows_per_block
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import GRAPH_FILE, HEAD_BYTES, HEAD_START, axis, head_line, node_path, out_path
from mpignn.storage.user_names import check_names
from mpignn.unique import unique

_CHUNK_EDGES = 1 << 21
_CHUNK_NODES = 1 << 20


def check(path: str | Path, group: Group | None = None) -> list[str]:
    """Every problem of a graph: none means that all its bytes and all its invariants are as they should be.

    Checksums of files and blocks; types, ranges and shapes; ids in range; maps that are permutations and agree with
    the original ids; edges in neighbor order; splits; users' names; and the report, counted anew.

    Collective over the group, if there is one.

    Args:
        path: The folder, or graph.h5 in it.
        group: Ranks that share the work: each has some of the parts.  None: this process alone.

    Returns:
        The problems, on all ranks.
    """
    path, group = Path(path), group or LocalGroup()
    with group.all_or_none():
        path = path / GRAPH_FILE if path.is_dir() else path
    told = group.allgather(_own_problems(path, group.rank, group.size))
    problems = list(dict.fromkeys(problem for some, _ in told for problem in some))
    tallies = [of for _, of in sorted(pair for _, own in told for pair in own.items())]
    return problems or group.by_first(lambda: _report_problems(path, tallies))


def _own_problems(path: Path, rank: int, size: int) -> tuple[list[str], dict[int, Tally]]:
    """What a rank finds, and what it counts in its parts."""
    problems = list(_check_head(path)) if path.is_file() and not rank else []
    tallies: dict[int, Tally] = {}
    try:
        with paths_named(), GraphFile(path, partial=True) as graph:
            parts = range(rank, graph.num_parts, size)
            at_sight = list(graph.size_problems())
            with phase("check files"):
                problems += at_sight + list(_check_parts(graph, parts))
            if not at_sight:        # what is not there has no content
                content = _Content(graph, parts)
                problems += content.problems()
                tallies = content.tallies
    except MpignnError as error:
        problems.append(str(error))
    return problems, tallies


def _report_problems(path: Path, tallies: Sequence[Tally]) -> list[str]:
    with phase("check the report"), GraphFile(path) as graph:
        keys = [*graph.schema.ntypes, *map(etype_key, graph.schema.etypes)]
        splits = {key: {name: graph.split_pieces(key, name) for name in graph.splits(key)} for key in keys}
        found = make_report(graph.book, tallies, {key: named for key, named in splits.items() if named})
        # These are read by it.
        found |= {name: graph.report[name] for name in ("user_ids", "class_names", "tables") if name in graph.report}
        return [f"{graph.path}: the report's {place} is not what the edges give"
                for place in _differences(found, graph.report)]


def _check_head(path: Path) -> Iterator[str]:
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    # What does not begin as a graph does may be anything of any size: it is not read to its end.
    if not head.startswith(HEAD_START) or head != head_line(file_crc(path, HEAD_BYTES)):
        yield f"{path}: the checksum at its beginning does not match the file"


def _check_parts(graph: GraphFile, parts: Iterable[int]) -> Iterator[str]:
    for path, crc in each([(graph.part_paths[part], graph.part_crcs[part]) for part in parts], "file"):
        found = file_crc(path) if path.is_file() else crc
        if found != crc:
            yield f"{path}: expected CRC-32 {crc:08x} of the file, got {found:08x}"


class _Content:
    """Reads all arrays of some parts once, some rows at a time, and notes what is wrong.

    Attributes:
        tallies: What the edges of these parts come from, by part, if nothing was wrong before they were counted.
    """

    def __init__(self, graph: GraphFile, parts: Sequence[int]) -> None:
        self.tallies: dict[int, Tally] = {}
        self._graph, self._parts = graph, parts
        self._found: list[str] = []
        self._orig: dict[str, np.ndarray] = {}

    def problems(self) -> list[str]:
        graph = self._graph
        keys = [*graph.schema.ntypes, *map(etype_key, graph.schema.etypes)]
        self._do([*((f"check nodes {t}", self._check_nodes, t) for t in graph.schema.ntypes),
                  *((f"check rows {etype_key(e)}", self._check_indptr, e) for e in graph.schema.etypes),
                  *((f"check data {name}", self._check_data, name) for name in graph.infos
                    if ArrayKey.parse(name).data_name is not None),
                  *((f"check splits {key}", self._check_splits, key) for key in keys),
                  ("check names", lambda _: check_names(graph.user_names), None)])
        if not self._found:
            self._do([("check edges", self._check_edges, graph.schema.etypes)])
        if not self._found:
            self._do([(f"check out-edges {etype_key(e)}", self._check_out_edges, e) for e in graph.book.out_ranges])
        return self._found

    def _do(self, steps: Sequence[tuple[str, Callable[[Any], Iterable[str]], Any]]) -> None:
        """Run steps, each with its name and what it is told; what keeps one from going on is a problem of its own."""
        for name, step, told in each(steps, "step"):
            try:
                with phase(name):
                    self._found += step(told)
            except MpignnError as error:
                self._found.append(str(error))

    def _check_nodes(self, ntype: str) -> Iterator[str]:
        book, graph = self._graph.book, self._graph
        num_nodes = book.num_nodes(ntype)
        where = f"{graph.path.parent}: {node_path(ntype)}"
        orig = self._read(ArrayKey.node(ntype, "orig_id"), 0, num_nodes)
        new_id = graph.new_ids(ntype)
        if num_nodes and not (orig.min() >= 0 and orig.max() < num_nodes):
            yield f"{where}/orig_id has ids outside 0..{num_nodes - 1}"
            return
        pieces = [(first, min(first + _CHUNK_NODES, num_nodes)) for first in range(0, num_nodes, _CHUNK_NODES)]
        if not (_inside(new_id, num_nodes) and all(np.array_equal(new_id[orig[first:last]], np.arange(first, last))
                                                   for first, last in pieces)):
            yield f"{where}: orig_id and map are not inverse permutations"
        for first, last in pieces:
            falls = np.flatnonzero(np.diff(orig[first:last + 1]) <= 0) + first + 1
            bad = falls[~np.isin(falls, book.node_ranges[ntype])]
            if bad.size:
                yield f"{where}/orig_id does not ascend within a partition, at node {bad[0]}"
                break
        self._orig[ntype] = orig

    def _check_indptr(self, etype: EType) -> Iterator[str]:
        book = self._graph.book
        num_dst, key = book.num_nodes(etype[2]), ArrayKey.edge(etype, "indptr")
        where = f"{self._graph.path.parent}: {key.path}"
        indptr = self._read(key, 0, num_dst)
        falls = np.flatnonzero(np.diff(indptr) < 0)
        if falls.size:
            yield f"{where} falls at row {falls[0]}"
        if not np.array_equal(indptr[book.node_ranges[etype[2]]], book.edge_ranges[etype]):
            yield f"{where} does not agree with the ranges of edges"

    def _check_data(self, name: str) -> Iterator[str]:
        """Nothing but the checksums, which reading verifies, block by block."""
        info, key = self._graph.infos[name], ArrayKey.parse(name)
        ranges, _ = axis(key, self._graph.book)
        step = rows_per_block(info.dtype, info.row_shape)
        for begin, end in (ranges[part:part + 2].tolist() for part in self._parts):
            for lo in range(begin, end, step):
                try:
                    self._read(key, lo, min(end, lo + step))
                except MpignnError as error:
                    yield str(error)

    def _check_splits(self, key: str) -> Iterator[str]:
        for name in self._graph.splits(key):
            seen, last = Bits(self._num_rows(key)), -1
            for ids in self._graph.split_pieces(key, name):
                if key in self._orig:
                    order = np.append(last, self._orig[key][ids])
                    if (np.diff(order) <= 0).any():
                        yield f"{self._graph.path}: split/{key}/{name} is not in order of original id"
                        break
                    last = int(order[-1])
                if unique(ids).size < ids.size or seen.marked(ids).any():
                    yield f"{self._graph.path}: split/{key}/{name} has an id twice"
                    break
                seen.mark(ids)

    def _num_rows(self, key: str) -> int:
        book = self._graph.book
        return book.num_nodes(key) if key in book.ntypes else book.num_edges(book.to_canonical_etype(key))

    def _check_edges(self, etypes: Sequence[EType]) -> Iterator[str]:
        """Sources in range and in neighbor order."""
        book = self._graph.book
        total = sum(int(book.edge_ranges[e][part + 1] - book.edge_ranges[e][part]) for e in etypes
                    for part in self._parts)
        with counting(total, "edge") as advance:
            yield from self._check_edges_of(etypes, advance)

    def _check_edges_of(self, etypes: Sequence[EType], advance: Callable[[int], None]) -> Iterator[str]:
        book = self._graph.book
        for part in self._parts:
            tally = PartTally(book, part)
            for etype in etypes:
                lo, hi = (int(i) for i in book.node_ranges[etype[2]][part:part + 2])
                indptr = self._read(ArrayKey.edge(etype, "indptr"), lo, hi)
                for begin, end in row_chunks(indptr, 0, hi - lo, _CHUNK_EDGES):
                    src = self._read(ArrayKey.edge(etype, "indices"), int(indptr[begin]), int(indptr[end]))
                    problem = self._check_rows(etype, src, indptr[begin:end + 1] - indptr[begin], lo + begin)
                    if problem:
                        yield problem
                        return
                    tally.add(etype, np.diff(indptr[begin:end + 1]), src)
                    advance(src.size)
            self.tallies[part] = tally.cut, tally.remote, tally.halo()

    def _check_out_edges(self, etype: EType) -> Iterator[str]:
        """As many as in-edges, each with its own source and destination, in order: so each edge is there once."""
        book = self._graph.book
        where, out = f"{self._graph.path.parent}: {out_path(etype)}", partial(ArrayKey.out, etype)
        if book.out_ranges[etype][-1] != book.num_edges(etype):
            yield f"{where} has {book.out_ranges[etype][-1]} edges, but there are {book.num_edges(etype)}"
            return
        starts = self._read(ArrayKey.edge(etype, "indptr"), 0, book.num_nodes(etype[2]))
        for part in self._parts:
            lo, hi = (int(i) for i in book.node_ranges[etype[0]][part:part + 2])
            indptr = self._read(out("indptr"), lo, hi)
            ends = book.out_ranges[etype][part:part + 2]
            if (np.diff(indptr) < 0).any() or not np.array_equal(indptr[[0, -1]], ends):
                yield f"{where}/indptr falls, or does not agree with its ranges"
                return
            for begin, end in row_chunks(indptr, 0, hi - lo, _CHUNK_EDGES):
                first, last = int(indptr[begin]), int(indptr[end])
                dst, ids = self._read(out("indices"), first, last), self._read(out("edge_id"), first, last)
                src = np.repeat(np.arange(lo + begin, lo + end), np.diff(indptr[begin:end + 1]))
                if not (_inside(dst, starts.size - 1) and _inside(ids, book.num_edges(etype))):
                    yield f"{where} has ids outside the graph, among the edges of sources {lo + begin}..{lo + end - 1}"
                    return
                wrong = np.flatnonzero((self._sources(etype, ids) != src) | (ids < starts[dst])
                                       | (ids >= starts[dst + 1]))
                orig = self._orig[etype[2]][dst]
                falls = 1 + np.flatnonzero((np.diff(src) == 0) & ((np.diff(orig) < 0) | (np.diff(orig) == 0)
                                                                  & (np.diff(ids) <= 0)))
                for bad, what in (wrong, "an edge that is not its own"), (falls, "its edges in another order"):
                    if bad.size:
                        yield f"{where}: source {src[bad[0]]} has {what}"
                        return

    def _sources(self, etype: EType, ids: np.ndarray) -> np.ndarray:
        """(e,) int64 sources of some edges, wherever they are; their checksums are compared elsewhere."""
        ranges, found = self._graph.book.edge_ranges[etype], np.empty(ids.size, np.int64)
        part = np.searchsorted(ranges, ids, side="right") - 1
        for number in np.flatnonzero(np.bincount(part)).tolist():
            mine = part == number
            stored = self._graph.stored(ArrayKey.edge(etype, "indices").path, number)
            found[mine] = stored.unverified().mapped()[ids[mine] - ranges[number]]
        return found

    def _check_rows(self, etype: EType, src: np.ndarray, indptr: np.ndarray, first_row: int) -> str | None:
        """The first problem of some rows that start at ``first_row``; indptr is relative to ``src``."""
        where = f"{self._graph.path.parent}: {ArrayKey.edge(etype, 'indices').path}"
        num_src = self._graph.book.num_nodes(etype[0])
        if not _inside(src, num_src):
            bad = np.flatnonzero((src < 0) | (src >= num_src))[0]
            row = first_row + int(np.searchsorted(indptr, bad, side="right")) - 1
            return f"{where}: destination {row} has the source {src[bad]}, but there are {num_src}"
        falls = np.flatnonzero(np.diff(self._orig[etype[0]][src]) < 0) + 1
        bad = falls[~np.isin(falls, indptr)]
        if bad.size:
            row = first_row + int(np.searchsorted(indptr, bad[0], side="right")) - 1
            return f"{where}: the sources of destination {row} are not in order of original id"
        return None

    def _read(self, key: ArrayKey, lo: int, hi: int) -> np.ndarray:
        info = self._graph.infos[key.path]
        out = np.empty((hi - lo + (key.what == "indptr")) * info.width, info.dtype)
        self._graph.read(key.path, lo, hi, out)
        return out


def _inside(ids: np.ndarray, count: int) -> bool:
    return not ids.size or bool(ids.min() >= 0 and ids.max() < count)


def _differences(found: Any, said: Any, place: str = "") -> Iterator[str]:
    """Where two reports differ; shares are floating-point sums, equal to rounding only."""
    if isinstance(found, dict) and isinstance(said, dict) and found.keys() == said.keys():
        for key in found:
            yield from _differences(found[key], said[key], f"{place}/{key}" if place else key)
    elif isinstance(found, float) and isinstance(said, float):
        if not math.isclose(found, said, rel_tol=1e-9, abs_tol=1e-12):
            yield place
    elif found != said:
        yield place or "form"
