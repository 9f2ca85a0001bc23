"""One table, in one file or in several, read in blocks and never whole, by one process or by all ranks of a group.

Which file a row stands in, and in which line, is found out when an error is told, not before.

Shapes: R rows of a block.
"""

import difflib
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mpignn.comm.group import Group, LocalGroup
from mpignn.errors import DataError, os_errors
from mpignn.progress import counted
from mpignn.tables.formats import ENDINGS, ending, open_file
from mpignn.tables.kinds import first_bad, value_type, wider, wider_kinds
from mpignn.tables.shares import Share, share_of
from mpignn.tables.table_file import Advance, Part, TableFile

Stage = Callable[[str, int, str], AbstractContextManager[Advance]]
"""A phase whose things are counted, as `mpignn.progress.counted` makes it."""


@dataclass(frozen=True)
class Block:
    """Rows of a table that follow each other.

    Attributes:
        columns: Arrays of R rows, by name of the column.
        first_row: Row of the table, counted from 0, that comes first here.
        num_rows: R.
    """

    columns: Mapping[str, pa.Array]
    first_row: int
    num_rows: int


class Table:
    """A table that lies in files of one format and with the same columns; rows are numbered through all of them.

    Attributes:
        names: The columns.
        paths: The files.
        group: Those who read it together.
    """

    def __init__(self, files: Sequence[TableFile], names: Sequence[str], group: Group | None = None,
                 stage: Stage | None = None) -> None:
        self._stage = stage or counted
        self.names = tuple(names)
        self.group = group or LocalGroup()
        self._share: Share | None = None
        self.paths = tuple(file.path for file in files)
        self._files = files
        self._types = {name: _common_type(files, name) for name in names}
        self._settled = {name for name in names if all(file.exact or self._types[name] == pa.string()
                                                       for file in files)}
        self._first_rows = [0]      # of each file that was read to its end, and of the next

    @staticmethod
    def open(paths: Sequence[Path], columns: Sequence[str] | None = None, header: Sequence[str] | None = None,
             as_text: Sequence[str] = (), group: Group | None = None, stage: Stage | None = None) -> "Table":
        """Open a table and look at its first rows.  Not collective.

        Args:
            paths: Files, or folders of files, which are taken in the order of their names.
            columns: Those that are wanted; None: all.
            header: Names of the columns, where files of text have none in their first line.
            as_text: Columns that stay as they are written where the file is a text: 007 is not 7.
            group: The ranks that read it together, each a share of the rows; None: this process reads all.
            stage: Tells how far a pass over it is; None: `mpignn.progress.counted`.

        Raises:
            DataError: A path is no file or folder that can be read, a file is no table, files do not have the same
                columns, or there is no such column.
        """
        files = [open_file(path, header, as_text) for path in _files(paths)]
        names = tuple(files[0].types)
        for file in files[1:]:
            if set(file.types) != set(names):
                differs = sorted(set(file.types) ^ set(names))
                raise DataError(f"{file.path}: the files of a table have the same columns, but {', '.join(differs)} "
                                f"stands in one of this and {files[0].path} only")
        for wanted in (*(columns or ()), *as_text):
            if wanted not in names:
                raise DataError(f"{files[0].path}: there is no column {wanted!r}{_nearest(wanted, names)}; there "
                                f"are {', '.join(map(repr, names))}")
        return Table(files, names if columns is None else columns, group, stage)

    @property
    def types(self) -> Mapping[str, pa.DataType]:
        """Type of each column.

        Files of text tell no types: those of their columns are guessed from the first rows until `batches` has
        looked at all.
        """
        return self._types

    def batches(self, columns: Sequence[str] | None = None, types: Mapping[str, pa.DataType] | None = None,
                what: str = "read") -> Iterator[Block]:
        """Read columns, block by block, in the order of the rows; each rank reads a share, those of a lower rank first.

        A column has the same type in all blocks.  Where a file of text is to tell it, it is read once more before.

        The call is collective over the group; to read the blocks is not.

        Args:
            columns: Their names; None: all.
            types: Types that columns must have, whatever `types` says.
            what: What is done with them, for who is told how far it is.

        Raises:
            DataError: A row or a value is not what it should be; names the file and the line.
        """
        columns = self.names if columns is None else columns
        if self._share is None and self.group.size > 1:
            self._share = share_of(self._files, self.group, self._counted)
            self._first_rows = list(self._share.first_rows)
        self._settle([name for name in columns if name not in (types or {})])
        wanted = {name: (types or {}).get(name, self._types[name]) for name in columns}
        return self._blocks(wanted, what)

    def values(self, row: int, columns: Sequence[str]) -> tuple[Any, ...]:
        """What columns hold in a row, which is looked for: for messages.  Not collective.

        Args:
            row: Row of the table, counted from 0, of a block that was read.
        """
        for block in self.batches(columns):
            if row < block.first_row + block.num_rows:
                return tuple(block.columns[name][row - block.first_row].as_py() for name in columns)
        raise AssertionError(f"row {row} of {self.paths[0]} was there before")

    def first_rows(self) -> Sequence[int]:
        """The row of the table, counted from 0, that comes first in each file, once all are read.  Not collective."""
        return self._first_rows[:len(self._files)]

    def where(self, row: int) -> str:
        """File and line of a row, such as ``papers.csv, line 18``.  Not collective.

        Args:
            row: Row of the table, counted from 0, of a block that was read.
        """
        file = max(i for i, first in enumerate(self._first_rows) if first <= row and i < len(self._files))
        return self._files[file].where(row - self._first_rows[file])

    def _settle(self, columns: Sequence[str]) -> None:
        open_ones = [name for name in columns if name not in self._settled]
        if open_ones:
            kinds = {name: wider_kinds(self._types[name]) for name in open_ones}
            found = {name: tuple(some) for name, some in kinds.items()}
            with self.group.all_or_none(), self._counted("tell types of") as advance:
                for _, file, part in self._parts():
                    found = file.fitting({name: some or (pa.string(),) for name, some in found.items()}, part, advance)
            told = self.group.allgather(found)
            for name, some in kinds.items():
                self._types[name] = next((kind for kind in some if all(kind in of[name] for of in told)), pa.string())
            self._settled.update(open_ones)

    def _parts(self) -> Iterator[tuple[int, TableFile, Part | None]]:
        """The files of which this rank reads some, their numbers, and what it reads; None: all."""
        for number, file in enumerate(self._files):
            part = None if self._share is None else self._share.parts[number]
            if self._share is None or part is not None:
                yield number, file, part

    def _counted(self, what: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """A block that reads what this rank reads, or so much, and is told how far it is."""
        if total is None:
            parts = [(0, file.size) if part is None else part for _, file, part in self._parts()]
            total = sum(last - first for first, last in parts)
        others = " and others" if len(self.paths) > 1 else ""
        return self._stage(f"{what} {self.paths[0].name}{others}", total, self._files[0].unit)

    def _blocks(self, types: Mapping[str, pa.DataType], what: str) -> Iterator[Block]:
        with self._counted(what) as advance:
            yield from self._read(types, advance)

    def _read(self, types: Mapping[str, pa.DataType], advance: Advance) -> Iterator[Block]:
        row = 0
        for number, file, part in self._parts():
            if self._share is not None:
                row = self._share.begins[number]
            for batch in file.batches(types, part, advance):
                arrays = {name: batch.column(i) for i, name in enumerate(types)}
                columns = {name: self._as(array, types[name], name, row) for name, array in arrays.items()}
                yield Block(columns, row, batch.num_rows)
                row += batch.num_rows
            if self._share is not None and row != self._share.ends[number]:
                raise DataError(f"{file.path}: has not as many rows as a moment before; it changed, or its lines end "
                                "in CR here and in LF there: write it again, or let one process read it")
            if len(self._first_rows) == number + 1:
                self._first_rows.append(row)

    def _as(self, array: pa.Array, kind: pa.DataType, name: str, first_row: int) -> pa.Array:
        if array.type == kind:
            return array
        bad = first_bad(array, kind)
        if bad is None:
            return array.cast(kind)
        raise DataError(f"{self.where(first_row + bad)}: {name} is {array[bad].as_py()!r}, expected {kind}")


def _files(paths: Sequence[Path]) -> list[Path]:
    files = list(itertools.chain.from_iterable(map(_files_of, paths)))
    kinds = {ending(path): path for path in files}
    if len(kinds) > 1:
        some = " and ".join(str(path) for path in list(kinds.values())[:2])
        raise DataError(f"{some}: the files of a table are of one format")
    return files


def _files_of(path: Path) -> list[Path]:
    with os_errors(DataError, f"{path}: cannot be read"):
        mode = path.stat().st_mode
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if stat.S_ISREG(mode):
            return [path]
        if not stat.S_ISDIR(mode):
            raise DataError(f"{path}: neither a file nor a folder; a table is read more than once: write it to a file")
        # Programs that write a table as a folder leave marks of their own in it.
        inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith(("_", ".")))
    if not inside:
        raise DataError(f"{path}: an empty folder, where a table is expected")
    for entry in inside:
        if not entry.is_file():
            raise DataError(f"{entry}: not a file; the folder of a table holds its files and nothing else")
        if ending(entry) is None:
            raise DataError(f"{entry}: not a table; the folder of a table holds files of one format and nothing "
                            f"else: {', '.join(ENDINGS)}")
    return inside


def _common_type(files: Sequence[TableFile], name: str) -> pa.DataType:
    found = value_type(files[0].types[name])
    for file in files[1:]:
        other = value_type(file.types[name])
        both = wider(found, other)
        if both is None and not file.exact:
            both = pa.string()
        if both is None:
            raise DataError(f"{file.path}: {name} is {other}, but {found} in {files[0].path}; write both in one type")
        found = both
    return found


def _nearest(wanted: str, names: Sequence[str]) -> str:
    plain = {name.casefold().strip(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold().strip(), list(plain), 1)
    return f" (did you mean {plain[near[0]]!r}?)" if near else ""
