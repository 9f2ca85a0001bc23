"""Metrics do not depend on how many trainers counted."""

import numpy as np
import pytest

NAMES = ("acc", "macro_f1", "micro_f1", "roc_auc", "average_precision")


@pytest.mark.parametrize("case", ["even", "one has all", "all scores equal", "few"])
@pytest.mark.ranks(1, 2, 5)
def test_each_metric_is_that_of_one_process(world, case):
    import torch

    from mpignn.comm.group import LocalGroup
    from mpignn.train.metrics import make_metric

    group, rng = world.all, np.random.default_rng(7)
    count = 3 if case == "few" else 400
    labels = rng.integers(0, 3, count)
    outputs = (rng.standard_normal((count, 3)) + np.eye(3)[labels]).round(1)
    if case == "all scores equal":
        outputs[:] = 0
    owner = np.zeros(count, int) if case == "one has all" else rng.integers(0, group.size, count)
    mine = owner == group.rank
    inputs = {name: (outputs, labels) for name in NAMES}
    inputs |= {"mse": (outputs[:, 0], labels), "rmse": (outputs[:, 0], labels), "mae": (outputs[:, 0], labels),
               "mrr": (1 + labels, labels), "hits@2": (1 + labels, labels)}
    for name, arrays in inputs.items():
        alone, shared = make_metric(name), make_metric(name)
        alone.add(*map(torch.tensor, arrays))
        shared.add(*(torch.tensor(array[mine]) for array in arrays))
        expected, value = alone.value(LocalGroup()), shared.value(group)
        tolerance = 0 if name in ("acc", "roc_auc", "hits@2") else 1e-12
        assert abs(value - expected) <= tolerance, (name, value, expected)


@pytest.mark.ranks(3)
def test_what_is_not_finite_on_one_rank_has_no_figure_on_any(world):
    import torch

    from mpignn.train.metrics import make_metric

    outputs = torch.ones(4, 3)
    if world.rank == 1:
        outputs[2] = torch.nan
    for name in NAMES:
        metric = make_metric(name)
        metric.add(outputs, torch.tensor([0, 1, 1, 2]))
        assert np.isnan(metric.value(world.all)), name


@pytest.mark.ranks(2, 4)
def test_no_rank_holds_much_more_than_its_share_of_the_scores(world):
    from mpignn.train.curve import curve

    group, rng = world.all, np.random.default_rng(world.rank)
    for scores in (rng.standard_normal(1000), np.sort(rng.standard_normal(1000)) + group.rank, np.zeros(1000)):
        found = curve(scores, rng.random(1000) < 0.3, group)
        assert found.pos.size <= 2 * 1000 + group.size
        assert found.positives + found.negatives == 1000 * group.size
