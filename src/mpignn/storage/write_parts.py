"""The arrays of a graph, from original ids into part files, by all ranks of a group.

Each rank has a share of the rows, in order of original id, which it reads some at a time.  Those of one part among
such rows follow each other in its file, too, since a part's nodes ascend by original id.

Shapes: N nodes and E edges of a type, P partitions, R rows in hand, e edges in hand.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.csc import CSC, in_edges, out_edges, row_chunks, rows_of_places
from mpignn.graph.types import ArrayInfo, EType, GraphData, etype_key
from mpignn.large.arrays import LargeArray
from mpignn.large.scattered import scattered
from mpignn.large.scratch import Scratch
from mpignn.large.sort_edges import Edges, sort_edges
from mpignn.partition.relabel import Relabeling, new_indptr
from mpignn.storage.part_files import PartFiles
from mpignn.storage.schema import axis, index_dtype

_EDGE_BYTES, _ROW_BYTES = 48, 32        # of an edge, and of a row, in hand, its data not counted
_PIECE_BYTES = 1 << 24      # of data in hand: the C library keeps the memory of such for the next one

_Cut = tuple[int, int, tuple[int, int]]     # part, first row in it, and which of the rows in hand go there


class PartWriter:
    """Writes all arrays of all parts.  Its methods are collective over the group of ``scratch``.

    Attributes:
        book: Who owns what.
        infos: The arrays of a part file, in the order in which they lie in it.
        new_edge: (E,) int64 new id of each original edge, once they are written, by edge type where it is needed: of
            those with splits or out-edges.
    """

    def __init__(self, data: GraphData, nodes: Mapping[str, Relabeling], with_out_edges: bool, scratch: Scratch
                 ) -> None:
        """Count how many edges each part has.

        Args:
            data: The graph.
            nodes: New ids by node type.
            with_out_edges: Whether each edge is stored with its source, too.
            scratch: Where to keep what does not fit memory.
        """
        self._data, self._scratch = data, scratch
        self._new_ids = {t: np.asarray(of.new_id) for t, of in nodes.items()}
        self._out = {etype: by_source(csc, data.num_nodes[etype[0]], scratch)
                     for etype, csc in data.csc.items() if with_out_edges}
        ranges = {t: of.ranges for t, of in nodes.items()}
        self.book = RangePartitionBook(
            data.schema, ranges,
            {e: new_indptr(csc, self._new_ids[e[2]])[ranges[e[2]]] for e, csc in data.csc.items()},
            {e: new_indptr(out, self._new_ids[e[0]])[ranges[e[0]]] for e, out in self._out.items()})
        self.infos = list(_infos(data, self.book))
        self.new_edge: dict[EType, LargeArray] = {}

    def write(self, files: PartFiles) -> None:
        """Write all rows.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        for ntype in self._data.num_nodes:
            with self._scratch.alone():
                self._write_nodes(files, ntype)
        for etype, csc in self._data.csc.items():
            places = self._write_edges(files, etype, csc)
            if etype in self._out or self._data.splits.get(etype_key(etype)):
                self.new_edge[etype] = scattered(places, csc.num_edges, self._scratch)
            else:
                with self._scratch.alone():
                    deque(places, maxlen=0)
        for etype, out in self._out.items():
            with self._scratch.alone():
                self._write_out_edges(files, etype, out)

    def _write_nodes(self, files: PartFiles, ntype: str) -> None:
        data = sorted(self._data.node_data.get(ntype, {}).items())
        first, last = self._scratch.group.share(self._data.num_nodes[ntype])
        with self._scratch.stage(f"write nodes {ntype}", last - first) as advance:
            for lo, hi in self._scratch.pieces(self._data.num_nodes[ntype], _ROW_BYTES):
                rows, cuts = self._by_part(ntype, lo, hi)
                for part, place, (begin, end) in cuts:
                    files.write(part, ArrayKey.node(ntype, "orig_id").path, place, rows[begin:end])
                for name, array in data:
                    self._write_data(files, ArrayKey.node_data(ntype, name), array, rows, cuts)
                advance(hi - lo)

    def _write_edges(self, files: PartFiles, etype: EType, csc: CSC) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Write in-edges with their data, some at a time; yields their original and their new ids."""
        indices, new_src = ArrayKey.edge(etype, "indices").path, self._new_ids[etype[0]]
        indptr = new_indptr(csc, self._new_ids[etype[2]])
        self._write_indptr(files, ArrayKey.edge(etype, "indptr"), indptr)
        data = sorted(self._data.edge_data.get(etype, {}).items())
        for edges in self._in_hand(f"write edges {etype_key(etype)}", etype[2], csc, indptr,
                                   self.book.edge_ranges[etype]):
            new = new_src[edges.ends]
            for part, first, (begin, end) in edges.cuts:
                files.write(part, indices, first, new[begin:end])
            for name, array in data:
                self._write_data(files, ArrayKey.edge_data(etype, name), array, edges.ids, edges.cuts)
            yield edges.ids, edges.places()

    def _write_out_edges(self, files: PartFiles, etype: EType, out: CSC) -> None:
        indices, edge_id = ArrayKey.out(etype, "indices").path, ArrayKey.out(etype, "edge_id").path
        new_dst, new_edge = self._new_ids[etype[2]], self.new_edge[etype]
        indptr = new_indptr(out, self._new_ids[etype[0]])
        self._write_indptr(files, ArrayKey.out(etype, "indptr"), indptr)
        for edges in self._in_hand(f"write out-edges {etype_key(etype)}", etype[0], out, indptr,
                                   self.book.out_ranges[etype]):
            new, ids = new_dst[edges.ends], new_edge[edges.ids]
            for part, first, (begin, end) in edges.cuts:
                files.write(part, indices, first, new[begin:end])
                files.write(part, edge_id, first, ids[begin:end])

    def _in_hand(self, name: str, ntype: str, csc: CSC, new_indptr: np.ndarray, ranges: np.ndarray
                 ) -> Iterator["_InHand"]:
        """The edges of this rank's rows, some at a time.

        Args:
            name: What is done with them.
            ntype: Type of the rows.
            csc: Their edges.
            new_indptr: (N + 1,) int64 by new id.
            ranges: (P + 1,) of the edges.
        """
        indptr = np.asarray(csc.indptr)
        begin, end = self._scratch.rows_of_share(indptr)
        with self._scratch.stage(name, int(indptr[end] - indptr[begin])) as advance:
            for lo, hi in _stretches(indptr, begin, end, self._scratch.rows(_EDGE_BYTES)):
                first, last = int(indptr[lo]), int(indptr[hi])
                piece = CSC(indptr[lo:hi + 1] - first, csc.indices[first:last],
                            None if csc.edge_ids is None else csc.edge_ids[first:last])
                rows, cuts = self._by_part(ntype, lo, hi)
                degree, ends, ids = in_edges(piece, rows - lo)
                places = new_indptr[self._new_ids[ntype][rows]]
                starts = np.zeros(rows.size + 1, np.int64)
                np.cumsum(degree, out=starts[1:])
                yield _InHand(places, starts, ends, ids if csc.edge_ids is not None else ids + first,
                              [(part, int(places[begin] - ranges[part]), (int(starts[begin]), int(starts[end])))
                               for part, _, (begin, end) in cuts])
                advance(last - first)

    def _by_part(self, ntype: str, lo: int, hi: int) -> tuple[np.ndarray, list[_Cut]]:
        """The original ids ``lo:hi`` in order of their new ids, and what of them lies where in each part."""
        ranges, new = self.book.node_ranges[ntype], self._new_ids[ntype][lo:hi]
        order = np.argsort(new)
        bounds = np.searchsorted(new[order], ranges)
        cuts = [(part, int(new[order[begin]] - ranges[part]), (begin, end))
                for part, (begin, end) in enumerate(pairwise(bounds.tolist())) if begin < end]
        return order + lo, cuts

    def _write_data(self, files: PartFiles, key: ArrayKey, array: LargeArray, rows: np.ndarray,
                    cuts: list[_Cut]) -> None:
        row_bytes = max(1, array.nbytes // max(1, array.shape[0]))
        step = self._scratch.rows(2 * row_bytes, _PIECE_BYTES // row_bytes)
        for part, first, (begin, end) in cuts:
            for lo in range(begin, end, step):
                files.write(part, key.path, first + lo - begin, array[rows[lo:min(end, lo + step)]])

    def _write_indptr(self, files: PartFiles, key: ArrayKey, indptr: np.ndarray) -> None:
        ranges, _ = axis(key, self.book)
        for part in files.own():
            files.write(part, key.path, 0, indptr[ranges[part]:ranges[part + 1] + 1])


def _stretches(indptr: np.ndarray, begin: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Rows of at most so many edges, or one, and at most as many rows: those without edges take memory, too."""
    for lo, hi in row_chunks(indptr, begin, end, most):
        yield from ((first, min(first + most, hi)) for first in range(lo, hi, most))


def by_source(csc: CSC, num_src: int, scratch: Scratch) -> CSC:
    """`mpignn.graph.csc.out_edges`, in files where it does not fit memory.

    Collective over the group of ``scratch``.
    """
    if scratch.fits(_EDGE_BYTES * csc.num_edges):
        return out_edges(csc, num_src)

    def edges() -> Iterator[Edges]:
        for first, last in scratch.pieces(csc.num_edges, _EDGE_BYTES):
            dst = rows_of_places(csc.indptr, first, last)
            ids = np.arange(first, last) if csc.edge_ids is None else csc.edge_ids[first:last]
            yield dst, csc.indices[first:last], ids

    return sort_edges(edges, csc.num_edges, csc.num_dst, num_src, index_dtype(csc.num_dst), scratch)


@dataclass(frozen=True)
class _InHand:
    """Edges of R rows, in order of the new ids of these.

    Attributes:
        first_place: (R,) int64 new place of the first edge of each row.
        starts: (R + 1,) int64 where each row begins.
        ends: (e,) other ends.
        ids: (e,) int64 ids.
        cuts: Where they go.
    """

    first_place: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    ids: np.ndarray
    cuts: list[_Cut]

    def places(self) -> np.ndarray:
        """(e,) int64 new places."""
        return np.repeat(self.first_place - self.starts[:-1], np.diff(self.starts)) + np.arange(self.ends.size)


def _infos(data: GraphData, book: RangePartitionBook) -> Iterator[ArrayInfo]:
    """The arrays of a part file, in the order in which they lie in it."""
    for ntype in data.num_nodes:
        yield ArrayInfo(ArrayKey.node(ntype, "orig_id").path, np.dtype(np.int64), ())
        yield from _data_infos(partial(ArrayKey.node_data, ntype), data.node_data.get(ntype, {}))
    for etype in data.csc:
        yield ArrayInfo(ArrayKey.edge(etype, "indptr").path, np.dtype(np.int64), ())
        yield ArrayInfo(ArrayKey.edge(etype, "indices").path, index_dtype(data.num_nodes[etype[0]]), ())
        yield from _data_infos(partial(ArrayKey.edge_data, etype), data.edge_data.get(etype, {}))
    for etype in book.out_ranges:
        yield ArrayInfo(ArrayKey.out(etype, "indptr").path, np.dtype(np.int64), ())
        yield ArrayInfo(ArrayKey.out(etype, "indices").path, index_dtype(data.num_nodes[etype[2]]), ())
        yield ArrayInfo(ArrayKey.out(etype, "edge_id").path, np.dtype(np.int64), ())


def _data_infos(key: Callable[[str], ArrayKey], named: Mapping[str, LargeArray]) -> Iterator[ArrayInfo]:
    for name, array in sorted(named.items()):
        yield ArrayInfo(key(name).path, array.dtype.newbyteorder("="), array.shape[1:])
