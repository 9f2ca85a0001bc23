"""Finding rows that two trainers wrote between two syncs in a way that has no defined outcome.

Costs a copy of all ids written, so it is done at ``--log debug`` only.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.comm.group import Group
from mpignn.errors import CommError
from mpignn.unique import unique

PUT = "put"


class Conflicts:
    """What this trainer wrote to one tensor since the last sync."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._written: dict[str, list[np.ndarray]] = {}

    def note(self, kind: str, ids: np.ndarray) -> None:
        """Remember a write.  Not collective.

        Args:
            kind: `PUT`, or how the rows were joined.
            ids: (N,) rows.
        """
        self._written.setdefault(kind, []).append(unique(ids))

    def check(self, trainers: Group) -> None:
        """Compare what all trainers wrote, and forget it.  Collective over the trainers.

        Raises:
            CommError: On all trainers: a row that several of them wrote, and not all by the same reduction.
        """
        mine = {kind: unique(np.concatenate(ids)) for kind, ids in self._written.items()}
        self._written = {}
        found = first_conflict(trainers.allgather(mine))
        if found is not None:
            row, first, second = found
            raise CommError(f"{self._name}: row {row} was written by trainer {first} and by trainer {second} between "
                            "two syncs, and not by the same reduction: what is there now is undefined").on_all()


def first_conflict(written: Sequence[dict[str, np.ndarray]]) -> tuple[int, int, int] | None:
    """The smallest row that trainers wrote in conflict, with two of these; None if there is none.  Not collective.

    Args:
        written: The distinct rows that each trainer wrote, by kind of write.
    """
    kinds = sorted({kind for ids in written for kind in ids})
    rows, who, how = [], [], []
    for number, by_kind in enumerate(written):
        for name, ids in by_kind.items():
            rows.append(ids)
            who.append(np.full(ids.size, number))
            how.append(np.full(ids.size, kinds.index(name)))
    if sum(part.size for part in rows) == 0:
        return None
    row, trainer, kind = (np.concatenate(arrays) for arrays in (rows, who, how))
    order = np.lexsort((kind, trainer, row))
    row, trainer, kind = row[order], trainer[order], kind[order]
    starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
    for start, end in zip(starts, np.append(starts[1:], row.size), strict=True):
        trainers, kinds_here = trainer[start:end], set(kind[start:end].tolist())
        if trainers[0] != trainers[-1] and (len(kinds_here) > 1 or kinds[kind[start]] == PUT):
            return int(row[start]), int(trainers[0]), int(trainers[-1])
    return None
