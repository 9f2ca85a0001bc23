"""The arrays of a graph for whoever reads them some rows at a time, and for other ranks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mpignn.graph.csc import CSC
from mpignn.graph.types import GraphData
from mpignn.large.arrays import Cast, FileArray, LargeArray
from mpignn.large.scratch import Scratch
from mpignn.storage.original_rows import OriginalRows

_SMALL_BYTES = 1 << 16      # of arrays that are told rather than kept in a file


def unmapped(data: GraphData) -> GraphData:
    """A graph whose arrays that NumPy has mapped are read some rows at a time.  Not collective."""
    return _each(data, FileArray.of)


def shared(data: GraphData, scratch: Scratch) -> GraphData:
    """A graph for other ranks: its larger arrays in files, and without what the first rank alone needs of it.

    Not collective.
    """
    def keep(array: LargeArray) -> LargeArray:
        if isinstance(array, FileArray | OriginalRows) or isinstance(array, Cast) and isinstance(
                array.source, FileArray | OriginalRows):
            return array
        return np.asarray(array) if array.nbytes <= _SMALL_BYTES else scratch.kept(array)

    before = data.partitioning and replace(data.partitioning, parts={})
    return replace(_each(data, keep), user_ids={}, class_names={}, partitioning=before)


def _each(data: GraphData, change: Callable[[Any], Any]) -> GraphData:
    def in_all(named: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
        return {key: {name: change(array) for name, array in of.items()} for key, of in named.items()}

    csc = {etype: CSC(change(of.indptr), change(of.indices), None if of.edge_ids is None else change(of.edge_ids))
           for etype, of in data.csc.items()}
    return replace(data, csc=csc, node_data=in_all(data.node_data), edge_data=in_all(data.edge_data),
                   splits=in_all(data.splits))
