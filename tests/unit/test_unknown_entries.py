"""Labels and numbers of which some are not known: what is known alone is learnt."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from services import make_graph, serve

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.graph import DistGraph
from mpignn.train import api
from mpignn.train.tasks.goal import Goal
from mpignn.train.tasks.node import NodeClassification, NodeMultilabel, NodeRegression

NAN = torch.nan
IDS = np.arange(3)


def loss_and_slopes(kind, outputs, labels, entries):
    task = object.__new__(kind)         # of no graph
    task.entries, task.goal = entries, Goal("", None, (), "", {}, None, 0, None)
    said = outputs.clone().requires_grad_()
    loss = task.loss_of(said, labels)
    loss.backward()
    return loss.item(), said.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_several_labels(dtype):
    outputs = torch.tensor([[0.5, -1.0], [2.0, 3.0], [1.0, 0.0]], dtype=torch.float64)
    stored = torch.tensor([[1, -1], [-1, -1], [0, 1]], dtype=dtype)
    labels = object.__new__(NodeMultilabel).shaped(stored)
    assert labels.isnan().tolist() == [[False, True], [True, True], [False, False]]
    loss, slopes = loss_and_slopes(NodeMultilabel, outputs, labels, 1.5)
    share = [1 / (1 + math.exp(-x)) for x in (0.5, 1.0, 0.0)]
    assert loss == pytest.approx(-(math.log(share[0]) + math.log(1 - share[1]) + math.log(share[2])) / 1.5)
    expected = torch.tensor([[share[0] - 1, 0], [0, 0], [share[1], share[2] - 1]], dtype=torch.float64) / 1.5
    torch.testing.assert_close(slopes, expected)


def test_unsigned_labels_have_no_word_for_unknown():
    for stored in (torch.tensor([[0, 1]], dtype=torch.uint8), torch.tensor([[False, True]])):
        assert object.__new__(NodeMultilabel).shaped(stored).tolist() == [[0, 1]]


def test_several_numbers():
    outputs = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    loss, slopes = loss_and_slopes(NodeRegression, outputs, torch.tensor([[0.0, NAN], [NAN, 1.0]]), 0.5)
    assert loss == (1 + 9) / 0.5
    assert slopes.tolist() == [[4, 0], [0, 12]]


def test_seeds_of_which_nothing_is_known_teach_nothing():
    for kind in NodeMultilabel, NodeRegression:
        loss, slopes = loss_and_slopes(kind, torch.ones(3, 2), torch.full((3, 2), NAN), 1.0)
        assert loss == 0 and not slopes.any()


LABELS = [[0, 1], [1, -1], [NAN, 0]]


@pytest.fixture
def graph():
    """Makes a graph of three papers with labels, all of them in the split train; the graph is closed in the end."""
    made = []

    def make(labels) -> DistGraph:
        data = make_graph({"paper": 3}, {("paper", "cites", "paper"): ([0, 1, 2], [1, 2, 0])})
        data = replace(data, node_data={"paper": {"labels": np.array(labels)}})
        made.append(DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), {"paper": {"train": IDS}}))
        return made[-1]
    yield make
    for g in made:
        g.close()


@pytest.mark.parametrize("value", [0.5, 1.5, -0.5, -2, 2, -np.inf])
def test_labels_are_0_or_1_or_unknown_and_nothing_between(graph, value):
    config = load_config(None, {"task": "node_multilabel"})
    assert NodeMultilabel(graph(LABELS), config).entries == 4 / 3
    with pytest.raises(DataError, match=f"labels of paper 1, in split train, is {value}: entries are 0 or 1, and -1"):
        NodeMultilabel(graph([[0, 1], [1, value], [1, 1]]), config)


def test_a_task_with_a_goal_of_ones_own_says_what_it_lacks_and_fit_gives_it(graph, tmp_path, monkeypatch):
    g, config = graph(LABELS), load_config(None, {"task": "node_multilabel", "run_dir": str(tmp_path)})
    goal = Goal("node_multilabel", "paper", (), "features", {"paper": 2}, "labels", 2, None)
    task = NodeMultilabel(g, config, goal)
    with pytest.raises(ConfigError, match=r"call task.check_labels\(g\) on all trainers"):
        task.loss_of(torch.zeros(1, 2), torch.zeros(1, 2))
    monkeypatch.setattr(api, "_fit", lambda *_: {})
    api.fit(g, torch.nn.Linear(2, 2), task, config)
    assert task.entries == 4 / 3
    task.loss_of(torch.zeros(1, 2), torch.zeros(1, 2))


def test_fit_refuses_classes_that_the_goal_of_another_graph_does_not_know(graph, tmp_path):
    goal = Goal("node_classification", "paper", (), "features", {"paper": 2}, "labels", 2, None)
    g, config = graph([0, 1, 2]), load_config(None, {"run_dir": str(tmp_path)})
    with pytest.raises(DataError, match="labels go up to 2, but the network tells 2 classes apart"):
        api.fit(g, torch.nn.Linear(2, 2), NodeClassification(g, config, goal), config)
