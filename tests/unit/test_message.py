import subprocess
import sys

import numpy as np
import pytest
import torch

from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.kernels import threads
from mpignn.nn import edges, message
from mpignn.nn.dropout import KeyedDropout, keyed_dropout

# Destinations: repeated neighbors, none at all, one, a hub.
CASE = CSC(np.array([0, 3, 3, 4, 14]), np.array([5, 5, 0, 2, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3], np.int32))
EMPTY = CSC(np.array([0]), np.empty(0, np.int32))

BY_NAME = {"sum": message.copy_u_sum, "mean": message.copy_u_mean, "max": message.copy_u_max}


def rows(num=7, columns=5, dtype=torch.float64):
    return torch.randn(num, columns, dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()


def dense(name, csc, x):
    """The definition, in torch operators that differentiate themselves."""
    picked = [x[torch.from_numpy(csc.indices[a:b]).long()] for a, b in zip(csc.indptr, csc.indptr[1:], strict=False)]
    reduce = {"sum": lambda m: m.sum(0), "mean": lambda m: m.mean(0), "max": lambda m: m.max(0).values}[name]
    return torch.stack([reduce(m) if len(m) else torch.zeros_like(x[0]) for m in picked])


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reductions_and_their_gradients_are_those_of_the_definition(name, dtype):
    x, weights = rows(dtype=dtype), torch.randn(4, 5, dtype=dtype, generator=torch.Generator().manual_seed(1))
    found, expected = BY_NAME[name](CASE, x), dense(name, CASE, x)
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad((out * weights).sum(), x)[0] for out in (found, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("function", [*BY_NAME.values(), message.self_and_sum, message.self_and_mean])
def test_gradients_are_the_slopes(function):
    assert torch.autograd.gradcheck(lambda x: function(CASE, x), rows())


@pytest.mark.parametrize("both, alone", [(message.self_and_sum, message.copy_u_sum),
                                         (message.self_and_mean, message.copy_u_mean)])
@pytest.mark.parametrize("used", ["self", "neighbors", "both"])
def test_own_rows_beside_the_sum_change_nothing(both, alone, used):
    x, (a, b) = rows(), torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if used == "self":
        b = b * 0
    if used == "neighbors":
        a = a * 0
    own, neigh = both(CASE, x)
    torch.testing.assert_close(own, x[:4])
    parts = {"self": [own * a], "neighbors": [neigh * b], "both": [own * a, neigh * b]}[used]
    expected = (x[:4] * a + alone(CASE, x) * b).sum()
    torch.testing.assert_close(torch.autograd.grad(sum(p.sum() for p in parts), x),
                               torch.autograd.grad(expected, x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BY_NAME)
def test_rows_of_16_bits_are_summed_as_float32_and_rounded_once(dtype, name):
    half = rows(dtype=torch.float32).detach().to(dtype)
    x, wide = half.clone().requires_grad_(), half.float().requires_grad_()
    found, expected = BY_NAME[name](CASE, x), BY_NAME[name](CASE, wide)
    assert found.dtype == dtype
    assert torch.equal(found, expected.to(dtype))
    weights = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    grads = [torch.autograd.grad((out * weights.to(out.dtype)).sum(), given)[0]
             for out, given in ((found, x), (expected, wide))]
    torch.testing.assert_close(grads[0].float(), grads[1], rtol=0.02, atol=0.02)


def test_results_repeat_bit_for_bit():
    rng = np.random.default_rng(0)
    csc = CSC(np.arange(0, 3001, 10), rng.integers(0, 500, 3000).astype(np.int32))
    x = rows(500, 64, torch.float32)
    first, second = (torch.autograd.grad(message.copy_u_mean(csc, x).square().sum(), x)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("function", [*BY_NAME.values(), lambda csc, x: message.self_and_mean(csc, x)[1]])
@pytest.mark.parametrize("num", [0, 3])
def test_empty_blocks_pass_forward_and_backward(function, num):
    x = rows(num)
    out = function(EMPTY, x)
    assert out.shape == (0, 5)
    out.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("x", [torch.zeros(7), torch.zeros(7, 2).long(), torch.zeros(7, 2, 1)])
def test_rows_of_another_shape_or_type_are_refused(x):
    with pytest.raises(DataError, match="of one of: float32, float64, bfloat16, float16"):
        message.copy_u_sum(CASE, x)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="6 rows to aggregate, but the block has 7"):
        message.copy_u_sum(CASE, torch.zeros(6, 2))
    with pytest.raises(DataError, match="1 rows to aggregate, but the block has 2"):
        message.self_and_sum(CSC(np.array([0, 1, 1]), np.zeros(1, np.int32)), torch.zeros(1, 2))


def test_dropout_is_differentiated_by_its_own_mask():
    x, ids = rows(), np.array([9, 3, 10**12, 0, 1, 3, 4])
    assert torch.autograd.gradcheck(lambda x: keyed_dropout(x, 0.4, 7, ids), x)
    out = keyed_dropout(x, 0.4, 7, ids)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach() / x.detach())
    assert 0 < (x.grad == 0).sum() < x.numel()


def test_dropout_is_for_training_only():
    x, ids, layer = rows(), np.arange(7), KeyedDropout(0.5)
    assert not torch.equal(layer(x, 1, ids), x)
    assert layer.eval()(x, 1, ids) is x
    assert KeyedDropout(0.0)(x, 1, ids) is x


def test_training_leaves_the_compiler_of_torch_alone():
    code = """
import sys, numpy as np, torch
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import Schema
from mpignn.nn import GraphSAGE
e = ("n", "to", "n")
block = Block(Schema(("n",), (e,)), {"n": np.arange(2)}, {"n": 2}, {"n": np.arange(2)},
              {e: CSC(np.array([0, 1, 2]), np.array([1, 0], np.int32))}, key=1)
out = GraphSAGE(3, 4, 2, 2)([block, block], torch.ones(2, 3))
torch.nn.functional.cross_entropy(out, torch.tensor([0, 1])).backward()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("name", ["mean", "max", "attention"])
def test_any_number_of_threads_gives_the_same_bits(name):
    rng = np.random.default_rng(0)
    degrees = rng.integers(0, 40, 6000)
    csc = CSC(np.concatenate([[0], np.cumsum(degrees)]), rng.integers(0, 9000, degrees.sum()).astype(np.int32))
    weights = torch.randn(csc.num_edges, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    x, before, results = rows(9000, 16, torch.float32), threads.num_threads(), []
    try:
        for count in (1, 2, 5):
            threads.set_num_threads(count)
            if name == "attention":
                attention = edges.edge_dropout(csc, edges.edge_softmax(csc, weights), 0.3, 7, np.arange(6000))
                out = edges.weighted_sum(csc, x.view(-1, 4, 4), attention)
            else:
                out = BY_NAME[name](csc, x)
            grads = torch.autograd.grad(out.square().sum(), [x, weights], allow_unused=True, materialize_grads=True)
            results.append([out, *grads])
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
