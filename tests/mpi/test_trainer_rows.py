"""Arrays that trainers own and write, on one node and on several."""

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import writable_suite
from mpignn.comm.sharded import array_spec
from mpignn.errors import CommError, ResourceError

LAUNCHES = {"ranks_per_node": (None, 1, 2)}
both_ways = pytest.mark.parametrize("way", ["rma", "owner"])


@contextmanager
def trainers(world, way):
    """What makes arrays, and the groups of the trainers; for trainers only."""
    from mpignn.mpi.owner_array import OwnerArray, TrainerOwners
    from mpignn.mpi.rma_array import RmaArray
    from mpignn.mpi.trainer_array import TrainerGroups
    groups = TrainerGroups(world)
    if way == "rma":
        yield partial(RmaArray, groups), groups
    else:
        service = TrainerOwners(groups.all)
        yield partial(OwnerArray, groups, service), groups
        service.free()
    groups.free()


@pytest.mark.each_library
@pytest.mark.parametrize("check", writable_suite.CHECKS)
@both_ways
@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
def test_writable_array(world, way, check):
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        all_arrays = [make(spec) for spec in writable_suite.specs(groups.all.size)]
        for array in all_arrays:
            writable_suite.CHECKS[check](array, groups.all.rank, groups.all.size, np.random.default_rng(1))
        for array in all_arrays:
            array.free()


@pytest.mark.parametrize("options", [{"segment": "window"}, {"chunk_bytes": 1000}])
@both_ways
@pytest.mark.ranks(3, **LAUNCHES)
def test_writable_array_in_other_memory_and_in_small_pieces(world, way, options):
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        for spec in writable_suite.specs(groups.all.size):
            array = make(spec, **options)
            for check in writable_suite.CHECKS.values():
                check(array, groups.all.rank, groups.all.size, np.random.default_rng(2))
            array.free()


@both_ways
@pytest.mark.ranks(2, 3, ranks_per_node=(None, 1))
def test_too_large_a_table_is_refused_on_all_trainers(world, way):
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        bounds = np.arange(groups.all.size + 1) * 10**12
        need = f"needs {bounds[-1] * 1000 / 1e9:.2f} GB of memory on this machine"
        with pytest.raises(ResourceError, match=need) as raised:
            make(array_spec("huge", np.float32, 250, bounds))
        assert raised.value.agreed


@both_ways
@pytest.mark.ranks(3, 5, **LAUNCHES)
def test_readings_may_be_under_way_together_and_be_forgotten(world, way):
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        (spec, *_) = writable_suite.specs(groups.all.size)
        array = make(spec)
        known = writable_suite.start(array, groups.all.rank)
        everything = np.arange(spec.num_rows)
        first, second, never = (np.empty((spec.num_rows, spec.width), spec.dtype) for _ in range(3))
        begun = [array.gather(everything, first), array.gather(everything[::-1].copy(), second)]
        array.gather(everything, never)
        for reading in reversed(begun):
            reading.wait()
        np.testing.assert_array_equal(first, known)
        np.testing.assert_array_equal(second, known[::-1])
        array.free()


@both_ways
@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
def test_what_tables_move_is_counted(world, way):
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        (spec, *_) = writable_suite.specs(groups.all.size)
        array, stats = make(spec), groups.stats
        writable_suite.start(array, groups.all.rank)
        on_node = groups.node.allgather((array.lo, array.hi))
        everything, near = np.arange(spec.num_rows), sum(hi - lo for lo, hi in on_node)
        mine, rows = array.hi - array.lo, spec.num_rows
        away = groups.all.size - groups.node.size
        writable_suite.read(array, np.concatenate([everything, everything]))
        assert [stats.rows("tensor", None, t) for t in ("self", "node", "remote")] == [
            2 * mine, 2 * (near - mine), rows - near]
        assert stats.calls("tensor") == stats.calls("tensor", None, "remote") == away
        assert stats.bytes("tensor", target="remote") == (rows - near) * 400
        array.sync()
        zeros = np.zeros((rows, spec.width), spec.dtype)
        array.accumulate(everything, zeros, "add")
        others = groups.all.size - 1 if way == "owner" else groups.all.size
        assert stats.rows("write") == rows and stats.rows("write", target="remote") == rows - near
        assert stats.calls("write") == others and stats.calls("write", owner=groups.all.rank) == (way == "rma")
        array.sync()
        if groups.all.rank == 0:
            array.put(everything, zeros)
            assert stats.rows("write") == 2 * rows and stats.calls("write") == others + away
        assert (stats.wait_s > 0) == (others > 0)
        array.free()


@both_ways
@pytest.mark.ranks(3, ranks_per_node=(None, 1))
def test_nothing_is_read_or_written_after_free(world, way):
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        array, *others = (make(spec) for spec in writable_suite.specs(groups.all.size))
        refused_after_free(array, others)


def refused_after_free(array, others):
    local = array.local
    array.local[:] = 5
    for one in (array, *others):
        one.free()
        one.free()
    with pytest.raises(CommError, match="already freed"):
        array.put(np.array([0]), np.zeros((1, array.spec.width), array.spec.dtype))
    with pytest.raises(CommError, match="already freed"):
        writable_suite.read(array, [0])
    assert (local == 5).all()       # who still refers to the memory keeps it


@both_ways
@pytest.mark.ranks(3, 5, **LAUNCHES)
def test_all_trainers_may_move_a_lot_at_the_same_time(world, way):
    """More than the library takes without the other side, in several messages, both ways at once."""
    if world.trainers is None:
        return
    with trainers(world, way) as (make, groups):
        rows, width, size = 1500, 2000, groups.all.size
        array = make(array_spec("much", np.float32, width, np.arange(size + 1) * rows // size))
        everything, ones = np.arange(rows), np.ones((rows, width), np.float32)
        for turn in range(2):
            array.accumulate(everything, ones, "add")
            array.sync()
            assert (writable_suite.read(array, everything) == size * (turn + 1)).all()
            array.sync()
        array.free()
