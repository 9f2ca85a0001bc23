"""Graphs that a program has as arrays."""

from collections.abc import Mapping
from typing import Any

from mpignn.graph.types import GraphData
from mpignn.storage.canonical import as_array
from mpignn.storage.form import Form
from mpignn.storage.named_arrays import graph_of_arrays


def is_graph_data(source: object) -> bool:
    """Whether it is a graph as the package itself has them."""
    return isinstance(source, GraphData)


def read_graph_data(source: GraphData) -> GraphData:
    """The same graph."""
    return source


def is_dict(source: object) -> bool:
    """Whether it is a dict, whatever it holds."""
    return isinstance(source, Mapping)


def read_dict(source: Mapping[str, Any]) -> GraphData:
    """A graph of arrays, lists or tensors, under the names that they have in an .npz file."""
    return graph_of_arrays({str(name): as_array(values, str(name)) for name, values in source.items()}, "dict")


FORMS = (Form("an mpignn.graph.types.GraphData", is_graph_data, read_graph_data, in_memory=True),
         Form("a dict of arrays that are named as in an .npz file", is_dict, read_dict, in_memory=True,
              last=True))      # a matrix of SciPy may be a dict, too
