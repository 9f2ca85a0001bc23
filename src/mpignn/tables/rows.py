"""What the rows of nodes and of edges have in common: features and further data.

Shapes: N rows of a table that this rank reads, K of them that are kept, F columns of features; R rows of a block.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import numpy as np
import pyarrow as pa

from mpignn.errors import DataError
from mpignn.graph.types import listed
from mpignn.large.arrays import FileArray, rows_of
from mpignn.options import nearest
from mpignn.tables.description import FEATURES, Column, Rows
from mpignn.tables.encoders import Encoder, encoder
from mpignn.tables.kept import Kept
from mpignn.tables.kinds import NUMBERS, TEXTS, is_text
from mpignn.tables.learnt import Learnt, LearntColumn
from mpignn.tables.room import Room
from mpignn.tables.seeds import where_of
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where


def open_table(rows: Rows, what: str, ids: Sequence[str], room: Room | None = None) -> Table:
    """The table of nodes or edges, which has all columns that its description names.  Collective over the group.

    Args:
        rows: The description.
        what: Where it stands, for messages.
        ids: Columns of ids, which stay as they are written.
        room: Who reads it together; None: this process alone.

    Raises:
        DataError: A column is not there, or the table cannot be read.
    """
    room = room or Room()
    with room.group.all_or_none():
        table = _open(rows, what, ids, room)
    _check_numbers(table, [column for column, sort in rows.learnt_sorts() if sort == NUMBERS])
    return table


def _open(rows: Rows, what: str, ids: Sequence[str], room: Room) -> Table:
    table = Table.open(rows.files, header=rows.header or None, group=room.group)
    missing = [(key, column) for key, column in rows.columns() if column not in table.names]
    if missing and rows.learnt is not None:
        columns = listed(dict.fromkeys(column for _, column in missing))
        raise DataError(f"{what}: {table.paths[0]} has no column {columns}, which training had: add it by this name")
    for key, column in missing:
        raise DataError(f"{what}: {key}: {table.paths[0]} has no column {column!r}{nearest(column, table.names)}")
    texts = [*ids, *(column for column, sort in rows.learnt_sorts() if sort == TEXTS)]
    if not texts:
        return table
    return Table.open(rows.files, header=rows.header or None, as_text=texts, group=room.group)


def _check_numbers(table: Table, columns: Sequence[str]) -> None:
    """Raise that of the first value that is no number, if a column holds texts that held numbers in training."""
    if columns:
        table.batches(columns)      # from here on it knows their types
    for column in columns:
        if is_text(table.types[column]):
            blocks = table.batches([column], {column: pa.float64()})
            with table.group.all_or_none():
                try:
                    deque(blocks, maxlen=0)
                except DataError as error:
                    raise DataError(f"{error}: {column} held numbers in training") from error


def read_data(table: Table, wanted: Mapping[str, Sequence[Column]], in_train: Callable[[slice], np.ndarray], what: str,
              keep_dtype: bool, kept: Kept, learnt: Learnt | None, room: Room
              ) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], dict[str, tuple[LearntColumn, ...]]]:
    """Make data of columns, in one pass or, where all must be seen before, in two.  Collective over those of the table.

    Args:
        table: Where the columns are.
        wanted: The columns of each array: of `FEATURES` side by side, of all others one.
        in_train: Tells by booleans which of some of the rows that are kept are learnt from.
        what: Where the table is described, for messages.
        keep_dtype: Features are float64 where one of their columns is, or holds integers of more than 16 bits; else
            float32.
        kept: The rows that count; what stands in others is not looked at.
        learnt: What was learnt of these columns in another table; None: it is learnt from this one.
        room: Where arrays go.

    Returns:
        The data of the rows of all ranks by name, (K, F) for features, which may be in files; by name the names of what
        became numbers by their order; and what was learnt of the columns of each array.

    Raises:
        DataError: A value is missing, or is not what it should be; names the file and the line.
    """
    columns = [(name, column) for name, some in wanted.items() for column in some]
    given: list[LearntColumn | None] = [None] * len(columns)
    if learnt is not None:
        given = [one for name in wanted for one in learnt.columns.get(name, ())]
    if columns:
        table.batches(sorted({column.column for _, column in columns}))     # from here on it knows their types
    made = [_encoder(column, table, f"{what}: {name}", known) for (name, column), known in
            zip(columns, given, strict=True)]
    of_ranks = table.group.allgather(kept.count)
    first = sum(of_ranks[:table.group.rank])
    _look([(column.column, one) for (_, column), one in zip(columns, made, strict=True) if one.looks], table, in_train,
          kept, first)
    data, begins = _arrays(columns, made, sum(of_ranks), keep_dtype, room)
    blocks = _kept_rows(table, {column.column for _, column in columns}, kept, "read data of")
    with room.alone():
        for arrays, rows, where in blocks:
            places = {name: _rows_of(array, rows, first) for name, array in data.items()}
            for (name, column), one, begin in zip(columns, made, begins, strict=True):
                values = one.rows(arrays[column.column], where)
                if name == FEATURES:
                    _put(places[name], begin, values.reshape(rows.stop - rows.start, -1), column.column, where)
                else:
                    _put_as_learnt(places[name], values, column.column, where)
            for name, array in data.items():
                if isinstance(array, FileArray):
                    array.write(first + rows.start, places[name])
    found: dict[str, tuple[LearntColumn, ...]] = {name: () for name, some in wanted.items() if some}
    for (name, _), one in zip(columns, made, strict=True):
        found[name] += (one.learnt,)
    names = {name: one.names for (name, _), one in zip(columns, made, strict=True)
             if one.names is not None and name != FEATURES}
    return {name: rows_of(array) for name, array in data.items()}, names, found


def _encoder(column: Column, table: Table, what: str, learnt: LearntColumn | None) -> Encoder:
    try:
        return encoder(column, table.types[column.column], learnt)
    except DataError as error:
        raise DataError(f"{what}: {table.paths[0]}: {error}") from error


def _rows_of(array: np.ndarray | FileArray, rows: slice, first: int) -> np.ndarray:
    """Where to put rows of this rank, whose own begin with ``first`` in the array of all."""
    if isinstance(array, FileArray):
        return np.empty((rows.stop - rows.start, *array.shape[1:]), array.dtype)
    return array[first + rows.start:first + rows.stop]


def _look(made: Sequence[tuple[str, Encoder]], table: Table, in_train: Callable[[slice], np.ndarray], kept: Kept,
          first: int) -> None:
    blocks = _kept_rows(table, {column for column, _ in made}, kept, "learn of")
    with table.group.all_or_none():
        for arrays, rows, where in blocks:
            for column, one in made:
                one.look(arrays[column], in_train(rows), first + rows.start, where)
            if not any(one.looks for _, one in made):
                break
    for _, one in made:
        one.agree(table.group)


def _kept_rows(table: Table, columns: Set[str], kept: Kept, what: str
               ) -> Iterator[tuple[Mapping[str, pa.Array], slice, Where]]:
    """Columns block by block, the rows that are kept alone, and their places among all that are; none if no column.

    The call is collective over the group of the table.
    """
    return _kept_of(table.batches(sorted(columns), what=what) if columns else (), table, kept)


def _kept_of(blocks: Iterable[Block], table: Table, kept: Kept
             ) -> Iterator[tuple[Mapping[str, pa.Array], slice, Where]]:
    first = row = 0
    for block in blocks:
        chosen = np.flatnonzero(kept.rows(row, row + block.num_rows))
        row += block.num_rows
        if 0 < chosen.size == block.num_rows:
            yield block.columns, slice(first, first + chosen.size), where_of(table, block)
        elif chosen.size:
            arrays = {name: array.take(pa.array(chosen)) for name, array in block.columns.items()}
            yield arrays, slice(first, first + chosen.size), _where_of_some(where_of(table, block), chosen)
        first += chosen.size


def _where_of_some(where: Where, chosen: np.ndarray) -> Where:
    """Where some rows of a block stand."""
    return lambda row: where(int(chosen[row]))


def _arrays(columns: Sequence[tuple[str, Column]], made: Sequence[Encoder], num_rows: int, keep_dtype: bool, room: Room
            ) -> tuple[dict[str, np.ndarray | FileArray], list[int]]:
    """Arrays without values, and where the columns of each encoder begin in its array.  Collective, as `read_data`."""
    width, wide, begins = 0, False, []
    data: dict[str, np.ndarray | FileArray] = {}
    for (name, _), one in zip(columns, made, strict=True):
        begins.append(width if name == FEATURES else 0)
        if name == FEATURES:
            width += int(np.prod(one.row_shape, dtype=np.int64))
            wide |= keep_dtype and (one.dtype == np.float64 or (one.dtype.kind in "iu" and one.dtype.itemsize > 2))
        else:
            data[name] = room.lasting(one.dtype, num_rows, *one.row_shape)
    if width:
        data[FEATURES] = room.lasting(np.float64 if wide else np.float32, num_rows, width)
    return data, begins


def _put(features: np.ndarray, begin: int, values: np.ndarray, column: str, where: Where) -> None:
    """Store a column of features, or several, in the type of all; raises where that changes a whole number."""
    place = features[:, begin:begin + values.shape[1]]
    with np.errstate(over="ignore"):
        place[:] = values
    if values.dtype.kind in "iu":
        changed = np.argwhere(~_holds(place, values))
        if changed.size:
            row, entry = changed[0]
            more = ", or keep its type by --keep-dtype" if place.dtype == np.float32 else ""
            raise DataError(f"{where(int(row))}: {column} is {values[row, entry]}, which {place.dtype} does not hold: "
                            f'scale it, such as by as = "standard"{more}')
    if place.dtype == values.dtype:     # which are finite
        return
    too_large = np.flatnonzero(np.isinf(place).any(axis=1))
    if too_large.size:
        raise DataError(f"{where(int(too_large[0]))}: {column} is more than float32 holds: scale it, such as by as = "
                        "\"standard\", or keep its type by --keep-dtype")


def _put_as_learnt(data: np.ndarray, values: np.ndarray, column: str, where: Where) -> None:
    """Store rows in the type in which the same column was stored, whole numbers as whole numbers."""
    data[:] = values
    if data.dtype.kind in "iub" and values.dtype != data.dtype:
        changed = np.argwhere(data != values)
        if changed.size:
            place = tuple(changed[0])
            raise DataError(f"{where(int(place[0]))}: {column} is {values[place]}, which {data.dtype} does not hold, "
                            "as which it was stored in training")


def _holds(cast: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where floating-point numbers are those of the integers that they were made of."""
    limit = 2.0**(values.dtype.itemsize * 8 - (values.dtype.kind == "i"))
    inside = (cast >= -limit) & (cast < limit)
    holds: np.ndarray = inside & (np.where(inside, cast, 0).astype(values.dtype) == values)
    return holds
