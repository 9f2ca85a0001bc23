"""Metrics of the whole job from counts and sums over the trainers, never averages of averages.

Shapes: B seeds of a batch, C classes or labels.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import DTypeLike

from mpignn.comm.group import Group
from mpignn.errors import DataError
from mpignn.tasks import HITS, kind_of
from mpignn.train.curve import Curve, curve
from mpignn.train.finite import is_finite


class Metric(ABC):
    """A number that says how good a model is, equal for any number of trainers.

    Attributes:
        name: As in reports.
        more_is_better: Whether the best parameters are those that make it largest.
    """

    name: str
    more_is_better = True
    _finite = True      # all outputs that it was told of

    def add(self, outputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        """Count one batch.  Not collective.

        Args:
            outputs: What the model says: (B, C) a score for each class or label, (B,) or (B, C) numbers, or for `MRR`
                and `Hits` (B,) the ranks of what is true.
            labels: What it should say: (B,) int64 classes, (B, C) of 0 and 1 for several labels at a time, numbers
                of the shape of ``outputs``, for `AMRI` (B,) of how many others each rank is among, or nothing for
                other metrics of ranks.  NaN, of labels and numbers, is unknown: it does not
                count.

        Raises:
            DataError: There are no labels, and the metric is about them.
        """
        self._finite = self._finite and is_finite(outputs)
        if self._finite:
            self._add(outputs, labels)

    def value(self, trainers: Group) -> float | None:
        """The metric over all that all trainers counted; None where that is nothing.  Collective over the trainers.

        NaN where any output was not finite: comparisons with such numbers are false, and would pass for answers.
        """
        if trainers.all_sum(np.array([not self._finite], np.int64))[0]:
            return math.nan
        return self._value(trainers)

    @abstractmethod
    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        """`add` of finite outputs."""

    @abstractmethod
    def _value(self, trainers: Group) -> float | None:
        """`value`, if all outputs were finite."""


class _Sums(Metric):
    """The quotient of two sums."""

    dtype: DTypeLike = np.float64

    def __init__(self) -> None:
        self._sums: np.ndarray = np.zeros(2, self.dtype)

    def _count(self, total: float, number: int) -> None:
        self._sums += (total, number)

    def _value(self, trainers: Group) -> float | None:
        total, number = trainers.all_sum(self._sums.copy())
        return float(total / number) if number else None


class Accuracy(_Sums):
    """Share of right answers; of several labels at a time, all of a seed's that are known must be right."""

    name, dtype = "acc", np.int64

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        labels = _given(labels)
        if labels.ndim == 1:
            self._count(int((outputs.argmax(1) == labels).sum()), labels.shape[0])
            return
        unknown = labels.isnan()
        right = (((outputs > 0) == (labels > 0.5)) | unknown).all(1)
        asked = ~unknown.all(1)
        self._count(int((right & asked).sum()), int(asked.sum()))


class _F1(Metric):
    """From true positives, predicted and actual ones, and known ones of each class or label.

    A label counts as predicted above 0.
    """

    def __init__(self) -> None:
        self._counts: np.ndarray | None = None      # (4, C)
        self._multilabel = False

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        labels = _given(labels)
        classes = outputs.shape[1]
        self._multilabel = labels.ndim == 2
        if self._multilabel:
            known = ~labels.isnan()
            predicted, actual = (outputs > 0) & known, labels > 0.5
            counts = [(predicted & actual).sum(0), predicted.sum(0), actual.sum(0), known.sum(0)]
        else:
            predicted = outputs.argmax(1)
            counts = [torch.bincount(of, minlength=classes)
                      for of in (labels[predicted == labels], predicted, labels, labels)]
        found = torch.stack(counts).numpy()
        self._counts = found if self._counts is None else self._counts + found

    def _reduced(self, trainers: Group) -> np.ndarray | None:
        """(4, C) of all trainers, who all saw as many batches; None if nothing is known."""
        if self._counts is None:
            return None
        counts = trainers.all_sum(self._counts.copy())
        return counts if counts[3].any() else None


class MacroF1(_F1):
    """The mean over the classes that occur, among labels or predictions, of their F1; over the known labels if several.
    """

    name = "macro_f1"

    def _value(self, trainers: Group) -> float | None:
        counts = self._reduced(trainers)
        if counts is None:
            return None
        right, predicted, actual, known = counts
        scores = 2 * right / np.maximum(predicted + actual, 1)
        return float(scores[(known if self._multilabel else predicted + actual) > 0].mean())


class MicroF1(_F1):
    """F1 of all decisions of all classes or labels together."""

    name = "micro_f1"

    def _value(self, trainers: Group) -> float | None:
        counts = self._reduced(trainers)
        if counts is None:
            return None
        right, predicted, actual, _ = counts.sum(1)
        return float(2 * right / max(predicted + actual, 1))


class _Ranked(Metric):
    """The mean over columns of what the order of their scores is worth.

    With two classes the second one is the column; with more, each against the rest by its softmax.  Columns without
    positive or without negative seeds do not count.
    """

    _of_curve: Callable[[Curve, Group], float]      # of one column

    def __init__(self) -> None:
        self._scores: list[np.ndarray] = []
        self._truth: list[np.ndarray] = []      # int8: 1 or 0, -1 for unknown

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        labels = _given(labels)
        scores = outputs.double()
        if labels.ndim == 2:
            truth = (labels > 0.5).to(torch.int8).masked_fill(labels.isnan(), -1)
        elif outputs.shape[1] == 2:
            scores, truth = scores[:, 1:] - scores[:, :1], labels[:, None] == 1
        else:
            scores = scores.softmax(1)
            truth = labels[:, None] == torch.arange(outputs.shape[1])
        self._scores.append(scores.numpy())
        self._truth.append(truth.to(torch.int8).numpy())

    def _value(self, trainers: Group) -> float | None:
        if not self._scores:
            return None
        scores, truth = np.concatenate(self._scores), np.concatenate(self._truth)
        columns = ((scores[known, column], truth[known, column] == 1)
                   for column in range(scores.shape[1]) for known in (truth[:, column] >= 0,))
        values = [self._of_curve(found, trainers) for found in (curve(*column, trainers) for column in columns)
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

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        labels = _given(labels)
        self._count(float(_errors(outputs, labels).square().sum()), int((~labels.isnan()).sum()))


class RMSE(MSE):
    """Root of the mean squared error."""

    name = "rmse"

    def _value(self, trainers: Group) -> float | None:
        mean = super()._value(trainers)
        return None if mean is None else mean ** 0.5


class MAE(_Sums):
    """Mean absolute error."""

    name, more_is_better = "mae", False

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        labels = _given(labels)
        self._count(float(_errors(outputs, labels).abs().sum()), int((~labels.isnan()).sum()))


def _given(labels: torch.Tensor | None) -> torch.Tensor:
    if labels is None:
        raise DataError("the metric holds what the model says against labels: give them")
    return labels


def _errors(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Differences of numbers, 0 where one is not known."""
    return (outputs.double() - labels.double()).masked_fill(labels.isnan(), 0)


class MRR(_Sums):
    """Mean reciprocal rank."""

    name = "mrr"

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        self._count(float(outputs.double().reciprocal().sum()), outputs.numel())


class AMRI(_Sums):
    """Adjusted mean rank index (Berrendorf, Faerman, Vermue and Tresp 2020): 1 for the first ranks, 0 for ranks as by
    chance, at least -1; of graphs of any size alike.

    ``1 - sum of (rank - 1) / sum of what that is by chance``, which is half the others.
    """

    name = "amri"

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        rivals = _given(labels).double()
        self._sums += (float((rivals / 2 - (outputs.double() - 1)).sum()), float(rivals.sum() / 2))


class Hits(_Sums):
    """Share of ranks that are at most k."""

    dtype = np.int64

    def __init__(self, k: int) -> None:
        super().__init__()
        self.name, self._k = f"hits@{k}", k

    def _add(self, outputs: torch.Tensor, labels: torch.Tensor | None) -> None:
        self._count(int((outputs <= self._k).sum()), outputs.numel())


_KINDS: dict[str, type[Metric]] = {kind.name: kind for kind in (
    Accuracy, MacroF1, MicroF1, RocAuc, AveragePrecision, MSE, RMSE, MAE, MRR,
    AMRI)}


def make_metric(name: str) -> Metric:
    """A metric that has seen nothing, by its name; ``hits@k`` for any k.  Not collective.

    Raises:
        ConfigError: No such metric.
    """
    kind = kind_of(name)
    return Hits(int(name.removeprefix("hits@"))) if kind == HITS else _KINDS[kind]()
