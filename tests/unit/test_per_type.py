"""Models for one edge type on graphs with several: PyTorch Geometric's layers in its `HeteroConv` are the oracle."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from blocks import HETERO, hetero_block, rows
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.models import COMBINED_BY, MODELS, check_types, takes_types
from mpignn.nn import make_model
from mpignn.nn.per_type import TypeAttention

PER_TYPE = [name for name, model in MODELS.items() if model.per_type]
RELATIONS = Schema(("n",), (("n", "a", "n"), ("n", "b", "n")))
ONE_WAY = Schema(("user", "item"), (("user", "likes", "item"), ("user", "knows", "user"), ("user", "sells", "item")))
UNREACHED = Schema(("user", "item", "shop"), (("user", "likes", "item"), ("shop", "sells", "item")))
SCHEMAS = [HETERO, RELATIONS, ONE_WAY, UNREACHED]
SIZES = ((9, 6, 5), (4, 3, 2), (2, 1, 1))


def make(name, schema, in_feats, combine="sum", layers=2, **settings):
    torch.manual_seed(0)
    config = ModelConfig(model=name, hidden=8, heads=2, out_heads=3, norm="right", combine=combine, **settings)
    model = make_model(config, schema, in_feats, 3, layers).double()
    for value in model.parameters():        # biases that start at 0 would hide
        nn.init.normal_(value, std=0.5)
    return model


def two_blocks(schema, edges=True):
    """Those of two layers; without edges each destination is all that it has."""
    found, count = [], len(schema.ntypes)
    for seed, (src, dst) in enumerate(itertools.pairwise(SIZES)):
        block = hetero_block(seed, 5, src[:count], dst[:count], schema)
        for etype in schema.etypes:
            if not edges:
                block.csc[etype] = type(block.csc[etype])(0 * block.csc[etype].indptr, block.csc[etype].indices[:0])
            block.in_degrees[etype] = np.diff(block.csc[etype].indptr)
        found.append(block)
    return found


def inputs(schema, in_feats):
    return {t: rows(n, in_feats[t], seed=k) for k, (t, n) in enumerate(zip(schema.ntypes, SIZES[0], strict=False))
            if t in in_feats}


def of_pyg(pyg, name, stack, number):
    """The layer of PyTorch Geometric that is one of a model's, with its parameters."""
    ours, state = stack.layers[number], stack.layers[number].state_dict()
    if name.startswith("gin"):      # edges have no features here: see test_edge_features.py
        theirs = pyg.GINConv(copy.deepcopy(ours.apply_func)).double()       # which draws its parameters anew
        theirs.nn.load_state_dict(ours.apply_func.state_dict())
        return theirs
    if name == "sage":
        theirs = pyg.SAGEConv((8, 8), ours.fc_self.out_features).double()
        given = {"lin_l.weight": "fc_neigh.weight", "lin_l.bias": "fc_self.bias", "lin_r.weight": "fc_self.weight"}
        theirs.load_state_dict({there: state[here] for there, here in given.items()})
    elif name == "gcn":
        theirs = pyg.GraphConv(8, ours.weight.shape[1], aggr="mean").double()
        theirs.load_state_dict({"lin_rel.weight": state["weight"].T, "lin_rel.bias": state["bias"],
                                "lin_root.weight": 0 * state["weight"].T})
    elif name == "gat":
        theirs = pyg.GATConv(8, ours.out_feats, ours.num_heads, number == 0, add_self_loops=False).double()
        bias = state["bias"] if number == 0 else state["bias"].view(ours.num_heads, -1).mean(0)
        theirs.load_state_dict({"att_src": state["attn_l"], "att_dst": state["attn_r"], "bias": bias,
                                "lin.weight": state["fc.weight"]})
    else:
        theirs = pyg.GATv2Conv(8, ours.out_feats, ours.num_heads, number == 0, add_self_loops=False).double()
        theirs.load_state_dict({"att": state["attn"], "bias": 0 * theirs.state_dict()["bias"]} | {
            f"lin_{side}.{what}": state[f"fc_{end}.{what}"] for side, end in (("l", "src"), ("r", "dst"))
            for what in ("weight", "bias")})
    return theirs


@pytest.mark.filterwarnings("ignore:There exist node types")      # which PyTorch Geometric leaves out
@pytest.mark.parametrize("schema", SCHEMAS, ids=["two ways", "relations", "one way", "unreached"])
@pytest.mark.parametrize("combine", COMBINED_BY)
@pytest.mark.parametrize("name", PER_TYPE)
def test_rows_and_gradients_are_those_of_pyg(name, combine, schema):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    in_feats = {"user": 6, "item": 4, "n": 8}
    in_feats = {t: in_feats[t] for t in schema.ntypes if t in in_feats}
    model, blocks = make(name, schema, in_feats, combine).eval(), two_blocks(schema)

    def theirs(x):
        x = model.entering(blocks[0], x)
        for number, block in enumerate(blocks):
            layers = {etype: of_pyg(pyg, name, stack, number)
                      for etype, stack in zip(schema.etypes, model.stacks.values(), strict=True)}
            edges = {etype: block[etype].edge_index for etype in schema.etypes}
            across, own = model.layers[number], {t: of[:block.num_dst[t]] for t, of in x.items()}
            if across.attention is None:
                found = pyg.HeteroConv(layers, combine)(x, edges)
            else:
                found = {}
                for t in {dst for _, _, dst in schema.etypes}:
                    z = torch.stack([layer((x[e[0]], x[t]), edges[e]) for e, layer in layers.items() if e[2] == t])
                    weights = (torch.tanh(z @ across.attention.project.weight.T + across.attention.project.bias)
                               @ across.attention.query).softmax(0)
                    found[t] = (weights * z).sum(0)
            x = {t: found[t][:block.num_dst[t]] if t in found else 0 for t in schema.ntypes}
            for n, t in enumerate(schema.ntypes):
                if str(n) in across.own:
                    x[t] = x[t] + own[t] @ across.own[str(n)].weight.T + across.own[str(n)].bias
            if number == 0:
                x = {t: nn.functional.elu(of) if name.startswith("gat") else torch.relu(of) for t, of in x.items()}
        return x
    x = {t: of.requires_grad_() for t, of in inputs(schema, in_feats).items()}
    found = []
    for out in model(blocks, x), theirs(x):
        assert set(out) == set(schema.ntypes)
        slopes = torch.autograd.grad(sum(of.square().sum() for of in out.values()), [*x.values()], allow_unused=True)
        found.append([*(out[t] for t in schema.ntypes), *slopes])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name, combine", [*((name, "attention") for name in PER_TYPE), ("sage", "max"),
                                           ("sage", "mean")])
def test_gradients_are_the_slopes(name, combine):
    model, blocks = make(name, HETERO, {"user": 3}, combine, 2), two_blocks(HETERO)
    names, values = zip(*model.named_parameters(), strict=True)

    def call(x, *values):
        state = dict(zip(names, values, strict=True))
        return tuple(torch.func.functional_call(model, state, (blocks, {"user": x}), {"key": 3}).values())
    assert torch.autograd.gradcheck(call, (rows(9, 3).requires_grad_(), *values), fast_mode=True)


@pytest.mark.parametrize("edges", [True, False])
@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", PER_TYPE)
def test_every_node_gets_a_row_and_draws_do_not_depend_on_the_batch(name, schema, edges):
    """Types without features, without in-edges, without edges; the rows of some nodes are those among more nodes."""
    model, blocks = make(name, schema, {schema.ntypes[0]: 6}, "attention", dropout=0.5), two_blocks(schema, edges)
    x = inputs(schema, {schema.ntypes[0]: 6})
    out = model(blocks, x, key=1)
    assert {t: tuple(of.shape) for t, of in out.items()} == {
        t: (n, 3) for t, n in zip(schema.ntypes, SIZES[-1], strict=False)}
    last = blocks[-1]
    for etype, csc in last.csc.items():     # the first destination of each type alone
        last.csc[etype] = type(csc)(csc.indptr[:2], csc.indices[:csc.indptr[1]])
        last.in_degrees[etype] = last.in_degrees[etype][:1]
    last.num_dst.update(dict.fromkeys(schema.ntypes, 1))
    last.dst_orig.update({t: of[:1] for t, of in last.dst_orig.items()})
    for t, alone in model(blocks, x, key=1).items():
        torch.testing.assert_close(alone, out[t][:1], rtol=1e-12, atol=1e-12)


def test_attention_across_types_leans_on_some():
    attention, parts = TypeAttention(2).double(), [torch.tensor([[1.0, 0.0]]).double(), torch.zeros(1, 2).double()]
    attention.project.weight.data, attention.project.bias.data = torch.eye(2).double() * 20, torch.zeros(2).double()
    attention.query.data = torch.tensor([[50.0], [0.0]]).double()
    torch.testing.assert_close(attention(parts), parts[0])


def test_models_that_cannot_tell_types_apart_are_refused():
    able = " or ".join(name for name, model in MODELS.items() if model.learns and takes_types(model))
    for name, model in MODELS.items():
        if takes_types(model):
            check_types(model, HETERO)
        else:
            with pytest.raises(ConfigError, match=f"the model {name} takes one of each; choose --model {able}, or"):
                check_types(model, HETERO)
