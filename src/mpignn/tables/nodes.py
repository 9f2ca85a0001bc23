"""The nodes of one type out of their table.

Shapes: N nodes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mpignn.graph.likeness import SPLITS
from mpignn.large.scratch import Scratch
from mpignn.tables.description import LABELS, Nodes
from mpignn.tables.ids import Ids, RowNumbers, TableIds
from mpignn.tables.learnt import Learnt
from mpignn.tables.rows import Seeds, in_split, open_table, read_data, where_of
from mpignn.tables.table import Block, Table


@dataclass(frozen=True)
class NodeRows:
    """What a table says of the nodes of a type.

    Attributes:
        ids: Finds nodes by the users' ids.
        data: By name, (N, ...).
        splits: Sorted nodes of each split.
        class_names: By name of the data, what users call its numbers, where that is something else.
        learnt: What makes data of other rows likewise.
    """

    ids: Ids
    data: dict[str, np.ndarray]
    splits: dict[str, np.ndarray]
    class_names: dict[str, tuple[str, ...]]
    learnt: Learnt


def read_nodes(nodes: Nodes, what: str, keep_dtype: bool, scratch: Scratch | None = None,
               trained: Callable[[Ids], np.ndarray] | None = None) -> NodeRows:
    """Read the nodes of a type in two or three passes: ids, labels and splits come first.  Not collective.

    Args:
        nodes: Their description, which names files.
        what: Where it stands, for messages.
        keep_dtype: As in `mpignn.tables.rows.read_data`.
        scratch: Where to keep what does not fit memory; None: all fits.
        trained: Says by their ids which rows are training nodes, where the table does not; (N,) booleans.

    Raises:
        DataError: A missing id, one that is there twice, a column that is not there, a value that is not what it
            should be; names the file and the line.
    """
    table, seeds = open_table(nodes, what, [] if nodes.id is None else [nodes.id]), Seeds(nodes)
    blocks = _first_pass(table, seeds, nodes.id or table.names[0])
    ids: Ids
    if nodes.id is None:
        ids = RowNumbers(max((block.first_row + block.num_rows for block in blocks), default=0))
    else:
        name = nodes.id
        ids = TableIds.read((block.columns[name] for block in blocks), table.where)
    kept = np.ones(len(ids), bool)
    labels, splits = seeds.found(kept, table)
    in_train = in_split(splits, SPLITS[0], len(ids)) if trained is None or splits else trained(ids)
    data, names, columns = read_data(table, nodes.made(), in_train, what, keep_dtype, kept, nodes.learnt)
    if labels is not None:
        data[LABELS] = labels.values
        if labels.names is not None:
            names[LABELS] = labels.names
    return NodeRows(ids, data, splits, names, Learnt(columns, None if labels is None else labels.learnt))


def _first_pass(table: Table, seeds: Seeds, column: str) -> Iterator[Block]:
    for block in table.batches(list(dict.fromkeys((column, *seeds.columns)))):
        seeds.add(block, where_of(table, block))
        yield block
