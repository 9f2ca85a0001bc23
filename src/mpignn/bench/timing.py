"""Timing several things in turn, on all ranks of a group at once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.bench.figures import TIMES, Figure
from mpignn.comm.group import Group
from mpignn.progress import each

_CACHE_BYTES = 96 << 20     # more than the caches of a processor hold


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Timed:
    """Something to time.

    Attributes:
        name, unit, limit: Those of the `Figure`.
        call: Does it, with the number of the repeat; returns how much that was, in the unit without its ``/s``, or how
            often, where that is a unit of time.
        after: Called behind each, not timed.
    """

    name: str
    unit: str
    call: Callable[[int], float]
    limit: str = ""
    after: Callable[[], object] = _nothing


def time_in_turn(group: Group, things: Sequence[Timed], repeats: int) -> list[Figure]:
    """Time some things, one after the other and all of them again, caches disturbed before each.

    All ranks begin at the same time, and the slowest one counts; rates are those of all ranks together.  A first round
    warms up and does not count.

    Collective over the group.

    Args:
        group: Who takes part; equal ``things`` but for what they do.
        things: What to time.
        repeats: How often, at least once.
    """
    others = np.zeros(_CACHE_BYTES, np.uint8)
    values: dict[str, list[float]] = {thing.name: [] for thing in things}
    for repeat, thing in each([(repeat, thing) for repeat in range(repeats + 1) for thing in things], "measurement"):
        others += 1
        group.barrier()
        began = time.perf_counter()
        amount = thing.call(repeat)
        took = time.perf_counter() - began
        thing.after()
        seconds, amounts = zip(*group.allgather((took, amount)), strict=True)
        if repeat:
            values[thing.name].append(TIMES[thing.unit] * max(seconds) / amount if thing.unit in TIMES
                                      else sum(amounts) / max(seconds))
    return [Figure(thing.name, thing.unit, tuple(values[thing.name]), thing.limit) for thing in things]
