"""Graphs as users have them, into one form.

Each module of `mpignn.storage.forms` brings forms, as `mpignn.storage.form.Form` says; ``docs/guide/data.md`` lists
them.  In which type numbers are stored says `mpignn.storage.canonical`.
"""

import importlib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Unpack

from mpignn.arguments import given_path
from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError
from mpignn.files import almost_named
from mpignn.graph.types import GraphData
from mpignn.large.scratch import Scratch
from mpignn.log import phase
from mpignn.storage import forms as folder
from mpignn.storage.canonical import canonical
from mpignn.storage.datasets import bundled_names
from mpignn.storage.form import Form, Like, SourceOptions
from mpignn.storage.graph_arrays import shared, unmapped
from mpignn.storage.put import with_arrays
from mpignn.storage.read import GraphFile
from mpignn.storage.validate import validate

_WHY = {"keep_dtype": "its numbers stay as they are stored", "on_unknown": "it is for tables",
        "like": "it is for tables"}     # has no effect


def read_source(source: object, scratch: Scratch | None = None, **options: Unpack[SourceOptions]) -> GraphData:
    """Read a graph, its numbers as they are stored, and make sure that it is sound.

    Collective over the group of ``scratch``, if there is one.

    Args:
        source: A path, the name of a bundled data set, or an object of a program, of one of the `forms`.
        scratch: Where to keep what does not fit memory, and who reads; None: all fits that of this process.
        options: How to read it.

    Returns:
        The graph.  What users call things, and how it was partitioned before, only the first rank knows.

    Raises:
        ConfigError: An option has no effect, or a value that it cannot have; or a description or a name in ``put``
            that cannot be meant.
        DataError: Nothing that can be read, or a graph that is not sound; names the array and the first bad entry.
    """
    source = given_path(source, "source") if isinstance(source, str | os.PathLike) else source
    group = LocalGroup() if scratch is None else scratch.group
    with group.all_or_none():
        form = form_of(source)
        _check_heeded(form, options)
    path = options.get("like")
    like = None if path is None else group.by_first(lambda: _read_like(Path(path)))
    keep_dtype = bool(options.get("keep_dtype")) if like is None else like.tables["keep_dtype"]
    told = {**options, "keep_dtype": keep_dtype, "like": like, "scratch": scratch}
    data: GraphData | None = None
    with group.all_or_none():
        if "scratch" in form.options or group.rank == 0:
            data = form.read(source, **{name: told.get(name) for name in form.options})

    whole: GraphData | None = None

    def sound() -> GraphData:
        nonlocal whole
        assert data is not None
        with _source_named(source), phase("sort edges"):
            found = canonical(unmapped(data), keep_dtype)
        found = with_arrays(found, options.get("put") or {}, keep_dtype, options.get("put_tables"))
        with _source_named(source), phase("validate the graph"):
            validate(found)
        whole = found
        return found if scratch is None or group.size == 1 else shared(found, scratch)

    shown = group.by_first(sound)
    return shown if whole is None else replace(shown, user_ids=whole.user_ids, class_names=whole.class_names,
                                               partitioning=whole.partitioning)


@cache
def forms() -> tuple[Form, ...]:
    """All forms, in the order in which they are asked whether a source is theirs."""
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in names]
    return tuple(sorted((form for module in modules for form in module.FORMS), key=lambda form: form.last))


def form_of(source: object) -> Form:
    """The form that claims a source.  Not collective.

    Args:
        source: A path, or an object of a program.

    Raises:
        DataError: None does; the message says what is accepted.
    """
    for form in forms():
        if form.in_memory != isinstance(source, Path) and form.claims(source):
            return form
    in_memory = not isinstance(source, Path)
    accepted = "; ".join(form.words for form in forms() if form.in_memory == in_memory)
    raise DataError(f"{_unknown(source)}; expected {accepted}")


@contextmanager
def _source_named(source: object) -> Iterator[None]:
    """Let errors of a graph that came from a path begin with it."""
    try:
        yield
    except DataError as error:
        raise (type(error)(f"{source}: {error}") if isinstance(source, Path) else error) from error


def _check_heeded(form: Form, options: Mapping[str, object]) -> None:
    """Raise if an option has no effect on a form."""
    for name in sorted(options.keys() - SourceOptions.__annotations__.keys()):
        raise TypeError(f"{name!r} is no option of sources: these are {', '.join(SourceOptions.__annotations__)}")
    given = {name for name, value in options.items() if value}
    if {"keep_dtype", "like"} <= given:
        raise ConfigError(f"{_words('keep_dtype')} has no effect with {_words('like')}: numbers have the types of "
                          f"{options['like']}; leave it out")
    heeded = {*form.options, "put", "put_tables"}
    if not form.is_stored or given & {"put", "put_tables"}:
        heeded.add("keep_dtype")
    for name in sorted(given - heeded):
        raise ConfigError(f"{_words(name)} has no effect for {form.words}: {_WHY[name]}; leave it out")


def _words(name: str) -> str:
    """An option as both the command line and programs call it."""
    return f"--{name.replace('_', '-')} ({name})"


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
        return f"{source}: no such file or folder, and not a bundled data set{almost_named(source, bundled_names())}"
    if source.is_dir():
        return f"{source}: nothing in this folder says which form of a graph it has"
    return f"{source}: " + ("no form of a graph has such a name" if source.is_file() else "neither a file nor a folder")
