"""From described tables to a graph, by one process or by all ranks of a group.

Tables are read in blocks.  What is held is the graph: ids, ends of edges and data, in the types in which they are
stored, and while the edges of a type are sorted, these once more.  Ends are let go type by type.  Ends and data that do
not fit memory, or that several ranks read, go through files.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mpignn.comm.group import Group
from mpignn.errors import ConfigError, DataError
from mpignn.graph.csc import CSC, csc_from_coo
from mpignn.graph.types import EType, GraphData, V, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.large.scratch import Scratch
from mpignn.large.sort_edges import sort_edges
from mpignn.tables.description import ANY, ON_UNKNOWN, Description, Edges, reversed_type
from mpignn.tables.edge_rows import SORT_BYTES, EdgeRows, turned
from mpignn.tables.edges import read_edges
from mpignn.tables.ids import Ids, NewIds
from mpignn.tables.learnt import Learnt
from mpignn.tables.nodes import NodeRows, read_nodes
from mpignn.tables.record import to_record
from mpignn.tables.room import Array, Room

_EDGE_BYTES = 64        # of an edge in hand
_STEP = 1 << 16         # ids at a time


def build(description: Description, keep_dtype: bool = False, on_unknown: str | None = None,
          record: Mapping[str, Any] | None = None, scratch: Scratch | None = None) -> GraphData:
    """Read all tables of a graph.  Collective over the group of ``scratch``, if there is one.

    Args:
        description: What they mean.
        keep_dtype: Features are float64 where their columns are.
        on_unknown: ``drop`` leaves edges out that have an end that is no node, for ``error`` they are one; None: as
            each table is described.
        record: That of the graph that this one shall be like; None: it gets one of its own.
        scratch: Where to keep what does not fit memory, and who reads; None: all fits that of this process.

    Returns:
        On the first rank the graph: nodes in the order of their rows, edges likewise.  It is as canonical as the values
        of its tables.  On others it lacks splits and names.

    Raises:
        ConfigError: ``on_unknown`` is something else.
        DataError: What a table holds cannot be what it is described to be; names the file and the line.
    """
    if on_unknown not in (None, *ON_UNKNOWN):
        raise ConfigError(f"on_unknown is {on_unknown!r}; it must be {' or '.join(ON_UNKNOWN)}")
    room = Room(scratch)
    rows: dict[str, NodeRows] = {}
    ids: dict[str, Ids] = {}
    for ntype, nodes in description.nodes.items():
        if nodes.files:
            rows[ntype] = read_nodes(nodes, f"{description.where}: [nodes.{ntype}]", keep_dtype, room)
        ids[ntype] = rows[ntype].ids if nodes.files else NewIds(scratch)
    edges: dict[EType, EdgeRows] = {}
    learnt = {ntype: found.learnt for ntype, found in rows.items()}
    for etype, table in description.edges.items():
        chosen = table if on_unknown is None else replace(table, drop_unknown=on_unknown == "drop")
        learnt[etype_key(etype)] = _add(edges, etype, chosen, ids, description.where, keep_dtype, room)
    num_nodes = {ntype: len(found) for ntype, found in ids.items()}
    csc: dict[EType, CSC] = {}
    edge_data: dict[EType, Mapping[str, np.ndarray]] = {}
    class_names = {ntype: found.class_names for ntype, found in rows.items()}
    splits = {ntype: found.splits for ntype, found in rows.items()}
    for etype in tuple(edges):
        of_type = edges.pop(etype)
        csc[etype] = _grouped(of_type.src, of_type.dst, num_nodes[etype[0]], num_nodes[etype[2]], room)
        class_names[etype_key(etype)], splits[etype_key(etype)] = of_type.class_names, of_type.splits
        if of_type.data:
            edge_data[etype] = of_type.data
    return GraphData(num_nodes, csc, _given({ntype: found.data for ntype, found in rows.items()}), edge_data,
                     _given(splits), _user_ids(ids, room.group), _given(class_names),
                     to_record(description, learnt, keep_dtype) if record is None else record)


def _add(edges: dict[EType, EdgeRows], etype: EType, table: Edges, ids: Mapping[str, Ids], where: str,
         keep_dtype: bool, room: Room) -> Learnt:
    """Add the edges of a table, and their reverses; returns what was learnt from them."""
    what = f'{where}: [edges."{etype_key(etype)}"]'
    found, learnt = read_edges(etype, table, ids, what, keep_dtype, room)
    for of_type, rows in found.items():
        back = reversed_type(of_type, table)
        for made, some in ((of_type, rows),) if back is None else ((of_type, rows), (back, turned(rows))):
            if made in edges:       # only now it is known what a column names
                raise DataError(f"{what}: {etype_key(made)} is there twice, as a relation of that table, a reverse or "
                                "a type of its own: call one otherwise, reverses such as by reverse = "
                                f'"inverse_{ANY}"')
            edges[made] = some
    return learnt


def _grouped(src: Array, dst: Array, num_src: int, num_dst: int, room: Room) -> CSC:
    """Edges by destination.  Collective over the group."""
    scratch = room.scratch
    if isinstance(src, np.ndarray) and isinstance(dst, np.ndarray) and (
            scratch is None or scratch.fits(SORT_BYTES * src.size)):
        return csc_from_coo(src, dst, num_dst)
    pieces = partial(room.files().pieces, src.size, _EDGE_BYTES)
    return sort_edges(lambda: ((src[first:last], dst[first:last], np.arange(first, last)) for first, last in pieces()),
                      src.size, num_src, num_dst, src.dtype, room.files())


def _given(named: Mapping[str, Mapping[str, V]]) -> dict[str, Mapping[str, V]]:
    return {key: some for key, some in named.items() if some}


def _user_ids(ids: Mapping[str, Ids], group: Group) -> dict[str, UserIds]:
    """What users call nodes, but where that is their number; on the first rank.  Collective over the group."""
    found = {ntype: of_type.user_ids() for ntype, of_type in ids.items()}
    return {ntype: users for ntype, users in found.items()
            if group.rank == 0 and users is not None and not _are_numbers(users)}


def _are_numbers(users: UserIds) -> bool:
    """Whether the id of each node is its number."""
    steps = range(0, 0 if users.bounds is not None else len(users), _STEP)
    return users.bounds is None and all(
        np.array_equal(users.values[first:first + _STEP], np.arange(first, min(first + _STEP, len(users))))
        for first in steps)
