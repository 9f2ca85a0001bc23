"""Which row the key of an id stands in, of ids that memory holds.

Shapes: K keys asked about, N keys known.
"""

import numpy as np

from mpignn.errors import DataError
from mpignn.kernels import ids as kernels
from mpignn.tables.id_keys import Keys

MOST_IDS = 2**31 - 1
"""How many a map holds."""

_LEAST_SLOTS, _MOST_SLOTS = 1024, 2**32 - 1
_FULL, _ROOM = 0.7, 1.5     # how much of the table may be in use; how much larger it becomes


class KeyMap:
    """From keys to the rows 0 to N - 1, in the order in which the keys came."""

    def __init__(self) -> None:
        self._num_keys = 0
        self._slots = np.full(_LEAST_SLOTS, kernels.EMPTY)
        self._tags = np.empty(_LEAST_SLOTS, np.uint64)
        self._homes = np.empty(_LEAST_SLOTS, np.uint32)

    @staticmethod
    def of(tags: np.ndarray, homes: np.ndarray) -> "KeyMap":
        """The map of (N,) keys that differ, in the order of their rows; it keeps them.  Not collective."""
        made = KeyMap()
        made._num_keys, made._tags, made._homes = tags.size, tags, homes
        made._place(max(_LEAST_SLOTS, int(tags.size / _FULL) + 1))
        return made

    @staticmethod
    def bytes_of(num_keys: int) -> int:
        """What a map of so many keys takes that knows their number beforehand.  Not collective."""
        return int(num_keys * (12 + 4 / _FULL))

    def __len__(self) -> int:
        return self._num_keys

    @property
    def num_bytes(self) -> int:
        """What it takes."""
        return self._slots.nbytes + self._tags.nbytes + self._homes.nbytes

    @property
    def tags(self) -> np.ndarray:
        """(N,) uint64, by row."""
        return self._tags[:self._num_keys]

    @property
    def homes(self) -> np.ndarray:
        """(N,) uint32, by row."""
        return self._homes[:self._num_keys]

    def find(self, keys: Keys, out: np.ndarray) -> None:
        """Write rows of K keys to (K,) int64; -1 for those that are missing or unknown.  Not collective."""
        kernels.find(self._slots, self._row_bits, self._tags, keys.tags, keys.homes, keys.kinds, out)

    def grow(self, keys: Keys, out: np.ndarray) -> None:
        """As `find`, with new rows for those that are unknown, in the order in which they come.

        Raises:
            DataError: There are more keys than a process can hold.
        """
        self._make_room(keys.tags.size)
        self._num_keys = kernels.grow(self._slots, self._row_bits, self._tags, self._homes, self._num_keys, keys.tags,
                                      keys.homes, keys.kinds, out)

    @property
    def _row_bits(self) -> int:
        return self._slots.size.bit_length()

    def _make_room(self, count: int) -> None:
        """Make room for as many keys more."""
        most = self._num_keys + count
        if most > MOST_IDS:
            raise DataError(f"more than {MOST_IDS} nodes of a type do not fit one process")
        if most > self._tags.size:
            size = max(most, int(self._tags.size * _ROOM))
            self._tags = _longer(self._tags, size)
            self._homes = _longer(self._homes, size)        # by now the shorter tags are gone
        if most > self._slots.size * _FULL:
            self._place(min(max(int(most / _FULL) + 1, int(self._slots.size * _ROOM)), _MOST_SLOTS))

    def _place(self, num_slots: int) -> None:
        """Put all rows into a table of so many slots."""
        del self._slots
        self._slots = np.full(num_slots, kernels.EMPTY)
        kernels.place(self._slots, self._row_bits, self.homes)


def _longer(array: np.ndarray, size: int) -> np.ndarray:
    longer = np.empty(size, array.dtype)
    longer[:array.size] = array
    return longer
