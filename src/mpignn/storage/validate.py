"""Whether a graph in memory is sound, before anything is written.

Shapes: N nodes of a type, D destinations and E edges of an edge type.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.graph.likeness import likely, misnamed_splits
from mpignn.graph.types import GraphData, etype_key
from mpignn.storage.user_names import validate_names

NON_NEGATIVE = ("prob", "weight")
"""Edge data by which edges are drawn or weighted."""

FEATURES = "features"
"""Node data that models read where nothing else is asked for."""

LABELS = "labels"
"""Data that may say "unknown": floating-point numbers and rows of several labels by NaN or -1 for any entry, classes by
-1 outside the splits."""

_CHUNK_BYTES = 1 << 24


def validate(data: GraphData) -> None:
    """Raise if a graph cannot be partitioned and trained on.

    Raises:
        DataError: Names the array, the first bad entry, and what was expected.
    """
    _check_names(data)
    for ntype, count in data.num_nodes.items():
        if count < 0:
            raise DataError(f"{ntype!r} has {count} nodes")
    for etype, csc in data.csc.items():
        _check_csc(csc, data.num_nodes[etype[0]], data.num_nodes[etype[2]], etype_key(etype))
    _check_splits(data)
    for ntype, named in data.node_data.items():
        for name, array in named.items():
            _check_data(array, name, ntype, data.num_nodes[ntype], "node", data.splits.get(ntype, {}))
    for etype, named in data.edge_data.items():
        for name, array in named.items():
            key = etype_key(etype)
            _check_data(array, name, key, data.csc[etype].num_edges, "edge", data.splits.get(key, {}))
            if name in NON_NEGATIVE:
                _check_rows(array, f"{key}/{name}", "edge", lambda rows: rows < 0, "which is negative")
    validate_names(data)


def _check_names(data: GraphData) -> None:
    if not data.num_nodes or not data.csc:
        raise DataError("a graph has at least one node type and one edge type")
    names = [*data.num_nodes, *(part for etype in data.csc for part in etype)]
    names += [name for named in (*data.node_data.values(), *data.edge_data.values(), *data.splits.values())
              for name in named]
    for name in names:
        if not name or set(name) & set("/:\0") or name == ".":
            raise DataError(f"{name!r} cannot be the name of a type, of data or of a split: "
                            "it must not be empty or contain '/' or ':'")
    for src, relation, dst in data.csc:
        for end in (src, dst):
            if end not in data.num_nodes:
                raise DataError(f"edge type {src}:{relation}:{dst}: {end!r} is not a node type; "
                                f"there are: {', '.join(data.num_nodes)}")
    keys = {etype_key(e) for e in data.csc}
    for what, unknown in (("node data", set(data.node_data) - set(data.num_nodes)),
                          ("edge data", {etype_key(e) for e in data.edge_data} - keys),
                          ("a split", set(data.splits) - keys - set(data.num_nodes))):
        if unknown:
            raise DataError(f"{what} is given for {sorted(unknown)[0]!r}, which is no type of the graph")


def _check_csc(csc: CSC, num_src: int, num_dst: int, what: str) -> None:
    for name, array in (("indptr", csc.indptr), ("indices", csc.indices)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise DataError(f"{what}: {name} must be integers in one dimension, got {array.dtype} {array.shape}")
    if csc.indptr.size != num_dst + 1:
        raise DataError(f"{what}: indptr has {csc.indptr.size} entries, expected {num_dst + 1}: "
                        f"one more than its {num_dst} destinations")
    if csc.indptr[0] != 0 or csc.indptr[-1] != csc.num_edges:
        raise DataError(f"{what}: indptr goes from {csc.indptr[0]} to {csc.indptr[-1]}, expected from 0 to the "
                        f"{csc.num_edges} entries of indices")
    falls = np.flatnonzero(csc.indptr[1:] < csc.indptr[:-1])
    if falls.size:
        row = falls[0]
        raise DataError(f"{what}: indptr falls from {csc.indptr[row]} to {csc.indptr[row + 1]} at row {row}")
    for begin, rows in chunks(csc.indices):
        if rows.min() < 0 or rows.max() >= num_src:
            bad = int(np.flatnonzero((rows < 0) | (rows >= num_src))[0])
            raise DataError(f"{what}: indices[{begin + bad}] = {rows[bad]} but there are {num_src} sources")
    if isinstance(csc.edge_ids, np.ndarray):        # those in files are made here, of places in the source
        seen = np.zeros(csc.num_edges, bool)
        inside = csc.edge_ids[(csc.edge_ids >= 0) & (csc.edge_ids < csc.num_edges)]
        seen[inside] = True
        if csc.edge_ids.shape != (csc.num_edges,) or not seen.all():
            raise DataError(f"{what}: edge_ids are not each of 0..{csc.num_edges - 1} once")


def _check_splits(data: GraphData) -> None:
    edges = {etype_key(e): csc.num_edges for e, csc in data.csc.items()}
    for key, named in data.splits.items():
        count = {**edges, **data.num_nodes}[key]
        for name, ids in named.items():
            what = f"split {name!r} of {key!r}"
            if ids.ndim != 1 or ids.dtype.kind not in "iu":
                raise DataError(f"{what}: expected integers in one dimension, got {ids.dtype} {ids.shape}")
            if data.partitioning is not None and key in edges:
                ids = np.sort(ids)
            last = -1
            for _, some in chunks(ids):
                outside = some[(some < 0) | (some >= count)]
                if outside.size:
                    raise DataError(f"{what}: id {outside[0]} is not in 0..{count - 1}")
                falls = some[np.diff(some, prepend=last) <= 0]
                if falls.size:
                    raise DataError(f"{what}: id {falls[0]} is not above the one before it; ids must ascend and be "
                                    "there once")
                last = int(some[-1])


def _check_array(array: np.ndarray, count: int, what: str, kind: str) -> None:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{what}: data of type {array.dtype} cannot be stored; "
                        "use booleans, integers or floating-point numbers of at most 8 bytes")
    if array.ndim == 0 or array.shape[0] != count:
        raise DataError(f"{what}: expected one row for each of {count} {kind}s, got shape {array.shape}")
    if 0 in array.shape[1:]:
        raise DataError(f"{what}: a row must have at least one element, got shape {array.shape}")


def _check_data(array: np.ndarray, name: str, key: str, count: int, kind: str,
                splits: Mapping[str, np.ndarray]) -> None:
    """Data of the nodes or edges of a type, which has some splits."""
    what = f"{key}/{name}"
    _check_array(array, count, what, kind)
    if name != LABELS:
        _check_rows(array, what, kind, lambda rows: ~np.isfinite(rows),
                    "which is not finite; only labels may hold NaN, for unknown")
        return
    _check_rows(array, what, kind, np.isinf, "which is not finite")
    if array.ndim == 1 and array.dtype.kind == "i":
        for split, ids in splits.items():
            _check_classes(array[np.asarray(ids)], np.asarray(ids), f"{what}: {kind}", split)


def _check_classes(labels: np.ndarray, ids: np.ndarray, what: str, split: str) -> None:
    """One whole number for each node or edge is a class, which those in a split must have."""
    bad = np.flatnonzero(labels < 0)
    if bad.size:
        others = f", as {bad.size - 1} more of split {split}" if bad.size > 1 else ""
        raise DataError(f"{what} {ids[bad[0]]} is in a split but has the label {labels[bad[0]]}{others}: take what has "
                        "no label out of the splits, or store floating-point numbers if negative ones shall be "
                        "predicted")


def _check_rows(array: np.ndarray, what: str, kind: str, is_bad: Callable[[np.ndarray], np.ndarray],
                why: str) -> None:
    for begin, rows in chunks(array):
        bad = is_bad(rows)
        if bad.any():
            place = np.argwhere(bad)[0]
            raise DataError(f"{what}: {kind} {begin + place[0]} has {rows[tuple(place)]}, {why}")


def chunks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """An array some MiB at a time, with the number of the first row.  Not collective."""
    step = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for begin in range(0, array.shape[0], step):
        yield begin, array[begin:begin + step]


def ids_of_mask(mask: np.ndarray, count: int, what: str) -> np.ndarray:
    """The sorted int64 ids that a mask marks.

    Args:
        mask: (count,) or (count, 1) booleans, or numbers that are 0 or 1.

    Raises:
        DataError: Another shape, or another value.
    """
    mask = np.asarray(mask)
    if mask.shape not in ((count,), (count, 1)):
        mend = ("; ids are made a mask by mask = np.zeros(N, bool); mask[ids] = True"
                if mask.ndim == 1 and mask.dtype.kind in "iu" else "")
        raise DataError(f"{what}: expected one entry for each of {count}, got shape {mask.shape}{mend}")
    mask = mask.reshape(count)
    if mask.dtype.kind not in "biuf":
        raise DataError(f"{what}: expected booleans, or 0 and 1, got {mask.dtype}")
    bad = np.flatnonzero((mask != 0) & (mask != 1))
    if bad.size:
        raise DataError(f"{what}: expected booleans, or 0 and 1, got {mask[bad[0]]} at {bad[0]}")
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def misnamed(data: GraphData) -> Iterator[str]:
    """Warnings of data that training does not look for, under a name like one that it does.  Not collective."""
    for ntype, named in data.node_data.items():
        for wanted in (FEATURES, LABELS):
            found = likely(wanted, set(named) - {FEATURES, LABELS})
            if wanted not in named and found is not None:
                yield (f"{ntype} has data named {found!r} and none named {wanted!r}, which training looks for: "
                       f"rename it, or train with --{wanted} {found}")
    for key, splits in data.splits.items():
        for found, wanted in misnamed_splits(splits):
            yield f"{key} has a split named {found!r} and none named {wanted!r}, which jobs look for: rename it"
