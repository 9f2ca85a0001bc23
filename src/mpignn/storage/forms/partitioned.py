"""Graphs that were partitioned before, as the source of other partitions.

What is stored is taken as it is.  Edges are numbered by destination, its edges in neighbor order: the ids that they had
in the first source are nowhere stored.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mpignn.graph.array_key import EDGE, NODE, ArrayKey
from mpignn.graph.csc import CSC, row_chunks
from mpignn.graph.types import EType, GraphData, Partitioning, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage.arrays import StoredArray, damage_named, read_rows
from mpignn.storage.form import Form, file_named, folder_with
from mpignn.storage.original_rows import EdgePlaces, OriginalRows
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import GRAPH_FILE, HEAD_START
from mpignn.storage.user_names import StoredIds

_CHUNK_EDGES = 1 << 21      # in hand at a time


def is_partitioned(path: Path) -> bool:
    """Whether it is the folder of a partitioned graph, or graph.h5 in it, whose first bytes say so."""
    if not file_named(".h5")(path):
        return folder_with(GRAPH_FILE)(path)
    with damage_named(str(path)), open(path, "rb") as file:
        return file.read(len(HEAD_START)) == HEAD_START


def read_partitioned(path: Path) -> GraphData:
    """The graph in original ids; data with rows of several numbers stays in the files until it is asked for."""
    with GraphFile(path) as graph:
        new = {t: graph.new_ids(t) for t in graph.schema.ntypes}
        orig = {t: np.argsort(ids, kind="stable") for t, ids in new.items()}
        edges = {e: EdgePlaces.of(_indptr(graph, e), new[e[2]], orig[e[2]]) for e in graph.schema.etypes}
        node_data: dict[str, dict[str, Any]] = {}
        edge_data: dict[EType, dict[str, Any]] = {}
        for key in map(ArrayKey.parse, graph.infos):
            if key.data_name is not None and key.kind == NODE:
                rows = OriginalRows(graph, key, new[key.owner].__getitem__)
                node_data.setdefault(key.owner, {})[key.data_name] = rows
            elif key.data_name is not None and key.kind == EDGE:
                rows = OriginalRows(graph, key, edges[key.etype].places)
                edge_data.setdefault(key.etype, {})[key.data_name] = rows
        names = graph.user_names
        numbers = {etype_key(e): found.numbers for e, found in edges.items()}
        return GraphData(
            {t: ids.size for t, ids in new.items()},
            {e: _csc(graph, e, found, orig[e[0]]) for e, found in edges.items()}, node_data, edge_data,
            {key: {name: _split(graph, key, name, orig, numbers) for name in named}
             for key, named in graph.report["splits"].items()},
            {t: _user_ids(found) for t, found in names.ids.items()}, names.classes, graph.tables,
            Partitioning(graph.source_id, graph.num_parts,
                         {t: _parts(graph.book.node_ranges[t], ids) for t, ids in new.items()}))


def _indptr(graph: GraphFile, etype: EType) -> np.ndarray:
    num_dst = graph.book.num_nodes(etype[2])
    indptr = np.empty(num_dst + 1, np.int64)
    graph.read(ArrayKey.edge(etype, "indptr").path, 0, num_dst, indptr)
    return indptr


def _csc(graph: GraphFile, etype: EType, edges: EdgePlaces, orig_src: np.ndarray) -> CSC:
    stored = OriginalRows(graph, ArrayKey.edge(etype, "indices"), edges.places)
    indices = np.empty(stored.shape, stored.dtype)
    for first, last in row_chunks(edges.indptr, 0, edges.indptr.size - 1, _CHUNK_EDGES):
        some = slice(int(edges.indptr[first]), int(edges.indptr[last]))
        indices[some] = orig_src[stored[some]]
    return CSC(edges.indptr, indices)


def _split(graph: GraphFile, key: str, name: str, orig: dict[str, np.ndarray], numbers: dict[str, Any]) -> np.ndarray:
    ids = graph.split(key, name)
    found: np.ndarray = orig[key][ids] if key in orig else numbers[key](ids)
    return found


def _parts(ranges: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(N,) int32 partition of each original id."""
    return (np.searchsorted(ranges, new, side="right") - 1).astype(np.int32)


def _user_ids(stored: StoredIds) -> UserIds:
    return UserIds(_whole(stored.values), None if stored.bounds is None else _whole(stored.bounds))


def _whole(array: StoredArray) -> np.ndarray:
    out = np.empty(array.shape, array.dtype)
    read_rows(array, 0, array.shape[0], out)
    return out


FORMS = (Form("a folder that partition wrote, or graph.h5 in it", is_partitioned, read_partitioned),)
