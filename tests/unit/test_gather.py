import numpy as np
import pytest

from mpignn.kernels.gather import gather_rows, scatter_rows

DTYPES = [np.int8, np.float16, np.float32, np.int64, np.complex128]
WIDTHS = [0, 1, 2, 3, 7, 25, 100]


def table(dtype, width, rows=50):
    rng = np.random.default_rng(width)
    return rng.integers(0, 100, (rows, width)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_gather_is_indexing_for_every_type_and_width(dtype, width):
    rows = table(dtype, width)
    ids = np.random.default_rng(1).integers(1000, 1050, 200)
    out = np.full((200, width), 101, dtype)
    gather_rows(rows, ids, 1000, out)
    np.testing.assert_array_equal(out, rows[ids - 1000])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_scatter_writes_the_given_positions_and_no_other(dtype, width):
    rows = table(dtype, width)
    rng = np.random.default_rng(2)
    ids, positions = rng.integers(7, 57, 30), rng.permutation(40)[:30]
    out = np.full((40, width), 101, dtype)
    expected = out.copy()
    expected[positions] = rows[ids - 7]
    scatter_rows(rows, ids, 7, positions, out)
    np.testing.assert_array_equal(out, expected)


def test_scalars_are_rows_of_one_element():
    rows = np.arange(10.0)
    out = np.empty(4)
    gather_rows(rows, np.array([3, 3, 0, 9]), 0, out)
    np.testing.assert_array_equal(out, [3, 3, 0, 9])


def test_rows_may_overlap_and_be_read_only():
    pairs = np.lib.stride_tricks.as_strided(np.arange(11) * 10, (10, 2), (8, 8), writeable=False)
    out = np.empty((3, 2), np.int64)
    gather_rows(pairs, np.array([5, 9, 5]), 0, out)
    np.testing.assert_array_equal(out, [[50, 60], [90, 100], [50, 60]])


def test_nothing_is_picked_from_nothing():
    out = np.empty((0, 3), np.float32)
    gather_rows(np.empty((0, 3), np.float32), np.empty(0, np.int64), 0, out)
    scatter_rows(np.empty((0, 3), np.float32), np.empty(0, np.int64), 0, np.empty(0, np.int64), out)
    assert out.shape == (0, 3)


@pytest.mark.parametrize("runs", [1, 2, 4, 15, 16, 17])
@pytest.mark.parametrize("columns", [16, 17, 100, 110])
def test_ascending_runs_of_ids_come_out_in_their_places(runs, columns):
    rng = np.random.default_rng(runs)
    rows = rng.random((30_000, columns), np.float32)
    ids = np.concatenate([np.sort(rng.integers(0, 30_000, rng.integers(1, 9000))) for _ in range(runs)])
    ids = np.concatenate([ids, np.sort(rng.integers(0, 30_000, 30_000))])     # more than the caches hold
    out = np.empty((ids.size, columns), np.float32)
    gather_rows(rows, ids, 0, out)
    np.testing.assert_array_equal(out, rows[ids])
