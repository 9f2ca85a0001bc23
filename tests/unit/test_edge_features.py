"""Layers that read features and weights of edges; PyTorch Geometric's and formulas are the oracles."""

import numpy as np
import pytest
import torch
from torch import nn

from blocks import LOOP, make_block, rows
from mpignn.errors import ConfigError, DataError
from mpignn.nn import GATConv, GATv2Conv, GINConv, GINEConv

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


@pytest.mark.parametrize("kind", ["GATConv", "GATv2Conv"])
def test_attention_that_reads_edges_is_that_of_pyg(kind):
    pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")
    block, x = make_block(DEGREES, SOURCES), rows(SOURCES, 6).requires_grad_()
    e = rows(block.csc[LOOP].num_edges, 3, seed=2).requires_grad_()
    if kind == "GATConv":
        ours = randomised(GATConv(6, 4, 2, edge_feats=3))
        theirs = pyg.GATConv(6, 4, 2, add_self_loops=False, edge_dim=3).double()
        given = {"lin.weight": ours.fc.weight, "att_src": ours.attn_l, "att_dst": ours.attn_r, "bias": ours.bias,
                 "lin_edge.weight": ours.fc_edge.weight, "att_edge": ours.attn_e}
        theirs.load_state_dict(given)
    else:
        ours = randomised(GATv2Conv(6, 4, 2, edge_feats=3))
        theirs = pyg.GATv2Conv(6, 4, 2, add_self_loops=False, edge_dim=3).double()
        given = {"att": ours.attn, "lin_edge.weight": ours.fc_edge.weight, "bias": torch.zeros(8).double()}
        theirs.load_state_dict(given | {f"lin_{side}.{what}": getattr(getattr(ours, f"fc_{end}"), what) for side, end
                                        in (("l", "src"), ("r", "dst")) for what in ("weight", "bias")})
    out = theirs((x, x[:4]), block.edge_index, e)
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
            (lambda: GATConv(6, 4, 2, self_loops=True, edge_feats=3), ConfigError, "loops have no features"),
            (lambda: GATConv(6, 4, 2).double()(block, x, edge_feat=e), ConfigError, "made without edge_feats"),
            (lambda: GATv2Conv(6, 4, 2, edge_feats=3).double()(block, x), ConfigError, "given no edge_feat"),
            (lambda: GATConv(6, 4, 2).double()(block, x, edge_weight=e[:5, 0]), DataError, "5")):
        with pytest.raises(error, match=part):
            call()
    assert not hasattr(GINConv(), "fc_edge")
