"""Embeddings of all trainers: what they learn together is what one `torch.nn.Embedding` learns from all their ids."""

import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from test_dist_graph import opened

from graphs import random_graph
from mpignn.errors import DataError, IDError

LAUNCHES = {"ranks_per_node": (None, 1, 2)}
N, F, STEPS, SHARES, LR = 40, 3, 6, 6, 0.1
GRAPH = random_graph(1, N, 160)
OPTIMIZERS = ("SparseSGD", "SparseAdagrad", "SparseAdam")
access_paths = pytest.mark.parametrize("access", ["rma", "owner"])


@contextmanager
def graph(world, access="rma"):
    """The graph on a trainer; None on a rank that only serves."""
    with opened(replace(world, access=access), GRAPH) as g:
        yield g if world.trainers is not None else None


def requests(step: int, share: int) -> list[np.ndarray]:
    """Original ids that a share of a step asks for, in two calls: with repeats, the same as others do, or none."""
    rng = np.random.default_rng([step, share])
    return [rng.choice(N // 2, int(rng.choice([0, 1, 30]))), rng.choice(N, 7)]


def loss_of(rows, ids, share, torch):
    """A loss whose gradients differ by row, column and share, and depend on the rows."""
    factor = torch.from_numpy(1 + (ids[:, None] + share) % 5 + np.arange(F)).to(rows.dtype)
    return ((rows - 0.3) ** 2 * factor).sum()


def train(g, optimizer, reduce, dtype, torch, slow=False):
    """Each trainer takes its part of the shares of each step; returns the rows by original id at the end."""
    import mpignn.nn as nn
    torch.manual_seed(5)
    emb = nn.DistEmbedding(N, F, dtype=dtype, g=g)
    first = emb.weight[g.new_nids(np.arange(N))]
    emb.weight.sync()
    opt = getattr(nn, optimizer)([emb], lr=LR, reduce=reduce)
    naps = np.random.default_rng(g.trainers.rank)
    for step in range(STEPS):
        opt.zero_grad()
        for turn in range(-(-SHARES // g.trainers.size)):       # equally many calls on all
            share = turn * g.trainers.size + g.trainers.rank
            for ids in requests(step, share):
                ids = ids if share < SHARES else ids[:0]
                if slow:
                    time.sleep(naps.random() * 2e-3)
                rows = emb(g.new_nids(ids))
                loss_of(rows, ids, share, torch).backward()
        opt.step()
    last = emb.weight[g.new_nids(np.arange(N))]
    emb.weight.sync()
    return first, last


def expected(first, optimizer, reduce, torch):
    """The same by torch: one optimizer for each row, so that Adam counts the steps of a row."""
    rows = [torch.nn.Parameter(row.clone()[None]) for row in first]
    make = {"SparseSGD": torch.optim.SGD, "SparseAdagrad": torch.optim.Adagrad, "SparseAdam": torch.optim.Adam}
    opts = [make[optimizer]([row], lr=LR) for row in rows]
    for step in range(STEPS):
        hits, weight = np.zeros(N, np.int64), torch.cat(rows)
        for share in range(SHARES):
            for ids in requests(step, share):
                np.add.at(hits, ids, 1)
                loss_of(weight[ids], ids, share, torch).backward(retain_graph=True)
        for node in np.flatnonzero(hits):
            if reduce == "mean":
                rows[node].grad /= hits[node]
            opts[node].step()
            opts[node].zero_grad()
    return torch.cat(rows).detach()


@pytest.mark.ranks(1, 2, 3, 4, **LAUNCHES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("reduce", "dtype", "tolerance"), [("sum", "float64", 1e-11), ("mean", "float64", 1e-11),
                                                            ("sum", "float32", 1e-4)])
def test_all_trainers_together_do_what_torch_does_with_one_embedding(world, optimizer, reduce, dtype, tolerance):
    with graph(world) as g:
        if g is None:
            return
        import torch
        first, last = train(g, optimizer, reduce, getattr(torch, dtype), torch)
        assert torch.equal(last, g.trainers.bcast(last))
        if g.trainers.rank == 0:
            torch.testing.assert_close(last, expected(first, optimizer, reduce, torch), rtol=tolerance, atol=tolerance)


@pytest.mark.ranks(3, 4, ranks_per_node=(None, 1))
@access_paths
def test_slow_and_fast_trainers_get_the_same_bits(world, access):
    with graph(world, access) as g:
        if g is not None:
            import torch
            for dtype in torch.float32, torch.bfloat16:
                first, last = train(g, "SparseAdam", "sum", dtype, torch)
                for _ in range(2):
                    again = train(g, "SparseAdam", "sum", dtype, torch, slow=True)
                    assert torch.equal(again[0], first) and torch.equal(again[1], last)
                assert last.dtype == dtype and not torch.equal(first, last)
            assert torch.isfinite(last).all()


@pytest.mark.ranks(1, 3, 4, ranks_per_node=(None, 1))
@access_paths
def test_an_optimizer_is_saved_and_loaded_by_all_together(world, access):
    import mpignn.storage.arrays as arrays
    with patch.object(arrays, "BLOCK_BYTES", 64), graph(world, access) as g:
        if g is not None:
            import mpignn.nn as nn
            folder = Path(g.trainers.bcast(tempfile.mkdtemp() if g.trainers.rank == 0 else None))
            emb = nn.DistEmbedding(N, F, g=g)
            opt, other = (nn.SparseAdam([emb], lr=LR, betas=(0.5, beta)) for beta in (0.6, 0.7))
            for step in range(3):
                emb(g.new_nids(requests(step, g.trainers.rank)[0])).sum().backward()
                opt.step()
            opt.save(folder / "file")
            other.load(folder / "file")
            assert other.betas == (0.5, 0.6)
            for (name, found), (_, wanted) in zip(other._state[0].items(), opt._state[0].items(), strict=True):
                assert (found.local == wanted.local).all(), name
            with pytest.raises(DataError, match="no such file"):
                other.load(folder / ("none" if g.trainers.rank == g.trainers.size - 1 else "file"))
            g.trainers.barrier()
            if g.trainers.rank == 0:
                shutil.rmtree(folder)


@pytest.mark.ranks(3, ranks_per_node=(1,))
def test_a_row_that_is_not_there_is_an_error_of_all(world):
    with graph(world) as g:
        if g is not None:
            import mpignn.nn as nn
            emb = nn.DistEmbedding(N, F, g=g)
            rows = emb([0, N - 1])
            rows.sum().backward()
            ids, grads = emb.take_gradients()
            with pytest.raises(IDError, match=f"{N} is not in"):
                emb.weight.to_owners(ids + 1 if g.trainers.rank == g.trainers.size - 1 else ids, grads)
            bad = [0, N] if g.trainers.rank == 0 else []
            with pytest.raises(IDError, match=f"{N} is not in"):
                emb.weight.read_together(bad)
