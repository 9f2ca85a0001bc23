"""Columns that shall be predicted: classes by name or number, or numbers.

Shapes: N rows of a table, K of them that are kept, R rows of a block, W labels of a column, L labels of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.tables.encoders import Where, plain
from mpignn.tables.kinds import is_list, is_number, is_text

_UNKNOWN_TEXTS = ("", "-1", "nan")


@dataclass(frozen=True)
class Labels:
    """What is known of the rows that are kept.

    Attributes:
        values: (K,) int64 classes, -1 for unknown; or float32 numbers, NaN for unknown, (K,) or (K, L).
        names: What users call each class, where that is not its number, or each column of several; None: classes are
            numbers, or there are none.
        known: (K,) booleans: the rows that have a label.
    """

    values: np.ndarray
    names: tuple[str, ...] | None
    known: np.ndarray

    @property
    def classes(self) -> np.ndarray | None:
        """(K,) int64, or None where numbers are to be predicted."""
        return self.values if self.values.dtype.kind == "i" else None


class LabelReader:
    """Takes labels block by block, and makes numbers of them once it has all."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._several = [_Entries(name) for name in columns]
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

    def labels(self, kept: np.ndarray) -> Labels:
        """What the rows hold that are kept.  Not collective.

        Args:
            kept: (N,) booleans: the rows that count.
        """
        if self._several[0].blocks:
            rows = np.hstack([several.rows() for several in self._several])[kept]
            names = tuple(self._columns) if rows.shape[1] == len(self._columns) > 1 else None
            return Labels(rows, names, ~np.isnan(rows).all(axis=1))
        column = pa.chunked_array(self._blocks) if self._blocks else pa.chunked_array([], pa.null())
        if not kept.all():
            column = column.filter(pa.array(kept))
        if pt.is_dictionary(column.type):
            return _of_texts(column)
        values, missing = plain(column.combine_chunks())
        if values.dtype.kind == "b":
            found = np.where(missing, -1, values).astype(np.int64)
            return Labels(found, ("false", "true"), ~missing)
        unknown = missing | (values == -1)
        known = values[~unknown]
        # Whole numbers below 0 are no classes, and among numbers that are none -1 is one like others.
        if known.min(initial=0) < 0 or (values.dtype.kind == "f" and ((known % 1 != 0).any()
                                                                     or known.max(initial=0) >= 1 << 53)):
            return Labels(np.where(missing, np.nan, values).astype(np.float32), None, ~missing)
        return _of_numbers(values, unknown)


class _Entries:
    """Several labels in a row, or those of one column of several, taken block by block.

    Attributes:
        blocks: (R, W) float32 numbers each, NaN for unknown; of no column where W is not known by then.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._width: int | None = None
        self.blocks: list[np.ndarray] = []

    def add(self, array: pa.Array, where: Where) -> None:
        """Take a block.

        Raises:
            DataError: A value is no number, or a list is not as long as those before.
        """
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


def _of_numbers(values: np.ndarray, missing: np.ndarray) -> Labels:
    """Whole numbers are classes: as they are if each from 0 on is there, else by their order."""
    found, codes = np.unique(values[~missing], return_inverse=True)
    classes = np.full(values.size, -1, np.int64)
    classes[~missing] = codes
    dense = bool((found == np.arange(found.size)).all())
    return Labels(classes, None if dense else tuple(str(int(number)) for number in found), ~missing)


def _of_texts(column: pa.ChunkedArray) -> Labels:
    unified = column.unify_dictionaries().combine_chunks()
    if isinstance(unified, pa.ChunkedArray):
        unified = unified.chunk(0) if unified.num_chunks else pa.array([], column.type)
    texts = unified.dictionary.to_pylist()
    indices = np.asarray(unified.indices.fill_null(len(texts)))
    used = np.bincount(indices, minlength=len(texts) + 1) > 0       # rows that are not kept leave their texts behind
    names = sorted({text for text, there in zip(texts, used[:-1], strict=True)
                    if there and text is not None and text.strip().casefold() not in _UNKNOWN_TEXTS})
    place = {name: number for number, name in enumerate(names)}
    code = np.array([place.get(text, -1) for text in texts] + [-1], np.int64)     # the last for what is null
    classes = code[indices]
    return Labels(classes, tuple(names), classes >= 0)


