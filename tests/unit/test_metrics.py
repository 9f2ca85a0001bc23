"""Metrics of one trainer are scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from mpignn.errors import ConfigError
from mpignn.train.metrics import make_metric
from mpignn.transport.group import LocalGroup


def value(name, *batches):
    metric = make_metric(name)
    for batch in batches:
        metric.add(*batch)
    return metric.value(LocalGroup())


def cut(outputs, labels, *places):
    """Batches, one of them empty."""
    bounds = [0, *places, places[-1], len(outputs)]
    return [(torch.tensor(outputs[a:b]), torch.tensor(labels[a:b])) for a, b in zip(bounds, bounds[1:], strict=False)]


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("classes", [2, 5])
def test_classes(rng, classes):
    labels = rng.integers(0, classes, 200)
    outputs = rng.standard_normal((200, classes)) + 1.5 * np.eye(classes)[labels]
    outputs = outputs.round(1)              # ties
    batches = cut(outputs, labels, 3, 77)
    chosen, share = outputs.argmax(1), torch.tensor(outputs).softmax(1).numpy()
    assert value("acc", *batches) == sk.accuracy_score(labels, chosen)
    assert value("macro_f1", *batches) == pytest.approx(sk.f1_score(labels, chosen, average="macro"), abs=1e-12)
    assert value("micro_f1", *batches) == pytest.approx(sk.f1_score(labels, chosen, average="micro"), abs=1e-12)
    scores = outputs[:, 1] - outputs[:, 0] if classes == 2 else share
    expected = sk.roc_auc_score(labels, scores, multi_class="ovr")
    assert value("roc_auc", *batches) == pytest.approx(expected, abs=1e-12)
    expected = sk.average_precision_score(labels if classes == 2 else np.eye(classes, dtype=int)[labels], scores)
    assert value("average_precision", *batches) == pytest.approx(expected, abs=1e-12)


def test_classes_that_never_occur_do_not_count(rng):
    labels = rng.integers(0, 3, 50)
    outputs = rng.standard_normal((50, 6)) + [0, 0, 0, 0, -9, -9]
    batches = cut(outputs, labels, 20)
    assert value("macro_f1", *batches) == pytest.approx(
        sk.f1_score(labels, outputs.argmax(1), average="macro", zero_division=0), abs=1e-12)
    share = torch.tensor(outputs).softmax(1).numpy()
    assert value("roc_auc", *batches) == pytest.approx(
        np.mean([sk.roc_auc_score(labels == c, share[:, c]) for c in range(3)]), abs=1e-12)


def test_several_labels_at_a_time(rng):
    labels = rng.integers(0, 2, (120, 4))
    outputs = (rng.standard_normal((120, 4)) + labels).round(1)
    batches, chosen = cut(outputs, labels, 50), outputs > 0
    assert value("acc", *batches) == sk.accuracy_score(labels, chosen)
    for average in ("macro", "micro"):
        assert value(f"{average}_f1", *batches) == pytest.approx(
            sk.f1_score(labels, chosen, average=average), abs=1e-12)
    assert value("roc_auc", *batches) == pytest.approx(sk.roc_auc_score(labels, outputs), abs=1e-12)
    assert value("average_precision", *batches) == pytest.approx(
        sk.average_precision_score(labels, outputs), abs=1e-12)


@pytest.mark.parametrize("shape", [(90,), (90, 3)])
def test_numbers(rng, shape):
    labels, outputs = rng.standard_normal(shape), rng.standard_normal(shape)
    batches = cut(outputs, labels, 30)
    mse = sk.mean_squared_error(labels, outputs)
    assert value("mse", *batches) == pytest.approx(mse, abs=1e-12)
    assert value("rmse", *batches) == pytest.approx(mse ** 0.5, abs=1e-12)
    assert value("mae", *batches) == pytest.approx(sk.mean_absolute_error(labels, outputs), abs=1e-12)


def test_ranks(rng):
    ranks = rng.integers(1, 30, 100) + rng.integers(0, 2, 100) / 2
    batches = [(torch.tensor(ranks[:40]),), (torch.tensor(ranks[40:]),)]
    assert value("mrr", *batches) == pytest.approx(np.mean(1 / ranks), abs=1e-12)
    assert value("hits@3", *batches) == np.mean(ranks <= 3)


@pytest.mark.parametrize("name", ["acc", "macro_f1", "roc_auc", "average_precision", "mse", "mrr", "hits@3"])
def test_nothing_seen_is_no_value(name):
    assert value(name) is None


@pytest.mark.parametrize("name", ["accuracy", "hits@0", "hits@x", "hits"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ConfigError, match="is not one of: acc"):
        make_metric(name)
