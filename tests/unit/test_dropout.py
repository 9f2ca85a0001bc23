"""Statistical tests use fixed keys: they fail for a wrong kernel, never by chance."""

import numpy as np
import pytest
from scipy.stats import norm

from mpignn.kernels.dropout import dropout
from mpignn.kernels.rng import GOLDEN

U64 = np.uint64


def mix(x):
    x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
    return x ^ (x >> U64(31))


def kept(key, rows, columns, p):
    """(N, F) mask, from its description: the top half of word j of the splitmix64 stream of (key, row)."""
    with np.errstate(over="ignore"):
        start = mix(U64(key) ^ mix(rows.astype(U64) * U64(GOLDEN) + U64(GOLDEN)))
        words = mix(start[:, None] + np.arange(1, columns + 1, dtype=U64) * U64(GOLDEN))
    return words >> U64(32) >= U64(round(p * 2**32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_kernel_follows_the_description(dtype, p):
    rng = np.random.default_rng(0)
    x, rows = rng.standard_normal((40, 33)).astype(dtype), rng.integers(0, 2**50, 40)
    out = np.empty_like(x)
    dropout(x, 2**64 - 5, rows, p, out)
    scale = dtype(1 / (1 - p)) if p < 1 else dtype(0)
    np.testing.assert_array_equal(out, np.where(kept(2**64 - 5, rows, 33, p), x * scale, dtype(0)))


def test_mask_depends_on_the_original_id_and_not_on_the_place():
    x, rows = np.ones((6, 50)), np.array([3, 10**12, 0, 5, 3, 8])
    whole, part = np.empty_like(x), np.empty((3, 50))
    dropout(x, 1, rows, 0.5, whole)
    dropout(x[:3], 1, rows[[5, 1, 4]], 0.5, part)
    np.testing.assert_array_equal(part, whole[[5, 1, 0]])


def test_mask_of_a_column_does_not_depend_on_the_number_of_columns():
    rows = np.arange(10)
    wide, narrow = np.empty((10, 64)), np.empty((10, 5))
    dropout(np.ones((10, 64)), 1, rows, 0.5, wide)
    dropout(np.ones((10, 5)), 1, rows, 0.5, narrow)
    np.testing.assert_array_equal(narrow, wide[:, :5])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_are_dropped_independently_with_chance_p(p):
    masks = []
    for key in (1, 2):
        x = np.ones((2000, 100))
        dropout(x, key, np.arange(2000), p, x)
        masks.append(x == 0)
    first, second = masks
    for both, chance in [(first, p), (first & second, p * p), (first[1:] & first[:-1], p * p),
                         (first[:, 1:] & first[:, :-1], p * p)]:
        deviation = (both.mean() - chance) / np.sqrt(chance * (1 - chance) / both.size)
        assert abs(deviation) < norm.isf(1e-6)      # false alarm: 2e-6 each; neighbors' overlap adds little


def test_dropped_elements_are_zero_even_where_the_input_is_not_finite():
    x = np.full((1, 1000), np.inf)
    dropout(x, 1, np.zeros(1, np.int64), 0.5, x)
    assert set(np.unique(x)) == {0.0, np.inf}


def test_no_rows():
    x = np.empty((0, 4), np.float32)
    dropout(x, 1, np.empty(0, np.int64), 0.5, x)
