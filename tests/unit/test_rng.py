"""Numbers that are hashes of what they are for.

False alarms: the statistical tests here would each fail for 1 in 10^6 keys; the keys are fixed.
"""

import numba
import numpy as np
import pytest
import reference_sampling as reference
from scipy import stats

from mpignn.kernels import rng

U = np.uint64
WORDS = [0, 1, 2, 63, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0x0123456789ABCDEF]


@numba.njit
def kernel_words(key, counters):
    out = np.empty((3, counters.size), np.uint64)
    for i in range(counters.size):
        out[0, i] = rng.mix(counters[i])
        out[1, i] = rng.draw(key, counters[i])
        out[2, i] = rng.word(key, counters[i])
    return out


@numba.njit
def kernel_scale(stream, n, count):
    out = np.empty(count, np.uint64)
    for i in range(count):
        number = np.uint64(2 * i)
        bits = rng.word(stream, np.uint64(i)) & np.uint64(0xFFFFFFFF)
        out[i] = rng.scale(bits, n, stream, number)
    return out


@pytest.mark.parametrize("key", WORDS)
def test_kernels_compute_what_plain_integers_do(key):
    got = kernel_words(U(key), np.array(WORDS, U)).tolist()
    assert got == [[f(x) for x in WORDS] for f in (
        reference.mix, lambda x: reference.draw(key, x), lambda x: reference.word(key, x))]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000, 2**31, 2**31 + 1, 3 * 2**30 + 1, 2**32 - 1])
def test_scaling_rejects_exactly_the_uneven_rest(n):
    # At 2**31 + 1 every second number is drawn anew.
    got = kernel_scale(U(77), U(n), 300).tolist()
    assert got == [reference.below(77, 2 * i, n) for i in range(300)] and max(got) < n


def test_scaling_is_even_where_plain_multiplication_would_not_be():
    # Without rejection, two of every three thirds would come up twice as often as the third.
    n = 3 * 2**30
    thirds = np.bincount(kernel_scale(U(5), U(n), 60_000) % U(3), minlength=3)
    assert stats.chisquare(thirds).pvalue > 1e-6


def test_derived_keys_depend_on_every_part_and_on_their_number():
    keys = [rng.derive(), rng.derive(0), rng.derive(0, 0), rng.derive(0, 1), rng.derive(1, 0), rng.derive(1),
            rng.derive(0, 0, 0), rng.derive(-1), rng.derive(2**64 - 2)]
    assert len(set(keys)) == len(keys) and all(0 <= k < 2**64 for k in keys)
    assert rng.derive(3, 1, 4) == rng.derive(3, 1, 4)


def test_one_bit_more_or_less_flips_half_of_a_draw():
    # Binomial(64 * 4096, 1/2): 1 in 10^6 lies further out than 4.9 standard deviations.
    counters = np.arange(4096, dtype=U)
    plain = kernel_words(U(9), counters)[1]
    for change in kernel_words(U(8), counters)[1], kernel_words(U(9), counters ^ U(1))[1]:
        flipped = sum(int(x).bit_count() for x in plain ^ change)
        assert abs(flipped - 32 * 4096) < 4.9 * 8 * 64


def test_the_bits_of_a_stream_are_even():
    words = kernel_words(U(1), np.arange(20_000, dtype=U))[2]
    for shift in range(0, 64, 8):
        assert stats.chisquare(np.bincount((words >> U(shift) & U(255)).astype(int), minlength=256)).pvalue > 1e-6 / 8
