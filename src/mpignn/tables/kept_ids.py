"""The users' ids of nodes in files, as they come, for when they do not fit memory.

Shapes: K ids at a time, N ids of all ranks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from mpignn.graph.user_ids import UserIds
from mpignn.kernels import ids as kernels
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.large.spool import Spool
from mpignn.tables.id_keys import STEP, Keys, letters_of

_TEXT, _NEGATIVE, _HUGE = (1 << kind for kind in (kernels.TEXT, kernels.NEGATIVE, kernels.HUGE))


class KeptIds:
    """Ids of one rank in order.  Integers are kept as such, however they are written.

    Attributes:
        found: Kinds that there may be, a bit for each; missing ones may be among them, which are nothing then.
    """

    def __init__(self, scratch: Scratch) -> None:
        """Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        self._numbers = Spool(scratch, np.uint64)
        self._sizes, self._letters = Spool(scratch, np.int32), Spool(scratch, np.uint8)
        self._runs: list[tuple[str, int]] = []      # numbers of a type, or texts, and how many follow each other
        self.found = 0

    def __len__(self) -> int:
        return int(self._numbers.array.size + self._sizes.array.size)

    def add(self, piece: pa.Array, keys: Keys) -> None:
        """Put K ids behind the others.  Not collective.

        Args:
            piece: The ids, as `mpignn.tables.id_keys.plain_ids` returns them.
            keys: Their keys, of which none is set apart.

        Raises:
            ResourceError: The disk is full.
        """
        signs = keys.signs()
        if keys.found & _TEXT or len(signs) > 1:
            self.add_plain(piece.cast(pa.string()))
        else:
            self.add_plain(pa.array(keys.tags.view(np.uint64 if keys.found & _HUGE else np.int64)))
        self.found |= keys.found

    def add_plain(self, piece: pa.Array) -> None:
        """As `add`, of integers as they are, and of texts that are no integers or follow such ones."""
        if pt.is_string(piece.type):
            bounds, letters = letters_of(piece)
            self._sizes.append(np.diff(bounds))
            self._letters.append(letters[bounds[0]:bounds[-1]])
            self.found |= _TEXT
        else:
            self._numbers.append(np.frombuffer(piece.buffers()[1], np.uint64, len(piece), piece.offset * 8))
            self.found |= _HUGE if piece.type == pa.uint64() else 0
        kind = str(piece.type)
        if self._runs and self._runs[-1][0] == kind:
            self._runs[-1] = kind, self._runs[-1][1] + len(piece)
        else:
            self._runs.append((kind, len(piece)))

    def pieces(self) -> Iterator[pa.Array]:
        """All, K at a time, as int64, uint64 or texts.  Not collective."""
        number = text = letter = 0
        for kind, count in self._runs:
            for first in range(0, count, STEP):
                size = min(STEP, count - first)
                if kind == "string":
                    bounds = np.zeros(size + 1, np.int64)
                    np.cumsum(self._sizes.array[text:text + size], out=bounds[1:])
                    letters = self._letters.array[letter:letter + int(bounds[-1])]
                    yield pa.LargeStringArray.from_buffers(size, pa.py_buffer(bounds), pa.py_buffer(letters)
                                                           ).cast(pa.string())
                    text, letter = text + size, letter + letters.size
                else:
                    yield pa.array(self._numbers.array[number:number + size].view(kind))
                    number += size

    def remove(self) -> None:
        """Remove the files.  Not collective."""
        for spool in (self._numbers, self._sizes, self._letters):
            spool.remove()


def joined(kept: Sequence[KeptIds], scratch: Scratch) -> UserIds:
    """The ids of all ranks: those that each has kept first, then those that each has kept second, and so on.

    They are integers if all are of one type, as in `mpignn.tables.id_map.IdMap.user_ids`.

    Collective over the group of ``scratch``.

    Raises:
        ResourceError: On all ranks: the disk is full.
    """
    group = scratch.group
    of_ranks = group.allgather([(len(some), some.found) for some in kept])
    found = int(np.bitwise_or.reduce([bits for of_rank in of_ranks for _, bits in of_rank], initial=0))
    counts = np.array([[count for count, _ in of_rank] for of_rank in of_ranks]).T      # (kept, ranks)
    if not found & _TEXT and not (found & _NEGATIVE and found & _HUGE):
        numbers = scratch.array(np.uint64 if found & _HUGE else np.int64, int(counts.sum()))
        with scratch.alone():
            for some, first in zip(kept, _begins(counts, group.rank), strict=True):
                for piece in some.pieces():
                    numbers.write(first, piece.to_numpy().view(numbers.dtype))
                    first += len(piece)
        group.barrier()
        return UserIds(numbers.rows)
    with scratch.alone():
        own = [sum(int(bounds[-1]) - int(bounds[0]) for bounds, _ in _texts(some)) for some in kept]
    sizes = np.array(group.allgather(own)).T
    bounds, letters = scratch.array(np.int64, int(counts.sum()) + 1), scratch.array(np.uint8, int(sizes.sum()))
    with scratch.alone():
        for some, row, place in zip(kept, _begins(counts, group.rank), _begins(sizes, group.rank), strict=True):
            _write_texts(some, bounds, row, letters, place)
    group.barrier()
    return UserIds(letters.rows, bounds.rows)


def _begins(counts: np.ndarray, rank: int) -> list[int]:
    """Where what a rank has begins, of (kept, ranks) counts that lie in this order."""
    begins: list[int] = (np.cumsum(counts).reshape(counts.shape) - counts)[:, rank].tolist()
    return begins


def _texts(kept: KeptIds) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return (letters_of(piece.cast(pa.string())) for piece in kept.pieces())


def _write_texts(kept: KeptIds, bounds: FileArray, row: int, letters: FileArray, place: int) -> None:
    """Write ids as texts: the first one is that of a row, and its letters begin at a place."""
    for ends, of_piece in _texts(kept):
        some = of_piece[ends[0]:ends[-1]]
        bounds.write(row + 1, ends[1:] - np.int64(ends[0]) + place)
        letters.write(place, some)
        row, place = row + ends.size - 1, place + some.size
