"""Graphs as users have them, into one form.

Each module of `mpignn.storage.forms` brings forms, as `mpignn.storage.form.Form` says; ``docs/data.md`` lists them.  In
which type numbers are stored says `mpignn.storage.canonical`.
"""

import importlib
import os
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError
from mpignn.graph.types import GraphData
from mpignn.large.scratch import Scratch
from mpignn.storage import forms as folder
from mpignn.storage.canonical import canonical
from mpignn.storage.form import Form, Like
from mpignn.storage.graph_arrays import shared, unmapped
from mpignn.storage.put import with_arrays
from mpignn.storage.read import GraphFile
from mpignn.storage.validate import validate


def read_source(source: object, keep_dtype: bool = False, on_unknown: str | None = None,
                put: Mapping[str, object] | None = None, put_tables: str | Path | None = None,
                like: str | Path | None = None, scratch: Scratch | None = None) -> GraphData:
    """Read a graph, its numbers as they are stored, and make sure that it is sound.

    Collective over the group of ``scratch``, if there is one.

    Args:
        source: A path, the name of a bundled data set, or an object of a program, of one of the `forms`.
        keep_dtype: As in `mpignn.storage.canonical.canonical`.
        on_unknown: Whether edges with an end that is no node are an ``error``, or ``drop`` leaves them out; None: as
            the source says itself.  For tables only.
        put: Arrays to add or to take instead of those there, as `mpignn.storage.put.with_arrays` takes them.
        put_tables: A TOML file that describes tables of nodes to put likewise, by the users' ids.
        like: A partitioned graph that was made of tables: those of the source get the columns, codes, means and
            classes of that one; None: it has its own.
        scratch: Where to keep what does not fit memory, and who reads; None: all fits that of this process.

    Returns:
        The graph.  What users call things, and how it was partitioned before, only the first rank knows.

    Raises:
        ConfigError: ``on_unknown`` is something else, or an option has no effect; or a description or a name in
            ``put`` that cannot be meant.
        DataError: Nothing that can be read, or a graph that is not sound; names the array and the first bad entry.
    """
    source = Path(source) if isinstance(source, str | os.PathLike) else source
    group = LocalGroup() if scratch is None else scratch.group
    given = None
    if like is not None:
        if keep_dtype:
            raise ConfigError(f"--keep-dtype (keep_dtype=True) has no effect with --like: numbers have the types of "
                              f"{like}; leave it out").on_all()
        given = group.by_first(lambda: _read_like(Path(like)))
        keep_dtype = given.tables["keep_dtype"]
    options = {"keep_dtype": keep_dtype, "on_unknown": on_unknown, "like": given, "scratch": scratch}
    data: GraphData | None = None
    with group.all_or_none():
        form = _form_of(source, options)
        if "scratch" in form.options or group.rank == 0:
            data = form.read(source, **{name: options[name] for name in form.options})

    whole: GraphData | None = None

    def sound() -> GraphData:
        nonlocal whole
        assert data is not None
        found = with_arrays(canonical(unmapped(data), keep_dtype), put or {}, keep_dtype, put_tables)
        validate(found)
        whole = found
        return found if scratch is None or group.size == 1 else shared(found, scratch)

    told = group.by_first(sound)
    return told if whole is None else replace(told, user_ids=whole.user_ids, class_names=whole.class_names,
                                              partitioning=whole.partitioning)


@cache
def forms() -> tuple[Form, ...]:
    """All forms, in the order in which they are asked whether a source is theirs."""
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in names]
    return tuple(sorted((form for module in modules for form in module.FORMS), key=lambda form: form.last))


def _form_of(source: object, options: Mapping[str, object]) -> Form:
    for form in forms():
        if form.in_memory != isinstance(source, Path) and form.claims(source):
            for name in ("on_unknown", "like"):
                if options[name] is not None and name not in form.options:
                    raise ConfigError(f"{name} has no effect for {form.words}: it is for tables; leave it out")
            return form
    in_memory = not isinstance(source, Path)
    accepted = "; ".join(form.words for form in forms() if form.in_memory == in_memory)
    raise DataError(f"{_unknown(source)}; expected {accepted}")


def _read_like(path: Path) -> Like:
    with GraphFile(path) as graph:
        tables = graph.tables
    if tables is None:
        raise DataError(f"{path} was not made of tables, or --put replaced some of what was, or a version of mpignn "
                        "made it that kept nothing of them, so none can be made like it: make it of its tables again")
    return Like(path, tables)


def _unknown(source: object) -> str:
    if not isinstance(source, Path):
        return f"{type(source).__module__}.{type(source).__qualname__} is no graph that can be read"
    if not source.exists():
        return f"{source}: no such file or folder, and not a bundled data set"
    if source.is_dir():
        return f"{source}: nothing in this folder says which form of a graph it has"
    return f"{source}: " + ("no form of a graph has such a name" if source.is_file() else "neither a file nor a folder")
