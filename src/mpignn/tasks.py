"""What can be learnt, and by which metrics each task can be judged: told once, for settings, checks and tasks."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mpignn.errors import ConfigError

HITS = "hits@k"     # stands for every k from 1 on
BALANCED = "balanced"       # weights of classes by which each has the same weight in all


@dataclass(frozen=True)
class Judged:
    """The metrics of a task.

    Attributes:
        fitting: Those by which it can be judged.
        usual: Those that are measured where the settings name none; the first one chooses the best parameters.
    """

    fitting: tuple[str, ...]
    usual: tuple[str, ...]


_CLASSES = ("acc", "macro_f1", "micro_f1", "roc_auc", "average_precision")
_NUMBERS = ("rmse", "mse", "mae")

TASKS = {
    "node_classification": Judged(_CLASSES, ("acc",)),
    "node_multilabel": Judged(_CLASSES, ("micro_f1",)),
    "node_regression": Judged(_NUMBERS, ("rmse",)),
    "edge_classification": Judged(_CLASSES, ("acc",)),
    "edge_regression": Judged(_NUMBERS, ("rmse",)),
    "link_prediction": Judged(("mrr", "amri", HITS), ("mrr", "hits@1", "hits@3", "hits@10")),
}
METRICS = tuple(dict.fromkeys(name for judged in TASKS.values() for name in judged.fitting))


def check_metrics(task: str, metrics: Sequence[str] | None) -> None:
    """Raise if a task cannot be judged by some metrics.  Not collective.

    Args:
        task: One of `TASKS`.
        metrics: Their names, at least one; None: the usual ones.

    Raises:
        ConfigError: One is unknown, does not fit the task, or is named twice.
    """
    if metrics is None:
        return
    fitting = TASKS[task].fitting
    told = f"those that fit {task} are: {', '.join(fitting)}"
    for number, name in enumerate(metrics):
        kind = kind_of(name)
        if kind not in fitting:
            raise ConfigError(f"metric {name!r} does not fit {task}; {told}")
        if name in metrics[:number]:
            raise ConfigError(f"metric {name!r} is named twice")


def check_class_weights(asked: Sequence[str] | None) -> None:
    """Raise `ConfigError` unless weights of classes are numbers of at least 0, or `BALANCED` alone.  Not collective."""
    if asked is None or tuple(asked) == (BALANCED,):
        return
    for text in asked:
        try:
            good = math.isfinite(float(text)) and float(text) >= 0
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"class-weights: {text!r} is no weight: give a number of at least 0 for each class, such "
                              f"as 1,2.5,1, or {BALANCED}")


def kind_of(metric: str) -> str:
    """Which of `METRICS` a metric is.  Not collective.

    Raises:
        ConfigError: None of them.
    """
    kind = HITS if re.fullmatch("hits@[1-9][0-9]*", metric, re.ASCII) else metric
    if kind not in METRICS or metric == HITS:
        raise ConfigError(f"metric {metric!r} is not one of: {', '.join(METRICS)}, with k from 1 on")
    return kind
