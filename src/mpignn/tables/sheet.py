"""A table of which is guessed what it means: what its names and its first values tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mpignn.tables.description import ByFile
from mpignn.tables.formats import plain_name
from mpignn.tables.kinds import is_number
from mpignn.tables.left_out import note
from mpignn.tables.table import Table

_SAMPLE = 1000
_LARGE = 10         # beyond which a network sees nothing beside numbers, as beside years
_NUMBERS_OF_ROWS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")     # as pandas calls those that it writes


@dataclass(frozen=True)
class Sheet:
    """A table, and what its name says.

    Attributes:
        path: Its file or folder, or the first of its files.
        table: What is in it.
        files: All of its files.
        header: Names of the columns, where the files have none.
        name: What it is called, where that is no name of a file.
        split: What its files are, where these are splits.
    """

    path: Path
    table: Table
    files: tuple[Path, ...]
    header: tuple[str, ...] = ()
    name: str | None = None
    split: ByFile | None = None

    @property
    def stem(self) -> str:
        """The name of the file without its ending."""
        if self.name is not None:
            return self.name
        return plain_name(self.path) if self.path.is_file() else self.path.name

    @property
    def names(self) -> Sequence[str]:
        """The columns, but for numbers of rows that a program has written beside them."""
        return [name for name in self.table.names if not _NUMBERS_OF_ROWS.fullmatch(name)]

    @property
    def notes(self) -> Sequence[str]:
        """Remarks on the columns that are not in `names`."""
        return [note(name or "the column without a name", "numbers of rows") for name in self.table.names
                if _NUMBERS_OF_ROWS.fullmatch(name)]

    def kind(self, column: str) -> pa.DataType:
        """The type of a column, so far as `mpignn.tables.table.Table` knows it."""
        return self.table.types[column]

    def sample(self, column: str) -> pa.Array:
        """Some values, as texts."""
        for block in self.table.batches([column], {column: pa.string()}):
            return block.columns[column].slice(0, _SAMPLE).drop_null()
        return pa.array([], pa.string())

    def large(self, columns: Sequence[str]) -> set[str]:
        """Those of some columns that begin with large numbers.

        The types of those that seem to hold numbers are settled, all in one pass: what is a number in all rows.
        """
        columns = [name for name in columns if is_number(self.kind(name))]
        if not columns:
            return set()
        block = next(iter(self.table.batches(columns)), None)
        return set() if block is None else {name for name, array in block.columns.items() if _is_large(array)}


def _is_large(array: pa.Array) -> bool:
    if not is_number(array.type) or pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
        return False
    largest = pc.max(pc.abs(array.slice(0, _SAMPLE).cast(pa.float64(), safe=False))).as_py()    # beyond 2**53, too
    return largest is not None and bool(largest > _LARGE)
