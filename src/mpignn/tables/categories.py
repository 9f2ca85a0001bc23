"""Values of a column that are told apart: by their numbers, or as columns of 0 and 1.

Shapes: R rows of a block.
"""

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.comm.group import Group
from mpignn.errors import DataError
from mpignn.graph.types import listed
from mpignn.tables.description import Column
from mpignn.tables.kinds import first_bad, sort_of
from mpignn.tables.learnt import LearntValues, nothing_stands_for
from mpignn.tables.values import Where, absent

log = logging.getLogger(__name__)

MOST_COLUMNS = 1000
"""How many values a column of which ``onehot`` makes columns may have."""


class Categories:
    """Values that by their order become numbers; an `mpignn.tables.encoders.Encoder`."""

    def __init__(self, column: Column, kind: pa.DataType, learnt: LearntValues | None) -> None:
        self._column, self._kind, self._given = column, kind, learnt
        self._found: set[Any] = set()
        self._place: dict[Any, int] = {}
        self._told = False
        self._last: Where | None = None     # of the last block that was seen
        self.looks = learnt is None

    @property
    def names(self) -> tuple[str, ...] | None:
        return None if self._column.how == "onehot" else tuple(map(str, self.learnt.values))

    @property
    def learnt(self) -> LearntValues:
        return self._given or LearntValues(sort_of(self._kind), tuple(sorted(self._found)))

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32 if self._column.how == "onehot" else np.int64)

    @property
    def row_shape(self) -> tuple[int, ...]:
        count = len(self._found) if self._given is None else len(self._given.values)
        return (count,) if self._column.how == "onehot" else ()

    def look(self, array: pa.Array, in_train: np.ndarray, first: int, where: Where) -> None:
        self._found.update(pc.unique(self._filled(array, where)).to_pylist())
        self._last = where
        self._check_number(len(self._found))

    def agree(self, group: Group) -> None:
        of_ranks = group.allgather(self._found)
        with group.all_or_none():
            self._check_number(len(set().union(*of_ranks[:group.rank + 1])))
        self._found = set().union(*of_ranks)

    def _check_number(self, count: int) -> None:
        if self._column.how == "onehot" and count > MOST_COLUMNS and self._last is not None:
            raise DataError(f"{self._last(0)}: {self._column.column} has {count} values up to here, of which "
                            f'as = "onehot" would make as many columns, at most {MOST_COLUMNS}: leave it out, or make '
                            'numbers of it by as = "code"')

    def rows(self, array: pa.Array, where: Where) -> np.ndarray:
        coded = self._filled(array, where).dictionary_encode()
        self._place = self._place or {value: number for number, value in enumerate(self.learnt.values)}
        places = np.array([self._place.get(value, -1) for value in coded.dictionary.to_pylist()], np.int64)
        codes: np.ndarray = places[np.asarray(coded.indices)]
        self._tell_new(array, np.flatnonzero(codes < 0), where)
        if self._column.how == "code":
            return codes
        rows = np.zeros((codes.size, *self.row_shape), np.float32)
        known = np.flatnonzero(codes >= 0)
        rows[known, codes[known]] = 1
        return rows

    def _tell_new(self, array: pa.Array, new: np.ndarray, where: Where) -> None:
        """Say of values that were not learnt from what becomes of them."""
        if not new.size or self._told:
            return
        column, row = self._column, int(new[0])
        value = array[row].as_py()
        what = (f"{where(row)}: {column.column} is {column.fill if value in (None, '') else value!r}, which it was in "
                "no row of training")
        if column.how == "code":
            fill = f", or nothing, which is {column.fill!r}" if column.fill in self._place else ""
            raise DataError(f"{what}, so it has no number: write one of {listed(map(str, self._place))}{fill}; or "
                            'train with as = "onehot", for which a new value is just none of these')
        self._told = True
        log.warning("%s: its columns are 0 there, and wherever it is something new", what)

    def _filled(self, array: pa.Array, where: Where) -> pa.Array:
        if pt.is_timestamp(array.type) and array.type.unit == "ns":     # Python's own times end at microseconds
            kind = pa.timestamp("us", array.type.tz)
            bad = first_bad(array, kind)
            if bad is not None:
                raise DataError(f"{where(bad)}: {self._column.column} is {array[bad].value} ns after 1970, and times "
                                "are told apart by microseconds: round them, or take them as numbers")
            array = array.cast(kind)
        missing = absent(array)
        if not missing.any():
            return array
        row = int(np.flatnonzero(missing)[0])
        if self._column.fill is None and self._given is not None:
            raise nothing_stands_for(where(row), self._column.column)
        if self._column.fill is None:
            raise DataError(f"{where(row)}: {self._column.column} is missing; write it there, or into graph.toml, "
                            "which `mpignn describe` begins, what stands for it: fill = \"unknown\"")
        if pt.is_null(array.type):      # no row has a value, whose type could be that of all
            array = array.cast(pa.scalar(self._column.fill).type)
        try:
            fill = pa.scalar(self._column.fill, array.type)
        except (pa.ArrowException, OverflowError) as error:
            raise DataError(f"{self._column.column!r} holds {array.type}, and cannot be filled with "
                            f"{self._column.fill!r}") from error
        return pc.if_else(pa.array(missing), fill, array)
