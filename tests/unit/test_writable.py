"""Arrays in one process, and how repeated ids are joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import writable_suite
from mpignn.comm.local import LocalArray
from mpignn.comm.writable import REDUCTIONS, combined, last_of_each

IDS = st.lists(st.integers(0, 9), max_size=30).map(lambda ids: np.array(ids, np.int64))


@pytest.mark.parametrize("check", writable_suite.CHECKS)
@pytest.mark.parametrize("number", range(len(writable_suite.DTYPES)))
def test_local_table(check, number):
    array = LocalArray(writable_suite.specs(num_trainers=1)[number])
    writable_suite.CHECKS[check](array, 0, 1, np.random.default_rng(0))
    array.free()


@given(IDS, st.sampled_from(sorted(REDUCTIONS)), st.sampled_from([np.int8, np.int32, np.float32, np.uint8]))
def test_repeated_ids_are_joined_as_by_numpy(ids, how, dtype):
    rows = np.random.default_rng(0).integers(-100, 100, (ids.size, 3)).astype(dtype)
    expected = np.zeros((10, 3), dtype)
    REDUCTIONS[how].at(expected, ids, rows)
    distinct, joined = combined(ids, rows, how)
    assert distinct.tolist() == sorted(set(ids.tolist())) and joined.dtype == dtype
    found = np.zeros((10, 3), dtype)
    found[distinct] = REDUCTIONS[how](found[distinct], joined)
    np.testing.assert_array_equal(found, expected)


@given(IDS)
def test_of_repeated_ids_the_last_counts(ids):
    distinct, rows = last_of_each(ids, np.arange(ids.size)[:, None])
    assert dict(zip(distinct.tolist(), rows[:, 0].tolist(), strict=True)) == {int(i): n for n, i in enumerate(ids)}
    assert distinct.tolist() == sorted(set(ids.tolist()))
