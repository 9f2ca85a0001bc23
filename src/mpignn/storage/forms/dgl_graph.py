"""Graphs of DGL in memory."""

from typing import Any

import numpy as np

from mpignn.graph.types import GraphData, etype_key
from mpignn.storage.canonical import as_array
from mpignn.storage.form import Form, comes_from
from mpignn.storage.named_arrays import data_of_type, typed

USUAL = {"feat": "features", "label": "labels"}
"""What DGL's data sets call what we call so."""

_WHERE = "DGLGraph"


def is_dgl_graph(source: object) -> bool:
    """Whether it is a ``DGLGraph``."""
    return comes_from(source, "dgl", "DGLGraph")


def read_dgl_graph(source: Any) -> GraphData:
    """A graph of one type or several, with its edges in the order of their ids."""
    arrays: dict[str, np.ndarray] = {}
    for ntype in source.ntypes:
        count = int(source.num_nodes(ntype))
        arrays[f"num_nodes/{ntype}"] = np.array(count)
        arrays |= data_of_type(ntype, count, dict(source.nodes[ntype].data), _WHERE, USUAL)
    for etype in source.canonical_etypes:
        key = etype_key(etype)
        src, dst = (as_array(ends, f"{_WHERE}: {key}") for ends in source.edges(order="eid", etype=etype))
        arrays |= {f"edge/{key}/src": src, f"edge/{key}/dst": dst}
        arrays |= data_of_type(key, src.size, dict(source.edges[etype].data), _WHERE, {"label": "labels"})
    return typed(arrays, _WHERE)


FORMS = (Form("a dgl.DGLGraph", is_dgl_graph, read_dgl_graph, in_memory=True),)
