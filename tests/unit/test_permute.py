"""Statistical tests use fixed keys: they fail for a wrong kernel, never by chance."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from mpignn.errors import IDError
from mpignn.kernels.permute import permute
from mpignn.kernels.rng import GOLDEN, derive

MASK = (1 << 64) - 1


def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def draw(key, counter):
    return mix((key & MASK) ^ mix((counter + 1) * GOLDEN & MASK))


def image(key, n, x):
    """Where `permute` sends one place, from its description."""
    bits = (n - 1).bit_length()
    low = bits // 2
    while True:
        left, right = x >> low, x & (1 << low) - 1
        for r in range(0, 32 if bits <= 8 else 8, 2):
            left ^= draw(key + r, right) & (1 << bits - low) - 1
            right ^= draw(key + r + 1, left) & (1 << low) - 1
        x = left << low | right
        if x < n:
            return x


@pytest.mark.parametrize("n", [1, 2, 3, 10, 256, 257, 5000, 2**20 + 1, 2**40 + 1])
def test_places_follow_the_description(n):
    first, key = n // 3, 2**64 - 3
    places = permute(key, n, first, min(n - first, 20))
    assert places.dtype == np.int64
    assert places.tolist() == [image(key, n, first + i) for i in range(len(places))]


def test_order_is_a_bijection():
    for n in range(1, 301):
        np.testing.assert_array_equal(np.sort(permute(derive(7, n), n, 0, n)), np.arange(n))
    np.testing.assert_array_equal(np.sort(permute(3, 100_003, 0, 100_003)), np.arange(100_003))


@pytest.mark.parametrize("n", [10**9, 2**40])
def test_a_stretch_of_a_large_order_repeats_nothing_and_stays_inside(n):
    places = permute(1, n, n // 2, 100_000)
    assert np.unique(places).size == places.size
    assert places.min() >= 0 and places.max() < n
    quarters = np.bincount(places * 4 // n, minlength=4)
    assert chi2.sf(((quarters - 25_000) ** 2 / 25_000).sum(), 3) > 1e-6


def test_a_stretch_is_part_of_the_whole():
    np.testing.assert_array_equal(permute(9, 1000, 200, 300), permute(9, 1000, 0, 1000)[200:500])


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_orders_are_equally_likely(n):
    number = {order: i for i, order in enumerate(itertools.permutations(range(n)))}
    keys = 100 * math.factorial(n) + 2000
    counts = np.zeros(len(number))
    for k in range(keys):
        counts[number[tuple(permute(derive(k), n, 0, n).tolist())]] += 1
    expected = keys / len(number)
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), len(number) - 1) > 1e-6   # false alarm: 1e-6 a run


def test_pairs_of_places_are_equally_likely():
    n, keys = 20, 20_000
    counts = np.zeros((n, n))
    for k in range(keys):
        a, b = permute(derive(1, k), n, 7, 2)
        counts[a, b] += 1
    assert np.diag(counts).sum() == 0
    expected = keys / (n * (n - 1))
    off = counts[~np.eye(n, dtype=bool)]
    assert chi2.sf(((off - expected) ** 2 / expected).sum(), off.size - 1) > 1e-6           # false alarm: 1e-6 a run


def test_empty_stretches_are_allowed_and_places_outside_are_not():
    assert permute(1, 10, 10, 0).size == 0
    assert permute(1, 0, 0, 0).size == 0
    for first, count in [(8, 3), (-1, 2), (0, -1)]:
        with pytest.raises(IDError, match="of an order of 10"):
            permute(1, 10, first, count)
