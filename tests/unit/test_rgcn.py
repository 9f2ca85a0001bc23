import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from blocks import HETERO, SCHEMA, counts, hetero_block, make_block, make_csc, rows
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.types import Schema
from mpignn.nn import RGCN, RelGraphConv, make_model
from mpignn.nn.rgcn import REGULARIZERS


def relation_weights(layer):
    """(R, F, G) matrices of the relations, spelt out, in NumPy."""
    linear = layer.linear_r
    stored = linear.W.detach().numpy()
    if linear.regularizer is None:
        return stored
    if linear.regularizer == "basis":
        return np.einsum("rb,bfg->rfg", linear.coeff.detach().numpy(), stored)
    full = np.zeros((len(stored), linear.in_size, linear.out_size))
    f, g = linear.in_size // linear.num_bases, linear.out_size // linear.num_bases
    for r, row in enumerate(stored):
        for b in range(linear.num_bases):
            full[r, b * f:(b + 1) * f, b * g:(b + 1) * g] = row.reshape(linear.num_bases, f, g)[b]
    return full


def dense_layer(layer, block, x):
    weights, out = relation_weights(layer), {}
    for t in block.schema.ntypes:
        out[t] = np.zeros((block.num_dst[t], layer.linear_r.out_size))
        if layer.loop_weight is not None:
            out[t] += x[t][:block.num_dst[t]] @ layer.loop_weight.detach().numpy()
        if layer.h_bias is not None:
            out[t] += layer.h_bias.detach().numpy()
    for r, etype in enumerate(block.schema.etypes):
        count = counts(block.csc[etype], len(x[etype[0]]))
        if layer.norm == "right":
            count = count / np.maximum(count.sum(1, keepdims=True), 1)
        out[etype[2]] += count @ x[etype[0]] @ weights[r]
    return out


def randomised(*args, **options):
    torch.manual_seed(0)
    layer = RelGraphConv(*args, **options).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("regularizer, bases", [(None, None), ("basis", 2), ("basis", None), ("bdd", 3)])
@pytest.mark.parametrize("norm", ["right", "none"])
@pytest.mark.parametrize("plain", [False, True])
def test_layer_follows_its_formula(regularizer, bases, norm, plain):
    layer = randomised(6, 9, 3, regularizer, bases, bias=not plain, self_loop=not plain, norm=norm)
    block, x = hetero_block(), {"user": rows(7, 6), "item": rows(5, 6, seed=1)}
    found, expected = layer(block, x), dense_layer(layer, block, {t: v.numpy() for t, v in x.items()})
    for t in HETERO.ntypes:
        np.testing.assert_allclose(found[t].detach().numpy(), expected[t], rtol=1e-12, atol=1e-12)


def test_one_relation_takes_a_tensor():
    layer, block, x = randomised(6, 4, 1), make_block([2, 0, 3], 7), rows(7, 6)
    expected = dense_layer(layer, block, {"node": x.numpy()})["node"]
    np.testing.assert_allclose(layer(block, x).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("regularizer", [None, *REGULARIZERS])
def test_gradients_are_the_slopes(regularizer):
    layer, block = randomised(2, 4, 3, regularizer, 2), hetero_block()
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(user, item, *values):
        state = dict(zip(names, values, strict=True))
        return tuple(torch.func.functional_call(layer, state, (block, {"user": user, "item": item})).values())
    assert torch.autograd.gradcheck(call, (rows(7, 2).requires_grad_(), rows(5, 2).requires_grad_(), *values))


def test_parameters_have_the_names_and_shapes_of_dgl():
    shapes = {name: tuple(value.shape) for name, value in RelGraphConv(6, 4, 5, "basis", 3).state_dict().items()}
    assert shapes == {"linear_r.W": (3, 6, 4), "linear_r.coeff": (5, 3), "h_bias": (4,), "loop_weight": (6, 4)}
    assert RelGraphConv(6, 4, 5, "bdd", 2).linear_r.W.shape == (5, 12)
    assert RelGraphConv(6, 4, 5).linear_r.W.shape == (5, 6, 4)


def test_stack_brings_all_types_to_one_width_and_learns_rows_for_those_without_features():
    torch.manual_seed(0)
    model = RGCN(HETERO, {"user": 6}, 8, 3, 2, bases=2, regularizer="basis").double().eval()
    one, two = hetero_block(), hetero_block(3, num_src=(4, 3), num_dst=(2, 1))
    x = {"user": rows(7, 6)}
    inputs = {"user": model.inputs["0"](x["user"]), "item": model.learnt["1"].expand(5, 8)}
    hidden = {t: torch.relu(h) for t, h in model.layers[0](one, inputs).items()}
    expected = model.layers[1](two, hidden)
    found = model([one, two], x)
    for t in HETERO.ntypes:
        assert torch.equal(found[t], expected[t])
    model.train()
    first, again = model([one, two], x, key=1), model([one, two], x, key=1)
    assert torch.equal(first["user"], again["user"]) and not torch.equal(first["user"], found["user"])


def test_features_of_the_only_node_type_enter_as_they_are():
    assert make_model(ModelConfig(model="rgcn", bases=2, hidden=8), HETERO, {"user": 6}, 3, 2).num_layers == 2
    assert len(make_model(ModelConfig(model="rgcn"), SCHEMA, {"node": 6}, 3, 2).inputs) == 0


def test_what_does_not_fit_is_refused():
    for call, message in [(lambda: RelGraphConv(6, 4, 3, "basic"), "basis, bdd"),
                          (lambda: RelGraphConv(6, 4, 3, "bdd", 4), "cut into 4 diagonal blocks"),
                          (lambda: RelGraphConv(6, 4, 3, norm="both"), "right, none"),
                          (lambda: RelGraphConv(6, 4, 2)(hetero_block(), {}), "2 relations, but the graph has 3")]:
        with pytest.raises(ConfigError, match=message):
            call()


class _Made(TorchDispatchMode):
    """Counts the elements of what is computed."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found._base is None:
            self.elements += found.numel()
        return found


@pytest.mark.parametrize(("regularizer", "bases"), [(None, None), ("basis", 2), ("bdd", 4)])
def test_the_gradient_of_many_relations_takes_no_more_than_a_few_times_their_matrices(regularizer, bases):
    relations, width = 40, 16
    schema = Schema(("n",), tuple(("n", f"r{number}", "n") for number in range(relations)))
    nodes, pairs = {"n": np.arange(5)}, make_csc([1] * 5, 5)
    block = Block(schema, nodes, {"n": 5}, nodes, dict.fromkeys(schema.etypes, pairs))
    layer = RelGraphConv(width, width, relations, regularizer, bases)
    with _Made() as made:
        layer(block, {"n": torch.ones(5, width)})["n"].sum().backward()
    assert made.elements < 16 * relations * width * width       # with the rows
