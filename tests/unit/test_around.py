"""What goes around the layers, for every model and combination; modules of PyTorch Geometric are the oracle."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from blocks import HETERO, SCHEMA, hetero_block, rows
from mpignn.config import ModelConfig
from mpignn.models import JUMPS, MODELS
from mpignn.nn import make_model
from mpignn.nn.around import Around

NAMES = [name for name, model in MODELS.items() if model.around]
COMBINATIONS = list(itertools.product((False, True), (False, True), JUMPS, (0, 1, 3)))
# Of the combinations for one model and case: `make test` takes the first share, others of other models and cases.
SHARES = 4
shares = pytest.mark.parametrize("share", [pytest.param(n, marks=pytest.mark.long if n else ()) for n in range(SHARES)])
SIZES = {"one type": (SCHEMA, ((9,), (6,), (4,), (2,))), "types": (HETERO, ((9, 6), (5, 4), (4, 3), (2, 1)))}
IN, HIDDEN, OUT = {"node": 5, "user": 5}, 4, 3


def made(name, schema, residual=False, layer_norm=False, jk="last", out_layers=0, layers=3, dropout=0.5):
    torch.manual_seed(0)
    config = ModelConfig(model=name, hidden=HIDDEN, heads=2, out_heads=3, norm="right", residual=residual, jk=jk,
                         layer_norm=layer_norm, out_layers=out_layers, dropout=dropout)
    model = make_model(config, schema, {t: IN[t] for t in schema.ntypes if t in IN}, OUT, layers).double()
    for value in model.parameters():        # what starts at 0 or 1 would hide
        nn.init.normal_(value, std=0.5)
    return model


def given(case, layers=3):
    """Blocks, each of which the next one's sources are the destinations of; and rows that enter."""
    schema, sizes = SIZES[case]
    blocks = []
    for seed, (src, dst) in enumerate(itertools.pairwise(sizes[:layers + 1])):
        block = hetero_block(seed, 5, src, dst, schema)
        block.in_degrees.update({etype: np.diff(csc.indptr) for etype, csc in block.csc.items()})
        blocks.append(block)
    x = {t: rows(n, IN[t]) for t, n in zip(schema.ntypes, sizes[0], strict=True) if t in IN}
    return schema, blocks, x if case == "types" else x["node"]


def by_type(x, schema):
    return {schema.ntypes[0]: x} if isinstance(x, torch.Tensor) else x


def of_pyg(pyg, model, schema, blocks, x, residual, layer_norm, jk, out_layers):
    """What the modules of PyTorch Geometric make of the same layers, node type by node type."""
    activation = model.activation or (lambda of: of)
    x, seen = model.entering(blocks[0], x), []
    for number, block in enumerate(blocks):
        after, made = model.layers[number], by_type(model.inner.convolve(number, block, x, block.key), schema)
        for place, ntype in enumerate(schema.ntypes):
            out = made[ntype]
            if residual:
                own = by_type(x, schema)[ntype][:block.num_dst[ntype]]
                matrix = getattr(after.res_fc[place], "weight", None)
                out = out + (own if matrix is None else own @ matrix.T)
            if number < len(blocks) - 1 or len(model.readout):
                if layer_norm:
                    norm = pyg.LayerNorm(out.shape[1], mode="node").double()
                    norm.load_state_dict(after.norm[place].state_dict())
                    out = norm(out)
                out = activation(out.clone())
            made[ntype] = out
        x = made if isinstance(x, dict) else made[schema.ntypes[0]]
        seen.append(made)
    found = {}
    for ntype in schema.ntypes:
        own = [of[ntype][:blocks[-1].num_dst[ntype]] for of in seen]
        out = own[-1] if jk == "last" else pyg.JumpingKnowledge(jk, HIDDEN, len(own))(own)
        for number, linear in enumerate(model.readout):
            out = (activation if model.activation else torch.relu)(out.clone()) if number else out
            out = out @ linear.weight.T + linear.bias
        found[ntype] = out
    return found


def place(name, case) -> int:
    """The number of a model and a case."""
    return len(SIZES) * NAMES.index(name) + list(SIZES).index(case)


def is_around(name, residual, layer_norm, jk, out_layers):
    return residual or layer_norm or jk != "last" or out_layers > MODELS[name].reads_out


@shares
@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_every_combination_is_what_modules_of_pyg_make(name, case, share):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    schema, blocks, x = given(case)
    for options in COMBINATIONS[(share + place(name, case)) % SHARES::SHARES]:
        model = made(name, schema, *options).eval()
        assert isinstance(model, Around) == is_around(name, *options), options
        if isinstance(model, Around):
            assert len(model.readout) == max(options[3], options[2] != "last", MODELS[name].reads_out), options
            expected = of_pyg(pyg, model, schema, blocks, x, *options)
            for ntype, out in by_type(model(blocks, x), schema).items():
                assert out.shape == (blocks[-1].num_dst[ntype], OUT)
                torch.testing.assert_close(out, expected[ntype], rtol=1e-10, atol=1e-10, msg=str(options))


@shares
@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_layer_by_layer_and_alone_rows_are_the_same(name, case, share):
    """In training: with dropout; and the rows of the first destination of each type are those among more of them."""
    schema, blocks, x = given(case)
    last = blocks[-1]
    few = hetero_block(2, 5, tuple(last.num_src_nodes(t) for t in schema.ntypes), (1,) * len(schema.ntypes), schema)
    few.csc.update({e: type(csc)(csc.indptr[:2], csc.indices[:csc.indptr[1]]) for e, csc in last.csc.items()})
    few.in_degrees.update({e: of[:1] for e, of in last.in_degrees.items()})
    for options in COMBINATIONS[(share + place(name, case)) % SHARES::SHARES]:
        model = made(name, schema, *options)
        out, step = by_type(model(blocks, x, key=7), schema), x
        for number, block in enumerate(blocks):
            step = model.forward_layer(number, block, step, key=7)
        alone = by_type(model([*blocks[:-1], few], x, key=7), schema)
        for ntype, found in by_type(step, schema).items():
            torch.testing.assert_close(found, out[ntype], rtol=1e-12, atol=1e-12, msg=str(options))
            torch.testing.assert_close(alone[ntype], out[ntype][:1], rtol=1e-12, atol=1e-12, msg=str(options))


@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_slopes(name, case):
    """Of a few combinations for each model and case, all of them for the models together."""
    schema, blocks, x = given(case, layers=2)
    for options in COMBINATIONS[place(name, case)::len(NAMES) * len(SIZES)]:
        model = made(name, schema, *options, layers=2)
        names, values = zip(*model.named_parameters(), strict=True)

        def call(enters, *values, model=model, names=names):
            state = dict(zip(names, values, strict=True))
            enters = enters if isinstance(x, torch.Tensor) else {"user": enters}
            found = torch.func.functional_call(model, state, (blocks, enters), {"key": 3})
            return tuple(by_type(found, schema).values())
        enters = by_type(x, schema)[schema.ntypes[0]].clone().requires_grad_()
        assert torch.autograd.gradcheck(call, (enters, *values), fast_mode=True), options


@pytest.mark.parametrize("jk", ["last", "cat", "max"])
def test_graphsage_is_that_of_pyg(jk):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    model, (_, blocks, x) = made("sage", SCHEMA, False, True, jk, int(jk != "last")).eval(), given("one type")
    theirs = pyg.GraphSAGE(5, HIDDEN, 3, OUT, norm=pyg.LayerNorm(HIDDEN, mode="node"), jk=None if jk == "last" else jk)
    theirs = theirs.double().eval()
    for number, layer in enumerate(model.inner.layers):
        theirs.convs[number].load_state_dict({"lin_l.weight": layer.fc_neigh.weight, "lin_l.bias": layer.fc_self.bias,
                                              "lin_r.weight": layer.fc_self.weight})
    for number, norm in enumerate(theirs.norms[:2 + (jk != "last")]):
        norm.load_state_dict(model.layers[number].norm[0].state_dict())
    if jk != "last":
        theirs.lin.load_state_dict(model.readout[0].state_dict())
    seen, found = [], x
    for number, block in enumerate(blocks):     # the same steps as its forward, a block for each layer
        found = theirs.convs[number]((found, found[:block.num_dst["node"]]), block.edge_index)
        if number < 2 or jk != "last":
            found = theirs.act(theirs.norms[number](found))
        seen.append(found[:blocks[-1].num_dst["node"]])
    expected = found if jk == "last" else theirs.lin(theirs.jk(seen))
    torch.testing.assert_close(model(blocks, x), expected, rtol=1e-10, atol=1e-10)


def test_rows_of_16_bits_stay_such():
    _, blocks, x = given("types")
    model = made("sage", HETERO, True, True, "cat", 2).float()
    assert {out.dtype for out in model(blocks, {"user": x["user"].bfloat16()}).values()} == {torch.bfloat16}
