"""What a file of a table can do, whatever its format."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa


class TableFile(Protocol):
    """One file of a table.

    Attributes:
        path: Its path.
        types: Type of each column, in the order of the columns.
        exact: Whether the file tells its types; else they are guessed from its first rows.
    """

    path: Path
    types: Mapping[str, pa.DataType]
    exact: bool

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Read columns, block by block, in the order of the rows.

        Args:
            types: Columns to read, and the types that they should have.  A file that tells its types reads in these.

        Raises:
            DataError: A row or value is not what it should be.
        """

    def settled(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """``types``, made as wide as the values of all rows need."""

    def where(self, row: int) -> str:
        """File and line or row of a row, counted from 0."""
