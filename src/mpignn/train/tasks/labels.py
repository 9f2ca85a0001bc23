"""What the labels of a graph say, looked at before anything is learnt of them.

Shapes: N seeds of this trainer at a time, C entries of a label.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.comm.transport import GraphArray
from mpignn.errors import ConfigError, DataError
from mpignn.store.graph import DistGraph, published_graph
from mpignn.tasks import BALANCED

_CHUNK_BYTES = 1 << 24      # read at a time


@dataclass(frozen=True)
class LabelData:
    """Where the labels of a type are.

    Attributes:
        name: Name of the data.
        data: What holds them.
        key: The node type, or the key of the edge type, that has the splits.
        number: How many nodes or edges of that type there are.
    """

    name: str
    data: GraphArray
    key: str
    number: int


def num_classes(g: DistGraph, labels: LabelData) -> int:
    """How many classes a network should tell apart, which learns from a graph: one more than the `largest_class`.

    Raises:
        DataError: On all trainers: a label is negative, or larger than a class can be.

    Collective over the trainers.
    """
    largest = largest_class(g, labels)
    if largest >= labels.number:
        g.trainers.agree(DataError(f"{labels.name} of {labels.key} go up to {largest}, but there are {labels.number} "
                                   "of them: these are ids, not classes"))
    return largest + 1


def largest_class(g: DistGraph, labels: LabelData) -> int:
    """The largest label in any split, -1 if there is none.  Collective over the trainers, who look at a share each.

    Raises:
        DataError: On all trainers: a label is negative.
    """
    largest = -1

    def look(split: str, rows: np.ndarray) -> np.ndarray:
        nonlocal largest
        rows = rows.astype(np.int64)        # whatever integers they are
        largest = max(largest, int(rows.max(initial=-1)))
        return rows < 0

    _look_at_all(g, labels, look, "classes are 0 or more; leave what has no label out of the splits")
    return int(max(g.trainers.allgather(largest)))


def class_weights(g: DistGraph, labels: LabelData, classes: int, asked: Sequence[str]) -> np.ndarray | None:
    """What a seed of each class counts in the loss, 1 on average over the split train.  Collective over the trainers.

    Args:
        labels: One class for each seed.
        classes: C.
        asked: As `mpignn.tasks.check_class_weights` takes them.

    Returns:
        (C,) float64; None where there are no training seeds.

    Raises:
        ConfigError: On all trainers: other than C numbers, or none above 0 of a class that is there.
    """
    balanced, counts = tuple(asked) == (BALANCED,), np.zeros(classes, np.int64)
    if not balanced and len(asked) != classes:
        g.trainers.agree(ConfigError(f"class-weights: {len(asked)} numbers, but {labels.name} of {labels.key} tell "
                                     f"{classes} classes apart: give one for each, in their order"))
    for split, _, rows in _share(g, labels):
        if split == "train":
            counts += np.bincount(rows[:, 0].astype(np.int64), minlength=classes)[:classes]
    counts = g.trainers.all_sum(counts)
    given = (counts > 0) / np.maximum(counts, 1) if balanced else np.array(list(map(float, asked)))
    total = float(counts @ given)
    if counts.any() and not total:
        g.trainers.agree(ConfigError("class-weights: no class that the split train has counts more than 0"))
    return given * (counts.sum() / total) if total else None


def moments(g: DistGraph, labels: LabelData) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the known numbers of each column in the split train.  Collective over the trainers.

    Returns:
        (C,) float64 each; a deviation that is 0, or of nothing, is 1.
    """
    def summed(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total = np.zeros(labels.data.spec.width)
        for split, _, rows in _share(g, labels):
            if split == "train":
                total += np.nansum(of(rows.astype(np.float64)), 0)
        found: np.ndarray = g.trainers.all_sum(total)
        return found

    count = np.maximum(summed(lambda rows: ~np.isnan(rows)), 1)
    mean = summed(lambda rows: rows) / count
    deviation = np.sqrt(summed(lambda rows: (rows - mean)**2) / count)
    return mean, np.where(deviation > 0, deviation, 1.0)


def entries_of_labels(g: DistGraph, labels: LabelData) -> float:
    """Known entries of a training seed, on average.  Collective over the trainers, who look at a share each.

    Args:
        labels: (C,) for each seed whether each applies, 0 or 1; -1 or NaN where that is not known.

    Raises:
        DataError: On all trainers: an entry is something else, or no seed of the split train has a known one.
    """
    return _known_entries(g, labels, lambda rows: ~(rows >= 0),
                          lambda rows: ~(np.isin(rows, (0, 1, -1)) | np.isnan(rows)),
                          "entries are 0 or 1, and -1 or NaN where that is not known")


def entries_of_numbers(g: DistGraph, labels: LabelData) -> float:
    """The same of (C,) numbers for each seed, NaN where one is not known; other numbers must be finite."""
    return _known_entries(g, labels, np.isnan, np.isinf, "numbers to predict are finite, or NaN where unknown")


def _known_entries(g: DistGraph, labels: LabelData, unknown: Callable[[np.ndarray], np.ndarray],
                   bad: Callable[[np.ndarray], np.ndarray], wanted: str) -> float:
    counts = np.zeros(2, np.int64)

    def look(split: str, rows: np.ndarray) -> np.ndarray:
        if split == "train":
            counts[0] += rows.size - np.count_nonzero(unknown(rows))
            counts[1] += len(rows)
        return bad(rows)

    _look_at_all(g, labels, look, wanted)
    known, seeds = g.trainers.all_sum(counts).tolist()
    if seeds and not known:
        g.trainers.agree(DataError(f"{labels.name} of {labels.key}: no entry is known in the split train"))
    return float(known / max(seeds, 1))


def _look_at_all(g: DistGraph, labels: LabelData, look: Callable[[str, np.ndarray], np.ndarray], wanted: str) -> None:
    """Look at the labels of all splits, each trainer at its share.  Collective over the trainers.

    Args:
        look: Told of a split and (N, C) labels of it; returns (N, C) which entries cannot be meant.
        wanted: How to mend that.

    Raises:
        DataError: On all trainers: there are such; the first one of a split is named, and how many seeds have some.
    """
    found: dict[str, tuple[int, int, str]] = {}     # by split: how many, the place of the first, and what it says
    for split, seeds, rows in _share(g, labels):
        bad = look(split, rows)
        places = np.flatnonzero(bad.any(1))
        if places.size:
            here = 0, int(seeds[places[0]]), str(rows[places[0]][bad[places[0]]][0])
            count, place, said = found.get(split, here)
            found[split] = count + places.size, place, said
    _agree(g, labels, g.trainers.allgather(found), wanted)


def _agree(g: DistGraph, labels: LabelData, found: list[Mapping[str, tuple[int, int, str]]], wanted: str) -> None:
    key = labels.key
    for split in g.splits[key]:
        of_split = [of_trainer[split] for of_trainer in found if split in of_trainer]
        if of_split:
            _, place, value = min(of_split, key=lambda one: one[1])
            first = g.splits[key][split][place]
            if key in g.ntypes:
                first = published_graph(g).read(published_graph(g).orig_ids(key), np.array([first]))[0, 0]
            count = sum(number for number, *_ in of_split)
            g.trainers.agree(DataError(f"{labels.name} of {key} {first} is {value}, and so are {count} in all of split "
                                       f"{split}: {wanted}" if count > 1 else
                                       f"{labels.name} of {key} {first}, in split {split}, is {value}: {wanted}"))


def _share(g: DistGraph, labels: LabelData) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Split, (N,) places in it and (N, C) labels of this trainer's seeds, some at a time."""
    spec = labels.data.spec
    step = max(1, _CHUNK_BYTES // (spec.width * spec.dtype.itemsize))
    for split, ids in g.splits[labels.key].items():
        mine = np.arange(g.trainers.rank, ids.size, g.trainers.size)
        for first in range(0, mine.size, step):
            part = mine[first:first + step]
            yield split, part, published_graph(g).read(labels.data, ids[part])
