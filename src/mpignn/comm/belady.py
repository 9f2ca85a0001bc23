"""Which copies of rows to hold next, where it is known when each will be read: those that are read soonest.

For copies that are fetched when they are read that is the best there is (Belady 1966).  Time goes by *turns*: a turn is
the batches that are prepared together, of all trainers of a node.

Shapes: C copies at most, H held, U rows that are read in a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.kernels.common import mark_common
from mpignn.unique import unique

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Held:
    """Copies, and where they are.

    Attributes:
        ids: (H,) int64 rows, ascending.
        slots: (H,) int64 place of each, below C, all different.
    """

    ids: np.ndarray
    slots: np.ndarray

    def only(self, which: np.ndarray) -> "Held":
        """Those of a mask.  Not collective."""
        return Held(self.ids[which], self.slots[which])


@dataclass(frozen=True)
class Turn:
    """What happens to copies in a turn.

    Attributes:
        kept: Those that are there before and after.
        fresh: Those that come.
        fetcher: (F,) int64 which trainer fetches each of these: one that reads it.
    """

    kept: Held
    fresh: Held
    fetcher: np.ndarray

    def held(self) -> Held:
        """All there are afterwards.  Not collective."""
        ids = np.concatenate([self.kept.ids, self.fresh.ids])
        order = np.argsort(ids, kind="stable")
        return Held(ids[order], np.concatenate([self.kept.slots, self.fresh.slots])[order])


def plan_turn(held: Held, now: Sequence[np.ndarray], later: Sequence[Sequence[np.ndarray]], most: int) -> Turn:
    """Choose the copies of a turn.  Not collective: the same for the same arguments.

    Copies that there are can be read in this turn, whether they stay or not.  A row that is not there comes if several
    trainers read it now, who fetch it once, if it is read again sooner than a copy that goes for it, or if there is
    room.

    Args:
        held: The copies so far.
        now: (U,) int64 rows, ascending, that each trainer reads in this turn.
        later: The same of the turns to come, as far as known, the next one first; int32 will do.
        most: C.
    """
    read, readers = _readers(now)
    is_held = np.zeros(read.size, np.int64)
    mark_common(read, held.ids, 1, is_held)
    new, readers = read[is_held == 0], readers[:, is_held == 0]
    last = len(later) + 1       # not read again, as far as known
    due_held, due_new = np.full(held.ids.size, last), np.full(new.size, last)
    for turn in range(last - 1, 0, -1):
        for rows in later[turn - 1]:
            mark_common(held.ids, rows, turn, due_held)
            mark_common(new, rows, turn, due_new)
    due_new[readers.sum(0) > 1] = 0
    # A copy that is there goes before one to be made that is read as soon.
    keys = np.concatenate([2 * due_held, 2 * due_new + 1])
    chosen = _smallest(keys, min(most, keys.size))
    kept, comes = held.only(chosen[:held.ids.size]), chosen[held.ids.size:]
    free = np.ones(most, bool)
    free[kept.slots] = False
    fresh = Held(new[comes], np.flatnonzero(free)[:int(comes.sum())])
    return Turn(kept, fresh, _share_out(readers[:, comes]))


def _readers(now: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(U,) rows that any trainer reads, ascending, and (T, U) whether each does."""
    if len(now) == 1:
        return now[0], np.ones((1, now[0].size), bool)
    read = unique(np.concatenate(now))
    readers = np.zeros((len(now), read.size), bool)
    for trainer, rows in enumerate(now):
        readers[trainer, np.searchsorted(read, rows)] = True
    return read, readers


def _smallest(keys: np.ndarray, count: int) -> np.ndarray:
    """Mask of the ``count`` smallest, the first ones of those that are equal."""
    ends = np.cumsum(np.bincount(keys))
    limit = int(np.searchsorted(ends, count, side="right"))     # keys below it all are
    chosen: np.ndarray = keys < limit
    more = count - int(ends[limit - 1] if limit else 0)
    chosen[np.flatnonzero(keys == limit)[:more]] = True
    return chosen


def _share_out(readers: np.ndarray) -> np.ndarray:
    """(F,) for each of some rows one of its readers, each reader about equally often."""
    turn = np.cumsum(readers, axis=0)
    wanted = np.arange(readers.shape[1]) % np.maximum(1, readers.sum(0)) + 1
    found: np.ndarray = ((turn == wanted) & readers).argmax(0)
    return found
