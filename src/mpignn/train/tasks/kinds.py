"""What labels can be, whatever has them: a class, several labels, numbers; what is learnt and said of each.

Shapes: B seeds of a batch, C classes, labels or numbers of each.
"""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mpignn.config import Config
from mpignn.errors import ConfigError, DataError
from mpignn.store.graph import DistGraph
from mpignn.train.tasks.base import Labelled
from mpignn.train.tasks.goal import Goal
from mpignn.train.tasks.labels import (
    LabelData,
    class_weights,
    entries_of_labels,
    entries_of_numbers,
    largest_class,
    moments,
    num_classes,
)


class Classes(Labelled):
    """One class for each seed: softmax and cross-entropy.

    Attributes:
        weights: (C,) what a seed of each class counts in the loss; None: 1.
    """

    weights: torch.Tensor | None = None
    _asked: tuple[str, ...] | None = None       # of weights
    _smoothing = 0.0

    def __init__(self, g: DistGraph, config: Config, goal: Goal | None = None) -> None:
        super().__init__(g, config, goal)
        self._asked, self._smoothing = config.task.class_weights, config.task.label_smoothing
        if goal is None:
            self._weigh(g)

    def _weigh(self, g: DistGraph) -> None:
        if self._asked is not None:
            found = class_weights(g, self.label_data(g, self.goal), self.outputs, self._asked)
            self.weights = None if found is None else torch.from_numpy(found)

    def check_labels(self, g: DistGraph) -> None:
        largest, goal = largest_class(g, self.label_data(g, self.goal)), self.goal
        if largest >= self.outputs:
            g.trainers.agree(DataError(f"{goal.labels} go up to {largest}, but the network tells {self.outputs} "
                                       "classes apart"))
        self._weigh(g)

    def _num_outputs(self, g: DistGraph, goal: Goal) -> int:
        return goal.outputs or num_classes(g, self.label_data(g, goal))

    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        return labels.long()

    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights = None if self.weights is None else self.weights.to(outputs)
        return cross_entropy(outputs, labels, weights, reduction="sum", label_smoothing=self._smoothing)

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.argmax(1)

    def probability(self, outputs: torch.Tensor) -> torch.Tensor:
        """(B,) of the predicted class."""
        return outputs.double().softmax(1).gather(1, self.decide(outputs)[:, None])[:, 0]


class Entries(Labelled):
    """Several labels or numbers for each seed, some of which may be unknown: these are left out of loss and metrics.

    The loss of a seed is the sum over its known entries, divided by how many a training seed has on average.  So it
    needs no count of a batch over the trainers, every known entry of the split train weighs the same, and the loss of
    a pass is the mean over them.

    Attributes:
        entries: Known ones of a training seed, on average; without unknown ones as many as there are outputs.  For a
            task that was made with a goal, once `check_labels` has looked, as `mpignn.fit` lets it.
    """

    entries: float | None = None

    def __init__(self, g: DistGraph, config: Config, goal: Goal | None = None) -> None:
        super().__init__(g, config, goal)
        if goal is None:
            self.check_labels(g)

    def check_labels(self, g: DistGraph) -> None:
        self.entries = self._count_entries(g, self.label_data(g, self.goal))

    def mean(self, total: torch.Tensor) -> torch.Tensor:
        """A sum over known entries, divided by those of a training seed.

        Not collective.

        Raises:
            ConfigError: It is not known how many these are.
        """
        if self.entries is None:
            raise ConfigError("the task was made with a goal, and has seen no labels: call task.check_labels(g) on all "
                              "trainers before its loss is asked for")
        return total / self.entries

    @abstractmethod
    def _count_entries(self, g: DistGraph, labels: LabelData) -> float:
        """`entries`, of labels that are as they should be.  Collective over the trainers."""


class Labels(Entries):
    """Several labels for each seed: of each whether it applies, by its logistic loss, averaged over the labels."""

    def _count_entries(self, g: DistGraph, labels: LabelData) -> float:
        return entries_of_labels(g, labels)

    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        labels = labels if labels.is_floating_point() else labels.float()
        return labels.masked_fill(labels < 0, torch.nan)

    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        wanted, known = labels.to(outputs.dtype).nan_to_num(), (~labels.isnan()).to(outputs.dtype)
        return self.mean(binary_cross_entropy_with_logits(outputs, wanted, known, reduction="sum"))

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return (outputs > 0).to(torch.uint8)

    def probability(self, outputs: torch.Tensor) -> torch.Tensor:
        """(B, C) that a label applies."""
        return outputs.double().sigmoid()


class Numbers(Entries):
    """One number for each seed, or several: squared error, averaged over the numbers.

    Where targets are standardized, outputs and errors are in deviations of each number from its mean.
    """

    def __init__(self, g: DistGraph, config: Config, goal: Goal | None = None) -> None:
        super().__init__(g, config, goal)
        if goal is None and config.task.standardize_targets:
            mean, deviation = moments(g, self.label_data(g, self.goal))
            self.goal = replace(self.goal, means=tuple(mean.tolist()), deviations=tuple(deviation.tolist()))

    def _scale(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        goal = self.goal
        return (like.new_tensor(goal.means), like.new_tensor(goal.deviations)) if goal.means else None

    def in_unit(self, outputs: torch.Tensor) -> torch.Tensor:
        scale = self._scale(outputs.double())
        return outputs if scale is None else (outputs * scale[1] + scale[0]).to(outputs.dtype)

    def _count_entries(self, g: DistGraph, labels: LabelData) -> float:
        return entries_of_numbers(g, labels)

    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        return labels.reshape(len(labels), self.outputs)

    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scale = self._scale(labels.double())
        labels = (labels if scale is None else (labels - scale[0]) / scale[1]).to(outputs.dtype)
        wanted = torch.where(labels.isnan(), outputs.detach(), labels)      # an unknown number is the one that is said
        return self.mean((outputs - wanted).square().sum())

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.in_unit(outputs)
