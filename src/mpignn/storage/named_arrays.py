"""Graphs as arrays that have names.

A homogeneous graph, `flat`:

====================== ====================================================================================
indptr, indices        in-edges by destination: those of v are ``indices[indptr[v]:indptr[v + 1]]``; or
src, dst               the ends of each edge, in any order; edge i goes from ``src[i]`` to ``dst[i]``
num_nodes              optional, one number: N, where isolated nodes would be missed in src and dst
<name>_mask            (N,) booleans: the split <name>, such as train, val and test
edge_<name>            (E, ...) edge data <name>, in the order of indices or of src
<name>                 (N, ...) node data <name>; features and labels are what training looks for
====================== ====================================================================================

A heterogeneous graph, `typed`:

================================================ ==========================================================
num_nodes/<ntype>                                one number, for each node type
edge/<src:rel:dst>/indptr and .../indices        in-edges by destination; or
edge/<src:rel:dst>/src and .../dst               the ends of each edge
edge/<src:rel:dst>/data/<name>                   (E, ...) edge data
node/<ntype>/<name>                              (N, ...) node data
split/<ntype or src:rel:dst>/<name>              integer ids of the split <name>, or booleans, one for each
================================================ ==========================================================

Shapes: N nodes, E edges of a type.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.csc import CSC, csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, EType, GraphData, etype_key, parse_etype
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.large.sort_edges import Edges, sort_edges
from mpignn.storage.canonical import as_array, integers, whole
from mpignn.storage.validate import ids_of_mask

FLAT = "indptr and indices, or src and dst"
TYPED = "num_nodes/<ntype> and edge/<src:rel:dst>/..."
_SORT_BYTES, _EDGE_BYTES = 40, 64       # of an edge while all are sorted in memory; of one in hand
STRUCTURE = ("indptr", "indices", "src", "dst", "num_nodes")


def graph_of_arrays(arrays: Mapping[str, np.ndarray], where: str, scratch: Scratch | None = None) -> GraphData:
    """A graph of either kind: types are named with a slash.

    Collective over the group of ``scratch``, if there is one.

    Args:
        arrays: Array by name.
        where: What errors call the whole of them, such as the path of a file.
        scratch: Where edges are grouped that do not fit memory; None: all fit.

    Raises:
        DataError: Names the array and the first bad entry.
    """
    return (typed if any("/" in key for key in arrays) else flat)(arrays, where, scratch)


def flat(arrays: Mapping[str, np.ndarray], where: str, scratch: Scratch | None = None) -> GraphData:
    """A homogeneous graph; as `graph_of_arrays`."""
    others = {name: arrays[name] for name in arrays if name not in STRUCTURE}
    num_nodes = _flat_num_nodes(arrays, others, where)
    csc = _structure(arrays, num_nodes, num_nodes, where, scratch)
    node_data, edge_data, splits = {}, {}, {}
    for name, array in others.items():
        if name.endswith("_mask"):
            splits[name.removesuffix("_mask")] = ids_of_mask(array, num_nodes, f"{where}: {name}")
        elif name.startswith("edge_") and array.ndim and array.shape[0] == csc.num_edges:
            edge_data[name.removeprefix("edge_")] = array
        elif array.ndim and array.shape[0] == num_nodes:
            node_data[name] = array
        else:
            raise DataError(f"{where}: {name} has shape {array.shape}, expected one row for each of {num_nodes} nodes"
                            + (f" or {csc.num_edges} edges" if name.startswith("edge_") else ""))
    return GraphData({NTYPE: num_nodes}, {ETYPE: csc}, {NTYPE: node_data} if node_data else {},
                     {ETYPE: edge_data} if edge_data else {}, {NTYPE: splits} if splits else {})


def _flat_num_nodes(arrays: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], where: str) -> int:
    if "num_nodes" in arrays:
        return whole(arrays["num_nodes"], f"{where}: num_nodes")
    if "indptr" in arrays:
        return max(0, arrays["indptr"].size - 1)
    for name in ("features", "labels", "train_mask"):
        if name in others and others[name].ndim:
            return len(others[name])
    ends = [np.asarray(integers(arrays[end], f"{where}: {end}")) for end in ("src", "dst") if end in arrays]
    return whole(1 + max((int(ids.max(initial=-1)) for ids in ends), default=-1),
                 f"{where}: the number of nodes, one more than the largest id,")


def typed(arrays: Mapping[str, np.ndarray], where: str, scratch: Scratch | None = None) -> GraphData:
    """A graph of several types, or of one that has a name; as `graph_of_arrays`."""
    num_nodes: dict[str, int] = {}
    node_data: dict[str, dict[str, np.ndarray]] = {}
    edges: dict[EType, dict[str, np.ndarray]] = {}
    edge_data: dict[EType, dict[str, np.ndarray]] = {}
    split_keys = []
    for key in arrays:
        match key.split("/"):
            case ["num_nodes", ntype]:
                num_nodes[ntype] = whole(arrays[key], f"{where}: {key}")
            case ["node", ntype, name]:
                node_data.setdefault(ntype, {})[name] = arrays[key]
            case ["edge", spelt, ("indptr" | "indices" | "src" | "dst") as name]:
                edges.setdefault(parse_etype(spelt), {})[name] = arrays[key]
            case ["edge", spelt, "data", name]:
                edge_data.setdefault(parse_etype(spelt), {})[name] = arrays[key]
            case ["split", _, _]:
                split_keys.append(key)
            case _:
                raise DataError(f"{where}: {key!r} has no meaning; expected names such as {TYPED}")
    for etype in edges:
        for end in (etype[0], etype[2]):
            if end not in num_nodes:
                raise DataError(f"{where}: num_nodes/{end} is missing, but there are edges {etype_key(etype)}")
    csc = {etype: _structure(named, num_nodes[etype[0]], num_nodes[etype[2]], f"{where}: edge/{etype_key(etype)}",
                             scratch)
           for etype, named in edges.items()}
    sizes = {**num_nodes, **{etype_key(e): c.num_edges for e, c in csc.items()}}
    splits: dict[str, dict[str, np.ndarray]] = {}
    for path in split_keys:
        _, key, name = path.split("/")
        splits.setdefault(key, {})[name] = _split_ids(arrays[path], sizes.get(key, 0), f"{where}: {path}")
    return GraphData(num_nodes, csc, node_data, edge_data, splits)


def data_of_type(key: str, count: int, named: Mapping[str, Any], where: str, usual: Mapping[str, str]
                 ) -> dict[str, np.ndarray]:
    """The data of the nodes or edges of a type, under the names that `typed` takes; masks as splits.  Not collective.

    Args:
        key: Node type, or edge type as ``src:rel:dst``.
        count: How many nodes or edges there are.
        named: Arrays of one row for each, by the names that they have in another library.
        where: What errors call the source.
        usual: Our name of what the other library calls so, such as features and labels.

    Raises:
        DataError: An array of another length, or one that is no array; names it.
    """
    found = {}
    base = f"edge/{key}/data" if ":" in key else f"node/{key}"
    for name, values in named.items():
        what = f"{where}: {name}" if key in (NTYPE, etype_key(ETYPE)) else f"{where}: {key}: {name}"
        array = as_array(values, what)
        if name.endswith("_mask"):
            found[f"split/{key}/{name.removesuffix('_mask')}"] = ids_of_mask(array, count, what)
        elif array.ndim and array.shape[0] == count:
            ours = usual.get(name, name)
            found[f"{base}/{name if ours in named else ours}"] = array
        else:
            raise DataError(f"{what} has shape {array.shape}, expected one row for each of {count} "
                            f"{'edges' if ':' in key else 'nodes'}")
    return found


def checked_pairs(pairs: np.ndarray, counts: tuple[int, int], where: str) -> np.ndarray:
    """The ends of the edges of a type, as a file has them.  Not collective.

    Args:
        pairs: (E, 2) sources and destinations; of any shape without edges.
        counts: How many nodes there are of their types.
        where: What errors call the file.

    Returns:
        (E, 2) int64.

    Raises:
        DataError: Another shape, no whole numbers, or no such node; names the row, counted from 1.
    """
    if not pairs.size:
        return np.empty((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise DataError(f"{where}: expected rows of two whole numbers, source and destination, got {pairs.dtype} of "
                        f"shape {pairs.shape}")
    if pairs.min() < 0 or (pairs.max(axis=0) >= counts).any():
        row, end = np.argwhere((pairs < 0) | (pairs >= np.array(counts)))[0]
        raise DataError(f"{where}: row {row + 1}: {('source', 'destination')[end]} {pairs[row, end]} is not in "
                        f"0..{counts[end] - 1}")
    return pairs.astype(np.int64, copy=False)


def _structure(arrays: Mapping[str, np.ndarray], num_src: int, num_dst: int, where: str,
               scratch: Scratch | None = None) -> CSC:
    """The in-edges of one type; of src and dst only what would keep them from being grouped is checked."""
    if "indptr" in arrays and "indices" in arrays:
        indptr = integers(arrays["indptr"], f"{where}: indptr")
        return CSC(indptr.astype(np.int64, copy=False), integers(arrays["indices"], f"{where}: indices"))
    if "src" not in arrays or "dst" not in arrays:
        raise DataError(f"{where}: no edges found; expected indptr and indices, or src and dst, got: "
                        + (", ".join(sorted(arrays)) or "nothing"))
    src, dst = (integers(arrays[end], f"{where}: {end}") for end in ("src", "dst"))
    if src.shape != dst.shape:
        raise DataError(f"{where}: src has {src.size} entries and dst {dst.size}; expected one of each for an edge")
    if scratch is None or scratch.fits(_SORT_BYTES * src.size):
        src, dst = np.asarray(src), np.asarray(dst)
        for end, ids, count in (("src", src, num_src), ("dst", dst, num_dst)):
            _check_ends(ids, 0, count, f"{where}: {end}")
        return csc_from_coo(src, dst, num_dst)
    ends = FileArray.of(src), FileArray.of(dst)

    def edges() -> Iterator[Edges]:
        for first, last in scratch.pieces(src.size, _EDGE_BYTES):
            some = ends[0][first:last], ends[1][first:last]
            for end, ids, count in (("src", some[0], num_src), ("dst", some[1], num_dst)):
                _check_ends(ids, first, count, f"{where}: {end}")
            yield *some, np.arange(first, last)

    return sort_edges(edges, src.size, num_src, num_dst, src.dtype, scratch)


def _check_ends(ids: np.ndarray, first: int, count: int, what: str) -> None:
    bad = np.flatnonzero((ids < 0) | (ids >= count))
    if bad.size:
        raise DataError(f"{what}[{first + bad[0]}] = {ids[bad[0]]} but there are {count} nodes")


def _split_ids(array: np.ndarray, count: int, what: str) -> np.ndarray:
    if array.dtype == bool and array.size:
        return ids_of_mask(array, count, what)
    return np.sort(integers(array, what)).astype(np.int64, copy=False)
