"""Tables with the users' own ids and labels; what they mean is described, guessed, or known of other tables.

All of `mpignn.tables` is imported when it is needed: who reads other forms needs no Apache Arrow.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpignn.graph.types import GraphData
from mpignn.large.scratch import Scratch
from mpignn.storage.form import Form, Like, file_named
from mpignn.storage.forms.partitioned import is_partitioned

if TYPE_CHECKING:
    from mpignn.tables.description import Description

DESCRIPTION = "graph.toml"
_OPTIONS = ("keep_dtype", "on_unknown", "like", "scratch")


def read_described(path: Path, keep_dtype: bool = False, on_unknown: str | None = None, like: Like | None = None,
                   scratch: Scratch | None = None) -> GraphData:
    """The graph that a TOML file describes.  Collective over the group of ``scratch``, if there is one."""
    from mpignn.tables.like import described_like
    from mpignn.tables.toml import read_description

    def meant() -> "Description":
        given = read_description(path)
        return given if like is None else described_like(given, like.tables, str(like.path))

    return _built(meant, keep_dtype, on_unknown, like, scratch)


def read_tables(path: Path, keep_dtype: bool = False, on_unknown: str | None = None, like: Like | None = None,
                scratch: Scratch | None = None) -> GraphData:
    """The graph of a table, or of those of a folder, by a description there or by what they seem to mean.

    Collective over the group of ``scratch``, if there is one.
    """
    from mpignn.tables.guess import guessed
    from mpignn.tables.like import found_like

    if (path / DESCRIPTION).exists():
        return read_described(path / DESCRIPTION, keep_dtype, on_unknown, like, scratch)
    return _built(lambda: guessed(path) if like is None else found_like(path, like.tables, str(like.path)), keep_dtype,
                  on_unknown, like, scratch)


def _built(meant: Callable[[], "Description"], keep_dtype: bool, on_unknown: str | None, like: Like | None,
           scratch: Scratch | None) -> GraphData:
    """The graph of tables; the first rank finds out what they mean."""
    from mpignn.tables.build import build

    description = meant() if scratch is None else scratch.group.by_first(meant)
    return build(description, keep_dtype, on_unknown, None if like is None else like.tables, scratch)


def is_tables(path: Path) -> bool:
    """Whether a path is one of these forms, and no graph that is partitioned already.  Not collective."""
    return not is_partitioned(path) and any(form.claims(path) for form in FORMS)


def files_like(path: Path, record: Mapping[str, Any], graph: Path) -> list[Path]:
    """The files that are read to make new tables into a graph like another, so far as they are there.

    Not collective.

    Args:
        path: Where the tables are.
        record: How the other graph was made, as `Like` has it.
        graph: Its path, for messages.

    Raises:
        ConfigError: A description cannot be meant.
        DataError: A table is not there.
    """
    from mpignn.tables.like import tables_like

    described = path / DESCRIPTION if (path / DESCRIPTION).exists() else path
    found = reads_described(described) if described.suffix == ".toml" else [
        path, *tables_like(path, record, str(graph))]
    return [*found, *(inside for file in found[1:] if file.is_dir() for inside in file.iterdir())]


def reads_described(path: Path) -> list[Path]:
    """What `read_described` reads: a description, and files and folders that it names.  Not collective.

    Raises:
        ConfigError: A description that cannot be meant.
        DataError: A table is not there.
    """
    from mpignn.tables.toml import read_description

    given = read_description(path)
    return [path, *(file for rows in (*given.nodes.values(), *given.edges.values()) for file in rows.files)]


def reads_tables(path: Path) -> list[Path]:
    """What `read_tables` reads.  Not collective; errors are those of `reads_described`."""
    return reads_described(path / DESCRIPTION) if (path / DESCRIPTION).exists() else [path]


def _is_folder(path: Path) -> bool:
    from mpignn.tables.guess import has_tables

    return path.is_dir() and ((path / DESCRIPTION).exists() or has_tables(path))


def _is_table(path: Path) -> bool:
    from mpignn.tables.guess import is_table

    return path.is_file() and is_table(path)


FORMS = (Form("a folder of tables, such as nodes.csv and edges.csv", _is_folder, read_tables, _OPTIONS,
              reads=reads_tables),
         Form("a .toml file that describes tables", file_named(".toml"), read_described, _OPTIONS,
              reads=reads_described),
         Form("a table of edges: .csv, .tsv, .txt, .parquet, .feather, .jsonl", _is_table, read_tables, _OPTIONS,
              reads=reads_tables))
