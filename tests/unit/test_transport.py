"""Rows in one process, and the arithmetic of shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.comm.group import LocalGroup
from mpignn.comm.local import LocalTransport
from mpignn.comm.sharded import array_spec
from transport_suite import CHECKS, fill, specs


@pytest.fixture
def transport():
    local = LocalTransport(specs(num_servers=1))
    fill(local, server=0)
    local.publish()
    yield local
    local.free()


@pytest.mark.parametrize("check", CHECKS)
def test_local_transport(transport, check):
    CHECKS[check](transport, np.random.default_rng(0))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from([(1, 1), (5, 5), (2, 1)]))
def test_shards_laid_end_to_end_are_the_whole(rows, shape):
    width, step = shape
    spec = array_spec("x", np.int32, width, np.cumsum([0, *rows]), step)
    servers = range(len(rows))
    shared = (width - step) * (len(rows) - 1)       # neighbors both hold what their rows share
    assert sum(spec.elements(s, s + 1) for s in servers) - shared == spec.elements(0, len(rows))
    assert spec.elements(0, 0) == 0


def test_the_group_of_one_agrees_with_itself():
    group, array = LocalGroup(), np.arange(3)
    group.agree(None)
    group.barrier()
    assert group.allgather("x") == ["x"] and group.bcast("y") == "y"
    assert group.all_sum(array) is array and array.tolist() == [0, 1, 2]
