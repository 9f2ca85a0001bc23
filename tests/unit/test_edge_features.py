"""Layers that read features and weights of edges; PyTorch Geometric's and formulas are the oracles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from blocks import HETERO, LOOP, SCHEMA, hetero_block, make_block, rows
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.on_edges import OnEdges, find_on_edges
from mpignn.graph.types import ArrayInfo, etype_key
from mpignn.models import COMBINED_BY, MODELS
from mpignn.nn import GATConv, GATv2Conv, GINConv, GINEConv, make_model

DEGREES, SOURCES = [3, 0, 1, 9], 11


def randomised(layer):
    torch.manual_seed(0)
    for value in layer.double().parameters():
        nn.init.normal_(value, std=0.5)
    return layer


def agree(ours, theirs, wanted):
    found = [[out, *torch.autograd.grad(out.square().sum(), wanted)] for out in (ours, theirs)]
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("edge_feats", [None, 3])
def test_gine_is_that_of_pyg(edge_feats, pair):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    block, x = make_block(DEGREES, SOURCES), rows(SOURCES, 6).requires_grad_()
    e = rows(block.csc[LOOP].num_edges, edge_feats or 6, seed=2).requires_grad_()
    inner = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).double()
    ours = randomised(GINEConv(inner, 0.3, edge_feats=edge_feats, in_feats=6))
    theirs = pyg.GINEConv(inner, 0.3, edge_dim=edge_feats).double()
    theirs.nn = inner       # which it has drawn anew
    randomised(ours)
    if edge_feats:
        theirs.lin.load_state_dict(ours.fc_edge.state_dict())
    own = rows(4, 6, seed=1) if pair else x[:4]
    agree(ours(block, (x, own) if pair else x, e), theirs((x, own), block.edge_index, e), [x, e])


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("kind", ["GATConv", "GATv2Conv"])
def test_attention_that_reads_edges_is_that_of_pyg(kind, loops):
    """Of loops, which PyTorch Geometric makes of the nodes, the features are 0."""
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    block, x = make_block(DEGREES, SOURCES), rows(SOURCES, 6).requires_grad_()
    e = rows(block.csc[LOOP].num_edges, 3, seed=2).requires_grad_()
    if kind == "GATConv":
        ours = randomised(GATConv(6, 4, 2, self_loops=loops, edge_feats=3))
        theirs = pyg.GATConv(6, 4, 2, add_self_loops=False, edge_dim=3).double()
        given = {"lin.weight": ours.fc.weight, "att_src": ours.attn_l, "att_dst": ours.attn_r, "bias": ours.bias,
                 "lin_edge.weight": ours.fc_edge.weight, "att_edge": ours.attn_e}
        theirs.load_state_dict(given)
    else:
        ours = randomised(GATv2Conv(6, 4, 2, self_loops=loops, edge_feats=3))
        theirs = pyg.GATv2Conv(6, 4, 2, add_self_loops=False, edge_dim=3).double()
        given = {"att": ours.attn, "lin_edge.weight": ours.fc_edge.weight, "bias": torch.zeros(8).double()}
        theirs.load_state_dict(given | {f"lin_{side}.{what}": getattr(getattr(ours, f"fc_{end}"), what) for side, end
                                        in (("l", "src"), ("r", "dst")) for what in ("weight", "bias")})
    joined, given = block.edge_index, e
    if loops:
        joined, given = torch.cat([joined, torch.arange(4).expand(2, 4)], 1), torch.cat([e, e.new_zeros(4, 3)])
    out = theirs((x, x[:4]), joined, given)
    agree(ours(block, x, edge_feat=e).flatten(1), out, [x, e])


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("kind", [GATConv, GATv2Conv])
def test_a_weight_multiplies_the_share_of_its_edge(kind, self_loops):
    """What comes out is linear in the weights, and with weights of 1 what no weights give."""
    block, x = make_block([2, 0, 3], 7), rows(7, 6)
    layer, csc = randomised(kind(6, 4, 2, self_loops=self_loops)), make_block([2, 0, 3], 7).csc[LOOP]
    weight = rows(csc.num_edges, 1, seed=3)[:, 0].requires_grad_()
    torch.testing.assert_close(layer(block, x, edge_weight=torch.ones(csc.num_edges)), layer(block, x))
    zero, one, bias = layer(block, x, edge_weight=0 * weight), layer(block, x, edge_weight=weight), layer(block, x)
    single = [layer(block, x, edge_weight=torch.eye(csc.num_edges)[n]) - zero for n in range(csc.num_edges)]
    torch.testing.assert_close(one - zero, sum(w * of for w, of in zip(weight, single, strict=True)))
    torch.testing.assert_close(bias - zero, sum(single))
    assert torch.autograd.gradcheck(lambda w: layer(block, x, edge_weight=w), (weight,))
    if self_loops:
        assert not np.allclose(zero[0].detach(), layer(block, 0 * x, edge_weight=0 * weight)[0].detach())


def test_gradients_are_the_slopes():
    block, inner = make_block([3, 0, 2], 7), nn.Linear(4, 2)
    x, e = rows(7, 4).requires_grad_(), rows(5, 3, seed=1).requires_grad_()
    gine = randomised(GINEConv(inner, train_eps=True, edge_feats=3, in_feats=4))
    assert torch.autograd.gradcheck(lambda x, e: gine(block, x, e), (x, e))
    for kind in GATConv, GATv2Conv:
        layer = randomised(kind(4, 3, 2, edge_feats=3))
        assert torch.autograd.gradcheck(lambda x, e, layer=layer: layer(block, x, edge_feat=e), (x, e))


def test_what_does_not_go_together():
    block, x, e = make_block(DEGREES, SOURCES), rows(SOURCES, 6), rows(13, 3)
    for call, error, part in (
            (lambda: GINEConv()(block, x), ConfigError, "give edge_feat, or take GINConv"),
            (lambda: GINEConv(edge_feats=3), ConfigError, "give in_feats"),
            (lambda: GINEConv(edge_feats=3, in_feats=6).double()(block, x, e[:5]), DataError, "5"),
            (lambda: GATConv(6, 4, 2).double()(block, x, edge_feat=e), ConfigError, "made without edge_feats"),
            (lambda: GATv2Conv(6, 4, 2, edge_feats=3).double()(block, x), ConfigError, "given no edge_feat"),
            (lambda: GATConv(6, 4, 2).double()(block, x, edge_weight=e[:5, 0]), DataError, "5")):
        with pytest.raises(error, match=part):
            call()
    assert not hasattr(GINConv(), "fc_edge")


READERS = [name for name, model in MODELS.items() if model.reads_edges]
SCHEMAS = {"one type": SCHEMA, "several types": HETERO}


def stack_and_blocks(name, schema, **settings):
    """A model of two layers, and blocks with data of edges of all types but the second, if there is one."""
    torch.manual_seed(0)
    reads = MODELS[name].reads_edges
    read = {etype_key(etype): OnEdges("x" if "edge_feats" in reads else None, 3 if "edge_feats" in reads else 0,
                                      "w" if "edge_weight" in reads else None)
            for n, etype in enumerate(schema.etypes) if n != 1}
    config = ModelConfig(model=name, hidden=8, heads=2, norm="right", **settings)
    model = randomised(make_model(config, schema, dict.fromkeys(schema.ntypes, 6), 3, 2, read)).eval()
    blocks = [make_block([3, 0, 2, 1], 7, 1), make_block([2, 3], 4, 2)] if schema is SCHEMA else [
        hetero_block(1, 5, (9, 6), (5, 4)), hetero_block(2, 5, (5, 4), (3, 2))]
    for number, block in enumerate(blocks):
        for n, (etype, csc) in enumerate(block.csc.items()):
            block.in_degrees[etype] = np.diff(csc.indptr)
            if n != 1:
                block.edge_frames[etype] = {"x": rows(csc.num_edges, 3, torch.float32, 10 * number + n),
                                            "w": torch.arange(csc.num_edges) % 4}
    x = {t: rows(blocks[0].num_src_nodes(t), 6, seed=k) for k, t in enumerate(schema.ntypes)}
    return model, blocks, x["node"] if schema is SCHEMA else x


def outputs(made):
    return [made] if isinstance(made, torch.Tensor) else list(made.values())


@pytest.mark.parametrize("combine", COMBINED_BY)
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("name", READERS)
def test_models_read_the_data_of_the_edges_that_have_some(name, schema, combine):
    """A change of the data of an edge changes what its destination gets; twice the weight is the edge twice."""
    model, blocks, x = stack_and_blocks(name, schema, combine=combine)
    before = outputs(model(blocks, x))
    frame, changed = blocks[1].edge_frames[schema.etypes[0]], {"x", "w"} & set(
        {"edge_feats": "x", "edge_weight": "w"}[setting] for setting in MODELS[name].reads_edges)
    for field in changed:
        kept = frame[field]
        frame[field] = kept + 1
        after = outputs(model(blocks, x))
        frame[field] = kept
        assert any(not torch.allclose(a, b) for a, b in zip(before, after, strict=True)), field
    del frame[max(changed)]
    with pytest.raises(DataError, match=f"prefetch_edge_feats=.'{max(changed)}'"):
        model(blocks, x)


@pytest.mark.parametrize("name", [name for name in READERS if "edge_weight" in MODELS[name].reads_edges])
def test_weights_of_one_are_none(name):
    for schema in SCHEMAS.values():
        model, blocks, x = stack_and_blocks(name, schema)
        for block in blocks:
            for frame in block.edge_frames.values():
                frame["w"] = torch.ones(len(frame["w"]))
        weighted = outputs(model(blocks, x))
        for stack in [model] if schema is SCHEMA else model.stacks.values():
            stack.on_edges = replace(stack.on_edges, weight=None)
        for a, b in zip(weighted, outputs(model(blocks, x)), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", READERS)
def test_edge_types_apart_or_together_give_the_same(name):
    """The way of sums, which computes rows only where there are edges, is that of single edge types."""
    model, blocks, x = stack_and_blocks(name, HETERO)
    together = outputs(model(blocks, x))
    model._adds = None
    for a, b in zip(together, outputs(model(blocks, x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_data_that_layers_cannot_read_is_refused():
    infos = {info.name: info for info in (ArrayInfo("edge/node:to:node/data/x", np.dtype(np.float32), (3,)),
                                          ArrayInfo("edge/node:to:node/data/pic", np.dtype(np.float32), (3, 3)))}
    assert find_on_edges(SCHEMA, infos, "x", None) == {"node:to:node": OnEdges("x", 3, None)}
    for feats, weight, error, part in (("y", None, UnknownName, "--edge-feats: no edge type has data named 'y'; there "
                                                                "is: pic, x"),
                                       (None, "y", UnknownName, "--edge-weight: no edge type"),
                                       ("pic", None, DataError, "one row of numbers per edge"),
                                       (None, "x", DataError, "a weight is one number per edge")):
        with pytest.raises(error, match=part):
            find_on_edges(SCHEMA, infos, feats, weight)
