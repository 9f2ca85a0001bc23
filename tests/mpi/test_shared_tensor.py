"""Tensors of the trainers of a job: who sees which write when, and what is agreed on.

``docs/concepts/memory-model.md`` names these tests.
"""

import gc
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from mpignn.comm.local import LocalTransport
from mpignn.errors import CommError, DataError
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ETYPE, NTYPE, Schema

LAUNCHES = {"ranks_per_node": (None, 1, 2)}
ROWS = 403
RANKS = (1, 2, 3, 4)


@contextmanager
def graph(world, way, rows=ROWS):
    """What tensors ask of a graph of so many nodes in 3 partitions; None on a rank that only serves."""
    from mpignn.mpi.transport import MpiTransport
    from mpignn.store.registry import TensorRegistry
    cuts = np.array([0, rows // 4, rows // 3, rows])
    book = RangePartitionBook(Schema((NTYPE,), (ETYPE,)), {NTYPE: cuts}, {ETYPE: cuts * 2})
    transport = LocalTransport([]) if world.size == 1 else MpiTransport(world, [], way)
    transport.publish()
    g = None
    if world.trainers is not None:
        g = SimpleNamespace(registry=TensorRegistry(book, world.topology, transport, world.trainers),
                            rank=world.trainers.rank, size=world.trainers.size)
        yield g
        g.registry.close()
    else:
        yield None
    world.finish()
    transport.free()


def on_trainers(function):
    """Let the trainers of the job call ``function(g, DistTensor, torch)``, while those who only serve wait.

    By each way to rows of others; of which one process has none.
    """
    def test(world, way):
        if world.size == 1 and way == "owner":
            return
        with graph(world, way) as g:
            if g is not None:
                import torch

                from mpignn.store.tensor import DistTensor
                function(g, DistTensor, torch)
    test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
    return pytest.mark.parametrize("way", ["rma", "owner"])(test)


@pytest.mark.ranks(*RANKS, **LAUNCHES)
@on_trainers
def test_after_sync_all_see_what_all_wrote(g, DistTensor, torch):
    t = DistTensor((ROWS, 3), torch.int64, "t", g=g)
    for turn in range(5):
        mine = torch.arange((g.rank + turn) % g.size, ROWS, g.size)     # rows of other trainers, most of them
        t[mine] = (mine * 10 + turn)[:, None].expand(-1, 3)
        t.sync()
        everything = torch.arange(ROWS) * 10 + turn
        assert torch.equal(t[:], everything[:, None].expand(-1, 3))
        assert torch.equal(t.local, everything[t.local_ids][:, None].expand(-1, 3))
        assert torch.equal(t[everything % 7 == 0][:, 1], everything[everything % 7 == 0])
        assert torch.equal(t[5:ROWS:3][:, 2], everything[5::3])
        t.sync()


@pytest.mark.ranks(*RANKS, **LAUNCHES)
@on_trainers
def test_a_trainer_sees_its_own_writes_at_once(g, DistTensor, torch):
    t = DistTensor((ROWS,), torch.int32, g=g)
    mine = torch.arange(g.rank, ROWS, g.size)
    t[mine] = 5
    assert (t[mine] == 5).all()
    t.add_(mine, 2)
    t.add_(mine, 2)
    assert (t[mine] == 9).all()
    t[mine] = 1
    t[mine] = 3
    t.max_(mine, 2)
    assert (t[mine] == 3).all()
    t.sync()


@pytest.mark.ranks(*RANKS, **LAUNCHES)
@on_trainers
def test_what_an_owner_writes_through_local_is_seen_after_sync(g, DistTensor, torch):
    t = DistTensor((ROWS, 2), torch.float32, g=g)
    t.local[:] = g.rank + 1
    t.sync()
    counts = g.registry.trainers.allgather(len(t.local_ids))
    assert torch.equal(t[:][:, 1], torch.cat([torch.full((count,), rank + 1.0) for rank, count in enumerate(counts)]))
    assert torch.from_dlpack(t).data_ptr() == t.local.data_ptr()
    t.sync()


@pytest.mark.ranks(*RANKS, 5, **LAUNCHES)
@on_trainers
def test_additions_of_all_trainers_to_the_same_rows_are_exact(g, DistTensor, torch):
    for dtype in (torch.float32, torch.int64):
        t = DistTensor((ROWS, 4), dtype, g=g)
        rows = torch.tensor([0, 1, 1, 200, ROWS - 1])
        for _ in range(100):
            t.add_(rows, 1)
        t.sync()
        assert t[[0, 1, 200, ROWS - 1]][:, 3].tolist() == [100 * g.size * k for k in (1, 2, 1, 1)]
        assert t.count_nonzero() == 16
        t.sync()
        t.max_(rows, g.rank + 1_000_000)
        t.sync()
        assert (t[rows] == 1_000_000 + g.size - 1).all()
        t.sync()
        t.min_(rows, -g.rank)
        t.sync()
        assert (t[rows] == 1 - g.size).all() and t.count_nonzero() == (16 if g.size > 1 else 0)


@pytest.mark.ranks(4, ranks_per_node=(2,))
@pytest.mark.parametrize("way", ["rma", "owner"])
def test_additions_of_four_trainers_on_two_nodes(world, way):
    from mpignn.mpi.world import initialize
    everyone = initialize(servers_per_node=0, ranks_per_node=2)
    assert len(everyone.topology.trainer_ranks) == 4 and len(everyone.topology.nodes) == 2
    test_additions_of_all_trainers_to_the_same_rows_are_exact(everyone, way)


@pytest.mark.ranks(*RANKS, **LAUNCHES)
@on_trainers
def test_flush_alone_brings_writes_to_their_owner(g, DistTensor, torch):
    """With a message of another kind after it, one trainer sees what another one flushed."""
    t = DistTensor((ROWS,), torch.int64, g=g)
    t.sync()
    if g.rank == 0:
        t[:] = 7
        t.add_(range(ROWS), 1)
        t.flush()
    g.registry.trainers.barrier()
    assert (t[:] == 8).all()
    g.registry.trainers.barrier()


@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
@on_trainers
def test_first_values_do_not_depend_on_who_owns_what(g, DistTensor, torch):
    t = DistTensor((ROWS, 2), torch.float64, g=g,
                   init_func=lambda shape, dtype, ids: ids[:, None].to(dtype).expand(shape))
    assert torch.equal(t[:], torch.arange(ROWS, dtype=torch.float64)[:, None].expand(-1, 2))
    t.sync()
    even = DistTensor((10,), torch.float64, part_policy="even", g=g,
                      init_func=lambda shape, dtype: torch.full(shape, 2, dtype=dtype))
    assert even[:].sum() == 20
    counts = g.registry.trainers.allgather(len(even.local_ids))
    assert sum(counts) == 10 and max(counts) - min(counts) <= 1
    even.sync()


@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
@on_trainers
def test_several_tensors_live_and_end_each_for_itself(g, DistTensor, torch):
    made = [DistTensor((ROWS,), torch.int32, f"t{i}", g=g) for i in range(4)]
    for i, t in enumerate(made):
        t.add_(torch.arange(ROWS), i + 1)
    made[1].free()
    for i in (0, 2, 3):
        made[i].sync()
        assert (made[i][:] == (i + 1) * g.size).all()
        assert (DistTensor((ROWS,), torch.int32, f"t{i}", g=g)[::50] == (i + 1) * g.size).all()
    with pytest.raises(CommError, match="t1: already freed"):
        made[1][[0]]
    assert g.registry.names() == ["t0", "t2", "t3"]
    del t
    if g.rank == 0:
        made.pop()      # the others still refer to it, if there are any
    gc.collect()
    made.append(DistTensor((ROWS,), torch.int32, "t4", g=g))
    assert g.registry.names() == ["t0", "t2", *["t3"] * (g.size > 1), "t4"]
    made.clear()
    gc.collect()
    DistTensor((ROWS,), torch.int32, "t5", g=g)
    assert g.registry.names() == ["t5"]


@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
@on_trainers
def test_errors_of_one_trainer_are_those_of_all(g, DistTensor, torch):
    last = g.rank == g.size - 1

    def fails(shape, dtype):
        if last:
            raise KeyError("mine")
        return torch.zeros(shape)
    with pytest.raises(DataError, match="init_func of t: KeyError: 'mine'") as raised:
        DistTensor((ROWS,), torch.float32, "t", init_func=fails, g=g)
    assert raised.value.agreed
    t = DistTensor((ROWS,), torch.float32, "t", g=g)
    if g.size > 1:
        with pytest.raises(DataError, match="the trainers make different tensors"):
            DistTensor((ROWS, 1 + last), torch.float32, g=g)
        with pytest.raises(DataError, match="the trainers make different tensors"):
            DistTensor((ROWS,), torch.float32, "u" if last else "v", g=g)
        with pytest.raises(DataError, match="part_policy"):
            DistTensor((ROWS,), torch.float32, part_policy=ETYPE if last else None, g=g)
    t[[0]] = 1.0
    t.sync()


@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
@on_trainers
def test_files_do_not_depend_on_who_owns_what(g, DistTensor, torch):
    import tempfile
    from pathlib import Path
    folder = g.registry.trainers.bcast(tempfile.mkdtemp() if g.rank == 0 else None)
    values = torch.arange(ROWS * 2).reshape(ROWS, 2)
    files = []
    for policy in (NTYPE, "even"):
        t = DistTensor((ROWS, 2), torch.int64, part_policy=policy, g=g)
        t[g.rank::g.size] = values[g.rank::g.size]
        t.to_hdf5(Path(folder, policy), "t")
        t.sync()
        t.local.zero_()
        t.from_hdf5(Path(folder, policy), "t")
        assert torch.equal(t[:], values)
        files.append(Path(folder, policy).read_bytes())
        t.sync()
    assert files[0] == files[1]
    with pytest.raises(DataError, match="no such file"):
        t.from_hdf5(Path(folder, "none" if g.rank == g.size - 1 else policy), "t")
    if g.rank == 0:
        import shutil
        shutil.rmtree(folder)


@pytest.mark.ranks(3, 4, **LAUNCHES)
@on_trainers
def test_rows_written_by_two_trainers_are_found_when_debugging(g, DistTensor, torch):
    import logging
    log = logging.getLogger("mpignn")
    level = log.level
    log.setLevel(logging.DEBUG if g.rank == 0 else logging.WARNING)
    t = DistTensor((ROWS,), torch.float32, "t", g=g)
    log.setLevel(level)
    t[[g.rank, 300 + g.rank]] = 1.0
    t.sync()
    t.add_([5, 6], 1.0)
    t.sync()
    t[[g.rank, 17]] = 1.0
    if g.size == 1:
        return t.sync()
    with pytest.raises(CommError, match=f"t: row 17 was written by trainer 0 and by trainer {g.size - 1} ") as raised:
        t.sync()
    assert raised.value.agreed
    t.max_([3], 1.0) if g.rank == 0 else t.add_([3], 1.0)
    with pytest.raises(CommError, match="row 3 was written"):
        t.sync()
    t.sync()


@pytest.mark.ranks(*RANKS, **LAUNCHES)
@on_trainers
def test_what_was_read_or_given_is_a_copy(g, DistTensor, torch):
    t = DistTensor((ROWS, 2), torch.float32, g=g)
    mine = torch.arange(g.rank, ROWS, g.size)
    for write in (t.__setitem__, t.add_):
        given = torch.full((len(mine), 2), 3.0)
        write(mine, given)
        given.fill_(99)
    t.sync()
    before = t[:]
    t.sync()
    t.local.zero_()
    t.sync()
    assert (before == 6).all() and not t[:].any()


@pytest.mark.ranks(*RANKS, **LAUNCHES)
@on_trainers
def test_neighboring_rows_do_not_disturb_each_other(g, DistTensor, torch):
    t = DistTensor((ROWS,), torch.uint8, g=g)
    mine = torch.arange(ROWS)[torch.arange(ROWS) % g.size == g.rank]
    for turn in range(100):
        if turn % 2:
            t.add_(mine, 1)
        else:
            t[mine] = turn
    t.sync()
    assert (t[:] == 99).all()
    t.sync()


@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
@on_trainers
def test_a_busy_owner_delays_a_read_until_its_next_call(g, DistTensor, torch):
    import time
    t = DistTensor((ROWS,), torch.int64, part_policy="even", g=g)
    t.local[:] = g.rank
    t.sync()
    if g.rank == g.size - 1:
        time.sleep(0.3)     # computes, and calls no MPI
    else:
        began = time.monotonic()
        assert t[ROWS - 1] == g.size - 1
        t.add_(ROWS - 1, 0)
        t.flush()
        assert time.monotonic() - began < 20
    t.sync()
