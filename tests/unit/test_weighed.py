"""What seeds count by their class, smoothed labels, and numbers that are learnt in deviations; torch is the oracle."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from services import make_graph, serve
from torch.nn import CrossEntropyLoss

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.graph import DistGraph
from mpignn.train.tasks.goal import Goal
from mpignn.train.tasks.node import NodeClassification, NodeRegression

LABELS = np.array([0, 0, 0, 1, 2, 2, 1, 0])
TRAIN, TEST = np.arange(6), np.array([6, 7])
OUTPUTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def graph():
    """Makes a graph of eight papers with labels, six of them in the split train; it is closed in the end."""
    made = []

    def make(labels) -> DistGraph:
        data = make_graph({"paper": 8}, {("paper", "cites", "paper"): ([0, 1, 2], [1, 2, 0])})
        data = replace(data, node_data={"paper": {"labels": np.array(labels)}})
        splits = {"paper": {"train": TRAIN, "test": TEST}}
        made.append(DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), splits))
        return made[-1]
    yield make
    for g in made:
        g.close()


@pytest.mark.parametrize(("asked", "weights"), [
    ("balanced", [6 / 9, 2.0, 1.0]), ("1,1,1", [1, 1, 1]), ("0,4,1", [0, 4, 1]), ("2e2,8e2,1e2", [2, 8, 1])])
@pytest.mark.parametrize("smoothing", [0, 0.3])
def test_the_loss_of_a_pass_is_that_of_torch(graph, asked, weights, smoothing):
    config = load_config(None, {"class_weights": asked, "label_smoothing": smoothing})
    task, labels = NodeClassification(graph(LABELS), config), torch.from_numpy(LABELS[:6])
    expected = CrossEntropyLoss(torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing)(OUTPUTS, labels)
    torch.testing.assert_close(task.loss_of(OUTPUTS, labels) / 6, expected)
    parts = sum(task.loss_of(OUTPUTS[n:n + 1], labels[n:n + 1]) for n in range(6))
    torch.testing.assert_close(parts / 6, expected)
    assert task.loss_of(OUTPUTS[:0], labels[:0]) == 0


def test_a_class_that_nobody_has_counts_nothing_by_balance(graph):
    task = NodeClassification(graph([0, 0, 0, 0, 2, 2, 1, 0]), load_config(None, {"class_weights": "balanced"}))
    assert task.weights.tolist() == [0.75, 0, 1.5]


@pytest.mark.parametrize(("asked", "part"), [
    ("1,2", "2 numbers, but labels of paper tell 3 classes apart"), ("0,0,0", "counts more than 0")])
def test_weights_that_do_not_fit_the_labels(graph, asked, part):
    with pytest.raises(ConfigError, match=part):
        NodeClassification(graph(LABELS), load_config(None, {"class_weights": asked}))


@pytest.mark.parametrize("asked", ["1,-1,1", "1,x,1", "balanced,1", "1,nan,1", "inf"])
def test_what_is_no_weight(asked):
    with pytest.raises(ConfigError, match="class-weights: .* is no weight: give a number of at least 0 for each class"):
        load_config(None, {"class_weights": asked})


def test_a_task_of_another_graph_gets_weights_when_it_is_to_learn(graph):
    goal = Goal("node_classification", "paper", (), "features", {"paper": 2}, "labels", 3, None)
    g, config = graph(LABELS), load_config(None, {"class_weights": "balanced"})
    task = NodeClassification(g, config, goal)
    assert task.weights is None
    task.check_labels(g)
    assert task.weights.tolist() == pytest.approx([6 / 9, 2, 1])


NUMBERS = np.array([[1990, 5], [2010, 5], [2000, np.nan], [1980, 5], [np.nan, 5], [2020, 5], [9, 9], [0, 1]])


def test_numbers_are_learnt_in_deviations_and_said_in_their_unit(graph):
    asked = {"task": "node_regression", "standardize_targets": True}
    task = NodeRegression(graph(NUMBERS), load_config(None, asked))
    deviation = np.sqrt(200)
    assert task.goal.means == (2000, 5) and task.goal.deviations == pytest.approx((deviation, 1))
    outputs = torch.tensor([[-1.0, 0], [0, 2]], dtype=torch.float64)
    said = torch.tensor([[2000 - deviation, 5], [2000, 7]], dtype=torch.float64)
    torch.testing.assert_close(task.decide(outputs), said)
    assert task.decide(outputs.float()).dtype == torch.float32
    labels = torch.tensor([[2000 - deviation, 4], [2000 + 3 * deviation, np.nan]], dtype=torch.float64)
    assert task.loss_of(outputs, labels).item() == pytest.approx((0 + 1 + 9) / task.entries)
    whole = NodeRegression(graph(NUMBERS), load_config(None, asked), task.goal)
    torch.testing.assert_close(whole.decide(outputs), said)
    plain = NodeRegression(graph(NUMBERS), load_config(None, {"task": "node_regression"}))
    assert plain.goal.means == () and plain.decide(outputs) is outputs


def test_metrics_are_in_the_unit_of_the_labels(graph, monkeypatch):
    task = NodeRegression(graph(NUMBERS), load_config(None, {"task": "node_regression", "standardize_targets": True}))
    batch = torch.zeros(2, 2), torch.tensor([[1990.0, 5], [2010, 5]])
    monkeypatch.setattr(task, "_sampled", lambda *_: iter([batch]))
    rmse, = task.measure(SimpleNamespace(trainers=LocalGroup()), None, None, "test")
    assert rmse.value(LocalGroup()) == pytest.approx(np.sqrt(50))
