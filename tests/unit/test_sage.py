import numpy as np
import pytest
import torch

from blocks import LOOP, SCHEMA, counts, know_sources, make_block, rows
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.models import MODELS
from mpignn.nn import GraphSAGE, SAGEConv, make_model
from mpignn.nn.sage import AGGREGATORS

LEARNING = [name for name, model in MODELS.items() if model.learns]


def dense_layer(layer, block, src, dst):
    """The formulas of the layer over a dense matrix of edge counts, in NumPy."""
    state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    csc = block.csc[LOOP]
    count = counts(csc, len(src))
    degree = count.sum(1, keepdims=True)
    weight = state["fc_neigh.weight"]
    if layer.aggregator_type == "gcn":
        return (count @ src + dst) / (degree + 1) @ weight.T + state.get("bias", 0)
    if layer.aggregator_type == "pool":
        pooled = np.maximum(src @ state["fc_pool.weight"].T + state["fc_pool.bias"], 0)
        neigh = np.stack([np.max(pooled, axis=0, where=(c > 0)[:, None], initial=0) for c in count])
    else:
        neigh = count @ src / (np.maximum(degree, 1) if layer.aggregator_type == "mean" else 1)
    return dst @ state["fc_self.weight"].T + state.get("fc_self.bias", 0) + neigh @ weight.T


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("sizes", [(6, 9), (9, 6), (5, 5)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pair", [False, True])
def test_layer_follows_its_formula_in_both_orders(aggregator, sizes, bias, pair):
    torch.manual_seed(0)
    layer = SAGEConv(*sizes, aggregator, bias=bias).double()
    for parameter in layer.parameters():        # biases that start at 0 would hide
        torch.nn.init.normal_(parameter)
    block, x = make_block([3, 0, 1, 9], 11), rows(11, sizes[0])
    dst = rows(4, sizes[0], seed=1) if pair else x[:4]
    expected = dense_layer(layer, block, x.numpy(), dst.numpy())
    found = layer(block, (x, dst) if pair else x)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    assert layer.linear_first == (sizes[0] > sizes[1] and aggregator != "pool")


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("sizes", [(3, 4), (4, 3)])
def test_gradients_are_the_slopes(aggregator, sizes):
    torch.manual_seed(0)
    layer, block = SAGEConv(*sizes, aggregator).double(), make_block([3, 0, 2], 6)
    inputs = [rows(6, sizes[0]).requires_grad_(), *layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (block, x))
    assert torch.autograd.gradcheck(call, inputs)


def test_sources_and_destinations_may_differ_in_columns():
    torch.manual_seed(0)
    layer, block = SAGEConv((6, 3), 4, "mean").double(), make_block([2, 1], 5)
    x, dst = rows(5, 6), rows(2, 3)
    np.testing.assert_allclose(layer(block, (x, dst)).detach().numpy(),
                               dense_layer(layer, block, x.numpy(), dst.numpy()), rtol=1e-12)
    with pytest.raises(ConfigError, match="6 and 3 columns"):
        SAGEConv((6, 3), 4, "gcn")


@pytest.mark.parametrize("aggregator, names", [
    ("mean", {"fc_self.weight", "fc_self.bias", "fc_neigh.weight"}),
    ("sum", {"fc_self.weight", "fc_self.bias", "fc_neigh.weight"}),
    ("gcn", {"bias", "fc_neigh.weight"}),
    ("pool", {"fc_self.weight", "fc_self.bias", "fc_neigh.weight", "fc_pool.weight", "fc_pool.bias"})])
def test_parameters_have_the_names_and_spread_of_dgl(aggregator, names):
    torch.manual_seed(0)
    state = SAGEConv(40, 60, aggregator).state_dict()
    assert set(state) == names
    for name, value in state.items():
        if name.endswith("weight"):
            limit = np.sqrt(2) * np.sqrt(6 / sum(value.shape))
            assert limit * 0.98 < value.abs().max() <= limit
    assert aggregator != "gcn" or not state["bias"].any()


def make(name, *, in_feats=7, layers=2, **options):
    return make_model(ModelConfig(model=name, hidden=8, **options), SCHEMA, {"node": in_feats}, 3, layers)


def stack_of_blocks(key):
    blocks = [make_block([4, 2, 0, 5, 3, 3], 10, 1, key), make_block([3, 0, 6], 6, 2, key)]
    for block in blocks:
        know_sources(block, 5 + np.arange(10)[:block.num_src_nodes()] % 4)
    return blocks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stack_is_layers_with_relu_between(dtype):
    torch.manual_seed(0)
    model = GraphSAGE(7, 8, 3, 2, dropout=0.5).to(dtype).eval()
    blocks, x = stack_of_blocks(1), rows(10, 7, dtype)
    expected = model.layers[1](blocks[1], torch.relu(model.layers[0](blocks[0], x)))
    found = model(blocks, x)
    assert torch.equal(found, expected) and found.dtype == dtype


def test_dropout_follows_the_key_of_the_blocks_or_the_one_given():
    torch.manual_seed(0)
    model, x = GraphSAGE(7, 8, 3, 2, dropout=0.5), rows(10, 7, torch.float32)
    one, two = model(stack_of_blocks(1), x), model(stack_of_blocks(2), x)
    assert torch.equal(one, model(stack_of_blocks(1), x))
    assert not torch.equal(one, two)
    assert torch.equal(one, model(stack_of_blocks(2), x, key=1))


def split_share(blocks, seeds):
    """The blocks that a trainer with only these destinations of the last block would have, and its sources."""
    needed, shares = np.asarray(seeds, np.int64), []
    for block in reversed(blocks):
        csc = block.csc[LOOP]
        edges = np.concatenate([np.arange(csc.indptr[d], csc.indptr[d + 1]) for d in needed] + [needed[:0]])
        src = np.concatenate([needed, np.setdiff1d(csc.indices[edges], needed)])
        place = np.full(block.num_src_nodes(), -1, np.int32)
        place[src] = np.arange(src.size)
        indptr = np.concatenate([[0], np.cumsum(np.diff(csc.indptr)[needed])]).astype(np.int64)
        shares.append(Block(SCHEMA, {"node": src}, {"node": needed.size}, {"node": block.dst_orig["node"][needed]},
                            {LOOP: CSC(indptr, place[csc.indices[edges]])}, key=block.key,
                            src_orig={"node": block.src_orig["node"][src]},
                            in_degrees={LOOP: block.in_degrees[LOOP][src]}))
        needed = src
    return shares[::-1], needed


@pytest.mark.parametrize("name", LEARNING)
def test_loss_and_gradients_are_the_sum_over_any_shares(name):
    """With dropout on, and a trainer that has nothing to do."""
    torch.manual_seed(0)
    model = make(name, dropout=0.5, input_dropout=0.2, attention_dropout=0.3).double()
    blocks, x, labels = stack_of_blocks(5), rows(10, 7), torch.tensor([0, 2, 1])

    def run(seeds):
        share, inputs = split_share(blocks, seeds)
        loss = torch.nn.functional.cross_entropy(model(share, x[inputs]), labels[list(seeds)], reduction="sum")
        return [loss, *torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)]
    whole = run([0, 1, 2])
    for shares in ([[0], [1, 2], []], [[2, 0], [1]], [[1], [2], [0]]):
        parts = [run(share) for share in shares]
        for expected, *found in zip(whole, *parts, strict=True):
            torch.testing.assert_close(sum(found), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_an_empty_share_has_zero_gradients(aggregator):
    model = GraphSAGE(7, 8, 3, 2, aggregator=aggregator)
    model([make_block([], 0), make_block([], 0)], torch.empty(0, 7)).sum().backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())


def test_mlp_sees_its_seeds_only():
    torch.manual_seed(0)
    model, blocks, x = make("mlp", layers=3).eval(), stack_of_blocks(1), rows(10, 7, torch.float32)
    changed = x.clone()
    changed[3:] = 99
    assert torch.equal(model(blocks, x), model(blocks, changed))
    hidden = x[:3]
    for layer in model.layers[:-1]:
        hidden = torch.relu(layer(hidden))
    torch.testing.assert_close(model(blocks, x), model.layers[-1](hidden))


def test_what_cannot_be_built_or_run_is_refused():
    for call, message in [(lambda: make("sag"), "sage, gcn"),
                          (lambda: make("sage", aggregator="lstm"), "mean, sum, gcn, pool"),
                          (lambda: make("sage", layers=0), "at least 1 layer"),
                          (lambda: make("mlp", dropout=1.5), "probability"),
                          (lambda: GraphSAGE(7, 8, 3, 3)(stack_of_blocks(1), rows(10, 7)), "3 layers but 2 blocks")]:
        with pytest.raises(ConfigError, match=message):
            call()


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("sizes", [(6, 9), (9, 6)])
def test_edge_weights_and_relu(aggregator, sizes):
    torch.manual_seed(0)
    layer, block, x = SAGEConv(*sizes, aggregator).double(), make_block([3, 0, 1, 9], 11), rows(11, sizes[0])
    torch.testing.assert_close(layer(block, x, relu=True), torch.relu(layer(block, x)))
    if aggregator == "pool":
        with pytest.raises(ConfigError, match="no edge weights"):
            layer(block, x, torch.ones(13))
        return
    torch.testing.assert_close(layer(block, x, torch.ones(13)), layer(block, x))
    zeroed = torch.ones(13)
    zeroed[:3] = 0
    neigh = layer(block, (x, torch.zeros(4, sizes[0], dtype=torch.float64)), zeroed)
    assert torch.equal(neigh[0], neigh[1])      # none, and three of no weight


@pytest.mark.parametrize("aggregator", ["mean", "sum"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_layer_in_one_function_is_the_layer_in_parts(aggregator, relu, bias):
    """More rows than a chunk, and gradients of everything."""
    torch.manual_seed(0)
    layer = SAGEConv(5, 8, aggregator, bias=bias).double()
    block = make_block(np.arange(2500) % 6, 4000)
    x = rows(4000, 5).requires_grad_()
    weight, results = rows(2500, 8, seed=1), []
    for given in (x, (x, x[:2500])):
        out = layer(block, given, relu=relu)
        results.append([out, *torch.autograd.grad((out * weight).sum(), [x, *layer.parameters()])])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LEARNING)
def test_bfloat16_rows_give_nearly_the_same_with_float32_parameters(name):
    torch.manual_seed(0)
    model, blocks = make(name, dropout=0.5), stack_of_blocks(1)
    x = rows(10, 7, torch.float32)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        out = model(blocks, x.to(dtype))
        assert out.dtype == dtype
        results.append([out, *torch.autograd.grad(out.float().square().sum(), list(model.parameters()),
                                                  allow_unused=True)])
    for wide, half in zip(*results, strict=True):
        if wide is None:        # hgt mixes nothing with its input where that has other columns
            assert half is None
            continue
        assert (half - wide).norm() <= 0.05 * wide.norm() + 1e-6
