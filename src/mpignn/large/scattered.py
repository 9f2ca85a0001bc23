"""Arrays whose numbers come in any order, where they may not fit memory.

Shapes: E numbers, e of them in hand.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from mpignn.buffers import Pool
from mpignn.errors import MpignnError
from mpignn.large.arrays import FileArray
from mpignn.large.disk import full_disk_named
from mpignn.large.scratch import Scratch

_PAGE_BYTES = 1 << 16       # of the largest page


def scattered(pairs: Iterator[tuple[np.ndarray, np.ndarray]], count: int, scratch: Scratch | None,
              dtype: DTypeLike = np.int64) -> np.ndarray | FileArray:
    """An array whose numbers come in any order.  Collective over the group of ``scratch``, if there is one.

    Args:
        pairs: On each rank some of them: (e,) int64 places and (e,) integers or booleans; each place once on all ranks.
        count: E, how many there are.
        scratch: Where to keep what does not fit memory, and who has them together; None: all fits.
        dtype: Type of the numbers that are returned.

    Returns:
        (E,) of ``dtype``.

    Raises:
        MpignnError: What ``pairs`` raises, on all ranks.
    """
    if scratch is None:
        return _in_memory(pairs, count, dtype)
    group = scratch.group
    if scratch.fits(np.dtype(dtype).itemsize * count):
        with scratch.alone():
            return _in_memory(pairs, count, dtype)
    made = scratch.array(dtype, count)
    with scratch.alone():
        if group.rank == 0:
            made.reserve()
    with scratch.alone(), made.changed() as own:
        _fill(own, pairs, scratch)
    return made


def _in_memory(pairs: Iterator[tuple[np.ndarray, np.ndarray]], count: int, dtype: DTypeLike) -> np.ndarray:
    whole = np.empty(count, dtype)
    for places, numbers in pairs:
        whole[places] = numbers
    return whole


def _fill(own: np.ndarray, pairs: Iterator[tuple[np.ndarray, np.ndarray]], scratch: Scratch) -> None:
    """Write the numbers of all ranks to an array of which each writes a stretch.  Collective, as `scattered`."""
    group, pool, count = scratch.group, Pool(), own.size
    # Files of two machines may not change in one page.
    page = _PAGE_BYTES // own.itemsize
    bounds = np.array([count * rank // group.size // page * page for rank in range(group.size)] + [count])
    more = True
    while more:
        pair, problem = None, None
        try:
            with full_disk_named(scratch.out):
                pair = next(pairs, None)
        except MpignnError as error:
            problem = error
        places, numbers = (np.empty(0, np.int64),) * 2 if pair is None else pair
        owner = np.searchsorted(bounds, places, side="right") - 1
        order = np.argsort(owner.astype(np.uint16), kind="stable")
        rows = np.stack([places[order], numbers[order]], axis=1)
        got, _ = group.exchange(rows, np.bincount(owner, minlength=group.size), pool, problem)
        own[got[:, 0]] = got[:, 1]
        more = any(group.allgather(pair is not None))
