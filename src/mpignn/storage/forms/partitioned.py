"""Graphs that were partitioned before, as the source of other partitions.

What is stored is taken as it is.  Edges are numbered by destination, its edges in neighbor order: the ids that they had
in the first source are nowhere stored.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.comm.group import LocalGroup
from mpignn.graph.array_key import EDGE, NODE, ArrayKey
from mpignn.graph.csc import CSC, row_chunks
from mpignn.graph.types import EType, GraphData, Partitioning
from mpignn.graph.user_ids import UserIds
from mpignn.large.arrays import LargeArray
from mpignn.large.scratch import Scratch
from mpignn.storage.arrays import StoredArray, damage_named, read_rows
from mpignn.storage.form import Form, file_named, folder_with
from mpignn.storage.original_rows import EdgePlaces, OriginalRows
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import GRAPH_FILE, HEAD_START
from mpignn.storage.user_names import StoredIds

_CHUNK_EDGES = 1 << 21      # in hand at a time, at most
_EDGE_BYTES = 64        # of an edge in hand


@dataclass(frozen=True)
class _Numbers:
    """New and original ids of nodes by type, and where edges are.  On several ranks they lie in files."""

    new: Mapping[str, LargeArray]
    orig: Mapping[str, LargeArray]
    edges: Mapping[EType, EdgePlaces]


def is_partitioned(path: Path) -> bool:
    """Whether it is the folder of a partitioned graph, or graph.h5 in it, whose first bytes say so."""
    if not file_named(".h5")(path):
        return folder_with(GRAPH_FILE)(path)
    with damage_named(str(path)), open(path, "rb") as file:
        return file.read(len(HEAD_START)) == HEAD_START


def read_partitioned(path: Path, scratch: Scratch | None = None) -> GraphData:
    """The graph in original ids; its data stay in the files until they are asked for.

    Collective over the group of ``scratch``, if there is one.

    Returns:
        The graph; on ranks but the first one its nodes and edges alone.
    """
    group = LocalGroup() if scratch is None else scratch.group
    with ExitStack() as stack:
        with group.all_or_none():
            graph = stack.enter_context(GraphFile(path))
        numbers = group.by_first(lambda: _numbers(graph, scratch))
        csc = {e: _csc(graph, e, numbers, scratch) for e in graph.schema.etypes}
        num_nodes = {t: graph.book.num_nodes(t) for t in graph.schema.ntypes}
        return _with_data(graph, numbers, GraphData(num_nodes, csc)) if group.rank == 0 else GraphData(num_nodes, csc)


def _numbers(graph: GraphFile, scratch: Scratch | None) -> _Numbers:
    def kept(array: np.ndarray) -> LargeArray:
        return array if scratch is None or scratch.group.size == 1 else scratch.kept(array)

    new = {t: graph.new_ids(t) for t in graph.schema.ntypes}
    orig = {t: np.argsort(ids, kind="stable") for t, ids in new.items()}
    ids = {t: (kept(new[t]), kept(orig[t])) for t in new}
    edges = {}
    for etype in graph.schema.etypes:
        stored = _indptr(graph, etype)
        indptr = np.zeros(stored.size, np.int64)
        np.cumsum(np.diff(stored)[new[etype[2]]], out=indptr[1:])
        edges[etype] = EdgePlaces(kept(indptr), kept(stored), *ids[etype[2]])
    return _Numbers({t: of[0] for t, of in ids.items()}, {t: of[1] for t, of in ids.items()}, edges)


def _with_data(graph: GraphFile, numbers: _Numbers, structure: GraphData) -> GraphData:
    node_data: dict[str, dict[str, Any]] = {}
    edge_data: dict[EType, dict[str, Any]] = {}
    for key in map(ArrayKey.parse, graph.infos):
        if key.data_name is not None and key.kind == NODE:
            rows = OriginalRows(graph, key, numbers.new[key.owner].__getitem__)
            node_data.setdefault(key.owner, {})[key.data_name] = rows
        elif key.data_name is not None and key.kind == EDGE:
            rows = OriginalRows(graph, key, numbers.edges[key.etype].places)
            edge_data.setdefault(key.etype, {})[key.data_name] = rows
    parts = {t: _parts(graph.book.node_ranges[t], np.asarray(ids)) for t, ids in numbers.new.items()}
    return GraphData(
        structure.num_nodes, structure.csc, node_data, edge_data,
        {key: {name: _split(graph, key, name, numbers) for name in named}
         for key, named in graph.report["splits"].items()},
        {t: _user_ids(found) for t, found in graph.user_names.ids.items()}, graph.user_names.classes, graph.tables,
        Partitioning(graph.source_id, graph.num_parts, parts))


def _indptr(graph: GraphFile, etype: EType) -> np.ndarray:
    num_dst = graph.book.num_nodes(etype[2])
    indptr = np.empty(num_dst + 1, np.int64)
    graph.read(ArrayKey.edge(etype, "indptr").path, 0, num_dst, indptr)
    return indptr


def _csc(graph: GraphFile, etype: EType, numbers: _Numbers, scratch: Scratch | None) -> CSC:
    """The in-edges of a type, in a file where they do not fit memory.  Collective over the group of ``scratch``."""
    edges, orig_src = numbers.edges[etype], np.asarray(numbers.orig[etype[0]])
    indptr = np.asarray(edges.indptr)
    stored = OriginalRows(graph, ArrayKey.edge(etype, "indices"), edges.places)
    if scratch is None or scratch.fits(stored.nbytes):
        indices = np.empty(stored.shape, stored.dtype)
        for some in _pieces(indptr, 0, indptr.size - 1, _CHUNK_EDGES):
            indices[some] = orig_src[stored[some]]
        return CSC(indptr, indices)
    made = scratch.array(stored.dtype, *stored.shape)
    with scratch.alone():
        for some in _pieces(indptr, *scratch.group.share(indptr.size - 1), scratch.rows(_EDGE_BYTES, _CHUNK_EDGES)):
            made.write(some.start, orig_src[stored[some]])
    return CSC(indptr, made.rows)


def _pieces(indptr: np.ndarray, lo: int, hi: int, most: int) -> Iterator[slice]:
    """The edges of some rows, so many at a time, or those of one row."""
    for first, last in row_chunks(indptr, lo, hi, most):
        yield slice(int(indptr[first]), int(indptr[last]))


def _split(graph: GraphFile, key: str, name: str, numbers: _Numbers) -> np.ndarray:
    ids = graph.split(key, name)
    return numbers.orig[key][ids] if key in numbers.orig else numbers.edges[graph.schema.etype(key)].numbers(ids)


def _parts(ranges: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(N,) int32 partition of each original id."""
    return (np.searchsorted(ranges, new, side="right") - 1).astype(np.int32)


def _user_ids(stored: StoredIds) -> UserIds:
    return UserIds(_whole(stored.values), None if stored.bounds is None else _whole(stored.bounds))


def _whole(array: StoredArray) -> np.ndarray:
    out = np.empty(array.shape, array.dtype)
    read_rows(array, 0, array.shape[0], out)
    return out


FORMS = (Form("a folder that partition wrote, or graph.h5 in it", is_partitioned, read_partitioned, ("scratch",),
              is_stored=True),)
