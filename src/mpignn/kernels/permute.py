"""A pseudo-random order of 0 ... n - 1 that needs no memory: any stretch of it is computed when asked for.

A Feistel network permutes the smallest power of two that holds n; a value that falls outside is sent through
again until it falls inside (cycle walking: Black and Rogaway 2002), at most twice on average.
"""

import numpy as np

from mpignn.errors import IDError
from mpignn.kernels.compiled import inlined, kernel
from mpignn.kernels.rng import draw

# Pairs of rounds.  Few bits mix slowly: with 8 pairs the orders of 5 things are not yet equally likely, with 12
# no bias shows in 10^6 keys.  From 20 things on, 4 pairs show none.
_PAIRS_FEW, _PAIRS, _FEW_BITS = 16, 4, 8
_ONE = np.uint64(1)


def permute(key: int, n: int, first: int, count: int) -> np.ndarray:
    """Places ``first`` to ``first + count - 1`` of the order of ``range(n)`` that belongs to ``key``.

    Args:
        key: 64 bits.
        n: At most 2**62.

    Returns:
        (count,) int64, the numbers that stand there.

    Not collective.

    Raises:
        IDError: A place is not in ``0:n``.
    """
    if first < 0 or count < 0 or first + count > n:
        raise IDError(f"places {first} to {first + count - 1} asked for, of an order of {n}")
    out = np.empty(count, np.int64)
    _permute(np.uint64(key), n, first, out)
    return out


def warm() -> None:
    """Compile the kernels, or load them from the cache."""
    permute(0, 1, 0, 1)
    one = np.ones(1, np.int64)
    permute_each(np.zeros(1, np.uint64), one, one - 1, one.copy())


@kernel
def permute_each(keys: np.ndarray, sizes: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """One place each of many orders: ``out[i]`` stands at ``places[i]`` of the order of ``range(sizes[i])``.

    Args:
        keys: (N,) uint64 of each order.
        sizes: (N,) int64, 1 to 2**62.
        places: (N,) int64, less than ``sizes``; not checked.
        out: (N,) int64, written.
    """
    for i in range(keys.shape[0]):
        out[i] = _stands_at(keys[i], sizes[i], places[i])


@kernel
def _permute(key: np.uint64, n: int, first: int, out: np.ndarray) -> None:
    for i in range(out.shape[0]):
        out[i] = _stands_at(key, n, first + i)


@inlined
def _stands_at(key: np.uint64, n: int, place: int) -> np.int64:
    bits = 0
    while (1 << bits) < n:
        bits += 1
    pairs = _PAIRS_FEW if bits <= _FEW_BITS else _PAIRS
    low = np.uint64(bits // 2)
    low_mask = (_ONE << low) - _ONE
    high_mask = (_ONE << np.uint64(bits - bits // 2)) - _ONE
    x = np.uint64(place)
    while True:
        left, right = x >> low, x & low_mask
        for r in range(0, 2 * pairs, 2):
            left ^= draw(key + np.uint64(r), right) & high_mask
            right ^= draw(key + np.uint64(r + 1), left) & low_mask
        x = left << low | right
        if x < np.uint64(n):
            return np.int64(x)
