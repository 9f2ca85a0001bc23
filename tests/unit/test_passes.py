"""What each trainer tells of a pass reaches all, whole, and each class is counted once."""

import random

import numpy as np
import pytest
import torch

from mpignn.comm.group import LocalGroup
from mpignn.comm.stats import KINDS, TARGETS, Stats
from mpignn.train import passes
from mpignn.train.class_counts import MOST_CLASSES, ClassCounts
from mpignn.train.tasks.goal import Goal
from threads_group import on_threads


def shares(rng, size):
    """What each of some trainers did: values and moved rows."""
    values = [{**{name: rng.randrange(10 ** 7) / 10 ** 6 for name in passes.TIMES},
               **{name: rng.randrange(10 ** 12) for name in passes.COUNTS}} for _ in range(size)]
    moved = []
    for _ in range(size):
        stats = Stats()
        for _ in range(rng.randrange(8)):
            kind, hop, target = rng.choice(KINDS), rng.choice((None, 0, 1, 20)), rng.choice(TARGETS)
            stats.count(kind, hop, target, rng.randrange(1, 100), rng.randrange(1, 50))
            stats.count_calls(kind, hop, target, rng.randrange(3), rng.randrange(4))
        moved.append(stats)
    return values, moved


@pytest.mark.parametrize("seed", range(8))
def test_all_know_what_each_told(seed):
    rng = random.Random(seed)
    size = rng.randrange(1, 5)
    values, moved = shares(rng, size)
    flags = [rng.random() < 0.5 for _ in range(size)]
    first, *others = on_threads(size, lambda group: passes.tell(
        group, values[group.rank], moved[group.rank], flags[group.rank]))
    assert all(other == first for other in others)
    assert first.flags == sum(flags)
    assert first.trainers == {name: [of[name] for of in values] for name in (*passes.TIMES, *passes.COUNTS)}
    for unit in ("calls", "rows", "bytes"):
        assert sum(entry[unit] for entry in first.moved) == sum(getattr(stats, unit)() for stats in moved)
    for entry in first.moved:
        hop = 20 if entry["hop"] == passes.MOST_HOPS - 1 else entry["hop"]
        for unit in ("calls", "rows", "bytes"):
            assert entry[unit] == sum(getattr(stats, unit)(entry["kind"], hop, entry["target"]) for stats in moved)


def test_what_was_moved_before_does_not_count():
    stats = Stats()
    stats.count("feature", None, "node", 5, 4)
    stats.count_calls("feature", None, "remote", 1, 2)
    before = stats.taken()
    stats.count("feature", None, "node", 3, 4)
    stats.count("structure", 1, "self", 2, 8)
    since = stats.since(before)
    assert list(since.entries()) == [("feature", None, "node", 0, 3, 12), ("feature", None, "remote", 0, 0, 0),
                                     ("structure", 1, "self", 0, 2, 16)]
    stats.taken(reset=True)
    stats.count("feature", None, "node", 1, 4)
    assert stats.since(before).rows() == 1


def goal(task, outputs, names=()):
    return Goal(task, "n", (), "features", {"n": 1}, "labels", outputs, None, names)


def batches(count, classes, seed):
    rng = np.random.default_rng(seed)
    return [(torch.from_numpy(rng.standard_normal((n, classes))), torch.from_numpy(rng.integers(0, classes, n)))
            for n in rng.integers(0, 30, count)]


@pytest.mark.parametrize("classes", [1, 3, MOST_CLASSES, MOST_CLASSES + 1])
def test_what_is_taken_for_no_class_counts_as_wrong(classes):
    """A model of the user's own may score more classes than there are."""
    counts, wanted = ClassCounts(goal("node_classification", classes)), np.zeros((classes, 2 * classes + 4), int)
    for outputs, labels in batches(5, 2 * classes + 4, classes):
        true = labels % classes
        counts.add(outputs, true)
        np.add.at(wanted, (true.numpy(), outputs.argmax(1).numpy()), 1)
    found = counts.total("test", LocalGroup())
    assert wanted[:, classes:].any() and found["actual"] == wanted.sum(1).tolist()
    assert found["predicted"] == wanted.sum(0)[:classes].tolist() and found["right"] == wanted.diagonal().tolist()
    assert found["confusion"] == (wanted[:, :classes].tolist() if classes <= MOST_CLASSES else None)


@pytest.mark.parametrize("classes", [1, 3, MOST_CLASSES, MOST_CLASSES + 1])
def test_classes_are_counted_as_one_by_one(classes):
    counts, wanted = ClassCounts(goal("node_classification", classes, ("a", "b"))), np.zeros((classes, classes), int)
    for outputs, labels in batches(5, classes, classes):
        counts.add(outputs, labels)
        for said, true in zip(outputs.argmax(1).tolist(), labels.tolist(), strict=True):
            wanted[true, said] += 1
    found = counts.total("test", LocalGroup())
    assert found["actual"] == wanted.sum(1).tolist() and found["predicted"] == wanted.sum(0).tolist()
    assert found["right"] == wanted.diagonal().tolist() and found["names"] == ["a", "b"][:classes]
    assert found["confusion"] == (wanted.tolist() if classes <= MOST_CLASSES else None)


def test_labels_that_are_unknown_do_not_count():
    counts = ClassCounts(goal("node_multilabel", 2))
    counts.add(torch.tensor([[1.0, -1.0], [2.0, 3.0], [-1.0, 1.0]]),
               torch.tensor([[1.0, 0.0], [0.0, torch.nan], [1.0, 1.0]]))
    found = counts.total("val", LocalGroup())
    assert (found["right"], found["predicted"], found["actual"], found["known"]) == ([1, 1], [2, 1], [2, 1], [3, 2])
    assert found["confusion"] is None and found["names"] is None


@pytest.mark.parametrize(("task", "told"), [("node_regression", []), ("node_classification", [])])
def test_nothing_is_told_where_nothing_was_counted(task, told):
    assert ClassCounts(goal(task, 3)).total("test", LocalGroup()) is None
