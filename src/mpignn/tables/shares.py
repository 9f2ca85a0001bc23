"""Which rows of a table each rank reads: as many bytes or rows as every other, and all in the order of the ranks.

Shapes: F files of a table.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mpignn.comm.group import Group
from mpignn.tables.table_file import Advance, Look, Part, TableFile


@dataclass(frozen=True)
class Share:
    """The rows of a table that a rank reads.

    Attributes:
        parts: (F,) what it reads of each file; None: nothing.
        begins, ends: (F,) rows of the table with which those begin, and one past their last ones.
        first_rows: (F + 1,) row of the table with which each file begins, and the number of all rows.
    """

    parts: Sequence[Part | None]
    begins: Sequence[int]
    ends: Sequence[int]
    first_rows: Sequence[int]


Stage = Callable[[str, int], AbstractContextManager[Advance]]
"""A block whose work takes long, by its name and by how much is to be done; what it gives is told how much was done."""


def share_of(files: Sequence[TableFile], group: Group, stage: Stage) -> Share:
    """The share of this rank.  Each looks at a stretch of the files.  Collective over the group.

    Raises:
        DataError: On all ranks: a row is not what it should be.
    """
    looks: list[tuple[int, tuple[Look, Look]]] = []
    own = list(_stretches(files, group))
    with group.all_or_none(), stage("count rows of", sum(last - first for _, first, last in own)) as advance:
        looks = [(number, files[number].look(first, last, advance)) for number, first, last in own]
    parts: list[Part | None] = [None] * len(files)
    begins, ends, first_rows, num_rows = [0] * len(files), [0] * len(files), [0], 0
    of_ranks = group.allgather(looks)
    for number, file in enumerate(files):
        found, inside = [], False
        for rank, of_rank in enumerate(of_ranks):
            for ways in (ways for of_file, ways in of_rank if of_file == number):
                look = ways[inside]
                inside = look.inside
                if look.num_rows:
                    found.append((rank, look))
        places = [look.begin for _, look in found[1:]] + [file.size]
        for (rank, look), place in zip(found, places, strict=False):
            if rank == group.rank:
                parts[number], begins[number], ends[number] = (look.begin, place), num_rows, num_rows + look.num_rows
            num_rows += look.num_rows
        first_rows.append(num_rows)
    return Share(parts, begins, ends, first_rows)


def _stretches(files: Sequence[TableFile], group: Group) -> Iterator[tuple[int, int, int]]:
    """The files that this rank looks at, and from where to where."""
    bounds = [0, *itertools.accumulate(file.size for file in files)]
    begin, end = group.share(bounds[-1])
    for number, file in enumerate(files):
        first, last = max(begin, bounds[number]), min(end, bounds[number + 1])
        if file.is_whole and begin <= bounds[number] < end:
            yield number, 0, file.size
        elif first < last and not file.is_whole:
            yield number, first - bounds[number], last - bounds[number]
