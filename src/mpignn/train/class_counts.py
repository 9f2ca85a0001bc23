"""How often seeds of each class were taken for each: what the figures of single classes are made of.

Shapes: B seeds of a batch, C classes or labels.
"""

from typing import Any

import numpy as np
import torch

from mpignn.comm.group import Group
from mpignn.train.tasks.goal import Goal

MOST_CLASSES = 256      # whose confusion is counted; of more, each class by itself


class ClassCounts:
    """Counts of one split, exact, and equal for any number of trainers."""

    def __init__(self, goal: Goal) -> None:
        """Not collective.

        Args:
            goal: What is learnt; where that is neither classes nor labels, nothing is counted.
        """
        self._names, classes = goal.class_names[:goal.outputs], goal.outputs
        self._of_labels = goal.task.endswith("multilabel")
        self._confused = goal.task.endswith("classification") and classes <= MOST_CLASSES
        rows = 4 if self._of_labels else classes if self._confused else 3 if goal.task.endswith("classification") else 0
        self._classes = classes
        self._counts = np.zeros((rows, classes + self._confused), np.int64)     # the last column: taken for none

    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Count one batch.  Not collective.

        Args:
            outputs: (B, C) scores, of labels positive where one is predicted.  A model of the user's own may score
                more classes than there are: what it takes for one of those is taken for none.
            labels: (B,) int64 classes; or (B, C) of 0, 1, and NaN for unknown.
        """
        if not self._counts.size:
            return
        if self._of_labels:
            known = ~labels.isnan()
            predicted, actual = (outputs > 0) & known, labels > 0.5
            self._counts += torch.stack([(predicted & actual).sum(0), predicted.sum(0), actual.sum(0),
                                         known.sum(0)]).numpy()
            return
        said, true = np.minimum(outputs.argmax(1).numpy(), self._classes), labels.numpy()
        if not self._confused:
            for row, of in zip(self._counts, (true[said == true], said, true), strict=True):
                row += np.bincount(of, minlength=self._classes)[:self._classes]
        else:
            np.add.at(self._counts, (true, said), 1)

    def total(self, split: str, trainers: Group) -> dict[str, Any] | None:
        """The counts of all trainers, as a line of metrics.jsonl; None: nothing was counted.

        Collective over the trainers.

        Returns:
            ``split``; ``names`` of the classes, or None; for each class how many seeds are of it (``actual``), were
            taken for it (``predicted``), and rightly so (``right``); of labels, how many seeds it is ``known`` of, else
            None; ``confusion``: of each class, how many seeds of it were taken for each, None where these are not
            counted.
        """
        if not self._counts.size:
            return None
        counts = trainers.all_sum(self._counts.copy())
        if not counts.any():
            return None
        if self._confused:
            actual, counts = counts.sum(1), counts[:, :self._classes]
            right, predicted = counts.diagonal(), counts.sum(0)
        else:
            right, predicted, actual = counts[:3]
        return {"split": split, "names": list(self._names) or None, "actual": actual.tolist(),
                "predicted": predicted.tolist(), "right": right.tolist(),
                "known": counts[3].tolist() if self._of_labels else None,
                "confusion": counts.tolist() if self._confused else None}
