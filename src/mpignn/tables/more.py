"""Tables with more of the nodes that a graph has, found by the users' ids.

Shapes: N nodes of a type.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mpignn.errors import ConfigError, DataError
from mpignn.graph.likeness import SPLITS, one_of
from mpignn.graph.types import GraphData
from mpignn.graph.user_ids import UserIds
from mpignn.tables.ids import Ids
from mpignn.tables.nodes import NodeRows, read_nodes
from mpignn.tables.room import Room
from mpignn.tables.toml import read_node_tables

_STEP = 1 << 16         # ids in hand at a time


def read_more(path: Path, data: GraphData, keep_dtype: bool = False) -> GraphData:
    """What tables say of the nodes of a graph, in the graph's order.  Not collective.

    Args:
        path: A file that describes the tables, which have a row for each node of their type, in any order.
        data: The graph.
        keep_dtype: Features are float64 where their columns are.

    Returns:
        The same nodes and edges with the data, splits and names of classes of the tables, and nothing else.

    Raises:
        ConfigError: A description that cannot be meant, or of a type that the graph does not have.
        DataError: A table that cannot be what it is described to be, or whose ids are not those of the nodes.
    """
    description = read_node_tables(path)
    found: dict[str, NodeRows] = {}
    for ntype, nodes in description.nodes.items():
        what = f"{path}: [nodes.{ntype}]"
        if ntype not in data.num_nodes:
            raise ConfigError(f"{what}: {ntype!r} is not {one_of(ntype, data.num_nodes)}")
        users = data.user_ids.get(ntype) or UserIds(np.arange(data.num_nodes[ntype]))
        train = data.splits.get(ntype, {}).get(SPLITS[0], np.empty(0, np.int64))
        rows = read_nodes(nodes, what, keep_dtype, Room(),
                          partial(_trained, users=users, train=train, what=what))
        found[ntype] = _ordered(rows, _rows(rows.ids, users, what))
    return replace(GraphData(data.num_nodes, data.csc), node_data=_named(found, "data"),
                   splits=_named(found, "splits"), class_names=_named(found, "class_names"))


def _trained(ids: Ids, users: UserIds, train: np.ndarray, what: str) -> np.ndarray:
    """(N,) booleans of the rows of training nodes."""
    return _marked(_rows(ids, users, what), train)


def _rows(ids: Ids, users: UserIds, what: str) -> np.ndarray:
    """(N,) int64 row of each node; raises `DataError` unless each has one, and no row is of another node."""
    lookup = ids.ask()
    for first in range(0, len(users), _STEP):
        some = users.of(first, min(len(users), first + _STEP))
        lookup.add(pa.array(some, pa.string() if users.bounds is not None else None))
    rows: np.ndarray = np.concatenate([np.empty(0, np.int64), *lookup.answers()])
    missing = np.flatnonzero(rows < 0)
    if missing.size:
        node = users.of(int(missing[0]), int(missing[0]) + 1)[0]
        raise DataError(f"{what}: there is no row of the node {node!r}" + (
            f", nor of {missing.size - 1} more" if missing.size > 1 else "") + "; each node needs one")
    if len(ids) > rows.size:
        other = int(np.argmin(_marked(np.arange(len(ids)), rows)))
        raise DataError(f"{what}: row {other + 1} is of no node of the graph, which has {rows.size}; in all "
                        f"{len(ids) - rows.size} rows are: leave them out")
    return rows


def _marked(places: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Booleans that are true at some of the places."""
    mask = np.zeros(places.size, bool)
    mask[places[some]] = True
    return mask


def _ordered(found: NodeRows, rows: np.ndarray) -> NodeRows:
    """The same with the row of each node in its place."""
    node = np.empty_like(rows)
    node[rows] = np.arange(rows.size)
    return replace(found, data={name: array[rows] for name, array in found.data.items()},
                   splits={name: np.sort(node[ids]) for name, ids in found.splits.items()})


def _named(found: Mapping[str, NodeRows], what: str) -> dict[str, Any]:
    return {ntype: getattr(rows, what) for ntype, rows in found.items() if getattr(rows, what)}
