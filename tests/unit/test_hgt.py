"""The heterogeneous graph transformer, as a layer and by name; PyTorch Geometric's layer is the oracle."""

import numpy as np
import pytest
import torch

from blocks import HETERO, SCHEMA, hetero_block, make_block, rows
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.nn import HGT, HGTConv, make_model

RELATIONS = Schema(("n",), (("n", "a", "n"), ("n", "b", "n")))
ONE_WAY = Schema(("user", "item"), (("user", "likes", "item"), ("user", "knows", "user"), ("user", "sells", "item")))


def made(schema, columns, width, heads):
    torch.manual_seed(0)
    layer = HGTConv(schema, columns, width, heads).double()
    for value in layer.parameters():        # what starts at 1 or 0 would hide
        torch.nn.init.normal_(value, std=0.7)
    return layer


def of_pyg(pyg, layer, schema, columns, width, heads):
    theirs = pyg.HGTConv(columns, width, (list(schema.ntypes), list(schema.etypes)), heads).double()
    state = {}
    for n, ntype in enumerate(schema.ntypes):
        for what in "weight", "bias":
            kv, q = getattr(layer.kv_lin[str(n)], what), getattr(layer.q_lin[str(n)], what)
            state[f"kqv_lin.lins.{ntype}.{what}"] = torch.cat([kv[:width], q, kv[width:]])
            state[f"out_lin.lins.{ntype}.{what}"] = getattr(layer.out_lin[str(n)], what)
        state[f"skip.{ntype}"] = layer.skip[str(n)]
    for what in "k_rel", "v_rel":
        state[f"{what}.weight"] = getattr(layer, what).transpose(0, 1).flatten(0, 1)
    for r, etype in enumerate(schema.etypes):
        state[f"p_rel.{'__'.join(etype)}"] = layer.p_rel[r:r + 1]
    theirs.load_state_dict(state)
    return theirs


@pytest.mark.parametrize("columns", [6, 8])
@pytest.mark.parametrize("schema", [HETERO, RELATIONS, ONE_WAY])
@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_layer_and_its_gradients_are_those_of_pyg(columns, schema, heads, seed):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    count, layer = len(schema.ntypes), made(schema, columns, 8, heads)
    block = hetero_block(seed, 0, (7, 5)[:count], (4, 3)[:count], schema)
    theirs = of_pyg(pyg, layer, schema, columns, 8, heads)
    x = {t: rows(n, columns, seed=n).requires_grad_() for t, n in zip(schema.ntypes, (7, 5), strict=False)}
    edges, found = {etype: block[etype].edge_index for etype in schema.etypes}, []
    for out in layer(block, x), theirs(x, edges):
        of_dst = [out[t][:block.num_dst[t]] for t in schema.ntypes]
        found.append([*of_dst, *torch.autograd.grad(sum(of.square().sum() for of in of_dst), list(x.values()))])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)


def test_gradients_are_the_slopes():
    layer, block = made(HETERO, 4, 4, 2), hetero_block()
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(user, item, *values):
        state = dict(zip(names, values, strict=True))
        return tuple(torch.func.functional_call(layer, state, (block, {"user": user, "item": item})).values())
    assert torch.autograd.gradcheck(call, (rows(7, 4).requires_grad_(), rows(5, 4).requires_grad_(), *values),
                                    fast_mode=True)


def test_a_node_without_in_edges_keeps_a_share_of_its_row():
    layer, block = made(HETERO, 8, 8, 2), hetero_block()
    for etype, csc in block.csc.items():
        block.csc[etype] = type(csc)(0 * csc.indptr, csc.indices[:0])
    x = {"user": rows(7, 8), "item": rows(5, 8)}
    for n, (ntype, out) in enumerate(layer(block, x).items()):
        share = layer.skip[str(n)].sigmoid()
        expected = share * layer.out_lin[str(n)].bias + (1 - share) * x[ntype][:block.num_dst[ntype]]
        torch.testing.assert_close(out, expected)


def test_one_type_of_each_and_the_output():
    torch.manual_seed(0)
    model = make_model(ModelConfig(model="hgt", hidden=8, heads=2), SCHEMA, {"node": 6}, 3, 2).eval()
    blocks, x = [make_block([4, 2, 0, 5, 3, 3], 10, 1), make_block([3, 0, 6], 6, 2)], rows(10, 6, torch.float32)
    hidden = model.layers[1](blocks[1], model.layers[0](blocks[0], {"node": x}))
    assert isinstance(model, HGT) and torch.equal(model(blocks, x), model.last(hidden["node"]))
    assert model(blocks, x.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="8 hidden columns cannot be shared out among 3 heads"):
        HGTConv(SCHEMA, 6, 8, 3)


def test_relations_without_edges_take_no_rows():
    """Only the sources that a relation has edges from are made its own: memory does not grow with the relations."""
    schema = Schema(("n",), tuple(("n", f"r{number}", "n") for number in range(30)))
    block, layer = hetero_block(0, 0, (50,), (4,), schema), made(schema, 8, 8, 2)
    full, (first, *others) = block.csc, schema.etypes
    for etype in others:
        full[etype] = type(full[etype])(0 * full[etype].indptr, full[etype].indices[:0])
    alone = hetero_block(0, 0, (50,), (4,), Schema(("n",), (first,)))
    one = made(Schema(("n",), (first,)), 8, 8, 2)
    state = {name: value[:1] if name.endswith("_rel") else value for name, value in layer.state_dict().items()}
    one.load_state_dict(state)
    x = {"n": rows(50, 8)}
    np.testing.assert_array_equal(layer(block, x)["n"].detach(), one(alone, x)["n"].detach())
