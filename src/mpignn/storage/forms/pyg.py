"""Graphs of PyTorch Geometric: ``Data`` and ``HeteroData``."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key
from mpignn.storage.canonical import as_array
from mpignn.storage.form import Form, comes_from
from mpignn.storage.named_arrays import data_of_type, typed

log = logging.getLogger(__name__)

_USUAL = {"x": "features", "y": "labels"}
_STRUCTURE = ("edge_index", "num_nodes")


def is_data(source: object) -> bool:
    """Whether it is a ``Data``."""
    return comes_from(source, "torch_geometric", "Data")


def read_data(source: Any) -> GraphData:
    """A homogeneous graph: ``x`` are its features, ``y`` its labels, ``edge_weight`` is the edge data ``weight``."""
    named, num_nodes = source.to_dict(), _num_nodes(source.num_nodes, "Data")
    ends = _ends(named, "Data")
    of_edges = {name: values for name, values in named.items()
                if name not in _USUAL and not name.endswith("_idx") and _rows(values) == ends.shape[1]
                and (name.startswith("edge_") or ends.shape[1] != num_nodes)}
    of_nodes = {name: values for name, values in named.items() if name not in of_edges}
    return typed({f"num_nodes/{NTYPE}": np.array(num_nodes)} | _data(NTYPE, num_nodes, of_nodes, "Data")
                 | _edges(etype_key(ETYPE), ends, of_edges, "Data"), "Data")


def is_hetero_data(source: object) -> bool:
    """Whether it is a ``HeteroData``."""
    return comes_from(source, "torch_geometric", "HeteroData")


def read_hetero_data(source: Any) -> GraphData:
    """A graph of several types; names as in `read_data`."""
    arrays: dict[str, np.ndarray] = {}
    for ntype in source.node_types:
        num_nodes = _num_nodes(source[ntype].num_nodes, f"HeteroData: {ntype}")
        arrays[f"num_nodes/{ntype}"] = np.array(num_nodes)
        arrays |= _data(ntype, num_nodes, source[ntype].to_dict(), "HeteroData")
    for etype in source.edge_types:
        key, named = etype_key(etype), source[etype].to_dict()
        arrays |= _edges(key, _ends(named, f"HeteroData: {key}"), named, "HeteroData")
    return typed(arrays, "HeteroData")


def _ends(named: Mapping[str, Any], where: str) -> np.ndarray:
    if "edge_index" not in named:
        raise DataError(f"{where}: edge_index is missing" + (
            "; torch_geometric.utils.to_edge_index makes it of adj_t, whose rows are destinations"
            if "adj_t" in named else ""))
    ends = as_array(named["edge_index"], f"{where}: edge_index")
    if ends.ndim != 2 or len(ends) != 2:
        raise DataError(f"{where}: edge_index has shape {ends.shape}, expected (2, E): sources and destinations")
    return ends


def _edges(key: str, ends: np.ndarray, named: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    return {f"edge/{key}/src": ends[0], f"edge/{key}/dst": ends[1]} | _data(key, ends.shape[1], named, where)


def _data(key: str, count: int, named: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """What there is for each node or edge of a type; what is of the whole graph is left out."""
    kept, splits, left_out = {}, {}, []
    for name, values in named.items():
        if name in _STRUCTURE or values is None:
            continue
        if name.endswith("_idx"):
            splits[f"split/{key}/{name.removesuffix('_idx')}"] = as_array(values, f"{where}: {name}")
        elif name in _USUAL or name.endswith("_mask") or _rows(values) == count and not name.endswith("_index"):
            kept[name] = values
        else:
            left_out.append(name)
    if left_out:
        log.warning("%s: left out, for these have no row for each of %d %s: %s", where, count,
                    "edges" if ":" in key else "nodes", ", ".join(left_out))
    usual = {name: name.removeprefix("edge_") for name in kept} if ":" in key else {}
    found = data_of_type(key, count, kept, where, usual | _USUAL)
    for split, ids in splits.items():
        given = np.flatnonzero(ids) if ids.dtype == bool else np.sort(ids, axis=None)
        if split in found and not np.array_equal(found[split], given):
            name = split.rpartition("/")[2]
            raise DataError(f"{where}: {name}_mask has {len(found[split])} of them, {name}_idx {given.size}, and these "
                            "are not the same: leave one out")
    return found | splits


def _num_nodes(number: int | None, where: str) -> int:
    if number is None:
        raise DataError(f"{where}: the number of nodes is not known: set num_nodes")
    return int(number)


def _rows(values: Any) -> int | None:
    """Rows of an array or tensor; None of all else, such as a name."""
    shape = getattr(values, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else None


FORMS = (Form("a Data of PyTorch Geometric", is_data, read_data, in_memory=True),
         Form("a HeteroData of PyTorch Geometric", is_hetero_data, read_hetero_data, in_memory=True))
