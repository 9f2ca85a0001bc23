"""The metrics of a task on a split."""

import math

import torch

from mpignn.config import Config
from mpignn.errors import TrainingError
from mpignn.log import phase
from mpignn.store.graph import DistGraph
from mpignn.train.class_counts import ClassCounts
from mpignn.train.network import Network
from mpignn.train.tasks.base import Task


def evaluate(g: DistGraph, network: Network, task: Task, config: Config, split: str,
             whole: bool = False, counts: ClassCounts | None = None) -> dict[str, float | None]:
    """The metrics of a task on a split, with the same draws in every call.  Collective over the trainers.

    Args:
        whole: With all neighbors, by layer-wise inference.
        counts: Told of all outputs and labels of this trainer, where there are labels.

    Returns:
        ``<split>_<metric>`` for each metric of the task; None for a split of nothing.

    Raises:
        TrainingError: On all trainers: what the network says is not finite, or so large that a metric is not.
        Stopped: On all trainers: one of them was asked to stop.
    """
    network.eval()
    with phase(f"evaluate {split}", steady=True), torch.no_grad():
        try:
            metrics = task.measure(g, network, config, split, whole, counts)
        finally:
            network.train()
        values = {f"{split}_{metric.name}": metric.value(g.trainers) for metric in metrics}
    wrong = [name for name, value in values.items() if value is not None and not math.isfinite(value)]
    if wrong:
        raise TrainingError(f"{', '.join(wrong)}: the network has diverged: what it says of {split} is not finite, or "
                            "too large to be measured: lower --lr, or look for features that are not finite")
    return values
