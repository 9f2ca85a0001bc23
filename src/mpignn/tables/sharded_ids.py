"""Ids that memory does not hold, of one rank or of many: found shard by shard, by the rank whose turn it is.

Shapes: K keys at a time, N ids known.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from mpignn.graph.user_ids import UserIds
from mpignn.kernels import ids as kernels
from mpignn.large.scratch import Scratch
from mpignn.tables.id_keys import Keys, keys_of, plain_ids
from mpignn.tables.id_map import IdMap, first_places
from mpignn.tables.kept_ids import KeptIds, joined
from mpignn.tables.key_file import NUM_SHARDS, Batch, KeyFile, KeyWriter, new_records, read_keys, records_of
from mpignn.tables.key_map import KeyMap

_RECORD_BYTES = 64      # of the key of an id in hand
Numbered = Sequence[tuple[KeyFile, int]]        # files of keys, and the number of the key at place 0 of each


class IdsWriter:
    """Takes ids of this rank, block by block: their keys by shard, and, where they are wanted, as users have them.

    Attributes:
        sign: As in `mpignn.tables.id_keys.Keys.set_apart`.
        keys: Takes the keys.
    """

    def __init__(self, scratch: Scratch, sign: int | None, keep: bool = True) -> None:
        """Not collective.

        Args:
            sign: That of ids that are known; None: there are none with a sign.
            keep: Whether the ids are wanted as they are.

        Raises:
            ResourceError: The disk is full.
        """
        self.sign, self.keys = kernels.NEGATIVE if sign is None else sign, KeyWriter(scratch)
        self._kept = KeptIds(scratch) if keep else None

    def add(self, array: pa.Array) -> None:
        """Take K ids of whatever type.  Not collective.

        Raises:
            DataError: What is of this type is no id.
            ResourceError: The disk is full.
        """
        for piece, keys in keys_of(plain_ids(array)):
            if self._kept is not None:
                self._kept.add(piece, keys)
            keys.set_apart(self.sign)
            self.keys.add(keys)

    def add_map(self, found: IdMap) -> None:
        """Take all ids of a map.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        for keys in found.all_keys():
            self.keys.add(keys)
        if self._kept is not None:
            for _, piece in found.pieces():
                self._kept.add_plain(piece)
            self._kept.found |= 0 if found.sign is None else 1 << found.sign


    def kept_ids(self) -> KeptIds:
        """The ids as they are.  Not collective."""
        assert self._kept is not None, "they were not wanted"
        return self._kept


class ShardedIds:
    """Ids in files.  All ranks have one of them, and the same ids.

    Attributes:
        sign: As in `mpignn.tables.id_keys.Keys.set_apart`.
    """

    def __init__(self, scratch: Scratch, sign: int | None) -> None:
        """Not collective."""
        self.sign = kernels.NEGATIVE if sign is None else sign
        self._scratch, self._group = scratch, scratch.group
        self._known: list[tuple[KeyFile, int]] = []
        self._kept: list[KeptIds] = []
        self._num_ids = 0

    def __len__(self) -> int:
        return self._num_ids

    def user_ids(self) -> UserIds:
        """The ids in the order of their numbers.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        return joined(self._kept, self._scratch)

    def add_rows(self, written: IdsWriter) -> tuple[int, int] | None:
        """Let each id be the number of its row: those of rank 0 come first, then those of rank 1, ...  Once; collective
        over the group.

        Returns:
            The first row whose id is missing or was there before, and that where it was, or -1; None: there is none.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        with self._scratch.alone():
            file = written.keys.close()
        told = self._group.allgather((file, written.keys.first_missing))
        begin = 0
        wrong = []
        for of_rank, missing in told:
            self._known.append((of_rank, begin))
            wrong += [] if missing is None else [(begin + missing, -1)]
            begin += of_rank.count
        with self._scratch.alone():
            for number in self._own_shards("make sure that ids differ", [of_rank for of_rank, _ in told]):
                wrong += _first_twice(self._known, number)
        self._kept.append(written.kept_ids())
        self._num_ids = begin
        return min((row for rows in self._group.allgather(wrong) for row in rows), default=None)

    def add_map(self, found: IdMap) -> None:
        """Let the ids of a map be the first ones.  Once, of one process.

        Raises:
            ResourceError: The disk is full.
        """
        written = IdsWriter(self._scratch, self.sign)
        written.add_map(found)
        self._known, self._num_ids = [(written.keys.close(), 0)], len(found)
        self._kept.append(written.kept_ids())

    def add_new(self, asked: IdsWriter, file: KeyFile) -> None:
        """Number ids that are not known in the order in which they were asked for, rank by rank.  Collective over the
        group.

        Args:
            asked: The ids of this rank, which are kept.
            file: Their keys.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        files = self._group.allgather(file)
        begins = np.cumsum([0, *(of_rank.count for of_rank in files)])
        asked_keys = list(zip(files, begins.tolist(), strict=False))
        new, bounds = new_records(self._scratch), np.zeros(NUM_SHARDS + 1, np.int64)
        with self._scratch.alone():
            for number in self._own_shards("find new ids", files):
                records = _new_of_shard(self._known, asked_keys, number)
                new.append(records)
                bounds[number + 1] = records.size
        np.cumsum(bounds, out=bounds)
        of_ranks = self._group.allgather(KeyFile(new.array, (Batch(0, new.array.size, bounds),)))
        self._group.barrier()
        places = self._places(of_ranks)
        self._group.barrier()       # all have read what is written anew now
        with self._scratch.alone():
            step = self._scratch.rows(_RECORD_BYTES)
            for first in range(0, new.array.size, step):
                keys, found = read_keys(new.array[first:first + step])
                new.array.write(first, records_of(keys, self._num_ids + np.searchsorted(places, found)))
            self._kept.append(self._taken(asked, places - begins[self._group.rank]))
        self._group.barrier()
        self._known += [(of_rank, 0) for of_rank in of_ranks]
        self._num_ids += places.size

    def numbers(self, file: KeyFile) -> Iterator[np.ndarray]:
        """Numbers of ids whose keys a file has, batch by batch.  The call is collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        files = self._group.allgather(file)
        with self._scratch.alone():
            for number in self._own_shards("find ids", files):
                _answer(self._known, files, number)
        self._group.barrier()
        return file.found()

    def held(self) -> Callable[[pa.Array], np.ndarray] | None:
        """What finds (K,) numbers of ids in memory, if it holds them all on each rank.  Collective over the group."""
        wanted = KeyMap.bytes_of(self._num_ids)
        held = self._scratch.hold(wanted)
        if not all(self._group.allgather(held)):
            self._scratch.hold(-wanted if held else 0)
            return None
        tags, homes = np.empty(self._num_ids, np.uint64), np.empty(self._num_ids, np.uint32)
        for file, begin in self._known:
            for batch in file.batches:
                keys, places = read_keys(file.records[int(batch.bounds[0]):int(batch.bounds[-1])])
                tags[begin + places], homes[begin + places] = keys.tags, keys.homes
        return IdMap.of(KeyMap.of(tags, homes), self.sign).find

    def _places(self, files: Sequence[KeyFile]) -> np.ndarray:
        """The places of all keys of files, sorted."""
        places, first = np.empty(sum(file.records.size for file in files), np.int64), 0
        step = self._scratch.rows(_RECORD_BYTES)
        for file in files:
            for begin in range(0, file.records.size, step):
                some = file.records[begin:begin + step]["place"]
                places[first:first + some.size] = some
                first += some.size
        places.sort()
        return places

    def _own_shards(self, stage: str, files: Sequence[KeyFile]) -> Iterator[int]:
        """The shards of this rank of which files have keys, in order; tells how far it is."""
        there = np.zeros(NUM_SHARDS, bool)
        for file in files:
            for batch in file.batches:
                there |= batch.bounds[1:] > batch.bounds[:-1]
        shards = np.flatnonzero(there[self._group.rank::self._group.size]) * self._group.size + self._group.rank
        with self._scratch.stage(stage, len(shards)) as advance:
            for shard in shards.tolist():
                yield shard
                advance(1)

    def _taken(self, asked: IdsWriter, places: np.ndarray) -> KeptIds:
        """The ids at some places, sorted ones, of those that were asked for."""
        kept, all_asked, first = KeptIds(self._scratch), asked.kept_ids(), 0
        for piece in all_asked.pieces():
            begin, end = np.searchsorted(places, (first, first + len(piece)))
            for some, keys in keys_of(piece.take(pa.array(places[begin:end] - first))):
                kept.add(some, keys)
            first += len(piece)
        all_asked.remove()
        return kept


def _of_shard(known: Numbered, shard: int) -> Iterator[tuple[Keys, np.ndarray]]:
    """The keys of a shard in the order of their numbers, batch by batch, and these."""
    for file, begin in known:
        for _, keys, places in file.shard(shard):
            yield keys, begin + places


def _known_of_shard(known: Numbered, shard: int) -> tuple[KeyMap, np.ndarray]:
    """The map of the keys of a shard, which differ, and the numbers of its rows."""
    found = list(_of_shard(known, shard))
    tags = np.concatenate([np.empty(0, np.uint64), *(keys.tags for keys, _ in found)])
    homes = np.concatenate([np.empty(0, np.uint32), *(keys.homes for keys, _ in found)])
    return KeyMap.of(tags, homes), np.concatenate([np.empty(0, np.int64), *(numbers for _, numbers in found)])


def _first_twice(rows: Numbered, shard: int) -> list[tuple[int, int]]:
    """The first row of a shard whose key was there before, and that where it was, if there is one."""
    found, firsts = KeyMap(), [np.empty(0, np.int64)]
    for keys, some in _of_shard(rows, shard):
        before, out = len(found), np.empty(some.size, np.int64)
        found.grow(keys, out)
        new = first_places(out, before)
        firsts.append(some[new])
        if new.size < some.size:
            again = int(np.setdiff1d(np.arange(some.size), new)[0])
            return [(int(some[again]), int(np.concatenate(firsts)[out[again]]))]
    return []


def _new_of_shard(known: Numbered, asked: Numbered, shard: int) -> np.ndarray:
    """Records of the keys of a shard that are asked for and not known, each where it comes first."""
    (found, _), new = _known_of_shard(known, shard), []
    for keys, places in _of_shard(asked, shard):
        before, out = len(found), np.empty(places.size, np.int64)
        found.grow(keys, out)
        first = first_places(out, before)
        new.append(records_of(Keys(keys.tags[first], keys.homes[first], keys.kinds[first], 0), places[first]))
    return np.concatenate(new)


def _answer(known: Numbered, files: Sequence[KeyFile], shard: int) -> None:
    """Write the numbers of the keys of a shard, -1 for those that are not known."""
    found, numbers = _known_of_shard(known, shard)
    numbers = np.append(numbers, -1)
    for file in files:
        assert file.answers is not None, "made for them"
        for first, keys, places in file.shard(shard):
            rows = np.empty(places.size, np.int64)
            found.find(keys, rows)
            file.answers.write(first, numbers[rows])
