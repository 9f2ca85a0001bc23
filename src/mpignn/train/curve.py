"""Positive and negative seeds by score: what the order of all scores of all trainers is worth, exactly.

No rank holds more than its share.

Scores are sorted by samples (Shi and Schaeffer 1992): each trainer gets a range of scores.  Equal scores of a trainer
travel as one, so that ranges are even also where many are equal.

Shapes: N scores of this trainer, G distinct scores in its range, T trainers.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.group import Group


@dataclass(frozen=True)
class Curve:
    """Positive and negative seeds by score; here those of this trainer's range.

    Attributes:
        pos, neg: (G,) int64 how many have each score, in ascending order of the scores.
        pos_below, neg_below: How many have scores below this range.
        positives, negatives: How many there are in all.
    """

    pos: np.ndarray
    neg: np.ndarray
    pos_below: int
    neg_below: int
    positives: int
    negatives: int

    def roc_auc(self, trainers: Group) -> float:
        """Share of the pairs of a positive and a negative seed that are in order, ties half.

        Collective over the trainers.  Needs seeds of both kinds.
        """
        below = self.neg_below + np.cumsum(self.neg) - self.neg
        twice = np.array([(self.pos * (2 * below + self.neg)).sum()], np.int64)
        return int(trainers.all_sum(twice)[0]) / (2 * self.positives * self.negatives)

    def average_precision(self, trainers: Group) -> float:
        """Sum over the scores, from the top, of gain in recall times precision.

        Collective over the trainers.  Needs a positive seed.
        """
        right = self.positives - self.pos_below - (np.cumsum(self.pos) - self.pos)
        wrong = self.negatives - self.neg_below - (np.cumsum(self.neg) - self.neg)
        parts = np.array([(self.pos * (right / np.maximum(right + wrong, 1))).sum()])
        return float(trainers.all_sum(parts)[0]) / self.positives


def curve(scores: np.ndarray, truth: np.ndarray, trainers: Group) -> Curve:
    """Sort the scores of all trainers.  Collective over the trainers.

    Args:
        scores: (N,) float64 of this trainer's seeds.
        truth: (N,) bool: which of them are positive.
    """
    rows = _tally(scores, truth.astype(np.float64), (~truth).astype(np.float64))
    cuts = _splitters(rows[:, 0], trainers)
    ends = np.searchsorted(rows[:, 0], cuts, side="right")
    counts = np.diff(ends, prepend=0, append=len(rows)).astype(np.int64)
    rows, _ = trainers.exchange(rows, counts, Pool())
    rows = _tally(*rows.T)
    pos, neg = rows[:, 1:].T.astype(np.int64)
    sizes = np.zeros((trainers.size, 2), np.int64)
    sizes[trainers.rank] = pos.sum(), neg.sum()
    trainers.all_sum(sizes)
    below, total = sizes[:trainers.rank].sum(0), sizes.sum(0)
    return Curve(pos, neg, int(below[0]), int(below[1]), int(total[0]), int(total[1]))


def _tally(scores: np.ndarray, pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    """(G, 3) each distinct score, ascending, with the sums of its ``pos`` and ``neg``."""
    order = np.argsort(scores, kind="stable")
    scores = scores[order]
    first = np.ones(scores.size, bool)
    np.not_equal(scores[1:], scores[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    if starts.size == 0:
        return np.empty((0, 3))
    return np.stack([scores[starts], np.add.reduceat(pos[order], starts), np.add.reduceat(neg[order], starts)], axis=1)


def _splitters(scores: np.ndarray, trainers: Group) -> np.ndarray:
    """(T - 1,) ascending scores; range t ends with the t-th of them.  Collective over the trainers.

    Each trainer samples its scores at T regular places, and every T-th of all samples is a splitter.
    """
    size = trainers.size
    samples = np.zeros((size, size))
    samples[trainers.rank] = scores[np.arange(size) * scores.size // size] if scores.size else np.inf
    samples = np.sort(trainers.all_sum(samples).reshape(-1))
    return samples[size::size][:size - 1]
