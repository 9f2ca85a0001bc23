"""Updates of single rows: the kernels against NumPy, row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.kernels import sparse

LR, EPS, BETAS, LO = 0.1, 1e-10, (0.9, 0.99), 5
IDS = st.lists(st.integers(LO, LO + 5000), max_size=40) | st.lists(st.integers(LO, LO + 2), max_size=40)


@settings(deadline=None)
@given(IDS, st.integers(1, 5001))
def test_gradients_of_a_row_come_together_in_the_order_given(ids, num_rows):
    ids = LO + (np.array(ids, np.int64) - LO) % num_rows
    places = np.arange(ids.size)[::-1] * 3
    rows, order = sparse.by_row(ids, places, LO, num_rows)
    expected = np.argsort(ids, kind="stable")
    assert rows.tolist() == (ids[expected] - LO).tolist() and order.tolist() == places[expected].tolist()


@settings(deadline=None)
@given(IDS, st.sampled_from([np.float32, np.float64]), st.sampled_from([1, 3, 128]), st.booleans(),
       st.integers(0, 40), st.sampled_from(["sgd", "adagrad", "adam"]))
def test_a_row_is_updated_once_with_all_its_gradients(ids, dtype, width, mean, num_mine, optimizer):
    rng = np.random.default_rng(len(ids))
    ids = np.array(ids, np.int64)
    gradients = rng.standard_normal((ids.size, width)).astype(dtype)
    mine = gradients[:num_mine]
    rows, order = sparse.by_row(ids, np.arange(ids.size), LO, 5001)
    sums, hits = np.zeros((5001, width)), np.bincount(ids - LO, minlength=5001)[:, None]
    np.add.at(sums, ids - LO, gradients)
    g = 0.5 * (sums / np.maximum(hits, 1) if mean else sums)
    weights = rng.standard_normal((5001, width)).astype(dtype)
    state = [rng.random((5001, width)).astype(dtype) for _ in range(2)]
    steps = np.full(5001, 3, np.int32)
    before, (m, s) = weights.astype(np.float64), [part.astype(np.float64) for part in state]
    given_ = (rows, order, mine, gradients[num_mine:], 0.5, mean, weights)
    if optimizer == "sgd":
        sparse.sgd(*given_, LR)
        expected = before - LR * g
    elif optimizer == "adagrad":
        sparse.adagrad(*given_, state[1], LR, EPS)
        s = s + g * g
        expected = before - LR * g / (np.sqrt(s) + EPS)
    else:
        sparse.adam(*given_, *state, steps, LR, BETAS, EPS)
        m, s = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * s + (1 - BETAS[1]) * g * g
        expected = before - LR * m / (1 - BETAS[0] ** 4) / (np.sqrt(s / (1 - BETAS[1] ** 4)) + EPS)
        assert (steps == np.where(hits[:, 0] > 0, 4, 3)).all()
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(weights, np.where(hits > 0, expected, before), tolerance, tolerance)
    touched = hits[:, 0] > 0
    assert (weights[~touched] == before[~touched].astype(dtype)).all()


def test_bfloat16_is_rounded_up_as_often_as_it_is_near():
    count, width = 2, 2000
    rows, places = sparse.by_row(np.arange(count), np.arange(count), 0, count)
    signs = np.array([[1.0], [-1.0]], np.float32)
    gradients = np.repeat((signs.view(np.uint32) >> 16).astype(np.uint16), width, axis=1)
    weights, squares = np.empty_like(gradients), np.empty((count, width), np.float32)
    results = []
    for noise in range(20):
        weights[:], squares[:] = 0, 0
        sparse.adagrad(rows, places, gradients, gradients[:0], 1.0, False, weights, squares, 0.3, 1e-10, noise)
        results.append((weights.astype(np.uint32) << 16).view(np.float32).copy())
    found = np.stack(results).astype(np.float64)
    low, high = np.unique(np.abs(found))
    assert (np.sign(found) == -signs).all()
    assert (np.abs(found) == high).mean() == pytest.approx((0.3 - low) / (high - low), abs=0.01)
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_first_values_are_uniform_and_a_function_of_the_id_alone(dtype):
    out = np.empty((4000, 16), dtype)
    sparse.uniform(7, np.arange(4000), 0.5, out)
    some = np.array([3999, 0, 17])
    again = np.empty((3, 16), dtype)
    sparse.uniform(7, some, 0.5, again)
    assert (again == out[some]).all() and abs(out).max() <= 0.5
    assert np.unique(out).size > 0.99 * out.size
    counts = np.histogram(out, 16, (-0.5, 0.5))[0]
    assert ((counts - 4000) ** 2 / 4000).sum() < 45         # chi-square of 15 degrees, exceeded with chance 8e-5
    sparse.uniform(8, some, 0.5, again)
    assert (again != out[some]).all()
