"""Columns that shall be predicted: classes by name or number, or numbers.

Shapes: N rows of a table, L columns of labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.tables.encoders import Where, is_list, is_number, is_text, plain

_UNKNOWN_TEXTS = ("", "-1", "nan")


@dataclass(frozen=True)
class Labels:
    """What is known of all rows.

    Attributes:
        values: (N,) int64 classes, -1 for unknown; or float32 numbers, NaN for unknown, (N,) or (N, L).
        names: What users call each class, where that is not its number; None: classes are numbers, or there are none.
        known: (N,) booleans: the rows that have a label.
    """

    values: np.ndarray
    names: tuple[str, ...] | None
    known: np.ndarray

    @property
    def classes(self) -> np.ndarray | None:
        """(N,) int64, or None where numbers are to be predicted."""
        return self.values if self.values.dtype.kind == "i" else None


class LabelReader:
    """Takes labels block by block, and makes numbers of them once it has all."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._blocks: list[pa.Array] | list[np.ndarray] = []

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
            self._blocks.append(np.hstack([_entries(array, name, where)
                                           for name, array in zip(self._columns, chosen, strict=True)]))
        elif is_text(chosen[0].type):
            self._blocks.append(chosen[0].dictionary_encode())
        elif is_number(chosen[0].type) or pt.is_null(chosen[0].type):
            self._blocks.append(chosen[0])
        else:
            raise DataError(f"{where(0)}: {self._columns[0]} is of type {chosen[0].type}, which is no label: give "
                            "texts or numbers")

    def labels(self) -> Labels:
        """What all blocks hold.  Not collective."""
        if self._blocks and isinstance(self._blocks[0], np.ndarray):
            rows = np.concatenate(self._blocks)
            return Labels(rows, None, ~np.isnan(rows).all(axis=1))
        column = pa.chunked_array(self._blocks) if self._blocks else pa.chunked_array([], pa.null())
        if pt.is_dictionary(column.type):
            return _of_texts(column)
        values, missing = plain(column.combine_chunks())
        if values.dtype.kind == "b":
            found = np.where(missing, -1, values).astype(np.int64)
            return Labels(found, ("false", "true"), ~missing)
        missing = missing | (values == -1)
        known = values[~missing]
        if values.dtype.kind == "f" and ((known % 1 != 0).any() or known.min(initial=0) < 0
                                         or known.max(initial=0) >= 1 << 53):
            return _numbers(values)
        if known.min(initial=0) < 0:        # whole numbers below 0 are no classes
            return _numbers(values.astype(np.float64))
        return _of_numbers(values, missing)


def _entries(array: pa.Array, name: str, where: Where) -> np.ndarray:
    """(R, L) float32 numbers, NaN for unknown."""
    kind = array.type
    if is_list(kind):
        lengths = np.asarray(pc.list_value_length(array).fill_null(-1))
        odd = np.flatnonzero(lengths != lengths[0]) if lengths.size else lengths
        if odd.size:
            raise DataError(f"{where(int(odd[0]))}: {name} has {lengths[odd[0]]} entries, where the rows before have "
                            f"{lengths[0]}: all lists of labels must be of one length")
        return _entries(array.flatten(), name, where).reshape(len(array), -1)
    if not (is_number(kind) or pt.is_null(kind)):
        raise DataError(f"{where(0)}: {name} is of type {kind}; several labels are columns of 0 and 1, or of numbers")
    values, missing = plain(array)
    return np.where(missing, np.nan, values).astype(np.float32)[:, None]


def _numbers(values: np.ndarray) -> Labels:
    """A number to predict for each row."""
    return Labels(values.astype(np.float32), None, ~np.isnan(values))


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
    names = sorted({text for text in texts if text is not None and text.strip().casefold() not in _UNKNOWN_TEXTS})
    place = {name: number for number, name in enumerate(names)}
    code = np.array([place.get(text, -1) for text in texts] + [-1], np.int64)     # the last for what is null
    classes = code[np.asarray(unified.indices.fill_null(len(texts)))]
    return Labels(classes, tuple(names), classes >= 0)


