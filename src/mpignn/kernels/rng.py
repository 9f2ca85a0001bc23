"""Counter-based random numbers: every draw is a hash of what it is for.

The mixing function is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
"""

from typing import TypeVar

import numpy as np

from mpignn.kernels.compiled import helper, inlined

GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_U64 = np.uint64
_G, _A, _B = _U64(GOLDEN), _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB)
_30, _27, _31, _32 = _U64(30), _U64(27), _U64(31), _U64(32)
_LOW, _WRAP = _U64((1 << 32) - 1), _U64(1 << 32)

Word = TypeVar("Word", int, np.ndarray)


def derive(*parts: int) -> int:
    """A 64-bit key out of a sequence of integers, such as (seed, epoch, step).

    Not collective.  A longer sequence with the same beginning gives an unrelated key.
    """
    key = len(parts)
    for part in parts:
        key = _mix(key ^ _mix((part + GOLDEN) & _MASK)) + GOLDEN & _MASK
    return _mix(key)


def number_repeats(ids: np.ndarray) -> np.ndarray:
    """Numbers by which repeated ids draw anew: the first of equal ids keeps its own.

    Args:
        ids: (N,) int64.

    Returns:
        (N,) int64: ``ids[i]``, or where j equal ids stand before it, 64 bits that depend on it and on j.

    Not collective.
    """
    order = np.argsort(ids, kind="stable")
    place = np.arange(ids.size)
    new = np.ones(ids.size, bool)
    new[1:] = ids[order[1:]] != ids[order[:-1]]
    before = np.empty(ids.size, np.int64)
    before[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    numbers, again = ids.astype(_U64), before > 0
    numbers[again] = _mix(numbers[again] ^ _mix(before[again].astype(_U64) * GOLDEN))
    return numbers.view(np.int64)


def number_moments(ids: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Numbers by which equal ids draw anew at different times.

    Args:
        ids: (N,) int64.
        times: (N,) int64 or float64.

    Returns:
        (N,) int64: 64 bits that depend on both.

    Not collective.
    """
    bits = (times + times.dtype.type(0)).view(_U64)         # -0.0 is 0.0
    words: np.ndarray = ids.astype(_U64) ^ _mix(bits * _G + _G)
    return _mix(words).view(np.int64)


def units(key: int, ids: np.ndarray) -> np.ndarray:
    """A number between 0 and 1 of each id, both excluded, by 52 bits of ``draw(key, id)``.

    Args:
        key: 64 bits.
        ids: (N,) int64.

    Returns:
        (N,) float64.

    Not collective.
    """
    bits = _mix(_U64(key) ^ _mix(ids.astype(_U64) * _G + _G))
    found: np.ndarray = ((bits >> _U64(12)) + 0.5) * 2.0**-52
    return found


def _mix(x: Word) -> Word:
    x = (x ^ (x >> 30)) * int(_A) & _MASK
    x = (x ^ (x >> 27)) * int(_B) & _MASK
    x = x ^ (x >> 31)
    return x


@inlined
def mix(x: np.uint64) -> np.uint64:
    """splitmix64's finaliser: a bijection of 64-bit words that flips each bit with chance 1/2."""
    x = (x ^ (x >> _30)) * _A
    x = (x ^ (x >> _27)) * _B
    return x ^ (x >> _31)


@inlined
def draw(key: np.uint64, counter: np.uint64) -> np.uint64:
    """Word number ``counter`` of the stream ``key``; both uint64."""
    return mix(key ^ mix(counter * _G + _G))


@inlined
def word(stream: np.uint64, number: np.uint64) -> np.uint64:
    """Word ``number`` of the splitmix64 generator started at ``stream``; all uint64.

    Half the work of `draw`, for streams that are well mixed themselves, such as words of `draw`.
    """
    return mix(stream + number * _G)


@inlined
def scale(bits: np.uint64, n: np.uint64, stream: np.uint64, number: np.uint64) -> np.uint64:
    """32 random bits as a number below ``n``, each equally likely; all uint64, 0 < n < 2**32.

    The high half of ``bits * n``, and new bits where the low half shows that the range does not divide evenly
    (Lemire 2019).  These come from ``stream``, from words that depend on ``number`` and are used for nothing else.
    """
    product = bits * n
    if product & _LOW < n:
        product = _even(product, n, stream, number)
    return product >> _32


@helper
def _even(product: np.uint64, n: np.uint64, stream: np.uint64, number: np.uint64) -> np.uint64:
    excess = _WRAP % n
    while product & _LOW < excess:
        number += _WRAP
        product = (word(stream, number) & _LOW) * n
    return product
