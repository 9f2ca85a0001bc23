"""What the rows of nodes and of edges have in common: labels and splits, features and further data.

Shapes: N rows of a table, K of them that are kept, F columns of features.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np
import pyarrow as pa

from mpignn.errors import DataError
from mpignn.graph.types import listed
from mpignn.options import nearest
from mpignn.tables.description import FEATURES, Column, Rows
from mpignn.tables.encoders import Encoder, encoder
from mpignn.tables.kinds import NUMBERS, TEXTS, is_text
from mpignn.tables.labels import LabelReader, Labels
from mpignn.tables.learnt import Learnt, LearntColumn
from mpignn.tables.splits import SplitReader
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where

log = logging.getLogger(__name__)

def open_table(rows: Rows, what: str, ids: Sequence[str]) -> Table:
    """The table of nodes or edges, which has all columns that its description names.  Not collective.

    Args:
        rows: The description.
        what: Where it stands, for messages.
        ids: Columns of ids, which stay as they are written.

    Raises:
        DataError: A column is not there, or the table cannot be read.
    """
    table = Table.open(rows.files)
    missing = [(key, column) for key, column in rows.columns() if column not in table.names]
    if missing and rows.learnt is not None:
        columns = listed(dict.fromkeys(column for _, column in missing))
        raise DataError(f"{what}: {table.paths[0]} has no column {columns}, which training had: add it by this name")
    for key, column in missing:
        raise DataError(f"{what}: {key}: {table.paths[0]} has no column {column!r}{nearest(column, table.names)}")
    texts = [*ids, *(column for column, sort in rows.learnt_sorts() if sort == TEXTS)]
    table = Table.open(rows.files, as_text=texts) if texts else table
    _check_numbers(table, [column for column, sort in rows.learnt_sorts() if sort == NUMBERS])
    return table


def _check_numbers(table: Table, columns: Sequence[str]) -> None:
    """Raise that of the first value that is no number, if a column holds texts that held numbers in training."""
    if columns:
        table.batches(columns)      # from here on it knows their types
    for column in columns:
        if is_text(table.types[column]):
            try:
                for _ in table.batches([column], {column: pa.float64()}):
                    pass
            except DataError as error:
                raise DataError(f"{error}: {column} held numbers in training") from error


def in_split(splits: Mapping[str, np.ndarray], name: str, num_rows: int) -> np.ndarray:
    """(N,) booleans: the rows of a split, which may not be there."""
    mask = np.zeros(num_rows, bool)
    if name in splits:
        mask[splits[name]] = True
    return mask


def where_of(table: Table, block: Block) -> Where:
    """Where the rows of a block stand."""
    return lambda row: table.where(block.first_row + row)


class Seeds:
    """Labels and splits, taken block by block.

    Attributes:
        columns: Those that tell them.
    """

    def __init__(self, rows: Rows) -> None:
        learnt = None if rows.learnt is None else rows.learnt.labels
        self._labels = LabelReader(rows.labels, learnt) if rows.labels else None
        self._split = SplitReader(rows.split, rows.seed)
        self.columns = (*rows.labels, *self._split.columns)

    def add(self, block: Block, where: Where) -> None:
        """Take a block.  Not collective.

        Raises:
            DataError: A value cannot be what it should be.
        """
        if self._labels is not None:
            self._labels.add(block.columns, where)
        self._split.add(block.columns, where)

    def found(self, kept: np.ndarray, table: Table, alike: np.ndarray | None = None,
              groups: Sequence[np.ndarray] | None = None) -> tuple[Labels | None, dict[str, np.ndarray]]:
        """What is known of the rows that are kept; warns where there are no rows at all.  Not collective.

        Args:
            kept: (N,) booleans: the rows that count; no other takes part in anything.
            table: Theirs, for messages.
            alike, groups: As in `mpignn.tables.splits.SplitReader.splits`.

        Returns:
            The labels of the rows that are kept, and the sorted places among them of each split.

        Raises:
            DataError: A class was not learnt; names the file and the line.
        """
        what = str(table.paths[0])
        if not kept.size:
            log.warning("%s: there are no rows in it", what)
        labels = None if self._labels is None else self._labels.labels(kept, table.where)
        return labels, self._split.splits(kept, labels, alike, groups, what)


def read_data(table: Table, wanted: Mapping[str, Sequence[Column]], in_train: np.ndarray, what: str, keep_dtype: bool,
              kept: np.ndarray, learnt: Learnt | None
              ) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], dict[str, tuple[LearntColumn, ...]]]:
    """Make data of columns, in one pass or, where all must be seen before, in two.  Not collective.

    Args:
        table: Where the columns are.
        wanted: The columns of each array: of `FEATURES` side by side, of all others one.
        in_train: (K,) booleans: those of the rows that are kept which are learnt from.
        what: Where the table is described, for messages.
        keep_dtype: Features are float64 where one of their columns is, or holds integers of more than 16 bits; else
            float32.
        kept: (N,) booleans: the rows that count, K; what stands in others is not looked at.
        learnt: What was learnt of these columns in another table; None: it is learnt from this one.

    Returns:
        The data by name, (K, F) for features; by name the names of what became numbers by their order; and what was
        learnt of the columns of each array.

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
    _look([(column.column, one) for (_, column), one in zip(columns, made, strict=True) if one.looks], table, in_train,
          kept)
    data, begins = _arrays(columns, made, in_train.size, keep_dtype)
    for arrays, rows, where in _kept_rows(table, {column.column for _, column in columns}, kept):
        for (name, column), one, begin in zip(columns, made, begins, strict=True):
            values = one.rows(arrays[column.column], where)
            if name == FEATURES:
                _put(data[name][rows], begin, values.reshape(rows.stop - rows.start, -1), column.column, where)
            else:
                _put_as_learnt(data[name][rows], values, column.column, where)
    found: dict[str, tuple[LearntColumn, ...]] = {name: () for name, some in wanted.items() if some}
    for (name, _), one in zip(columns, made, strict=True):
        found[name] += (one.learnt,)
    return data, {name: one.names for (name, _), one in zip(columns, made, strict=True) if one.names is not None
                  and name != FEATURES}, found


def _encoder(column: Column, table: Table, what: str, learnt: LearntColumn | None) -> Encoder:
    try:
        return encoder(column, table.types[column.column], learnt)
    except DataError as error:
        raise DataError(f"{what}: {table.paths[0]}: {error}") from error


def _look(made: Sequence[tuple[str, Encoder]], table: Table, in_train: np.ndarray, kept: np.ndarray) -> None:
    for arrays, rows, where in _kept_rows(table, {column for column, _ in made}, kept):
        for column, one in made:
            one.look(arrays[column], in_train[rows], rows.start, where)
    for _, one in made:
        one.agree(table.group)


def _kept_rows(table: Table, columns: Set[str], kept: np.ndarray
               ) -> Iterator[tuple[Mapping[str, pa.Array], slice, Where]]:
    """Columns block by block, the rows that are kept alone, and their places among all that are; none if no column."""
    first = 0
    for block in table.batches(sorted(columns)) if columns else ():
        chosen = np.flatnonzero(kept[block.first_row:block.first_row + block.num_rows])
        if chosen.size == block.num_rows:
            yield block.columns, slice(first, first + chosen.size), where_of(table, block)
        elif chosen.size:
            arrays = {name: array.take(pa.array(chosen)) for name, array in block.columns.items()}
            yield arrays, slice(first, first + chosen.size), _where_of_some(where_of(table, block), chosen)
        first += chosen.size


def _where_of_some(where: Where, chosen: np.ndarray) -> Where:
    """Where some rows of a block stand."""
    return lambda row: where(int(chosen[row]))


def _arrays(columns: Sequence[tuple[str, Column]], made: Sequence[Encoder], num_rows: int, keep_dtype: bool
            ) -> tuple[dict[str, np.ndarray], list[int]]:
    """Arrays without values, and where the columns of each encoder begin in its array."""
    width, wide, begins = 0, False, []
    data: dict[str, np.ndarray] = {}
    for (name, _), one in zip(columns, made, strict=True):
        begins.append(width if name == FEATURES else 0)
        if name == FEATURES:
            width += int(np.prod(one.row_shape, dtype=np.int64))
            wide |= keep_dtype and (one.dtype == np.float64 or (one.dtype.kind in "iu" and one.dtype.itemsize > 2))
        else:
            data[name] = np.empty((num_rows, *one.row_shape), one.dtype)
    if width:
        data[FEATURES] = np.empty((num_rows, width), np.float64 if wide else np.float32)
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
