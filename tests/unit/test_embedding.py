"""Embeddings and their optimizers in one process: against torch's own, and what stays in memory."""

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from services import make_graph, serve

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError, IDError
from mpignn.nn import DistEmbedding, SparseAdagrad, SparseAdam, SparseSGD
from mpignn.roles import BOTH, Topology
from mpignn.store.registry import TensorRegistry

N, F = 30, 5
BESIDE = {SparseSGD: (torch.optim.SGD, {}), SparseAdagrad: (torch.optim.Adagrad, {}),
          SparseAdam: (torch.optim.Adam, {"betas": (0.8, 0.95)})}


@pytest.fixture
def g():
    made = make_world(parts=3)
    yield made
    made.registry.close()


def make_world(parts):
    """One process that holds a graph of N papers."""
    graph = make_graph({"P": N, "A": 2}, {("A", "writes", "P"): ([0], [0])})
    served = serve(graph, parts=parts)
    registry = TensorRegistry(served.published.book, Topology((0,), (BOTH,)), served.published.transport, LocalGroup())
    return SimpleNamespace(registry=registry, orig=served.orig["P"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", BESIDE)
def test_sums_equal_what_torch_does_with_one_embedding(g, optimizer, dtype):
    emb = DistEmbedding(N, F, dtype=dtype, g=g)
    other = torch.nn.Embedding(N, F, sparse=optimizer is not SparseAdam, dtype=dtype)
    other.weight.data.copy_(emb.weight[:])
    make, options = BESIDE[optimizer]
    ours, theirs = optimizer([emb], lr=0.1, **options), make(other.parameters(), lr=0.1, **options)
    rng = np.random.default_rng(0)
    for _ in range(20):
        hits = rng.integers(0, N, 25)
        # Torch's Adam counts steps for all rows together, so there all rows must take part in each.
        calls = [hits, np.arange(N) if optimizer is SparseAdam else hits[:0]]
        # In single precision sums must be exact, since a quotient of Adam magnifies what is lost when they cancel.
        factor = torch.from_numpy(rng.integers(1, 9, (2, 1, F)) / 8).to(dtype)
        power = 1 if dtype == torch.float32 else 2
        for embedding, opt in ((emb, ours), (other, theirs)):
            opt.zero_grad()
            rows = [embedding(torch.from_numpy(ids)) for ids in calls]
            loss = sum(((r * f) ** power).sum() for r, f in zip(rows, factor, strict=True))
            loss.backward()
            opt.step()
    torch.testing.assert_close(emb.weight[:], other.weight.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", BESIDE)
def test_rows_of_half_the_bytes_learn_what_whole_ones_do(g, optimizer):
    """Steps far below the distance of two numbers add up, since what is rounded away is made up for on the average."""
    start = np.random.default_rng(0).uniform(0.5, 2, (N, F)).astype(np.float32)
    start = torch.from_numpy(start).bfloat16()
    learnt = {}
    for dtype in torch.float32, torch.bfloat16:
        emb = DistEmbedding(N, F, init_func=lambda shape, dtype, ids: start[ids].to(dtype), dtype=dtype, g=g)
        opt = optimizer([emb], lr=1e-3)
        for _ in range(200):
            opt.zero_grad()
            rows = emb(np.arange(N))
            assert rows.dtype == dtype
            rows.float().sum().backward()
            opt.step()
        learnt[dtype] = emb.weight[:].float() - start[torch.from_numpy(np.asarray(g.orig))].float()
        assert opt.steps == 200
        for state in opt._state:
            assert all(tensor.dtype != torch.bfloat16 for tensor in state.values())
    exact, rounded = learnt[torch.float32], learnt[torch.bfloat16]
    assert exact.abs().min() > 0.02 > 2 * 2**-8     # each step is less than an eighth of what two numbers differ by
    assert (rounded / exact).mean().item() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("optimizer", BESIDE)
def test_mean_is_over_all_hits_and_scale_multiplies(g, optimizer):
    rows = []
    for reduce, scale, weight in (("mean", 1.0, 1.0), ("sum", 0.25, 1.0), ("sum", 1.0, 0.25)):
        emb = DistEmbedding(N, F, init_func=lambda shape, dtype: torch.ones(shape, dtype=dtype), g=g)
        (emb([3, 3]).sum() * weight + emb([3, 3]).sum() * weight * 3).backward()
        before = emb.weight[3]
        opt = optimizer([emb], lr=0.5, reduce=reduce)
        opt.step(scale)
        rows.append(emb.weight[3] - before)
        assert emb.weight[4].tolist() == [1] * F
    # the four gradients are 1, 1, 3, 3: their mean is 2, a quarter of their sum
    torch.testing.assert_close(rows[0], rows[1])
    torch.testing.assert_close(rows[0], rows[2])
    if optimizer is SparseSGD:
        assert rows[0].tolist() == [-1.0] * F


def test_rows_without_a_gradient_leave_no_trace(g):
    emb = DistEmbedding(N, F, "emb", g=g)
    with torch.no_grad():
        assert not emb([1, 2]).requires_grad
    rows = emb([1, 2])
    assert rows.requires_grad and rows.is_leaf
    gone = weakref.ref(rows)
    loss = (rows * 2).sum()
    del rows, loss
    gc.collect()
    assert gone() is None and emb.take_gradients()[0].size == 0
    opt = SparseSGD([emb], lr=1.0)
    before = emb.weight[:]
    for forget in (opt.zero_grad, emb.forget):
        emb([1, 2]).sum().backward()
        forget()
        opt.step()
    assert (emb.weight[:] == before).all()
    emb([1, 2]).sum().backward()
    opt.step()
    opt.step()      # a gradient counts once
    assert (before - emb.weight[:]).sum(1).tolist() == pytest.approx([0, F, F] + [0] * (N - 3))


def test_gradients_of_several_backward_passes_add_up(g):
    emb = DistEmbedding(N, F, dtype=torch.float64, g=g)
    rows = emb(torch.tensor([7, 0]))
    loss = rows.sum()
    loss.backward(retain_graph=True)
    loss.backward()
    emb([7]).sum().backward()
    ids, grads = emb.take_gradients()
    assert ids.tolist() == [7, 0, 7] and grads[:, 0].tolist() == [2, 2, 1]
    assert emb.take_gradients()[1].shape == (0, F)


@pytest.mark.parametrize("ids", [[], np.empty(0, np.int32), torch.empty(0, dtype=torch.int64)])
def test_an_empty_request_is_normal(g, ids):
    emb = DistEmbedding(N, F, g=g)
    rows = emb(ids)
    assert rows.shape == (0, F)
    rows.sum().backward()
    SparseAdam([emb], lr=0.1).step()


def test_rows_are_found_again_by_name(g):
    emb = DistEmbedding(N, F, "emb", g=g)
    emb.weight.local[4] = 7
    again = torch.nn.Sequential(DistEmbedding(N, F, "emb", g=g))
    assert again([4]).detach().tolist() == [[7] * F] and emb.weight.persistent
    assert list(again.parameters()) == [] and again.state_dict() == {}
    opt = SparseAdam([emb], lr=0.1)
    assert list(opt.tensors()) == ["emb/adam/mean", "emb/adam/square", "emb/adam/steps"]
    assert set(opt.tensors()) | {"emb"} == set(g.registry.names())
    with pytest.raises(DataError, match="another one"):
        DistEmbedding(N, F, "emb", dtype=torch.float64, g=g)


def test_first_values_are_a_function_of_the_original_id(g):
    torch.manual_seed(3)
    for name, dtype in (("a", torch.float32), (None, torch.float64)):
        cut, whole = (DistEmbedding(N, F, name, dtype=dtype, g=graph) for graph in (g, make_world(parts=1)))
        assert (cut.weight[:] == whole.weight[:][g.orig]).all() and cut.weight.local.abs().max() <= 1
    assert (DistEmbedding(N, F, "b", g=g).weight[:] != DistEmbedding(N, F, "a", g=g).weight[:]).all()
    numbers = DistEmbedding(N, 1, init_func=lambda shape, dtype, ids: ids[:, None].to(dtype), g=g)
    assert numbers.weight[:][:, 0].tolist() == g.orig.tolist()
    even = DistEmbedding(7, 1, part_policy="even", init_func=lambda shape, dtype, ids: ids[:, None].to(dtype), g=g)
    assert even.weight[:][:, 0].tolist() == list(range(7))


def test_a_state_says_how_to_go_on(g):
    emb = DistEmbedding(N, F, "emb", g=g)
    opt = SparseAdam([emb], lr=0.1, betas=(0.5, 0.6), reduce="mean")
    other = SparseAdam([emb], lr=0.2)
    other.load_state_dict(opt.state_dict())
    assert (other.lr, other.betas, other.reduce) == (0.1, (0.5, 0.6), "mean")
    with pytest.raises(ConfigError, match="a state of adam, this is adagrad"):
        SparseAdagrad([emb], lr=0.1).load_state_dict(opt.state_dict())


@pytest.mark.parametrize("optimizer", BESIDE)
def test_a_file_of_an_optimizer_is_loaded_in_any_cut(g, optimizer, tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.storage.arrays.BLOCK_BYTES", 64)
    opt = {}
    for world in (g, whole := make_world(parts=1)):
        embeddings = [DistEmbedding(N, F, g=world),
                      DistEmbedding(7, 2, part_policy="even", dtype=torch.float64, g=world)]
        opt[id(world)] = optimizer(embeddings, lr=0.1, **BESIDE[optimizer][1])
        for step in range(3 if world is g else 0):
            ids = np.arange(step, N, 2)
            (embeddings[0](ids) * torch.from_numpy(world.orig[ids])[:, None]).sum().backward()
            (embeddings[1]([step, 6]) ** 2).sum().backward()
            opt[id(world)].step()
    before, after = opt[id(g)], opt[id(whole)]
    after.lr = 5
    before.save(tmp_path / "file")
    after.load(str(tmp_path / "file"))
    assert after.state_dict() == before.state_dict()
    orig = [g.orig, np.arange(7)]
    for number, (found, wanted) in enumerate(zip(after._state, before._state, strict=True)):
        for name in wanted:
            assert torch.equal(found[name][:][orig[number]], wanted[name][:]) and wanted[name][:].any()
    after.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()
    whole.registry.close()


def test_a_file_of_another_optimizer_is_refused(g, tmp_path):
    emb = DistEmbedding(N, F, g=g)
    opt = SparseAdam([emb], lr=0.1)
    emb([8]).sum().backward()
    opt.step()
    opt.save(tmp_path / "adam")
    with pytest.raises(ConfigError, match="adam: a state of adam, this is adagrad"):
        SparseAdagrad([emb], lr=0.1).load(tmp_path / "adam")
    with pytest.raises(DataError, match="no such file"):
        opt.load(tmp_path / "none")
    wide = SparseAdam([DistEmbedding(N, F + 1, g=g)], lr=0.1)
    with pytest.raises(DataError, match=r"0/mean is torch.float32 \(30, 5\), the tensor is torch.float32 \(30, 6\)"):
        wide.load(tmp_path / "adam")
    with pytest.raises(DataError, match="holds no tensor '1/mean'"):
        SparseAdam([emb, DistEmbedding(3, 1, part_policy="even", g=g)], lr=0.1).load(tmp_path / "adam")
    emb.weight.to_hdf5(tmp_path / "rows", "rows")
    with pytest.raises(ConfigError, match="rows: a state of None, this is adam"):
        opt.load(tmp_path / "rows")
    raw = bytearray((tmp_path / "adam").read_bytes())
    raw[raw.index(opt._state[0]["mean"][8].numpy().tobytes())] ^= 1
    (tmp_path / "bad").write_bytes(raw)
    with pytest.raises(DataError, match="damaged"):
        opt.load(tmp_path / "bad")
    with pytest.raises(ConfigError, match="cannot write a file there"):
        opt.save(tmp_path / "none" / "file")
    of_edges = SparseAdagrad([DistEmbedding(1, F, part_policy="A:writes:P", g=g)], lr=0.1)
    with pytest.raises(ConfigError, match="stand for edges"):
        of_edges.save(tmp_path / "edges")
    assert not (tmp_path / "edges").exists()


def test_what_cannot_be_meant_is_refused(g):
    emb = DistEmbedding(N, F, g=g)
    for ids, message in (([0, N], f"row of an embedding: {N} is not in"), ([-1], "-1 is not in"),
                         ([True], "expected integers"), ([[0]], "expected integers")):
        with pytest.raises(IDError, match=message):
            emb(ids)
    with pytest.raises(ConfigError, match="float32, float64 or bfloat16"):
        DistEmbedding(N, F, dtype=torch.float16, g=g)
    for make, message in ((lambda: SparseSGD([], 0.1), "one DistEmbedding or more"),
                          (lambda: SparseSGD([torch.nn.Embedding(2, 2)], 0.1), "one DistEmbedding or more"),
                          (lambda: SparseSGD([emb], -1), "learning rate is -1"),
                          (lambda: SparseSGD([emb], float("nan")), "learning rate is nan"),
                          (lambda: SparseSGD([emb], 1, reduce="max"), "'max' is not one of: sum, mean"),
                          (lambda: SparseAdagrad([emb], 1, eps=0), "eps is 0"),
                          (lambda: SparseAdam([emb], 1, betas=(0.9, 1.0)), "betas are")):
        with pytest.raises(ConfigError, match=message):
            make()
