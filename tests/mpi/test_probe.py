"""The measurement at start, and jobs without RMA."""

import numpy as np
import pytest
from test_ways import check_all

pytestmark = pytest.mark.each_library


@pytest.mark.ranks(2, 4, ranks_per_node=(1, 2))
def test_auto_measures_and_serves(world):
    from mpignn.mpi.probe import choose_access
    chosen, access = choose_access(world, "auto")
    nodes = len(world.topology.nodes)
    assert world.all.allgather(access) == [access] * world.size
    assert chosen.access == access.ways[world.node_id] and len(chosen.access) == nodes
    if nodes == 1:
        assert access.measured == ()
    else:
        assert {m.origin for m in access.measured} == set(range(nodes))
        assert all(m.origin != m.target and 0 < m.rma_s < 30 and 0 < m.owner_s < 30 for m in access.measured)
        assert access.passive_get in (True, False)
    check_all(chosen)


@pytest.mark.ranks(2, 3, ranks_per_node=(1, 2))
def test_what_is_asked_for_is_not_measured(world):
    from mpignn.mpi.probe import choose_access
    for asked in "rma", "owner":
        chosen, access = choose_access(world, asked)
        assert set(chosen.access) == {asked} and access.measured == ()


@pytest.mark.ranks(2, 4, ranks_per_node=(1, 2))
def test_by_owner_there_is_no_window(world):
    from mpignn.mpi import rma_way
    from mpignn.mpi.library import MPI

    class NoWindows(type(MPI)):
        def __getattr__(self, name):
            assert name != "Win"
            return getattr(MPI, name)

    rma_way.MPI = NoWindows("MPI")
    try:
        check_all(world, access="owner")
        if len(world.topology.nodes) > 1:
            with pytest.raises(AssertionError):
                check_all(world, access="rma")
    finally:
        rma_way.MPI = MPI


@pytest.mark.ranks(2, ranks_per_node=(1,))
def test_rows_that_rma_brings_wrong_are_noticed(world):
    from mpignn.mpi import probe, rma_way
    get, original = rma_way.Gets.wait, rma_way.Gets.start

    def wrong(self):
        get(self)
        self.landing[:] = 0

    def start(self, landing):
        self.landing = landing
        original(self, landing)

    rma_way.Gets.wait, rma_way.Gets.start = wrong, start
    try:
        _, access = probe.choose_access(world, "auto")
    finally:
        rma_way.Gets.wait, rma_way.Gets.start = get, original
    assert all(np.isinf(m.rma_s) for m in access.measured)
    assert {way for row in access.ways for way in row} == {"owner"}


@pytest.mark.ranks(3, ranks_per_node=(1,))
def test_rma_that_never_answers_is_given_up(world):
    from mpignn.mpi import probe
    ends = probe._Get.ends
    probe._Get.ends = lambda self, within_s: ends(self, within_s) and False
    try:
        chosen, access = probe.choose_access(world, "auto")
    finally:
        probe._Get.ends = ends
    assert access.passive_get is None and set(chosen.access) == {"owner"}
    assert all(np.isinf(m.rma_s) and m.owner_s < 30 for m in access.measured)
    check_all(chosen)
    (transport,) = [kept for kept in probe._abandoned if hasattr(kept, "arrays")]
    transport.free()        # in this test the read did end
    probe._abandoned.clear()
