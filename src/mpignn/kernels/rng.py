"""Counter-based random numbers: every draw is a hash of what it is for.

The mixing function is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
"""

import numba
import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_U64 = np.uint64
_G, _A, _B = _U64(GOLDEN), _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB)
_30, _27, _31 = _U64(30), _U64(27), _U64(31)


def derive(*parts: int) -> int:
    """A 64-bit key out of a sequence of integers, such as (seed, epoch, step).

    Not collective.  A longer sequence with the same beginning gives an unrelated key.
    """
    key = len(parts)
    for part in parts:
        key = _mix(key ^ _mix((part + GOLDEN) & _MASK)) + GOLDEN & _MASK
    return _mix(key)


def _mix(x: int) -> int:
    x = (x ^ (x >> 30)) * int(_A) & _MASK
    x = (x ^ (x >> 27)) * int(_B) & _MASK
    return x ^ (x >> 31)


@numba.njit(inline="always")
def mix(x):
    """splitmix64's finaliser: a bijection of 64-bit words that flips each bit with chance 1/2."""
    x = (x ^ (x >> _30)) * _A
    x = (x ^ (x >> _27)) * _B
    return x ^ (x >> _31)


@numba.njit(inline="always")
def draw(key, counter):
    """Word number ``counter`` of the stream ``key``; both uint64."""
    return mix(key ^ mix(counter * _G + _G))
