"""Importing torch with half of the calls to the file system."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

from mpignn.log import phase


def with_torch(name: str) -> ModuleType:
    """Import a module that imports torch, as the phase of that name.  Not collective."""
    with phase("import torch"), files_looked_at_once(), _frames_told_at_once():
        return importlib.import_module(name)


@contextmanager
def files_looked_at_once() -> Iterator[None]:
    """Let Python remember what it has seen of a file or folder while it imports.

    For each module it looks at the folder, to see whether files have come, and twice at the source.  Thousands of
    ranks do so in the same file system.  A Python that has no such function looks as often as it does by itself.
    """
    machinery = sys.modules["_frozen_importlib_external"]
    look, seen = getattr(machinery, "_path_stat", None), dict[str, Any]()

    def remember(path: str) -> Any:
        found = seen.get(path)
        if found is None:
            found = seen[path] = cast(Any, look)(path)
        return found

    if look is not None:
        vars(machinery)["_path_stat"] = remember
    try:
        yield
    finally:
        if look is not None:
            vars(machinery)["_path_stat"] = look


@contextmanager
def _frames_told_at_once() -> Iterator[None]:
    """Let `inspect` tell a frame's module, file and line without the text of the line.

    torch asks for them a hundred times while it is imported.  To find the text, and the module by its file, `inspect`
    resolves the path of every module that there is: 17,000 calls, which each rank makes to the same file system.
    """
    module_of, told = inspect.getmodule, inspect.getframeinfo

    def getmodule(object: Any, _filename: str | None = None) -> ModuleType | None:
        if inspect.isframe(object):
            return sys.modules.get(object.f_globals.get("__name__", ""))
        return module_of(object, _filename)

    def getframeinfo(frame: Any, context: int = 1) -> inspect.Traceback:
        return told(frame, 0)

    inspect.getmodule, inspect.getframeinfo = getmodule, getframeinfo
    try:
        yield
    finally:
        inspect.getmodule, inspect.getframeinfo = module_of, told
