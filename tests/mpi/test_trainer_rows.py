"""Arrays that trainers own and write, on one node and on several."""

import numpy as np
import pytest

import table_suite
from mpignn.errors import CommError, ResourceError
from mpignn.transport.api import array_spec

LAUNCHES = {"ranks_per_node": (None, 1, 2)}


def tables(world, **options):
    """The groups of the trainers, and a table for each of the suite's arrays."""
    from mpignn.mpi.writable import MpiTable, TrainerGroups
    groups = TrainerGroups(world)
    return groups, [MpiTable(groups, spec, **options) for spec in table_suite.specs(groups.all.size)]


@pytest.mark.parametrize("check", table_suite.CHECKS)
@pytest.mark.ranks(2, 3, 4, **LAUNCHES)
def test_table(world, check):
    if world.trainers is None:
        return
    groups, all_tables = tables(world)
    for table in all_tables:
        table_suite.CHECKS[check](table, groups.all.rank, groups.all.size, np.random.default_rng(1))
    for table in all_tables:
        table.free()
    groups.free()


@pytest.mark.parametrize("options", [{"segment": "window"}, {"chunk_bytes": 1000}])
@pytest.mark.ranks(3, 4, **LAUNCHES)
def test_table_in_other_memory_and_in_small_pieces(world, options):
    if world.trainers is None:
        return
    groups, all_tables = tables(world, **options)
    for table in all_tables:
        for check in table_suite.CHECKS.values():
            check(table, groups.all.rank, groups.all.size, np.random.default_rng(2))
        table.free()
    groups.free()


@pytest.mark.ranks(2, 3, ranks_per_node=(None, 1))
def test_too_large_a_table_is_refused_on_all_trainers(world):
    if world.trainers is None:
        return
    from mpignn.mpi.writable import MpiTable, TrainerGroups
    groups = TrainerGroups(world)
    bounds = np.arange(groups.all.size + 1) * 10**12
    need = f"needs {bounds[-1] * 1000 / 1e9:.2f} GB of memory on this machine"
    with pytest.raises(ResourceError, match=need) as raised:
        MpiTable(groups, array_spec("huge", np.float32, 250, bounds))
    assert raised.value.agreed
    groups.free()


@pytest.mark.ranks(3, ranks_per_node=(None, 1))
def test_nothing_is_read_or_written_after_free(world):
    if world.trainers is None:
        return
    groups, (table, *others) = tables(world)
    local = table.local
    table.local[:] = 5
    for one in (table, *others):
        one.free()
        one.free()
    with pytest.raises(CommError, match="already freed"):
        table.put(np.array([0]), np.zeros((1, table.spec.width), table.spec.dtype))
    with pytest.raises(CommError, match="already freed"):
        table_suite.read(table, [0])
    assert (local == 5).all()       # who still refers to the memory keeps it
    groups.free()
