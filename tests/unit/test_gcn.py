import numpy as np
import pytest
import torch

from blocks import LOOP, counts, know_sources, make_block, rows
from mpignn.errors import ConfigError, DataError
from mpignn.nn import GCN, GraphConv
from mpignn.nn.gcn import NORMS

DEGREES = np.array([3, 2, 1, 9, 4, 4, 1, 2, 0, 5, 6])       # in the whole graph; the block samples 3, 0, 1 and 7


def dense_layer(layer, block, x, own):
    """The formula over a dense matrix of edge counts, in NumPy."""
    count, loops = counts(block.csc[LOOP], len(x)), float(layer.self_loops)
    sampled = count.sum(1)
    known = block.in_degrees.get(LOOP)
    if known is not None:
        whole = known[:len(count)]
        count = count * (whole / np.maximum(sampled, 1))[:, None] if layer.norm != "none" else count
        before, after = known, whole
    else:
        before, after = count.sum(0), sampled
    matrix = np.hstack([count, np.eye(len(count))]) if loops else count
    stacked = np.vstack([x, own]) if loops else x
    degree_u = np.concatenate([before, before[:len(count)]]) if loops else before
    degree_u, degree_v = np.maximum(degree_u + loops, 1), np.maximum(after + loops, 1)
    if layer.norm == "both":
        matrix = matrix / np.sqrt(degree_u) / np.sqrt(degree_v)[:, None]
    if layer.norm == "right":
        matrix = matrix / degree_v[:, None]
    state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    return matrix @ stacked @ state["weight"] + state.get("bias", 0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sizes", [(6, 9), (9, 6)])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("pair", [False, True])
def test_layer_follows_its_formula_in_both_orders(norm, sizes, known, loops, pair):
    torch.manual_seed(0)
    layer = GraphConv(*sizes, norm, bias=not pair, self_loops=loops).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    block, x = make_block([3, 0, 1, 7], 11), rows(11, sizes[0])
    if known:
        know_sources(block, DEGREES)
    own = rows(4, sizes[0], seed=1) if pair else x[:4]
    found = layer(block, (x, own) if pair else x)
    np.testing.assert_allclose(found.detach().numpy(), dense_layer(layer, block, x.numpy(), own.numpy()), rtol=1e-12,
                               atol=1e-12)
    assert layer.linear_first == (sizes[0] > sizes[1])


def test_edge_weights_multiply_what_comes_along_an_edge():
    torch.manual_seed(0)
    layer, block, x = GraphConv(3, 4, "none").double(), make_block([2, 1], 5), rows(5, 3)
    weight = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    src = block.csc[LOOP].indices
    expected = torch.stack([2 * x[src[0]] - x[src[1]], 0.5 * x[src[2]]]) @ layer.weight
    torch.testing.assert_close(layer(block, x, weight), expected)


def test_gradients_are_the_slopes():
    torch.manual_seed(0)
    layer, block = GraphConv(3, 4, self_loops=True).double(), make_block([3, 0, 2], 6)
    weight = rows(5, 1)[:, 0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w, m: torch.func.functional_call(layer, {"weight": m}, (block, x, w)),
                                    (rows(6, 3).requires_grad_(), weight, layer.weight))


def test_parameters_have_the_names_of_dgl():
    assert set(GraphConv(3, 4).state_dict()) == {"weight", "bias"}
    assert GraphConv(3, 4).weight.shape == (3, 4)
    assert set(GraphConv(3, 4, bias=False).state_dict()) == {"weight"}


def test_the_whole_graph_in_one_block_gives_the_paper_s_formula():
    """Two layers on a symmetric graph against D^-1/2 (A + I) D^-1/2 X W."""
    rng = np.random.default_rng(0)
    adjacency = np.triu(rng.random((8, 8)) < 0.4, 1)
    adjacency = adjacency | adjacency.T
    block = make_block(adjacency.sum(1), 8)
    block.csc[LOOP].indices[:] = np.nonzero(adjacency)[1]
    know_sources(block, adjacency.sum(1))
    torch.manual_seed(0)
    model, x = GCN(5, 6, 3, 2).double().eval(), rows(8, 5)
    loops = adjacency + np.eye(8)
    scale = np.diag(1 / np.sqrt(loops.sum(1)))
    matrix = torch.from_numpy(scale @ loops @ scale)
    hidden = torch.relu(matrix @ x @ model.layers[0].weight + model.layers[0].bias)
    expected = matrix @ hidden @ model.layers[1].weight + model.layers[1].bias
    torch.testing.assert_close(model([block, block], x), expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="both, right, none"):
        GraphConv(3, 4, "left")
    with pytest.raises(DataError, match="source_info"):
        GCN(3, 4, 2, 1)([make_block([1], 2)], rows(2, 3, torch.float32))
