"""Which kind of table a file is, by the ending of its name.  Apache Arrow is not needed to know."""

from dataclasses import dataclass
from pathlib import Path

from mpignn.errors import ConfigError


@dataclass(frozen=True)
class TableKind:
    """A kind of table that can be written.

    Attributes:
        separator: What stands between the values of a line; None: it is Parquet.
        gzipped: Whether the lines are packed.
    """

    separator: str | None
    gzipped: bool = False


TABLES = {".csv": TableKind(","), ".tsv": TableKind("\t"), ".csv.gz": TableKind(",", True),
          ".tsv.gz": TableKind("\t", True), ".parquet": TableKind(None)}
HDF5 = (".h5", ".hdf5")


def table_of(out: Path) -> TableKind | None:
    """What kind of table a file of predictions shall be; None: it is an HDF5 file.  Not collective.

    Raises:
        ConfigError: Its name ends otherwise.
    """
    name = out.name.lower()
    if name.endswith(HDF5):
        return None
    for ending, kind in TABLES.items():
        if name.endswith(ending):
            return kind
    raise ConfigError(f"{out}: the ending of the name says what is written, and must be one of: "
                      f"{', '.join((*HDF5, *TABLES))}")
