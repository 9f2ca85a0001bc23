import numpy as np
import pytest
import torch
from torch.nn.functional import elu, leaky_relu

from blocks import LOOP, ends, make_block, rows
from mpignn.errors import ConfigError, DataError
from mpignn.graph.csc import with_self_loops
from mpignn.nn import GAT, GATConv, GATv2Conv


def dense_layer(layer, block, x, own, loops):
    """The formulas of the layers, destination by destination, in torch operators."""
    csc = with_self_loops(block.csc[LOOP]) if loops else block.csc[LOOP]
    heads, columns = layer.num_heads, layer.out_feats
    if isinstance(layer, GATConv):
        src, dst = (layer.fc_src, layer.fc_dst) if hasattr(layer, "fc_src") else (layer.fc, layer.fc)
    else:
        src, dst = layer.fc_src, layer.fc_dst
    z, y = src(x).view(-1, heads, columns), dst(own).view(-1, heads, columns)
    out = []
    for d in range(csc.num_dst):
        picked = z[torch.from_numpy(csc.indices[csc.indptr[d]:csc.indptr[d + 1]]).long()]
        if isinstance(layer, GATConv):
            logits = leaky_relu((picked * layer.attn_l).sum(-1) + (y[d] * layer.attn_r[0]).sum(-1), 0.2)
        else:
            logits = (leaky_relu(picked + y[d], 0.2) * layer.attn).sum(-1)
        out.append((torch.softmax(logits, 0)[:, :, None] * picked).sum(0))
    out = torch.stack(out)
    if layer.res_fc is not None:
        out = out + layer.res_fc(own).view(-1, heads, columns)
    if isinstance(layer, GATConv) and layer.bias is not None:
        out = out + layer.bias.view(heads, columns)
    return out


def randomised(layer):
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.double()


@pytest.mark.parametrize("kind", [GATConv, GATv2Conv])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("case", ["rows", "loops", "pair", "shared pair"])
def test_layer_follows_its_formula(kind, residual, case):
    sizes = (6, 3) if case == "pair" else 6
    layer = randomised(kind(sizes, 4, 3, residual=residual, bias=not residual, self_loops=case == "loops"))
    block, x = make_block([3, 0, 1, 9], 11), rows(11, 6)
    own = rows(4, 3 if case == "pair" else 6, seed=1) if "pair" in case else x[:4]
    found = layer(block, (x, own) if "pair" in case else x)
    torch.testing.assert_close(found, dense_layer(layer, block, x, own, case == "loops"), rtol=1e-10, atol=1e-10)
    assert found.shape == (4, 3, 4)


@pytest.mark.parametrize("kind", [GATConv, GATv2Conv])
def test_gradients_are_the_slopes(kind):
    layer, block = randomised(kind(3, 2, 2, attn_drop=0.4)), make_block([3, 0, 2], 6)
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (block, x, 5))
    assert torch.autograd.gradcheck(call, (rows(6, 3).requires_grad_(), *values))


def test_parameters_have_the_names_and_shapes_of_dgl():
    shapes = {name: tuple(value.shape) for name, value in GATConv(5, 4, 3, residual=True).state_dict().items()}
    assert shapes == {"fc.weight": (12, 5), "attn_l": (1, 3, 4), "attn_r": (1, 3, 4), "bias": (12,),
                      "res_fc.weight": (12, 5)}
    assert set(GATConv((5, 6), 4, 3, bias=False).state_dict()) == {"fc_src.weight", "fc_dst.weight", "attn_l", "attn_r"}
    shapes = {name: tuple(value.shape) for name, value in GATv2Conv(5, 4, 3).state_dict().items()}
    assert shapes == {"fc_src.weight": (12, 5), "fc_src.bias": (12,), "fc_dst.weight": (12, 5), "fc_dst.bias": (12,),
                      "attn": (1, 3, 4)}
    layer = GATv2Conv(5, 4, 3, share_weights=True)
    assert layer.fc_dst is layer.fc_src


def test_attention_dropout_is_a_function_of_destination_and_position():
    layer, x = randomised(GATConv(5, 64, 4, attn_drop=0.5, bias=False)), rows(9, 5)
    block = make_block([3, 5, 4], 9, key=1)
    whole = layer(block, x)
    assert torch.equal(whole, layer(block, x, key=1))
    assert not torch.equal(whole, layer(block, x, key=2))
    csc = block.csc[LOOP]
    alone = make_block([5], 9, key=1)       # the second destination in another trainer's block
    alone.csc[LOOP].indices[:] = csc.indices[3:8]
    alone.dst_orig = {"node": block.dst_orig["node"][1:2]}
    torch.testing.assert_close(layer(alone, (x, x[1:2])), whole[1:2])
    kept = layer.eval()(block, x)
    assert not torch.allclose(kept, whole)


def test_stack_concatenates_heads_and_averages_the_last():
    torch.manual_seed(0)
    model = GAT(7, 8, 3, 2, heads=4, out_heads=2).double().eval()
    blocks, x = [make_block([4, 2, 0, 5, 3, 3], 10, 1), make_block([3, 0, 6], 6, 2)], rows(10, 7)
    hidden = elu(dense_layer(model.layers[0], blocks[0], x, x[:6], True).flatten(1))
    expected = dense_layer(model.layers[1], blocks[1], hidden, hidden[:3], True).mean(1)
    torch.testing.assert_close(model(blocks, x), expected)


def test_loops_come_last_in_each_row():
    block = make_block([2, 0, 1], 5)
    looped = with_self_loops(block.csc[LOOP])
    src, dst = ends(looped)
    plain = block.csc[LOOP].indices
    np.testing.assert_array_equal(src, [plain[0], plain[1], 0, 1, plain[2], 2])
    np.testing.assert_array_equal(dst, [0, 0, 0, 1, 2, 2])
    assert looped.indices.dtype == np.int32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="9 hidden columns cannot be shared out among 2 heads"):
        GAT(3, 9, 2, 2, heads=2)
    with pytest.raises(ConfigError, match="probability"):
        GATConv(3, 4, 2, attn_drop=2.0)
    with pytest.raises(ConfigError, match="5 and 6 columns differ"):
        GATv2Conv((5, 6), 4, 2, share_weights=True)


def test_rows_by_node_type_are_refused():
    with pytest.raises(DataError, match="one node type"):
        GAT(4, 4, 2, 1, heads=1)([make_block([3, 0, 2], 6)], {"node": rows(6, 4)})
