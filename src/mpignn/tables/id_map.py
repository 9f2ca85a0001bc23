"""Which row the users' id of a node stands in.

Texts and integers are ids of one kind: the text 5 and the integer 5 are the same id, and 05 is another one.  What is
held of an id is 12 bytes and 6 to 8 bytes of the table, whatever its length, and where it is no integer its text once.

Shapes: K ids asked about, N ids known.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

from mpignn.errors import DataError
from mpignn.graph.user_ids import UserIds
from mpignn.kernels import ids as kernels
from mpignn.tables.id_keys import STEP, Keys, keys_of, letters_of, plain_ids
from mpignn.tables.key_map import KeyMap


class IdMap:
    """From ids to the rows 0 to N - 1, in the order in which the ids came.

    Integers are compared themselves.  Texts are compared by 64 bits of a hash, where 32 other ones have led: with 10^8
    ids and as many edges as you like, say 10^10, the chance that any two texts are taken for the same is below 10^-7.

    Attributes:
        sign: The kind of integers with the upper bit set whose keys are not set apart; None: there are no such ids.
    """

    def __init__(self) -> None:
        self._map = KeyMap()
        self.sign: int | None = None
        self._text_bytes = 0
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
        for chunk in chunks:
            made.add(chunk, where or (lambda row: f"row {row}"))
        return made

    @staticmethod
    def of(keys: KeyMap, sign: int | None) -> "IdMap":
        """A map that finds ids by keys that are known, and cannot tell them.  Not collective."""
        made = IdMap()
        made._map, made.sign = keys, sign
        return made

    def __len__(self) -> int:
        return len(self._map)

    def add(self, chunk: pa.Array, where: Callable[[int], str]) -> None:
        """Give each of the ids of K rows more that row.  Not collective.

        Args and errors: As for `build`.
        """
        first = len(self)
        rows = self.grow(chunk)
        wrong = np.flatnonzero(rows != np.arange(first, first + rows.size))
        if wrong.size:
            at = int(wrong[0])
            if rows[at] < 0:
                raise no_id(where(first + at))
            raise id_twice(where(first + at), where(int(rows[at])), chunk[at].as_py())

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
        first = 0
        for _, keys in keys_of(plain_ids(chunk)):
            keys.set_apart(self.sign)
            self._map.find(keys, out[first:first + keys.tags.size])
            first += keys.tags.size
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
        plain, before, as_texts, first = plain_ids(chunk), len(self), False, 0
        out = np.empty(len(chunk), np.int64)
        for _, keys in keys_of(plain):
            if self.sign is None:
                self.sign = next(iter(keys.signs()), None)
            keys.set_apart(self.sign)
            self._map.grow(keys, out[first:first + keys.tags.size])
            first += keys.tags.size
            as_texts |= bool(keys.found & ~self._own_tags())
        if as_texts and len(self) > before:
            texts = plain.cast(pa.string()).take(pa.array(first_places(out, before)))
            self._texts[before] = texts
            self._text_bytes += texts.nbytes
        return out

    def user_ids(self) -> UserIds:
        """The ids, in the order of their rows: as integers if all are integers of one type.  Not collective."""
        if not self._texts:
            return UserIds(self._integers(0, len(self)))
        bounds, data = np.zeros(len(self) + 1, np.int64), []
        for first, piece in self.pieces():
            ends, letters = letters_of(piece.cast(pa.string()))
            bounds[first + 1:first + ends.size] = ends[1:] - np.int64(ends[0]) + bounds[first]
            data.append(letters[ends[0]:ends[-1]])
        return UserIds(np.concatenate(data), bounds)

    @property
    def num_bytes(self) -> int:
        """What it takes."""
        return self._map.num_bytes + self._text_bytes

    def all_keys(self) -> Iterator[Keys]:
        """Those of all ids in the order of their rows, some at a time.  Not collective."""
        for first in range(0, len(self), STEP):
            tags, homes = self._map.tags[first:first + STEP], self._map.homes[first:first + STEP]
            yield Keys(tags, homes, np.full(tags.size, kernels.TEXT, np.uint8), 0)

    def pieces(self) -> Iterator[tuple[int, pa.Array]]:
        """The ids in the order of their rows, some at a time, and the row of the first of these.  Not collective."""
        row = 0
        for first, texts in [*self._texts.items(), (len(self), pa.array([], pa.string()))]:
            for begin in range(row, first, STEP):
                yield begin, pa.array(self._integers(begin, min(begin + STEP, first)))
            if len(texts):
                yield first, texts
            row = first + len(texts)

    def _own_tags(self) -> int:
        """The kinds that are their own tags, or need none, a bit for each."""
        return 1 << kernels.MISSING | 1 << kernels.SMALL | (0 if self.sign is None else 1 << self.sign)

    def _integers(self, first: int, last: int) -> np.ndarray:
        return self._map.tags[first:last].view(np.uint64 if self.sign == kernels.HUGE else np.int64)


def first_places(rows: np.ndarray, first_new: int) -> np.ndarray:
    """Where each row from ``first_new`` on stands for the first time: in ascending order.  Not collective."""
    places = np.flatnonzero(rows >= first_new)
    highest = np.maximum.accumulate(rows[places])
    new = np.ones(places.size, bool)
    new[1:] = highest[1:] > highest[:-1]
    return places[new]


def no_id(place: str) -> DataError:
    """The error of a row without an id.  Not collective."""
    return DataError(f"{place}: there is no id; each node needs one")


def id_twice(place: str, before: str, name: object) -> DataError:
    """The error of a row whose id was there before.  Not collective."""
    return DataError(f"{place}: the id {name!r} stands in {before}, too; each node needs an id of its own")
