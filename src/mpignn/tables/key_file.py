"""Keys of ids in files, ordered so that whoever takes a shard of them reads little else.

A shard has the keys whose homes end in the same bits: equal keys are in the same one.  Each rank keeps the keys that it
has, batch after batch, those of a batch by shard and in a shard as they came.

Shapes: K keys at a time, M keys in a file, B batches, S shards.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpignn.kernels import ids as kernels
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.large.spool import Spool
from mpignn.tables.id_keys import Keys

NUM_SHARDS = 1 << 10
"""S: with 1 GiB for a shard there may be 3 * 10^10 ids."""

RECORD = np.dtype([("tag", np.uint64), ("place", np.int64), ("home", np.uint32)])
"""What is in a file of a key."""

_KEY_BYTES = 128        # of a key of a batch: key, order, record, and more than one file at a time
_MOST_KEYS = 1 << 22        # in a batch: more gain nothing


@dataclass(frozen=True)
class Batch:
    """Keys of a file that lie together.

    Attributes:
        first: Place of the first one that was given, those that are missing counted.
        count: How many were given.
        bounds: (S + 1,) int64: rows of the file at which those of each shard begin.
    """

    first: int
    count: int
    bounds: np.ndarray


@dataclass(frozen=True)
class KeyFile:
    """Keys of one rank.  It can be told to other ranks, which see the files, too.

    Attributes:
        records: (M,) tag, home and place of those that are not missing.
        batches: B of them.
        answers: (M,) int64, for whoever knows a number for each; None: there is no room for these.
    """

    records: FileArray
    batches: tuple[Batch, ...]
    answers: FileArray | None = None

    @property
    def count(self) -> int:
        """How many keys were given, those that are missing counted."""
        return sum(batch.count for batch in self.batches)

    def shard(self, number: int) -> Iterator[tuple[int, Keys, np.ndarray]]:
        """The keys of a shard batch by batch: row of the file, K keys, and their (K,) places.  Not collective."""
        for batch in self.batches:
            first, last = batch.bounds[number:number + 2].tolist()
            if first < last:
                yield first, *read_keys(self.records[first:last])

    def found(self) -> Iterator[np.ndarray]:
        """What was answered for all keys that were given, batch by batch; -1 for those missing.  Not collective."""
        assert self.answers is not None, "made for them"
        for batch in self.batches:
            first, last = int(batch.bounds[0]), int(batch.bounds[-1])
            out = np.full(batch.count, -1, np.int64)
            out[self.records[first:last]["place"] - batch.first] = self.answers[first:last]
            yield out


    def remove(self) -> None:
        """Remove the files.  Not collective."""
        for array in (self.records, self.answers):
            if array is not None:
                array.path.unlink()


def read_keys(records: np.ndarray) -> tuple[Keys, np.ndarray]:
    """Keys of records, and their places.  Not collective."""
    tags, homes, places = (np.ascontiguousarray(records[name]) for name in ("tag", "home", "place"))
    return Keys(tags, homes, np.full(tags.size, kernels.TEXT, np.uint8), 0), places


def records_of(keys: Keys, places: np.ndarray) -> np.ndarray:
    """(K,) records, the opposite of `read_keys`.  Not collective."""
    records = np.empty(places.size, RECORD)
    records["tag"], records["home"], records["place"] = keys.tags, keys.homes, places
    return records


def new_records(scratch: Scratch) -> Spool:
    """A file for records.  Not collective."""
    return Spool(scratch, RECORD)


class KeyWriter:
    """Takes keys and makes a `KeyFile` of them.

    Attributes:
        count: How many there are by now, those that are missing counted.
        first_missing: Place of the first one that is missing; None: none is.
    """

    def __init__(self, scratch: Scratch) -> None:
        """Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        self._scratch, self._records = scratch, new_records(scratch)
        size = scratch.rows(_KEY_BYTES, _MOST_KEYS)
        self._tags, self._homes, self._kinds = np.empty(size, np.uint64), np.empty(size, np.uint32), np.empty(
            size, np.uint8)
        self._in_hand = 0
        self._batches: list[Batch] = []
        self.count = 0
        self.first_missing: int | None = None

    def add(self, keys: Keys) -> None:
        """Take K keys.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        missing = np.flatnonzero(keys.kinds == kernels.MISSING)
        if missing.size and self.first_missing is None:
            self.first_missing = self.count + int(missing[0])
        done, size = 0, self._tags.size
        while done < keys.tags.size:
            begin, some = self._in_hand, min(size - self._in_hand, keys.tags.size - done)
            for held, given in ((self._tags, keys.tags), (self._homes, keys.homes), (self._kinds, keys.kinds)):
                held[begin:begin + some] = given[done:done + some]
            done, self._in_hand = done + some, begin + some
            if self._in_hand == size:
                self._write()
        self.count += keys.tags.size

    def close(self, answered: bool = False) -> KeyFile:
        """The file of all keys; no other may come.  Not collective.

        Args:
            answered: Whether it shall have room for answers.

        Raises:
            ResourceError: The disk is full.
        """
        if self._in_hand:
            self._write()
        records = self._records.array
        answers = self._scratch.own(np.int64, records.size) if answered else None
        return KeyFile(records, tuple(self._batches), answers)

    def _write(self) -> None:
        """Write the keys in hand as a batch."""
        tags, homes, kinds = (held[:self._in_hand] for held in (self._tags, self._homes, self._kinds))
        shards = (homes & np.uint32(NUM_SHARDS - 1)).astype(np.uint16)
        shards[kinds == kernels.MISSING] = NUM_SHARDS
        order = np.argsort(shards, kind="stable")
        counts = np.bincount(shards, minlength=NUM_SHARDS + 1)[:NUM_SHARDS]
        bounds = np.full(NUM_SHARDS + 1, self._records.array.size, np.int64)
        bounds[1:] += np.cumsum(counts)
        order = order[:int(counts.sum())]
        first = sum(batch.count for batch in self._batches[-1:]) + (self._batches[-1].first if self._batches else 0)
        self._records.append(records_of(Keys(tags[order], homes[order], kinds[order], 0), first + order))
        self._batches.append(Batch(first, self._in_hand, bounds))
        self._in_hand = 0
