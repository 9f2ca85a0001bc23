"""What is compared of the users' ids of nodes: keys of some bytes, whatever the length of the ids.

Texts and integers are ids of one kind: the text 5 and the integer 5 are the same id, and 05 is another one.

Shapes: K ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.kernels import ids as kernels
from mpignn.kernels.simd import read_only
from mpignn.tables.checks import first_line

STEP = 1 << 16
"""Ids at a time: their keys stay in the cache."""

_SIGNS = {1 << kernels.NEGATIVE: kernels.NEGATIVE, 1 << kernels.HUGE: kernels.HUGE}


@dataclass(frozen=True)
class Keys:
    """Keys of K ids; see `mpignn.kernels.ids`.

    Attributes:
        tags: (K,) uint64.
        homes: (K,) uint32.
        kinds: (K,) uint8.
        found: The kinds that there are, a bit for each.
    """

    tags: np.ndarray
    homes: np.ndarray
    kinds: np.ndarray
    found: int

    def signs(self) -> list[int]:
        """The kinds of integers with the upper bit set that there are."""
        return [kind for bit, kind in _SIGNS.items() if self.found & bit]

    def set_apart(self, sign: int | None) -> None:
        """Give integers with the upper bit set other keys, those of one kind excepted.  Not collective.

        Args:
            sign: That kind, the same for all ids that are compared: NEGATIVE or HUGE; None: no id of either is known.
        """
        for kind in self.signs():
            if kind != sign:
                kernels.set_apart(kind, self.tags, self.homes, self.kinds)


def keys_of(plain: pa.Array) -> Iterator[tuple[pa.Array, Keys]]:
    """Ids, `STEP` at a time, and their keys before any is set apart; each overwrites those before.  Not collective.

    Args:
        plain: K ids, as `plain_ids` returns them.
    """
    size = min(STEP, len(plain))
    whole = np.empty(size, np.uint64), np.empty(size, np.uint32), np.empty(size, np.uint8)
    for first in range(0, len(plain), STEP):
        piece = plain.slice(first, STEP)
        tags, homes, kinds = (array[:len(piece)] for array in whole)
        missing = pc.is_null(piece).to_numpy(zero_copy_only=False) if piece.null_count else np.empty(0, bool)
        if pt.is_string(piece.type):
            bounds, letters = letters_of(piece)
            found = kernels.text_keys(letters, bounds, read_only(missing), tags, homes, kinds)
        else:
            bits = np.frombuffer(piece.buffers()[1], np.uint64, len(piece), piece.offset * 8)
            found = kernels.integer_keys(bits, piece.type == pa.uint64(), read_only(missing), tags, homes, kinds)
        yield piece, Keys(tags, homes, kinds, found)


def letters_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(K + 1,) int32 bounds of texts, and the bytes that they are bounds in.  Not collective."""
    _, bounds, letters = texts.buffers()
    data = np.empty(0, np.uint8) if letters is None else np.frombuffer(letters, np.uint8)
    return np.frombuffer(bounds, np.int32, len(texts) + 1, texts.offset * 4), read_only(data)


def plain_ids(ids: pa.Array) -> pa.Array:
    """Ids as int64, uint64 or texts.

    Raises:
        DataError: They are of a type that is none of an id.
    """
    kind = ids.type
    if pt.is_dictionary(kind):
        return plain_ids(ids.dictionary_decode())
    if kind in (pa.int64(), pa.uint64(), pa.string()):
        return ids
    if pt.is_integer(kind) or pt.is_null(kind):
        return ids.cast(pa.int64())
    if pt.is_floating(kind):
        return _of_floats(ids.cast(pa.float64()))
    if isinstance(kind, pa.UuidType):
        return _of_bytes(ids.storage)
    if pt.is_fixed_size_binary(kind):
        return _of_bytes(ids)
    try:
        return ids.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"values of type {kind} cannot be ids: {first_line(error)}; ids are texts or integers"
                        ) from error


def _of_floats(ids: pa.Array) -> pa.Array:
    """Integers, which programs write as floats where some are missing, as such; others as texts."""
    values = ids.to_numpy(zero_copy_only=False)
    whole = (values == np.floor(values)) & (np.abs(values) < 2.0**63)
    missing = np.isnan(values)
    integers = pa.array(np.where(whole, values, 0).astype(np.int64), mask=missing)
    return integers if (whole | missing).all() else pc.if_else(pa.array(whole), integers.cast(pa.string()),
                                                               ids.cast(pa.string()))


def _of_bytes(ids: pa.FixedSizeBinaryArray) -> pa.Array:
    """Bytes in hexadecimal, 16 of them as UUIDs are written."""
    width = ids.type.byte_width
    values = [None if value is None else value.hex() for value in ids.to_pylist()]
    if width == 16:
        values = [v and f"{v[:8]}-{v[8:12]}-{v[12:16]}-{v[16:20]}-{v[20:]}" for v in values]
    return pa.array(values, pa.string())
