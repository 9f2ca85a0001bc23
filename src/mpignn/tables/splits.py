"""Which rows of a table are for training, validation and test.

Shapes: N rows of a table.
"""

import datetime
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.graph.likeness import SPLITS
from mpignn.tables.description import (
    ByColumn,
    ByFile,
    ByMask,
    ByShare,
    ByTime,
    ForTest,
    Moment,
    Split,
    split_columns,
    split_of,
)
from mpignn.tables.kinds import is_number, is_text
from mpignn.tables.labels import Labels
from mpignn.tables.room import Room
from mpignn.tables.values import Where, absent, plain

log = logging.getLogger(__name__)

NO_SPLIT = -1
"""The number of no split; those of others are places in `SPLITS`."""

_DAY = 24 * 60 * 60
_ROW_BYTES = 8      # of a row while its split is in memory
_GOLDEN = (5**0.5 - 1) / 2
_STEP = 1 << 20     # rows in hand
_IN_BIN = 12        # about 2 to this fractions are in a bin


class SplitReader:
    """Takes the column that tells the splits block by block, if one does, and knows them once it has all."""

    def __init__(self, split: Split | None, seed: int, room: Room) -> None:
        self._split = split
        self._seed = seed
        self._numbers = room.growing(_ROW_BYTES)
        self._numbers.add(np.empty(0, np.int8))

    @property
    def columns(self) -> tuple[str, ...]:
        return split_columns(self._split)

    def add(self, arrays: Mapping[str, pa.Array], where: Where) -> None:
        """Take a block, of which the columns are needed.  Not collective.

        Raises:
            DataError: A value is no name of a split, no moment where splits are by time, or no truth value where they
                are by masks.
            ResourceError: The disk is full.
        """
        match self._split:
            case ByColumn(column):
                self._numbers.add(_named(arrays[column], column, where))
            case ByTime(column, _):
                self._numbers.add(_in_time(arrays[column], self._split, where))
            case ByMask(columns):
                self._numbers.add(_marked({name: arrays[column] for name, column in columns}, where))

    def of_rows(self, begins: Sequence[int], first_row: int) -> Callable[[int, int], np.ndarray]:
        """What tells the int8 number of the split of each of some rows, but for a split by shares.  Not collective.

        Args:
            begins: The first row of each entry of the files, where these are splits.
            first_row: The row of the table from which on the rows are counted.
        """
        if isinstance(self._split, ForTest):
            return lambda first, last: np.full(last - first, SPLITS.index("test"), np.int8)
        if isinstance(self._split, ByFile):
            of_files = np.array([SPLITS.index(name) for name in self._split.splits], np.int8)
            return lambda first, last: of_files[
                np.searchsorted(begins, np.arange(first_row + first, first_row + last), side="right") - 1]
        numbers = self._numbers.whole()
        return lambda first, last: numbers[first:last]

    def splits(self, kept: np.ndarray, labels: Labels | None, kinds: np.ndarray | None, what: str,
               begins: Sequence[int] = ()) -> np.ndarray | None:
        """(K,) int8 split of each of the rows that are kept, `NO_SPLIT` for none; None: no row is in one.

        Not collective.

        Args:
            kept: (N,) booleans: the rows that count.
            labels: Those of the rows that are kept; rows without one are in no split; None: there are no labels.
            kinds: For each row that is kept which of some groups it is of, each of which is drawn from on its own by
                shares; None: all rows are one.
            what: The table, for messages.
            begins: As for `of_rows`.
        """
        if self._split is None:
            return None
        count = int(np.count_nonzero(kept))
        known = np.ones(count, bool) if labels is None else labels.known
        classes = None if labels is None else labels.classes
        if isinstance(self._split, ByShare) and kinds is None and known.all():
            number = by_share(self._split.shares, count, classes, self._seed)
        elif isinstance(self._split, ByShare):
            number = np.full(count, NO_SPLIT, np.int8)
            for rows in _of_kinds(known, kinds):
                number[rows] = by_share(self._split.shares, rows.size, None if classes is None else classes[rows],
                                        self._seed)
        else:
            number = self.of_rows(begins, 0)(0, kept.size)[kept]
            without = np.count_nonzero((number != NO_SPLIT) & ~known)
            if without and not isinstance(self._split, ForTest):
                log.warning("%s: %d rows of %s have no label, and are in no split", what, without, "/".join(SPLITS))
            number[~known] = NO_SPLIT
        return number if (number != NO_SPLIT).any() else None


def _of_kinds(known: np.ndarray, kinds: np.ndarray | None) -> Iterator[np.ndarray]:
    """The ascending places of the rows that are known, or of those of each kind."""
    rows = np.flatnonzero(known)
    if kinds is None:
        yield rows
        return
    of_rows = kinds[rows]
    order = np.argsort(of_rows, kind="stable")
    yield from (rows[some] for some in np.split(order, np.flatnonzero(np.diff(of_rows[order])) + 1))


def by_share(shares: tuple[float, float, float], count: int, classes: np.ndarray | None, seed: int) -> np.ndarray:
    """(count,) int8: the split of each of so many rows, -1 for none.  Not collective.

    Each split has its share of the rows, to the nearest whole number, and nearly so of each class: behind each other,
    class after class, rows get the fractions of the multiples of the golden ratio, which lie evenly in every stretch;
    the lowest are for training.

    Args:
        shares: Those of train, val and test.
        classes: (count,) class of each row; None: there is one class.
        seed: Seed of the order of the rows within a class.
    """
    order = np.arange(count, dtype=np.int32 if count < 1 << 31 else np.int64)
    np.random.default_rng(seed).shuffle(order)
    bounds = _lowest(np.rint(np.cumsum(shares) * count + 1e-9).astype(np.int64), count)
    found = np.empty(count, np.int8)
    begins = None if classes is None else _begins(classes)
    for first in range(0, count, _STEP):
        rows = order[first:first + _STEP]
        places = np.arange(first, first + rows.size) if begins is None else _places(np.asarray(classes)[rows], begins)
        fraction = _fractions(places)
        split = np.zeros(rows.size, np.int8)
        for bound, place in bounds:
            split += (fraction > bound) | (fraction == bound) & (places >= place)
        split[split == len(SPLITS)] = NO_SPLIT
        found[rows] = split
    return found


def _fractions(places: np.ndarray) -> np.ndarray:
    """The fractions of the multiples of the golden ratio that rows at some places get."""
    found: np.ndarray = (places + 1) * _GOLDEN % 1
    return found


def _lowest(wanted: np.ndarray, count: int) -> list[tuple[float, int]]:
    """For each number of rows the lowest fraction, and place of those with that one, that is not among so many lowest.

    A histogram says in which stretch it lies, and the fractions in the stretch are sorted.
    """
    num_bins = 1 << max(0, count.bit_length() - _IN_BIN)
    sizes = np.zeros(num_bins, np.int64)

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for first in range(0, count, _STEP):
            places = np.arange(first, min(count, first + _STEP))
            fraction = _fractions(places)
            yield places, fraction, (fraction * num_bins).astype(np.int64)

    for _, _, bins in pieces():
        sizes += np.bincount(bins, minlength=num_bins)
    ends = np.cumsum(sizes)
    wanted_bins = np.searchsorted(ends, wanted, side="right")       # beyond the last, where all are wanted
    inside = [(places[some], fraction[some]) for places, fraction, bins in pieces()
              for some in [np.isin(bins, wanted_bins)]]
    places, fraction = (np.concatenate([np.empty(0), *of]) for of in zip(*inside, strict=True)) if inside else (
        np.empty(0), np.empty(0))
    order = np.argsort(fraction, kind="stable")
    places, fraction = np.append(places[order], count), np.append(fraction[order], 1.0)
    at = np.searchsorted(fraction, wanted_bins / num_bins) + wanted - np.concatenate([[0], ends])[wanted_bins]
    return [(float(fraction[n]), int(places[n])) for n in np.minimum(at, places.size - 1)]


def _begins(classes: np.ndarray) -> np.ndarray:
    """(C,) int64 the place of the first row of each class, where rows lie class after class."""
    counts = np.zeros(1, np.int64)
    for first in range(0, len(classes), _STEP):
        some = np.bincount(classes[first:first + _STEP], minlength=counts.size)
        some[:counts.size] += counts
        counts = some
    return np.cumsum(counts) - counts


def _places(classes: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """(n,) int64 places of the next rows, whose classes these are; moves ``begins`` behind them."""
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    places = np.empty(classes.size, np.int64)
    places[order] = np.arange(classes.size) - np.searchsorted(ordered, ordered) + begins[ordered]
    begins += np.bincount(classes, minlength=begins.size)
    return places


def _named(array: pa.Array, column: str, where: Where) -> np.ndarray:
    if pt.is_null(array.type):
        return np.full(len(array), NO_SPLIT, np.int8)
    if not is_text(array.type):
        raise DataError(f"{where(0)}: {column} is {array[0].as_py()!r}, expected {', '.join(SPLITS)} or nothing; for "
                        "a split by time write split = {by = \"" + column + "\", at = [2017, 2018]}")
    missing, coded = absent(array), array.dictionary_encode()
    numbers = []
    for text in coded.dictionary.to_pylist():
        split = split_of(text)
        numbers.append(NO_SPLIT if split is None else SPLITS.index(split))
    found: np.ndarray = np.array([*numbers, NO_SPLIT], np.int8)[np.asarray(coded.indices.fill_null(len(numbers)))]
    bad = np.flatnonzero((found == NO_SPLIT) & ~missing)
    if bad.size:
        raise DataError(f"{where(int(bad[0]))}: {column} is {array[bad[0]].as_py()!r}, expected {', '.join(SPLITS)} or "
                        "nothing")
    return found


def _marked(masks: Mapping[str, pa.Array], where: Where) -> np.ndarray:
    found = np.full(len(next(iter(masks.values()))), NO_SPLIT, np.int8)
    for name, array in masks.items():
        if not (is_number(array.type) or pt.is_null(array.type)):
            raise DataError(f"{where(0)}: whether a row is in {name} is {array[0].as_py()!r}, expected true or false, "
                            "or 1 or 0")
        values, missing = plain(array)
        marked = np.where(missing, 0, values)
        bad = np.flatnonzero(((marked != 0) & (marked != 1)) | ((marked == 1) & (found != NO_SPLIT)))
        if bad.size and marked[bad[0]] == 1:
            raise DataError(f"{where(int(bad[0]))}: a row of {SPLITS[found[bad[0]]]} and of {name}; it must be in one "
                            "split, or in none")
        if bad.size:
            raise DataError(f"{where(int(bad[0]))}: whether a row is in {name} is {values[bad[0]]}, expected 1 or 0")
        found[marked == 1] = SPLITS.index(name)
    return found


def _in_time(array: pa.Array, split: ByTime, where: Where) -> np.ndarray:
    kind = array.type
    times = bool(pt.is_date(kind) or pt.is_timestamp(kind))
    wanted = [isinstance(moment, datetime.date) for moment in split.at]
    if not (is_number(kind) or pt.is_null(kind)) or (times != wanted[0] and not pt.is_null(kind)):
        shown = array[0].as_py() if len(array) else None
        raise DataError(f"{where(0)}: {split.column} is {str(shown)!r}, which cannot be compared with the moments of "
                        f"the split, {split.at[0]} and {split.at[1]}: give both as numbers, or both as dates or times")
    values, missing = plain(array)
    last = [_seconds(moment) for moment in split.at]
    found = np.where(values <= last[0], 0, np.where(values <= last[1], 1, 2)).astype(np.int8)
    found[missing] = NO_SPLIT
    return found


def _seconds(moment: Moment) -> float:
    """A number as it is; the last second of a moment or a day since 1970, of times without a zone in UTC."""
    if isinstance(moment, datetime.datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return int(aware.timestamp())
    if isinstance(moment, datetime.date):
        return (moment.toordinal() - datetime.date(1970, 1, 1).toordinal() + 1) * _DAY - 1
    return moment
