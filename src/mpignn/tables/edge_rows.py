"""What a table says of edges, by their types.

Shapes: E edges, and with those the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpignn.graph.types import EType
from mpignn.large.arrays import FileArray, rows_of
from mpignn.tables.description import LABELS
from mpignn.tables.edge_splits import ids_of_splits
from mpignn.tables.relations import Apart, type_name
from mpignn.tables.room import Array, Room, chained, put

SORT_BYTES = 40     # of an edge while all are sorted in memory
_EDGE_BYTES = 64    # of one in hand
_KINDS = ""         # the name of no data


@dataclass(frozen=True)
class EdgeRows:
    """What a table says of the edges of a type.

    Attributes:
        src, dst: (E,) int32 or int64 nodes; edge i goes from ``src[i]`` to ``dst[i]``.
        data: By name, (E, ...), which may be in files.
        splits: Sorted edges of each split, which may be in files; on the first rank.
        class_names: By name of the data, what users call its numbers, where that is something else.
    """

    src: Array
    dst: Array
    data: dict[str, np.ndarray]
    splits: dict[str, np.ndarray]
    class_names: dict[str, tuple[str, ...]]


def both_ways(found: EdgeRows, room: Room) -> EdgeRows:
    """The edges, and behind them each the other way round; a self loop is that already.  Collective over the group."""
    src, dst = found.src, found.dst
    if isinstance(src, np.ndarray) and isinstance(dst, np.ndarray) and all(
            isinstance(array, np.ndarray) for array in found.data.values()):
        back = np.flatnonzero(src != dst)
        return replace(found, src=np.concatenate([src, dst[back]]), dst=np.concatenate([dst, src[back]]),
                       data={name: np.concatenate([array, array[back]]) for name, array in found.data.items()})
    back_src, back_dst = room.growing(SORT_BYTES), room.growing(SORT_BYTES)
    with room.alone():
        for first, last in room.pieces(src.size, _EDGE_BYTES):
            some, others = src[first:last], dst[first:last]
            turns = some != others
            back_src.add(others[turns])
            back_dst.add(some[turns])
        back_src.add(np.empty(0, src.dtype))
        back_dst.add(np.empty(0, src.dtype))
    counts = room.group.allgather(back_src.size)
    data = {name: room.array(array.dtype, src.size + sum(counts), *array.shape[1:])
            for name, array in found.data.items()}
    with room.alone():
        for name, array in found.data.items():
            place = src.size + sum(counts[:room.group.rank])
            for first, last in room.pieces(src.size, _EDGE_BYTES + array.nbytes // max(1, src.size)):
                rows = array[first:last]
                again = rows[src[first:last] != dst[first:last]]
                put(data[name], first, rows)
                put(data[name], place, again)
                place += len(again)
    return replace(found, src=chained(src, room.together(back_src.whole())),
                   dst=chained(dst, room.together(back_dst.whole())),
                   data={name: rows_of(array) for name, array in data.items()})


def turned(found: EdgeRows) -> EdgeRows:
    """The same edges the other way round, with their data, but not what is to be learnt of them."""
    data = {name: array for name, array in found.data.items() if name != LABELS}
    names = {name: some for name, some in found.class_names.items() if name != LABELS}
    return EdgeRows(found.dst, found.src, data, {}, names)


def by_relation(found: EdgeRows, etype: EType, values: Sequence[str], kinds: np.ndarray | FileArray,
                numbers: np.ndarray | FileArray | None, is_both_ways: bool, room: Room) -> dict[EType, EdgeRows]:
    """The edges of each relation, in the order in which they are in their table.  Collective over the group.

    Args:
        found: All edges, without splits.
        etype: The type of the table.
        values: The relations.
        kinds: (E,) int16 which of these each edge is of.
        numbers: (E,) int8 split of each edge, -1 for none; None: none is in one.
        is_both_ways: Whether each edge is to be there the other way round, too.
        room: Where arrays go, and who shares the work.

    Raises:
        ResourceError: On all ranks: the disk is full.
    """
    apart = Apart(kinds, len(values), room)
    of_values = [None] * len(values) if numbers is None else apart.parts(numbers)
    with room.alone():
        splits = [ids_of_splits(of_value, room) for of_value in of_values]
    if is_both_ways:
        found = both_ways(replace(found, data={**found.data, _KINDS: rows_of(kinds)}), room)
        apart = Apart(found.data.pop(_KINDS), len(values), room)
    src, dst = apart.parts(found.src), apart.parts(found.dst)
    data = {name: apart.parts(array) for name, array in found.data.items()}
    return {(etype[0], type_name(value), etype[2]): EdgeRows(
        src[i], dst[i], {name: rows_of(parts[i]) for name, parts in data.items()}, splits[i], found.class_names)
        for i, value in enumerate(values)}
