"""Metrics of the whole job from counts and sums over the trainers, never averages of averages.

Shapes: B seeds of a batch, C classes or labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from mpignn.errors import ConfigError
from mpignn.train.ranking import Curve, curve
from mpignn.transport.group import Group


class Metric(ABC):
    """A number that says how good a model is, equal for any number of trainers.

    Attributes:
        name: As in reports.
        more_is_better: Whether the best parameters are those that make it largest.
    """

    name: str
    more_is_better = True

    @abstractmethod
    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        """Count one batch.  Not collective.

        Args:
            outputs: What the model says: (B, C) a score for each class or label, (B,) or (B, C) numbers, or for `MRR`
                and `Hits` (B,) the ranks of what is true.
            labels: What it should say: (B,) int64 classes, (B, C) of 0 and 1 for several labels at a time, numbers
                of the shape of ``outputs``, or nothing for ranks.
        """

    @abstractmethod
    def value(self, trainers: Group) -> float | None:
        """The metric over all that all trainers counted; None where that is nothing.  Collective over the trainers."""


class _Sums(Metric):
    """The quotient of two sums."""

    dtype: type = np.float64

    def __init__(self):
        self._sums = np.zeros(2, self.dtype)

    def _count(self, total, number: int) -> None:
        self._sums += (total, number)

    def value(self, trainers: Group) -> float | None:
        total, number = trainers.all_sum(self._sums.copy())
        return float(total / number) if number else None


class Accuracy(_Sums):
    """Share of right answers; of several labels at a time, all of a seed's must be right."""

    name, dtype = "acc", np.int64

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        right = ((outputs > 0) == (labels > 0.5)).all(1) if labels.ndim == 2 else outputs.argmax(1) == labels
        self._count(int(right.sum()), labels.shape[0])


class _F1(Metric):
    """From true positives, predicted and actual ones of each class or label; a label counts as predicted above 0."""

    def __init__(self):
        self._counts: np.ndarray | None = None      # (3, C)
        self._multilabel = False

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        classes = outputs.shape[1]
        self._multilabel = labels.ndim == 2
        if self._multilabel:
            predicted, actual = outputs > 0, labels > 0.5
            counts = [(predicted & actual).sum(0), predicted.sum(0), actual.sum(0)]
        else:
            predicted = outputs.argmax(1)
            counts = [torch.bincount(of, minlength=classes)
                      for of in (labels[predicted == labels], predicted, labels)]
        counts = torch.stack(counts).numpy()
        self._counts = counts if self._counts is None else self._counts + counts

    def _reduced(self, trainers: Group) -> np.ndarray | None:
        """(3, C) of all trainers, who all saw as many batches."""
        if self._counts is None:
            return None
        counts = trainers.all_sum(self._counts.copy())
        return counts if self._multilabel or counts[2].any() else None


class MacroF1(_F1):
    """The mean over the classes that occur, among labels or predictions, of their F1; over all labels if several."""

    name = "macro_f1"

    def value(self, trainers: Group) -> float | None:
        counts = self._reduced(trainers)
        if counts is None:
            return None
        right, predicted, actual = counts
        scores = 2 * right / np.maximum(predicted + actual, 1)
        return float(scores.mean() if self._multilabel else scores[predicted + actual > 0].mean())


class MicroF1(_F1):
    """F1 of all decisions of all classes or labels together."""

    name = "micro_f1"

    def value(self, trainers: Group) -> float | None:
        counts = self._reduced(trainers)
        if counts is None:
            return None
        right, predicted, actual = counts.sum(1)
        return float(2 * right / max(predicted + actual, 1))


class _Ranked(Metric):
    """The mean over columns of what the order of their scores is worth.

    Of two classes the second one is the column.  Of more, each against the rest by its softmax.  Columns without
    positive or without negative seeds do not count.
    """

    _of_curve: Callable[[Curve, Group], float]      # of one column

    def __init__(self):
        self._scores: list[np.ndarray] = []
        self._truth: list[np.ndarray] = []

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        scores = outputs.double()
        if labels.ndim == 2:
            truth = labels > 0.5
        elif outputs.shape[1] == 2:
            scores, truth = scores[:, 1:] - scores[:, :1], labels[:, None] == 1
        else:
            scores = scores.softmax(1)
            truth = labels[:, None] == torch.arange(outputs.shape[1])
        self._scores.append(scores.numpy())
        self._truth.append(truth.numpy())

    def value(self, trainers: Group) -> float | None:
        if not self._scores:
            return None
        scores, truth = np.concatenate(self._scores), np.concatenate(self._truth)
        values = [self._of_curve(found, trainers) for found in
                  (curve(scores[:, column], truth[:, column], trainers) for column in range(scores.shape[1]))
                  if found.positives and found.negatives]
        return float(np.mean(values)) if values else None


class RocAuc(_Ranked):
    """Chance that a positive seed has a higher score than a negative one; ties count half.  Exact."""

    name, _of_curve = "roc_auc", staticmethod(Curve.roc_auc)


class AveragePrecision(_Ranked):
    """Mean of the precision at each positive seed, seeds of equal score together.  Exact."""

    name, _of_curve = "average_precision", staticmethod(Curve.average_precision)


class MSE(_Sums):
    """Mean squared error."""

    name, more_is_better = "mse", False

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self._count(float((outputs.double() - labels.double()).square().sum()), labels.numel())


class RMSE(MSE):
    """Root of the mean squared error."""

    name = "rmse"

    def value(self, trainers: Group) -> float | None:
        mean = super().value(trainers)
        return None if mean is None else mean ** 0.5


class MAE(_Sums):
    """Mean absolute error."""

    name, more_is_better = "mae", False

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self._count(float((outputs.double() - labels.double()).abs().sum()), labels.numel())


class MRR(_Sums):
    """Mean reciprocal rank."""

    name = "mrr"

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self._count(float(outputs.double().reciprocal().sum()), outputs.numel())


class Hits(_Sums):
    """Share of ranks that are at most k."""

    dtype = np.int64

    def __init__(self, k: int):
        super().__init__()
        self.name, self._k = f"hits@{k}", k

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self._count(int((outputs <= self._k).sum()), outputs.numel())


CLASS_METRICS = ("acc", "macro_f1", "micro_f1", "roc_auc", "average_precision")
NUMBER_METRICS = ("mse", "rmse", "mae")
RANK_METRICS = ("mrr", "hits@1", "hits@3", "hits@10")

_KINDS: dict[str, type[Metric]] = {kind.name: kind for kind in (
    Accuracy, MacroF1, MicroF1, RocAuc, AveragePrecision, MSE, RMSE, MAE, MRR)}


def make_metric(name: str) -> Metric:
    """A metric that has seen nothing, by its name; ``hits@k`` for any k.  Not collective.

    Raises:
        ConfigError: No such metric.
    """
    head, _, k = name.partition("@")
    if head == "hits" and k.isdecimal() and int(k) > 0:
        return Hits(int(k))
    if name not in _KINDS:
        raise ConfigError(f"metric {name!r} is not one of: {', '.join(_KINDS)}, hits@k")
    return _KINDS[name]()
