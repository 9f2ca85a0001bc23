"""What the trainers did in a pass: each tells its part, and all know the whole, by one sum.

Shapes: T trainers, V values of each; K kinds, H hops and P places of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpignn.comm.group import Group
from mpignn.comm.stats import KINDS, TARGETS, Stats

TIMES = ("seconds", "load_s", "sample_s", "fetch_s", "compute_s", "sync_s", "wait_s")
COUNTS = ("seeds", "edges", "rows", "memory_bytes")
MOST_HOPS = 16              # those behind it are counted with the last of them
_PER_SECOND = 1_000_000     # times are summed as whole microseconds, which are the same in any order
_UNITS = ("calls", "rows", "bytes")


@dataclass(frozen=True)
class Pass:
    """What all trainers told.

    Attributes:
        trainers: (T,) values of each trainer by name: `TIMES` in seconds, and `COUNTS`.
        moved: Calls, rows and bytes of all trainers together, for each kind, hop (None: of no hop) and target of
            `Stats` that there were any of.
        flags: How many trainers raised the flag.
    """

    trainers: dict[str, list[Any]]
    moved: list[dict[str, Any]]
    flags: int


def tell(trainers: Group, mine: Mapping[str, float], moved: Stats, flag: bool) -> Pass:
    """Tell all what this trainer did.  Collective over the trainers.

    Args:
        trainers: Who takes part.
        mine: By name of `TIMES` and `COUNTS`.
        moved: What was moved for this trainer.
        flag: Something that all shall know of if it is so on any.
    """
    values = np.zeros((trainers.size, len(TIMES) + len(COUNTS)), np.int64)
    times = [round(mine[name] * _PER_SECOND) for name in TIMES]
    values[trainers.rank] = [*times, *(int(mine[name]) for name in COUNTS)]
    grid = _grid(moved)
    total = trainers.all_sum(np.concatenate([[np.int64(flag)], values.reshape(-1), grid.reshape(-1)]))
    of_trainers, of_grid = np.split(total[1:], [values.size])
    columns = of_trainers.reshape(values.shape).T
    told: dict[str, list[Any]] = {name: (column / _PER_SECOND).tolist()
                                  for name, column in zip(TIMES, columns[:len(TIMES)], strict=True)}
    told |= {name: column.tolist() for name, column in zip(COUNTS, columns[len(TIMES):], strict=True)}
    return Pass(told, _entries(of_grid.reshape(grid.shape)), int(total[0]))


def _grid(moved: Stats) -> np.ndarray:
    """(K, 1 + H, P, 3) int64 calls, rows and bytes; what is of no hop comes first."""
    grid = np.zeros((len(KINDS), 1 + MOST_HOPS, len(TARGETS), len(_UNITS)), np.int64)
    for kind, hop, target, *counts in moved.entries():
        grid[KINDS.index(kind), 0 if hop is None else 1 + min(hop, MOST_HOPS - 1), TARGETS.index(target)] += counts
    return grid


def _entries(grid: np.ndarray) -> list[dict[str, Any]]:
    return [{"kind": KINDS[kind], "hop": int(hop) - 1 if hop else None, "target": TARGETS[target],
             **dict(zip(_UNITS, grid[kind, hop, target].tolist(), strict=True))}
            for kind, hop, target in np.argwhere(grid.any(-1))]
