"""Which row the users' id of a node stands in.

Texts and integers are ids of one kind: the text 5 and the integer 5 are the same id, and 05 is another one.  What is
held of an id is 12 bytes and 6 to 8 bytes of the table, whatever its length, and where it is no integer its text once.

Shapes: K ids asked about, N ids known.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.graph.user_ids import UserIds
from mpignn.kernels import ids as kernels
from mpignn.kernels.simd import read_only
from mpignn.tables.checks import first_line

MOST_IDS = 2**31 - 1
"""How many a map holds."""

_STEP = 1 << 16     # ids at a time: their keys stay in the cache
_LEAST_SLOTS, _MOST_SLOTS = 1024, 2**32 - 1
_FULL, _ROOM = 0.7, 1.5     # how much of the table may be in use; how much larger it becomes
_SIGNS = {1 << kernels.NEGATIVE: kernels.NEGATIVE, 1 << kernels.HUGE: kernels.HUGE}


@dataclass(frozen=True)
class _Keys:
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


class IdMap:
    """From ids to the rows 0 to N - 1, in the order in which the ids came.

    Integers are compared themselves.  Texts are compared by 64 bits of a hash, where 32 other ones have led: with 10^8
    ids and as many edges as you like, say 10^10, the chance that any two texts are taken for the same is below 10^-7.
    """

    def __init__(self) -> None:
        self._num_ids = 0
        self._slots = np.full(_LEAST_SLOTS, kernels.EMPTY)
        self._tags = np.empty(_LEAST_SLOTS, np.uint64)
        self._homes = np.empty(_LEAST_SLOTS, np.uint32)
        self._sign: int | None = None       # integers with the upper bit set that are their own tags, of the two kinds
        self._texts: dict[int, pa.Array] = {}       # by first row: of rows that follow each other, not all integers

    @staticmethod
    def build(chunks: Iterable[pa.Array], where: Callable[[int], str] | None = None) -> "IdMap":
        """The map of a column that gives each row an id of its own.  Not collective.

        Args:
            chunks: The column, piece by piece.
            where: Says where a row stands, in errors; None: by its number, counted from 0.

        Raises:
            DataError: An id is missing, or stands in two rows.
        """
        made = IdMap()
        where = where or (lambda row: f"row {row}")
        for chunk in chunks:
            first = made._num_ids
            rows = made.grow(chunk)
            wrong = np.flatnonzero(rows != np.arange(first, first + rows.size))
            if wrong.size:
                at = int(wrong[0])
                if rows[at] < 0:
                    raise DataError(f"{where(first + at)}: there is no id; each node needs one")
                raise DataError(f"{where(first + at)}: the id {chunk[at].as_py()!r} stands in {where(int(rows[at]))}, "
                                "too; each node needs an id of its own")
        return made

    def __len__(self) -> int:
        return self._num_ids

    def find(self, chunk: pa.Array) -> np.ndarray:
        """Rows of ids.  Not collective.

        Args:
            chunk: K ids of whatever type.

        Returns:
            (K,) int64; -1 for those that are missing or unknown.

        Raises:
            DataError: What is of this type is no id.
        """
        out = np.empty(len(chunk), np.int64)
        for first, keys in self._keys(_plain(chunk)):
            kernels.find(self._slots, self._row_bits, self._tags, keys.tags, keys.homes, keys.kinds,
                         out[first:first + keys.tags.size])
        return out

    def grow(self, chunk: pa.Array) -> np.ndarray:
        """Rows of ids, new ones for those that are unknown, in the order in which they come.  Not collective.

        Args:
            chunk: K ids of whatever type.

        Returns:
            (K,) int64; -1 for those that are missing.

        Raises:
            DataError: What is of this type is no id, or there are more ids than a process can hold.
        """
        plain, before, as_texts = _plain(chunk), self._num_ids, False
        out = np.empty(len(chunk), np.int64)
        for first, keys in self._keys(plain, new=True):
            self._make_room(keys.tags.size)
            self._num_ids = kernels.grow(self._slots, self._row_bits, self._tags, self._homes, self._num_ids, keys.tags,
                                         keys.homes, keys.kinds, out[first:first + keys.tags.size])
            as_texts |= bool(keys.found & ~self._own_tags())
        if as_texts and self._num_ids > before:
            self._texts[before] = plain.cast(pa.string()).take(pa.array(_first_places(out, before)))
        return out

    def user_ids(self) -> UserIds:
        """The ids, in the order of their rows: as integers if all are integers of one type.  Not collective."""
        if not self._texts:
            return UserIds(self._integers(0, self._num_ids))
        bounds, data = np.zeros(self._num_ids + 1, np.int64), []
        for first, texts in self._all_texts():
            ends, letters = _letters(texts)
            bounds[first + 1:first + ends.size] = ends[1:] - np.int64(ends[0]) + bounds[first]
            data.append(letters[ends[0]:ends[-1]])
        return UserIds(np.concatenate(data), bounds)

    @property
    def _row_bits(self) -> int:
        return self._slots.size.bit_length()

    def _keys(self, plain: pa.Array, new: bool = False) -> Iterator[tuple[int, _Keys]]:
        """Keys of ids, piece by piece, and where the piece begins; each overwrites the one before."""
        size = min(_STEP, len(plain))
        whole = np.empty(size, np.uint64), np.empty(size, np.uint32), np.empty(size, np.uint8)
        for first in range(0, len(plain), _STEP):
            piece = plain.slice(first, _STEP)
            tags, homes, kinds = (array[:len(piece)] for array in whole)
            missing = pc.is_null(piece).to_numpy(zero_copy_only=False) if piece.null_count else np.empty(0, bool)
            if pt.is_string(piece.type):
                bounds, letters = _letters(piece)
                found = kernels.text_keys(letters, bounds, read_only(missing), tags, homes, kinds)
            else:
                bits = np.frombuffer(piece.buffers()[1], np.uint64, len(piece), piece.offset * 8)
                found = kernels.integer_keys(bits, piece.type == pa.uint64(), read_only(missing), tags, homes, kinds)
            signs = [kind for bit, kind in _SIGNS.items() if found & bit]
            if new and self._sign is None and signs:
                self._sign = signs[0]
            for kind in signs:
                if kind != self._sign:
                    kernels.set_apart(kind, tags, homes, kinds)
            yield first, _Keys(tags, homes, kinds, found)

    def _own_tags(self) -> int:
        """The kinds that are their own tags, or need none, a bit for each."""
        return 1 << kernels.MISSING | 1 << kernels.SMALL | (0 if self._sign is None else 1 << self._sign)

    def _make_room(self, count: int) -> None:
        """Make room for as many ids more."""
        most = self._num_ids + count
        if most > MOST_IDS:
            raise DataError(f"more than {MOST_IDS} nodes of a type do not fit one process")
        if most > self._tags.size:
            size = max(most, int(self._tags.size * _ROOM))
            self._tags = _longer(self._tags, size)
            self._homes = _longer(self._homes, size)        # by now the shorter tags are gone
        if most > self._slots.size * _FULL:
            size = min(max(int(most / _FULL) + 1, int(self._slots.size * _ROOM)), _MOST_SLOTS)
            del self._slots
            self._slots = np.full(size, kernels.EMPTY)
            kernels.place(self._slots, self._row_bits, self._homes[:self._num_ids])

    def _integers(self, first: int, last: int) -> np.ndarray:
        return self._tags[first:last].view(np.uint64 if self._sign == kernels.HUGE else np.int64)

    def _all_texts(self) -> Iterator[tuple[int, pa.Array]]:
        """The ids as texts, piece by piece, and the row that each piece begins with."""
        row = 0
        for first, texts in [*self._texts.items(), (self._num_ids, pa.array([], pa.string()))]:
            for begin in range(row, first, _STEP):
                yield begin, pa.array(self._integers(begin, min(begin + _STEP, first))).cast(pa.string())
            if len(texts):
                yield first, texts
            row = first + len(texts)


def _first_places(rows: np.ndarray, first_new: int) -> np.ndarray:
    """Where each row from ``first_new`` on stands for the first time; they stand in ascending order."""
    places = np.flatnonzero(rows >= first_new)
    highest = np.maximum.accumulate(rows[places])
    new = np.ones(places.size, bool)
    new[1:] = highest[1:] > highest[:-1]
    return places[new]


def _longer(array: np.ndarray, size: int) -> np.ndarray:
    longer = np.empty(size, array.dtype)
    longer[:array.size] = array
    return longer


def _letters(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of texts, and the bytes that they are bounds in."""
    _, bounds, letters = texts.buffers()
    data = np.empty(0, np.uint8) if letters is None else np.frombuffer(letters, np.uint8)
    return np.frombuffer(bounds, np.int32, len(texts) + 1, texts.offset * 4), read_only(data)


def _plain(ids: pa.Array) -> pa.Array:
    """Ids as int64, uint64 or texts.

    Raises:
        DataError: They are of a type that is none of an id.
    """
    kind = ids.type
    if pt.is_dictionary(kind):
        return _plain(ids.dictionary_decode())
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
