"""Parting ids, and sorting those that are nearly sorted, in one pass or two.

A batch's nodes are a few ascending runs, one a hop; the edges picked of ascending rows are in order but for a few
places, within a row.

Shapes: N ids, R runs.
"""

import numpy as np

from mpignn.kernels.compiled import kernel
from mpignn.kernels.simd import read_only

MOST_RUNS = 16      # that are merged by looking at the next id of each
_REACH = 64         # places that an id may be out of order
_LAST = np.int64(2**63 - 1)


def part(ids: np.ndarray, lo: int, hi: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places of the ids that are in ``lo:hi``, these ids, and the same of the others; both in the order of ``ids``.

    Not collective.
    """
    near, near_ids, far, far_ids = (np.empty_like(ids) for _ in range(4))
    count = _part(read_only(ids), lo, hi, near, near_ids, far, far_ids)
    others = ids.size - count
    return near[:count], near_ids[:count], far[:others], far_ids[:others]


def in_order(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort ids; fast where they are up to `MOST_RUNS` runs, each ascending but for ids some places out of order.

    Args:
        ids: (N,) int64, C-contiguous.

    Returns:
        (N,) int64 places of the ids in ascending order, those of equal ones in any; and (N,) the ids in that order,
        which may be ``ids`` itself.

    Not collective.
    """
    if (ids[1:] >= ids[:-1]).all():
        return np.arange(ids.size), ids
    places, found, starts = np.empty_like(ids), np.empty_like(ids), np.empty(MOST_RUNS + 1, np.int64)
    runs = _find_runs(read_only(ids), places, found, starts)
    if runs == 0:
        places = np.argsort(ids)
        return places, ids[places]
    if runs == 1:
        return places, found
    order, merged = np.empty_like(ids), np.empty_like(ids)
    _merge(found, places, starts[:runs + 1], order, merged)
    return order, merged


def warm() -> None:
    """Compile the kernels, or load them from the cache."""
    ids = np.append(np.arange(2 * _REACH), 0)
    part(ids, 1, 2)
    in_order(ids)


@kernel
def _part(ids: np.ndarray, lo: int, hi: int, near: np.ndarray, near_ids: np.ndarray, far: np.ndarray,
          far_ids: np.ndarray) -> int:
    """Returns how many are near."""
    a = b = 0
    for i in range(ids.shape[0]):       # both are written: whether an id is near cannot be foreseen
        near[a], near_ids[a], far[b], far_ids[b] = i, ids[i], i, ids[i]
        inside = (ids[i] >= lo) & (ids[i] < hi)
        a += inside
        b += not inside
    return a


@kernel
def _find_runs(ids: np.ndarray, places: np.ndarray, found: np.ndarray, starts: np.ndarray) -> int:
    """Sort within runs, by insertion; returns R with the bounds of the runs in ``starts``, 0 if these are too few."""
    runs, begin = 1, 0
    starts[0] = 0
    for i in range(ids.shape[0]):
        new, at = ids[i], i
        least = max(begin, i - _REACH)
        while at > least and found[at - 1] > new:
            at -= 1
        if at > begin and found[at - 1] > new:      # out of reach
            if runs == starts.shape[0] - 1:
                return 0
            starts[runs] = begin = at = i
            runs += 1
        for k in range(i, at, -1):
            found[k], places[k] = found[k - 1], places[k - 1]
        found[at], places[at] = new, i
    starts[runs] = ids.shape[0]
    return runs


@kernel
def _merge(ids: np.ndarray, places: np.ndarray, starts: np.ndarray, order: np.ndarray, merged: np.ndarray) -> None:
    """Merge the ascending runs ``ids[starts[r]:starts[r + 1]]``, with their places."""
    runs = starts.shape[0] - 1
    at, head = starts[:-1].copy(), ids[starts[:-1]]
    for i in range(ids.shape[0]):
        run, least = 0, head[0]
        for r in range(1, runs):        # selects rather than branches: which run is next cannot be foreseen
            less = head[r] < least
            run = r if less else run
            least = head[r] if less else least
        order[i], merged[i] = places[at[run]], least
        at[run] += 1
        head[run] = ids[at[run]] if at[run] < starts[run + 1] else _LAST
