"""Layers of PyTorch Geometric on blocks, unchanged."""

import pytest
import torch

from blocks import LOOP, hetero_block, make_block, rows
from mpignn.nn import GATConv, SAGEConv

pyg = pytest.importorskip("torch_geometric.nn", reason="the extra pyg is not installed")


def test_its_sage_layer_gives_what_ours_gives():
    block, x = make_block([3, 0, 1, 9], 11), rows(11, 6)
    torch.manual_seed(0)
    theirs, ours = pyg.SAGEConv(6, 4).double(), SAGEConv(6, 4).double()
    ours.load_state_dict({"fc_neigh.weight": theirs.lin_l.weight, "fc_self.bias": theirs.lin_l.bias,
                          "fc_self.weight": theirs.lin_r.weight})
    found = theirs((x, x[:block.num_dst_nodes()]), **block.to_pyg())
    torch.testing.assert_close(found, ours(block, x))
    assert torch.equal(block.edge_index, block.to_pyg()["edge_index"])


def test_its_gat_layer_gives_what_ours_gives():
    block, x = make_block([3, 2, 1, 9], 11), rows(11, 6)
    torch.manual_seed(0)
    theirs, ours = pyg.GATConv(6, 4, heads=3, add_self_loops=False).double(), GATConv(6, 4, 3).double()
    ours.load_state_dict({"fc.weight": theirs.lin.weight, "attn_l": theirs.att_src, "attn_r": theirs.att_dst,
                          "bias": theirs.bias})
    found = theirs((x, x[:block.num_dst_nodes()]), **block.to_pyg())
    torch.testing.assert_close(found, ours(block, x).flatten(1))
    (grad,) = torch.autograd.grad(found.square().sum(), [theirs.lin.weight])
    (ours_grad,) = torch.autograd.grad(ours(block, x).square().sum(), [ours.fc.weight])
    torch.testing.assert_close(grad, ours_grad)


def test_an_edge_type_of_several_runs_too():
    block, x = hetero_block(), {"user": rows(7, 6), "item": rows(5, 6)}
    torch.manual_seed(0)
    layer = pyg.GATConv((6, 6), 4, add_self_loops=False).double()
    out = layer((x["user"], x["item"][:block.num_dst_nodes("item")]), **block.to_pyg("likes"))
    assert out.shape == (3, 4)


def test_its_layers_stack_on_the_blocks_of_a_batch():
    blocks, x = [make_block([4, 2, 0, 5, 3, 3], 10, 1), make_block([3, 0, 6], 6, 2)], rows(10, 7, torch.float32)
    torch.manual_seed(0)
    layers = [pyg.SAGEConv(7, 8), pyg.GATConv(8, 3)]
    for layer, block in zip(layers, blocks, strict=True):
        x = layer((x, x[:block.num_dst_nodes()]), **block.to_pyg())
    x.sum().backward()
    assert all(p.grad is not None for layer in layers for p in layer.parameters())
    assert blocks[0].csc[LOOP].indices.dtype.itemsize == 4     # ours stays as it was
