"""Columns that shall be predicted: classes by name or number, or numbers.

Shapes: N rows of a table, K of them that are kept, R rows of a block, W labels of a column, L labels of a row, C
classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.graph.types import listed
from mpignn.tables.kinds import NOTHING, TEXTS, is_list, is_number, is_text, sort_of
from mpignn.tables.learnt import LearntLabels, check_sort
from mpignn.tables.values import Where, plain
from mpignn.unique import unique

_UNKNOWN_TEXTS = ("", "-1", "nan")
_TRUTH = ("false", "true")
_NEW = -2       # a class that was not learnt
_STEP = 1 << 20     # rows in hand


@dataclass(frozen=True)
class Labels:
    """What is known of the rows that are kept.

    Attributes:
        values: (K,) int64 classes, -1 for unknown; or float32 numbers, NaN for unknown, (K,) or (K, L).
        names: What users call each class, where that is not its number, or each column of several; None: classes are
            numbers, or there are none.
        known: (K,) booleans: the rows that have a label.
        learnt: What makes labels of other rows likewise.
    """

    values: np.ndarray
    names: tuple[str, ...] | None
    known: np.ndarray
    learnt: LearntLabels

    @property
    def classes(self) -> np.ndarray | None:
        """(K,) int64, or None where numbers are to be predicted."""
        return self.values if self.values.dtype.kind == "i" else None


class LabelReader:
    """Takes labels block by block, and makes numbers of them once it has all.

    Args:
        columns: Those that hold them.
        learnt: What was learnt of those of other tables; None: it learns from these.
    """

    def __init__(self, columns: Sequence[str], learnt: LearntLabels | None = None) -> None:
        self._columns, self._learnt = columns, learnt
        width = None if learnt is None or len(columns) > 1 else learnt.width
        self._several = [_Entries(name, width) for name in columns]
        self._blocks: list[pa.Array] = []

    def add(self, arrays: Mapping[str, pa.Array], where: Where) -> None:
        """Take a block.  Not collective.

        Args:
            arrays: Columns by name, among them those of the labels.
            where: For messages.

        Raises:
            DataError: A value cannot be a label.
        """
        chosen = [arrays[name] for name in self._columns]
        for name, array in zip(self._columns, chosen, strict=True):
            if self._learnt is not None:
                check_sort(name, array.type, self._learnt.sort, f"{where(0)}: ")
        if len(chosen) > 1 or is_list(chosen[0].type):
            for several, array in zip(self._several, chosen, strict=True):
                several.add(array, where)
        elif is_text(chosen[0].type):
            self._blocks.append(chosen[0].dictionary_encode())
        elif is_number(chosen[0].type) or pt.is_null(chosen[0].type):
            self._blocks.append(chosen[0])
        else:
            raise DataError(f"{where(0)}: {self._columns[0]} is of type {chosen[0].type}, which is no label: give "
                            "texts or numbers")

    def labels(self, kept: np.ndarray, where: Where) -> Labels:
        """What the rows hold that are kept.  Not collective.

        Args:
            kept: (N,) booleans: the rows that count.
            where: Where a row of the table stands.

        Raises:
            DataError: A class was not learnt; names the file and the line.
        """
        if self._several[0].blocks:
            rows = np.hstack([several.rows() for several in self._several])[kept]
            names = tuple(self._columns) if rows.shape[1] == len(self._columns) > 1 else None
            learnt = LearntLabels(self._several[0].sort, None, names, rows.shape[1])
            return Labels(rows, names, ~np.isnan(rows).all(axis=1), self._learnt or learnt)
        column = pa.chunked_array(self._blocks) if self._blocks else pa.chunked_array([], pa.null())
        self._blocks = []
        if not kept.all():
            column = column.filter(pa.array(kept))
        if self._learnt is not None:
            return self._as_learnt(column, self._learnt, lambda row: where(int(np.flatnonzero(kept)[row])))
        return _of_texts(column) if pt.is_dictionary(column.type) else _of_plain(column)

    def _as_learnt(self, column: pa.ChunkedArray, learnt: LearntLabels, where: Where) -> Labels:
        """The labels of (K,) rows by what was learnt from others."""
        if pt.is_null(column.type):
            unknown = np.full(len(column), -1) if learnt.num_classes is not None else np.full(len(column), np.nan)
            kind = np.int64 if learnt.num_classes is not None else np.float32
            return Labels(unknown.astype(kind), learnt.names, np.zeros(len(column), bool), learnt)
        if pt.is_dictionary(column.type):
            classes = _classes(column, learnt.names or (), _NEW)
        else:
            values, missing = plain(column.combine_chunks())
            if learnt.num_classes is None:
                return Labels(np.where(missing, np.nan, values).astype(np.float32), None, ~missing, learnt)
            of_class = np.arange(learnt.num_classes)
            if learnt.names not in (None, _TRUTH):
                of_class = np.array([int(name) for name in learnt.names or ()], np.int64)
            found = np.minimum(np.searchsorted(of_class, values), max(0, of_class.size - 1))
            is_known = of_class[found] == values if of_class.size else np.zeros(values.size, bool)
            classes = np.where(missing | (values == -1), -1, np.where(is_known, found, _NEW)).astype(np.int64)
        new = np.flatnonzero(classes == _NEW)
        if new.size:
            names = listed(learnt.names or map(str, range(learnt.num_classes or 0)))
            raise DataError(f"{where(int(new[0]))}: {self._columns[0]} is {column[int(new[0])].as_py()!r}, which is no "
                            f"class of training: write one of {names}; or nothing, where it is not known")
        return Labels(classes, learnt.names, classes >= 0, learnt)


class _Entries:
    """Several labels in a row, or those of one column of several, taken block by block.

    Args:
        name: The column.
        width: W, if it is known before.

    Attributes:
        sort: What the column holds, by `mpignn.tables.kinds.sort_of`.
        blocks: (R, W) float32 numbers each, NaN for unknown; of no column where W is not known by then.
    """

    def __init__(self, name: str, width: int | None) -> None:
        self._name = name
        self._width = width
        self.sort = NOTHING
        self.blocks: list[np.ndarray] = []

    def add(self, array: pa.Array, where: Where) -> None:
        """Take a block.

        Raises:
            DataError: A value is no number, or a list is not as long as those before.
        """
        self.sort = sort_of(array.type)
        if not is_list(array.type):
            self._width = 1
            self.blocks.append(self._numbers(array, where)[:, None])
            return
        given = np.flatnonzero(np.asarray(array.is_valid()))
        lists = array.drop_null()
        lengths = np.asarray(pc.list_value_length(lists))
        if self._width is None and lengths.size:
            self._width = int(lengths[0])
        odd = np.flatnonzero((lengths != self._width) | (lengths == 0))
        if odd.size:
            expected = f"where the rows before have {self._width}" if self._width else "which is no label"
            raise DataError(f"{where(int(given[odd[0]]))}: {self._name} has {lengths[odd[0]]} entries, {expected}: all "
                            "lists of labels must be of one length; nothing stands for labels that are not known")
        rows = np.full((len(array), self._width or 0), np.nan, np.float32)
        rows[given] = self._numbers(lists.flatten(), where).reshape(given.size, rows.shape[1])
        self.blocks.append(rows)

    def rows(self) -> np.ndarray:
        """(N, W) float32 numbers; of one column, where no row has any."""
        width = self._width or 1
        rows: np.ndarray = np.concatenate([block if block.shape[1] else np.full((len(block), width), np.nan, np.float32)
                                           for block in self.blocks])
        return rows

    def _numbers(self, array: pa.Array, where: Where) -> np.ndarray:
        kind = array.type
        if not (is_number(kind) or pt.is_null(kind)):
            raise DataError(f"{where(0)}: {self._name} is of type {kind}; several labels are columns of 0 and 1, or of "
                            "numbers")
        values, missing = plain(array)
        numbers: np.ndarray = np.where(missing, np.nan, values).astype(np.float32)
        return numbers


def _of_plain(column: pa.ChunkedArray) -> Labels:
    """Numbers are classes if they can be, and else to be predicted."""
    sort = sort_of(column.type)
    values, missing = plain(column.combine_chunks())
    if values.dtype.kind == "b":
        found = np.where(missing, -1, values).astype(np.int64)
        return Labels(found, _TRUTH, ~missing, LearntLabels(sort, 2, _TRUTH))
    unknown = missing | (values == -1)
    # Among numbers that are no classes -1 is one like others.
    if not all(_may_be_classes(values[some][~unknown[some]]) for some in _pieces(values.size)):
        return Labels(np.where(missing, np.nan, values).astype(np.float32), None, ~missing, LearntLabels(sort))
    return _of_numbers(values, unknown, sort)


def _may_be_classes(known: np.ndarray) -> bool:
    """Whether numbers are whole, and none is below 0."""
    whole = known.dtype.kind != "f" or bool((known % 1 == 0).all() and known.max(initial=0) < 1 << 53)
    return whole and bool(known.min(initial=0) >= 0)


def _pieces(count: int) -> Iterator[slice]:
    """So many rows, some at a time."""
    return (slice(first, first + _STEP) for first in range(0, count, _STEP))


def _of_numbers(values: np.ndarray, missing: np.ndarray, sort: str) -> Labels:
    """Whole numbers are classes: as they are if each from 0 on is there, else by their order."""
    found = unique(np.concatenate([values[:0], *(unique(values[some][~missing[some]])
                                                 for some in _pieces(values.size))]))
    classes = np.full(values.size, -1, np.int64)
    for some in _pieces(values.size):
        classes[some][~missing[some]] = np.searchsorted(found, values[some][~missing[some]])
    dense = bool((found == np.arange(found.size)).all())
    names = None if dense else tuple(str(int(number)) for number in found)
    return Labels(classes, names, ~missing, LearntLabels(sort, found.size, names))


def _of_texts(column: pa.ChunkedArray) -> Labels:
    found = set[str]()
    for block in column.chunks:
        texts, codes = _coded(block)
        used = np.bincount(codes, minlength=len(texts)) > 0     # rows that are not kept leave their texts behind
        found |= {text for text, there in zip(texts, used, strict=True)
                  if there and text is not None and not _is_unknown(text)}
    names = tuple(sorted(found))
    classes = _classes(column, names, -1)
    return Labels(classes, names, classes >= 0, LearntLabels(TEXTS, len(names), names))


def _classes(column: pa.ChunkedArray, names: Sequence[str], other: int) -> np.ndarray:
    """(K,) int64 the place of each text among the names of classes, -1 where it is unknown, ``other`` for no name."""
    place, classes, first = {name: number for number, name in enumerate(names)}, np.empty(len(column), np.int64), 0
    for block in column.chunks:
        texts, codes = _coded(block)
        numbers = [-1 if text is None or _is_unknown(text) else place.get(text, other) for text in texts]
        classes[first:first + len(block)] = np.array(numbers, np.int64)[codes]
        first += len(block)
    return classes


def _coded(block: pa.DictionaryArray) -> tuple[list[str | None], np.ndarray]:
    """The texts of a block, the last of them None, and (n,) which of them each row has."""
    texts = block.dictionary.to_pylist()
    return [*texts, None], np.asarray(block.indices.fill_null(len(texts)))


def _is_unknown(text: str | None) -> bool:
    return text is None or text.strip().casefold() in _UNKNOWN_TEXTS
