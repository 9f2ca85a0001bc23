"""Metrics of one trainer are scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from mpignn.comm.group import LocalGroup
from mpignn.errors import DataError
from mpignn.train.metrics import make_metric


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


def test_labels_that_are_not_known_do_not_count(rng):
    labels = rng.integers(0, 2, (120, 5)).astype(float)
    outputs = (rng.standard_normal((120, 5)) + labels).round(1)
    known = rng.random((120, 5)) < 0.6
    known[:7], known[:, 4] = False, False         # seeds and a label of which nothing is known
    batches, chosen = cut(outputs, np.where(known, labels, np.nan), 50), outputs > 0
    asked = known.any(1)
    right = ((chosen == labels) | ~known).all(1)
    assert value("acc", *batches) == pytest.approx(right[asked].mean(), abs=1e-12)
    columns = [(labels[known[:, c], c], outputs[known[:, c], c]) for c in range(4)]
    assert value("micro_f1", *batches) == pytest.approx(sk.f1_score(labels[known], chosen[known]), abs=1e-12)
    for name, of_column in (("macro_f1", lambda true, said: sk.f1_score(true, said > 0)),
                            ("roc_auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        expected = np.mean([of_column(*column) for column in columns])
        assert value(name, *batches) == pytest.approx(expected, abs=1e-12), name
    nothing = cut(outputs, np.full_like(labels, np.nan), 50)
    for name in ("acc", "micro_f1", "macro_f1", "roc_auc", "average_precision", "mse", "rmse", "mae"):
        assert value(name, *nothing) is None


@pytest.mark.parametrize("shape", [(90,), (90, 3)])
def test_numbers(rng, shape):
    labels, outputs = rng.standard_normal(shape), rng.standard_normal(shape)
    batches = cut(outputs, labels, 30)
    mse = sk.mean_squared_error(labels, outputs)
    assert value("mse", *batches) == pytest.approx(mse, abs=1e-12)
    assert value("rmse", *batches) == pytest.approx(mse ** 0.5, abs=1e-12)
    assert value("mae", *batches) == pytest.approx(sk.mean_absolute_error(labels, outputs), abs=1e-12)
    known = rng.random(shape) < 0.6
    batches = cut(outputs, np.where(known, labels, np.nan), 30)
    mse = sk.mean_squared_error(labels[known], outputs[known])
    assert value("mse", *batches) == pytest.approx(mse, abs=1e-12)
    assert value("rmse", *batches) == pytest.approx(mse ** 0.5, abs=1e-12)
    assert value("mae", *batches) == pytest.approx(sk.mean_absolute_error(labels[known], outputs[known]), abs=1e-12)


def test_ranks(rng):
    ranks = rng.integers(1, 30, 100) + rng.integers(0, 2, 100) / 2
    batches = [(torch.tensor(ranks[:40]),), (torch.tensor(ranks[40:]),)]
    assert value("mrr", *batches) == pytest.approx(np.mean(1 / ranks), abs=1e-12)
    assert value("hits@3", *batches) == np.mean(ranks <= 3)
    rivals = np.ceil(ranks).astype(int) + rng.integers(0, 9, 100)
    batches = [(torch.tensor(ranks[part]), torch.tensor(rivals[part])) for part in (slice(40), slice(40, 100))]
    by_chance = (1 + (rivals + 1)) / 2
    assert value("amri", *batches) == pytest.approx(1 - (ranks - 1).mean() / (by_chance - 1).mean(), abs=1e-12)
    assert value("amri", (torch.ones(5), torch.arange(1, 6))) == 1


def test_ranks_as_by_chance_count_nothing_among_any_number():
    for rivals in 1, 10, 1000:
        ranks = torch.arange(1, rivals + 2)
        assert value("amri", (ranks, torch.full_like(ranks, rivals))) == 0


@pytest.mark.parametrize("name", ["acc", "macro_f1", "roc_auc", "average_precision", "mse", "mrr", "amri", "hits@3"])
def test_nothing_seen_is_no_value(name):
    assert value(name) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["acc", "macro_f1", "micro_f1", "roc_auc", "average_precision", "mse", "rmse", "mae",
                                  "mrr", "amri", "hits@3"])
def test_what_is_not_finite_has_no_figure(rng, name, bad):
    labels = rng.integers(0, 3, 30)
    outputs = rng.standard_normal((30, 3))
    if name in ("mse", "rmse", "mae", "mrr", "amri", "hits@3"):
        outputs = 1 + labels + 0.0
    batches = cut(outputs, labels, 20)
    assert np.isfinite(value(name, *batches))
    outputs.reshape(-1)[4] = bad
    assert np.isnan(value(name, *cut(outputs, labels, 20)))
    assert np.isnan(value(name, *cut(np.full_like(outputs, bad), labels, 20)))


@pytest.mark.parametrize("name", ["acc", "macro_f1", "roc_auc", "mse", "mae", "amri"])
def test_labels_that_are_missing_are_asked_for(name):
    with pytest.raises(DataError, match="labels: give them"):
        make_metric(name).add(torch.zeros(2, 2))
