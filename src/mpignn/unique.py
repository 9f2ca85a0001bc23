"""Each value once, in ascending order."""

import numpy as np


def unique(values: np.ndarray) -> np.ndarray:
    """The different ones of some numbers, ascending, as `numpy.unique` gives them, but for each NaN.  Not collective.

    That one looks them up in a hash table since NumPy 2.3: 4 million take 9 s, where sorting takes 0.1 s.

    Args:
        values: Any shape.
    """
    ordered = np.sort(values, axis=None)
    first = np.ones(ordered.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]
