"""The nodes of one type out of their table.

Shapes: N nodes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mpignn.large.arrays import rows_of
from mpignn.tables.description import LABELS, Nodes
from mpignn.tables.edge_splits import ids_of_splits
from mpignn.tables.ids import Ids, RowNumbers, TableIds
from mpignn.tables.kept import Kept
from mpignn.tables.learnt import Learnt
from mpignn.tables.room import Room
from mpignn.tables.rows import open_table, read_data
from mpignn.tables.seeds import Seeds, in_train, where_of
from mpignn.tables.table import Block, Table


@dataclass(frozen=True)
class NodeRows:
    """What a table says of the nodes of a type.

    Attributes:
        ids: Finds nodes by the users' ids.
        data: By name, (N, ...).
        splits: Sorted nodes of each split; on the first rank.
        class_names: By name of the data, what users call its numbers, where that is something else.
        learnt: What makes data of other rows likewise.
    """

    ids: Ids
    data: dict[str, np.ndarray]
    splits: dict[str, np.ndarray]
    class_names: dict[str, tuple[str, ...]]
    learnt: Learnt


def read_nodes(nodes: Nodes, what: str, keep_dtype: bool, room: Room,
               trained: Callable[[Ids], np.ndarray] | None = None) -> NodeRows:
    """Read the nodes of a type in two or three passes: ids, labels and splits come first.  Collective over the group.

    Args:
        nodes: Their description, which names files.
        what: Where it stands, for messages.
        keep_dtype: As in `mpignn.tables.rows.read_data`.
        room: Where arrays go, and who reads together.
        trained: Says by their ids which rows are training nodes, where the table does not; (N,) booleans.

    Raises:
        DataError: A missing id, one that is there twice, a column that is not there, a value that is not what it
            should be; names the file and the line.
    """
    table = open_table(nodes, what, [] if nodes.id is None else [nodes.id], room)
    seeds = Seeds(nodes, room)
    blocks = _FirstPass(table, seeds, nodes.id or table.names[0])
    ids: Ids
    if nodes.id is None:
        with room.alone():
            deque(blocks, maxlen=0)
        ids = RowNumbers(sum(room.group.allgather(blocks.num_rows)), room.scratch)
    else:
        ids = TableIds.read(blocks, nodes.id, table, room.scratch)
    kept = Kept.all(blocks.num_rows)
    labels, numbers = seeds.found(kept, table)
    is_trained = trained(ids).__getitem__ if trained is not None and numbers is None else in_train(numbers, kept, room)
    data, names, columns = read_data(table, nodes.made(), is_trained, what, keep_dtype, kept, nodes.learnt, room)
    if nodes.labels:
        data[LABELS] = rows_of(room.of_first(None if labels is None else labels.values))
    if labels is not None and labels.names is not None:
        names[LABELS] = labels.names
    with room.alone():
        splits = ids_of_splits(numbers, room)
    return NodeRows(ids, data, splits, names, Learnt(columns, None if labels is None else labels.learnt))


class _FirstPass:
    """The blocks of the first pass over a table, of which labels and splits take theirs; once.

    Attributes:
        num_rows: How many rows this rank has read.
    """

    def __init__(self, table: Table, seeds: Seeds, column: str) -> None:
        """Collective over the group of the table."""
        self._table, self._seeds = table, seeds
        self._blocks = table.batches(list(dict.fromkeys((column, *seeds.columns))), what="read ids of")
        self.num_rows = 0

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            self._seeds.add(block, where_of(self._table, block))
            self.num_rows += block.num_rows
            yield block
