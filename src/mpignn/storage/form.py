"""What a form of graphs is: how one is known, and how it is read."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpignn.graph.types import GraphData


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
        words: What it is, as errors and the table in ``docs/data.md`` say.
        claims: Whether a path, or an object of a program, is of this form, by names and types alone.
        read: Makes a graph of it, of numbers as they come; raises `DataError` with what it cannot read, and where.
        options: What else it is told, by name, of what `mpignn.storage.sources.read_source` is: where it has to know.
        in_memory: Objects of a program, and no paths.
        last: Asked after all forms that have marks of their own.
    """

    words: str
    claims: Callable[[Any], bool]
    read: Callable[..., GraphData]
    options: tuple[str, ...] = ()
    in_memory: bool = False
    last: bool = False


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
