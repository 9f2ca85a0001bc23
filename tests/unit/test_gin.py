"""The graph isomorphism network, as a layer and by name."""

import numpy as np
import pytest
import torch
from torch import nn

from blocks import LOOP, SCHEMA, counts, make_block, rows
from mpignn.errors import ConfigError
from mpignn.models import Hop
from mpignn.nn import make_model
from mpignn.nn.gin import GIN, GINConv
from mpignn.options import load_config
from mpignn.store.sizes import layer_sizes
from mpignn.train.tasks.goal import Goal, check_model

GOAL = Goal("node_classification", "node", (), "features", {"node": 6}, "labels", 0, None)


def config(*args):
    return load_config(None, {"model": "gin", "hidden": 8, "fanouts": (2, 2)} | ({"model_args": args} if args else {}))


@pytest.mark.parametrize("train_eps", [False, True])
@pytest.mark.parametrize("pair", [False, True])
def test_the_layer_and_its_gradients_are_those_of_pyg(train_eps, pair):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    torch.manual_seed(0)
    block, x = make_block([3, 0, 1, 9], 11), rows(11, 6).requires_grad_()
    inner = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    ours, theirs = GINConv(inner, 0.3, train_eps).double(), pyg.GINConv(inner, 0.3, train_eps).double()
    own = rows(4, 6, seed=1) if pair else x[:4]
    wanted = [*inner.parameters(), x]
    found = []
    for out, eps in ((ours(block, (x, own) if pair else x), ours.eps),
                     (theirs((x, own), **block.to_pyg()), theirs.eps)):
        found.append([out, *torch.autograd.grad(out.square().sum(), wanted + ([eps] if train_eps else []))])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)
    assert ours.state_dict()["eps"].shape == theirs.state_dict()["eps"].shape


@pytest.mark.parametrize("weighted", [False, True])
def test_the_layer_follows_its_formula(weighted):
    block, x = make_block([3, 0, 1, 7], 11), rows(11, 6)
    csc = block.csc[LOOP]
    weight = rows(csc.num_edges, 1)[:, 0] if weighted else None
    matrix = counts(csc, 11)
    if weighted:
        matrix = np.zeros_like(matrix, float)
        np.add.at(matrix, (np.repeat(np.arange(4), np.diff(csc.indptr)), csc.indices), weight.numpy())
    found = GINConv(eps=0.5).double()(block, x, weight)
    np.testing.assert_allclose(found, 1.5 * x[:4].numpy() + matrix @ x.numpy(), rtol=1e-12, atol=1e-12)
    assert GINConv()(make_block([], 3), rows(3, 6)).shape == (0, 6)


def test_the_model_is_made_by_name_with_eps_learnt_where_asked():
    for args, learnt in ((), 0), (("train_eps=false",), 0), (("train_eps=true",), 2):
        settings = config(*args)
        check_model(settings, SCHEMA, GOAL)
        model = make_model(settings.model, SCHEMA, {"node": 6}, 3, 2)
        names = [name for name, _ in model.named_parameters()]
        assert isinstance(model, GIN) and sum(name.endswith("eps") for name in names) == learnt
        hop = Hop({"node": 5.0}, {"node": 9.0}, {"node:to:node": 7.0})
        sizes = layer_sizes(settings, {"node": 6}, 3, [hop] * 2)
        assert sum(size.parameters for size in sizes) == sum(p.numel() for p in model.parameters())
        assert min(min(vars(size).values()) for size in sizes) > 0


def test_arguments_that_it_does_not_take_are_refused():
    with pytest.raises(ConfigError, match="model gin does not take eps; it takes: train_eps"):
        config("eps=1")
    with pytest.raises(ConfigError, match="--model-args train_eps=7: it must be true or false"):
        check_model(config("train_eps=7"), SCHEMA, GOAL)


def test_the_model_learns():
    torch.manual_seed(0)
    model = make_model(config("train_eps=true").model, SCHEMA, {"node": 6}, 2, 2)
    blocks, x = [make_block([4, 2, 0, 5, 3, 3], 10, 1), make_block([3, 0, 6], 6, 2)], rows(10, 6, torch.float32)
    optimizer, losses = torch.optim.Adam(model.parameters(), 0.02), []
    for step in range(60):
        loss = nn.functional.cross_entropy(model(blocks, x, step), torch.tensor([0, 1, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0] and all(layer.eps.item() != 0 for layer in model.layers)
