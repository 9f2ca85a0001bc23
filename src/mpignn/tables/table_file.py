"""What a file of a table can do, whatever its format."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

Part = tuple[int, int]      # of a file: where its first row begins, and where the first one behind it does
Advance = Callable[[int], object]   # told how much more of a file was read, in what it is cut by


def untold(_: int) -> None:
    """Nobody is told how far it is."""


class Reached:
    """How far a file of bytes was read, which is told some at a time, and no byte twice."""

    def __init__(self, advance: Advance, part: Part) -> None:
        self._advance = advance
        self._place, self._end = part

    def tell(self, raw: pa.NativeFile) -> None:
        """It was read as far as a file is now.  Not collective."""
        if not raw.closed:
            self.tell_place(raw.tell())

    def tell_place(self, place: int) -> None:
        """It was read up to a byte; what is behind the part does not count.  Not collective."""
        place = min(place, self._end)
        if place > self._place:
            self._advance(place - self._place)
            self._place = place

    def finish(self) -> None:
        """All of it was read.  Not collective."""
        self.tell_place(self._end)


@dataclass(frozen=True)
class Look:
    """What stands in a stretch of a file.

    Attributes:
        begin: Where the first row begins that begins in it.
        num_rows: How many rows do; a line of names is none.
        inside: Whether it ends in a value in quotes.
    """

    begin: int
    num_rows: int
    inside: bool = False


class TableFile(Protocol):
    """One file of a table.

    Attributes:
        path: Its path.
        types: Type of each column, in the order of the columns.
        exact: Whether the file tells its types; else they are guessed from its first rows.
        size: How large it is, in what it is cut by.
        unit: What that is: ``bytes`` of a text, ``rows`` or ``batches``.
        is_whole: Whether it is read from its begin only, and cannot be cut.
    """

    path: Path
    types: Mapping[str, pa.DataType]
    exact: bool
    size: int
    unit: str
    is_whole: bool

    def batches(self, types: Mapping[str, pa.DataType], part: Part | None = None, advance: Advance = untold
                ) -> Iterator[pa.RecordBatch]:
        """Read columns, block by block, in the order of the rows.

        Args:
            types: Columns to read, and the types that they should have.  A file that tells its types reads in these.
            part: Which rows, as `look` has found them; None: all.
            advance: Told how far it is.

        Raises:
            DataError: A row or value is not what it should be.
        """

    def fitting(self, kinds: Mapping[str, Sequence[pa.DataType]], part: Part | None = None, advance: Advance = untold
                ) -> dict[str, tuple[pa.DataType, ...]]:
        """Those of some types of each column, of which the first are guessed, that hold the values of all rows."""

    def look(self, first: int, last: int, advance: Advance = untold) -> tuple[Look, Look]:
        """What stands in a stretch: if it begins between values, and if it begins in a value in quotes.

        Args:
            first, last: The stretch, of at most `size`; the whole, if the file cannot be cut.
            advance: Told how far it is.

        Raises:
            DataError: A row is not what it should be.
        """

    def where(self, row: int) -> str:
        """File and line or row of a row, counted from 0."""


def look_at_all(file: TableFile, types: Mapping[str, pa.DataType], advance: Advance) -> tuple[Look, Look]:
    """`TableFile.look` at a file that is not cut, by reading some columns of it."""
    found = Look(0, sum(batch.num_rows for batch in file.batches(types, None, advance)))
    return found, found
