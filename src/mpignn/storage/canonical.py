"""The form in which numbers are stored, whatever form they come in.

====================== ======================================================================================
ids and sizes          integers of any kind, if int64 holds them
labels                 (N,) int64 where they are whole numbers, -1 for unknown: of any integers, booleans, or
                       floating-point numbers that are all whole and not negative, with NaN outside the splits
                       alone, for unknown; (N, 1) is (N,).  Other numbers are float32 where they are float64 or
                       longer; rows of several are as other rows
features               (N, F) float32; (N,) is (N, 1), and integers and booleans are taken if float32 holds them
other rows of numbers  float32 where they are float64 or longer
all else               what torch computes with: unsigned integers of more than 8 bits become signed ones
====================== ======================================================================================

Whatever cannot be stored so without a change of its value is refused, but for the rounding of rows to float32.  Bytes
are in the machine's order.

Shapes: N nodes of a type, E edges of a type.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mpignn.errors import DataError, ResourceError
from mpignn.graph.csc import CSC
from mpignn.graph.types import GraphData, Kind, etype_key
from mpignn.large.arrays import Cast, FileArray
from mpignn.mpi.host import available_memory
from mpignn.storage.validate import FEATURES, LABELS, chunks

log = logging.getLogger(__name__)

_WIDER = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
_KEEP = "keep the type by --keep-dtype (keep_dtype=True)"


def canonical(data: GraphData, keep_dtype: bool = False) -> GraphData:
    """A graph with all its numbers as they are stored.  Not collective.

    Args:
        data: Arrays of any type, or what NumPy makes arrays of, such as lists and tensors.  A graph that was
            partitioned before stays as it is.
        keep_dtype: Store the numbers of nodes and edges in the type that they have; classes are int64 even so.

    Raises:
        DataError: What cannot be stored; names the array and the first bad entry.
    """
    if data.partitioning is not None:
        return data
    splits = {key: {name: integers(ids, f"split {name!r} of {key!r}").astype(np.int64, copy=False)
                    for name, ids in named.items()} for key, named in data.splits.items()}
    return replace(data, splits=splits,
                   num_nodes={ntype: whole(count, f"the number of {ntype!r} nodes")
                              for ntype, count in data.num_nodes.items()},
                   csc={etype: _canonical_csc(csc, etype_key(etype)) for etype, csc in data.csc.items()},
                   node_data=_named(data.node_data, "node", splits, keep_dtype),
                   edge_data=_named(data.edge_data, "edge", splits, keep_dtype))


def integers(array: Any, what: str) -> np.ndarray:
    """(n,) int32 or int64: integers of any kind, int32 where they need no more; or none, of any type.

    Raises:
        DataError: No integers, more than one dimension, or one that int64 does not hold.
    """
    array = as_array(array, what)
    if array.ndim == 1 and not array.size and array.dtype.kind in "biuf":
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{what} must be integers in one dimension, got {array.dtype} of shape {array.shape}: "
                        "store array.ravel().astype('int64')")
    _check_int64(array, what)
    small = array.dtype.itemsize < 4 or array.dtype.newbyteorder("=") == np.int32
    whole: np.ndarray = array.astype(np.int32 if small else np.int64, copy=False)
    return whole


def whole(number: Any, what: str) -> int:
    """A number of nodes, of any type that holds it exactly.

    Raises:
        DataError: Something else.
        ResourceError: This machine's memory does not hold 8 bytes for each.
    """
    array = as_array(number, what)
    if array.size != 1 or array.dtype.kind not in "iuf" or array.reshape(-1)[0] % 1 != 0:
        raise DataError(f"{what} must be one integer, got {array.dtype} of shape {array.shape}")
    count = int(array.reshape(-1)[0])
    free, _ = available_memory()
    if 8 * count > free:
        raise ResourceError(f"{what} is {count}: 8 bytes for each are {8e-9 * count:.1f} GB, and {1e-9 * free:.1f} GB "
                            "are free; is it meant?")
    return count


def as_array(values: Any, what: str) -> np.ndarray:
    """``values`` as an array; raises `DataError` where NumPy cannot make one of them."""
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, FileArray | Cast):
        return values.rows
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:       # each library has its own way
        raise DataError(f"{what}: cannot be read as an array: {error}") from error


def _canonical_csc(csc: CSC, what: str) -> CSC:
    ids = csc.edge_ids
    return replace(csc, indptr=integers(csc.indptr, f"{what}: indptr").astype(np.int64, copy=False),
                   indices=integers(csc.indices, f"{what}: indices"),
                   edge_ids=None if ids is None else integers(ids, f"{what}: edge_ids").astype(np.int64, copy=False))


def _named(data: Mapping[Kind, Mapping[str, Any]], kind: str, splits: Mapping[str, Mapping[str, np.ndarray]],
           keep_dtype: bool) -> dict[Kind, dict[str, Any]]:
    """Node or edge data by type and name."""
    found: dict[Kind, dict[str, Any]] = {}
    for key, named in data.items():
        shown = key if isinstance(key, str) else etype_key(key)
        found[key] = {name: _stored(values, name, f"{shown}/{name}", kind, splits.get(shown, {}), keep_dtype)
                      for name, values in named.items()}
    return found


def _stored(values: Any, name: str, what: str, kind: str, splits: Mapping[str, np.ndarray],
            keep_dtype: bool) -> np.ndarray | Cast:
    array = as_array(values, what)
    is_labels = name == LABELS and array.ndim > 0 and array.shape[1:] in ((), (1,))
    if is_labels:
        array = _labels(np.asarray(array).reshape(-1), what, kind, splits)
    is_features = kind == "node" and name == FEATURES
    if is_features and array.ndim == 1:
        array = np.asarray(array)[:, None]
    wanted = _dtype(array, is_features, is_labels, keep_dtype)
    if wanted == array.dtype:
        return array
    if wanted == np.float32:
        _check_float32(array, what, kind)
    elif wanted.kind == "i":
        _check_int64(array, what)
    return Cast(array, wanted)


def _dtype(array: np.ndarray, is_features: bool, is_labels: bool, keep: bool) -> np.dtype:
    native = array.dtype.newbyteorder("=")
    if keep or native.kind not in "biuf":
        return native
    if native.kind == "f":
        return np.dtype(np.float32) if (array.ndim > 1 or is_labels) and native.itemsize > 4 else native
    return np.dtype(np.float32 if is_features else _WIDER.get(native, native))


def _labels(labels: np.ndarray, what: str, kind: str, splits: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) int64 classes, or the numbers to predict as they are."""
    if labels.dtype.kind in "biu":
        _check_int64(labels, what)
        return labels.astype(np.int64, copy=False)
    if labels.dtype.kind != "f":
        raise DataError(f"{what}: labels of type {labels.dtype} cannot be learnt: give each {kind} the number of its "
                        "class, as names, codes = np.unique(labels, return_inverse=True) does, or a number to predict")
    unknown = np.isnan(labels)
    known = labels[~unknown]
    if known.min(initial=0) < 0 or float(known.max(initial=0)) >= 1 << 53 or (known % 1 != 0).any():
        return labels
    for split, some in splits.items():       # classes are known there, and only a number to predict may not be
        ids = np.asarray(some)
        missing = np.count_nonzero(unknown[ids[(ids >= 0) & (ids < labels.size)]])
        if missing:
            log.warning("%s: %d of split %s are NaN, so these are stored as numbers to predict; if they are classes, "
                        "take what has none out of the splits", what, missing, split)
            return labels
    return np.where(unknown, -1, labels).astype(np.int64)


def _check_int64(array: np.ndarray, what: str) -> None:
    if array.dtype.kind != "u" or array.dtype.itemsize < 8:
        return
    for begin, rows in chunks(array):
        bad = np.argwhere(rows > np.iinfo(np.int64).max)
        if bad.size:
            raise DataError(f"{what}[{begin + bad[0, 0]}] = {rows[tuple(bad[0])]} is more than int64 holds "
                            f"({np.iinfo(np.int64).max}): is it meant to be -1?")


def _check_float32(array: np.ndarray, what: str, kind: str) -> None:
    """Raise if a number becomes infinite in float32, or a whole number another one."""
    for begin, rows in chunks(array):
        with np.errstate(over="ignore"):
            cast = rows.astype(np.float32)
        changed = np.isinf(cast) & np.isfinite(rows) if rows.dtype.kind == "f" else ~_holds(cast, rows)
        bad = np.argwhere(changed)
        if bad.size:
            raise DataError(f"{what}: {kind} {begin + bad[0, 0]} has {rows[tuple(bad[0])]}, which float32 does not "
                            f"hold: scale the numbers, or {_KEEP}")


def _holds(cast: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where float32 numbers are those of integers or booleans that they were made of."""
    inside = np.abs(cast) < np.float32(2.0**63)
    holds: np.ndarray = inside & (np.where(inside, cast, 0).astype(np.int64) == rows)
    return holds
