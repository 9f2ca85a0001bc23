"""The optimizer, and which graphs offer a goal."""

import numpy as np
import pytest
import torch

from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.types import ETYPE, NTYPE, ArrayInfo, Schema, etype_key
from mpignn.models import MODELS, takes_types
from mpignn.options import load_config
from mpignn.train.optimizer import Adam, FlatParameters
from mpignn.train.tasks.goal import check_model, find_goal

SCHEMA = Schema(("paper",), (("paper", "cites", "paper"),))
INFOS = {info.name: info for info in (
    ArrayInfo("node/paper/data/features", np.dtype(np.float32), (7,)),
    ArrayInfo("node/paper/data/counts", np.dtype(np.int64), (7,)),
    ArrayInfo("node/paper/data/labels", np.dtype(np.int64), ()))}
SPLITS = {"paper": {"train": np.arange(3)}}


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_adam_is_that_of_torch(decay):
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).double()
              for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    flat = FlatParameters(models[0].parameters())
    ours = Adam(flat, 0.01, weight_decay=decay)
    theirs = torch.optim.Adam(models[1].parameters(), lr=0.01, weight_decay=decay)
    for _ in range(20):
        x = torch.randn(6, 4, dtype=torch.float64)
        flat.grad.zero_()
        theirs.zero_grad()
        for model in models:
            model(x).square().sum().backward()
        ours.step()
        theirs.step()
    for mine, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_an_optimizer_goes_on_from_its_state():
    torch.manual_seed(0)
    start = torch.randn(6)
    runs = [FlatParameters([torch.nn.Parameter(start.clone())]) for _ in range(2)]
    first, second = (Adam(flat, 0.1) for flat in runs)
    gradients = torch.randn(6, 6)
    for gradient in gradients:
        runs[0].grad.copy_(gradient)
        first.step()
    for number, gradient in enumerate(gradients):
        if number == 3:
            state, second = second.state(), Adam(runs[1], 0.1)
            second.load_state(state)
        runs[1].grad.copy_(gradient)
        second.step()
    assert torch.equal(runs[0].values, runs[1].values)


def test_a_parameter_without_gradient_has_zeros():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    flat = FlatParameters([used, unused])
    (used * 3).sum().backward()
    assert flat.grad.tolist() == [3, 3, 0, 0]
    flat.values += 1
    assert unused.tolist() == [2, 2]


def test_a_model_for_one_type_takes_no_more():
    two = Schema(("paper", "author"), SCHEMA.etypes)
    for name in ("sage", "gcn", "gat", "gatv2", "mlp", "rgcn"):
        config = load_config(None, {"model": name})
        check_model(config, SCHEMA, goal())
        if takes_types(MODELS[name]):
            check_model(config, two, goal())
        else:
            with pytest.raises(ConfigError, match="2 node types"):
                check_model(config, two, goal())
    apart = Schema(("paper", "author"), (("author", "writes", "paper"),))
    with pytest.raises(ConfigError, match="author:writes:paper joins two node types; choose --norm right"):
        check_model(load_config(None, {"model": "gcn"}), apart, goal())


def goal(schema=SCHEMA, infos=INFOS, splits=SPLITS, **flags):
    return find_goal(load_config(None, flags), schema, infos, splits)


def test_the_goal_of_a_graph():
    assert (goal().ntype, dict(goal().columns), goal().labels) == ("paper", {"paper": 7}, "labels")
    assert goal(target_ntype="paper") == goal()


TWO = {"schema": Schema(("paper", "author"), (("author", "writes", "paper"),))}
LIKES, KNOWS = ("paper", "likes", "paper"), ("paper", "knows", "paper")
TYPED = {"schema": Schema(("paper",), (LIKES, KNOWS)), "model": "rgcn", "infos": INFOS | {
    info.name: info for info in (ArrayInfo("edge/paper:likes:paper/data/labels", np.dtype(np.int64), ()),
                                 ArrayInfo("edge/paper:likes:paper/data/weight", np.dtype(np.float32), (2,)),
                                 ArrayInfo("edge/paper:likes:paper/data/message", np.dtype(bool), ()))},
    "splits": {"paper:likes:paper": {"train": np.arange(3)}, "paper:knows:paper": {"train": np.arange(2)}}}


def test_goals_about_edges():
    links = goal(**TYPED, task="link_prediction", edge_mask="message")
    assert (links.etypes, links.labels, links.edge_mask, links.ntype) == ((LIKES, KNOWS), None, "message", None)
    assert goal(**TYPED, task="link_prediction", target_etype="knows").etypes == (KNOWS,)
    classes = goal(**TYPED, task="edge_classification", target_etype="likes")
    assert (classes.etypes, classes.labels) == ((LIKES,), "labels")
    numbers = goal(**TYPED, task="edge_regression", target_etype="paper:likes:paper", labels="weight")
    assert numbers.outputs == 2


@pytest.mark.parametrize(("change", "error", "part"), [
    ({"task": "edge_classification"}, DataError, "2 edge types have a split.*--target-etype"),
    ({"task": "edge_classification", "target_etype": "knows"}, UnknownName, "paper:knows:paper/data/labels"),
    ({"task": "edge_classification", "target_etype": "likes", "labels": "weight"}, DataError, "class per edge"),
    ({"task": "link_prediction", "target_etype": "hates"}, UnknownName, "is unknown"),
    ({"task": "link_prediction", "edge_mask": "massage"}, UnknownName, "'massage'"),
    ({"task": "link_prediction", "splits": {}}, DataError, "split/<src:rel:dst>/train"),
    ({"task": "link_prediction", "target_etype": "knows", "splits": {"paper:likes:paper": {"train": np.arange(3)}}},
     DataError, "paper:knows:paper, which --target-etype asks for.*choose paper:likes:paper.*split/paper:knows:pap"),
])
def test_a_graph_that_offers_no_goal_about_edges(change, error, part):
    with pytest.raises(error, match=part):
        goal(**TYPED | change)


@pytest.mark.parametrize(("change", "error", "part"), [
    ({"features": "feature"}, UnknownName, "data there: features, counts, labels"),
    ({"features": "labels"}, DataError, "one row of numbers"),
    ({"labels": "features"}, DataError, "whole number"),
    ({"target_ntype": "author"}, UnknownName, "'author' is not one of: paper"),
    ({"splits": {}}, DataError, "split/paper/train"),
    ({"splits": {"paper": {"train": np.arange(0)}}}, DataError, "split/paper/train"),
    ({"schema": Schema((NTYPE,), (ETYPE,)), "splits": {}}, DataError, "train_mask"),
    ({"schema": Schema((NTYPE,), (ETYPE,)), "splits": {etype_key(ETYPE): {"train": np.arange(3)}}}, DataError,
     "train: --task link_prediction learns edges _N:_E:_N, which have one; or give the source train_mask"),
    (TWO | {"target_ntype": "author"}, DataError,
     "no split named train of author, which --target-ntype asks for: choose paper, or give the source split/author/"),
    (TWO | {"splits": {}}, DataError, "no split named train: give the source split/<ntype>/train"),
    (TWO | {"splits": SPLITS | {"author": {"train": np.arange(3)}}}, DataError, r"--target-ntype \(paper, author\)"),
])
def test_a_graph_that_offers_no_goal(change, error, part):
    with pytest.raises(error, match=part):
        goal(**change)
