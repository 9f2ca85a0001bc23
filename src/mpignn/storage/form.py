"""What a form of graphs is: how one is known, and how it is read."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from mpignn.graph.types import GraphData


class SourceOptions(TypedDict, total=False):
    """How a source is read, where there is more than one way; each may be left out, or be None.

    Attributes:
        keep_dtype: Store the numbers of nodes and edges in the type that they have, and not as
            `mpignn.storage.canonical` says, features as float32; labels have a type of their own even so.
        on_unknown: For tables: ``drop`` leaves edges out that have an end that is no node, for ``error`` they are one;
            None: as their description says.
        like: A partitioned graph that was made of tables.  The tables of the source get the columns, codes, means and
            classes of that one, by the names of their columns; nothing is learnt from them.
        put: Data and splits to add or to take instead of those that the source has, by name, arrays or paths of .npy
            files in original ids, as `mpignn.storage.put.with_arrays` takes them.
        put_tables: A TOML file that describes tables of nodes, which add data and splits by the users' ids, or replace
            them.
    """

    keep_dtype: bool
    on_unknown: str | None
    like: str | Path | None
    put: Mapping[str, object] | None
    put_tables: str | Path | None


@dataclass(frozen=True)
class Like:
    """A graph that was made of tables, and that new tables shall be made like.

    Attributes:
        path: Its path, for messages.
        tables: How it was made, as `mpignn.tables.record` says.
    """

    path: Path
    tables: Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A form in which users have graphs.

    Attributes:
        words: What it is, as errors and the table in ``docs/guide/data.md`` say.
        claims: Whether a path, or an object of a program, is of this form, by names and types alone.
        read: Makes a graph of it, of numbers as they come; raises `DataError` with what it cannot read, and where.
        options: What else ``read`` is told, by name: those of `SourceOptions` that it heeds, ``like`` as a `Like`, and
            ``scratch``, where to keep what does not fit memory.
        is_stored: Its numbers are stored already, and stay as they are.
        in_memory: Objects of a program, and no paths.
        last: Asked after all forms that have marks of their own.
        reads: Gives the files and folders on which ``read`` of a path depends, where that takes so long that what was
            read is kept until the graph is made.
    """

    words: str
    claims: Callable[[Any], bool]
    read: Callable[..., GraphData]
    options: tuple[str, ...] = ()
    is_stored: bool = False
    in_memory: bool = False
    last: bool = False
    reads: Callable[[Path], Iterable[Path]] | None = None


def file_named(*endings: str) -> Callable[[Path], bool]:
    """Claims files whose names end so, in letters of any case."""
    return lambda path: path.is_file() and path.name.lower().endswith(endings)


def folder_with(*names: str) -> Callable[[Path], bool]:
    """Claims folders that hold one of these; names may be patterns, such as ``*.csv``."""
    return lambda path: path.is_dir() and any(os.path.lexists(found) for name in names for found in path.glob(name))


def comes_from(source: object, library: str, name: str | None = None) -> bool:
    """Whether an object is of a class of a library, which is not imported for that, or of one derived from it.

    Args:
        name: The class; None: any.
    """
    return any(kind.__module__.partition(".")[0] == library and name in (None, kind.__name__)
               for kind in type(source).__mro__)
