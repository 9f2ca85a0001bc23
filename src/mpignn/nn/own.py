"""Models of the user's own: a class in a file or in a package, which a job names."""

import importlib
import importlib.util
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from types import ModuleType
from typing import Any

from torch import nn

from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.models import arguments_of, is_own, make_own, remember

log = logging.getLogger(__name__)

_OF_GRAPH = ("schema", "in_feats", "num_classes", "num_layers")


def know(settings: ModelConfig) -> None:
    """Let `mpignn.models.find_model` know the model that the settings name, if it is a class of the user's own.

    Not collective.

    Raises:
        ConfigError: There is no such file, module or class; its module cannot be imported; it is no `torch.nn.Module`;
            or its constructor takes other arguments than those that `mpignn.nn.make_model` has.
    """
    if not is_own(settings.model):
        return
    kind = _load(settings.model)
    named = [option.name for option in fields(ModelConfig) if option.name not in ("model", "model_args")]
    taken = _check_constructor(settings, kind, [*_OF_GRAPH, *named])
    remember(make_own(settings.model, [name for name in named if name in taken and name != "hidden"],
                      "schema" in taken, hasattr(kind, "forward_layer")))


def make(settings: ModelConfig, offered: Mapping[str, Any]) -> nn.Module:
    """A model of the class that the settings name.  Not collective.

    Args:
        settings: The section ``model`` of the configuration.
        offered: Arguments by name, of which the constructor is given those that it takes.

    Raises:
        ConfigError: The constructor raises.
    """
    kind = _load(settings.model)
    given = {name: value for name, value in offered.items() if name in _parameters(settings.model, kind)}
    try:
        return kind(**given | arguments_of(settings))
    except Exception as error:
        raise _told(error, f"model {settings.model} cannot be made") from error


def _load(name: str) -> type[nn.Module]:
    """The class of a name, its module imported if it is not yet."""
    where, _, kind_name = name.rpartition(":")
    module = _import_file(where) if where.endswith(".py") else _import(where)
    kind = getattr(module, kind_name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        found = [other for other, value in vars(module).items() if isinstance(value, type)
                 and issubclass(value, nn.Module) and value.__module__ == module.__name__]
        what = "there is no such class" if kind is None else "that is no class of torch.nn.Module"
        raise ConfigError(f"model {name}: {what}; those of the file are: {', '.join(found) or 'none'}")
    return kind


def _import(name: str) -> ModuleType:
    """A module of an installed package, or one below the current folder."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _told(error, f"module {name} cannot be imported") from error


def _import_file(path: str) -> ModuleType:
    """A file as a module; it finds those that lie beside it."""
    if not os.path.isfile(path):
        raise ConfigError(f"model: no such file: {path}; --model PATH:CLASS says where it is")
    name = f"mpignn_own_{sha256(path.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"{path}: ends in .py"
    if os.path.dirname(path) not in sys.path:
        sys.path.append(os.path.dirname(path))      # last: a file there must not take the place of a library
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _told(error, f"{path} cannot be imported") from error
    return module


def _check_constructor(settings: ModelConfig, kind: type[nn.Module], offered: Sequence[str]) -> set[str]:
    """The arguments that a constructor takes by name, if it asks for none that it will not get."""
    parameters, more = _parameters(settings.model, kind), arguments_of(settings)
    taken = {name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    needed = {name for name, p in parameters.items() if p.default is p.empty
              and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    lacking = sorted(needed - taken.intersection((*offered, *more)))
    if lacking:
        raise ConfigError(f"model {settings.model}: its constructor asks for {', '.join(lacking)}, which it does not "
                          f"get: there are {', '.join(offered)}; give it a default, or say what it is by --model-args")
    for name in more.keys() & set(offered):
        raise ConfigError(f"--model-args {name}: the constructor is given {name} as it is set elsewhere: leave it out")
    unknown = more.keys() - taken
    if unknown and not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        raise ConfigError(f"model {settings.model}: its constructor does not take {', '.join(sorted(unknown))}, of "
                          f"--model-args; it takes {', '.join(parameters) or 'nothing'}")
    return taken


def _parameters(name: str, kind: type[nn.Module]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(kind).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model {name}: what its constructor takes cannot be found out: {error}") from error


def _told(error: BaseException, what: str) -> ConfigError:
    """What to raise for an error in code of the user's; its traceback is logged, without the frames above that code."""
    shown = traceback.TracebackException.from_exception(error)
    own = [frame for frame in shown.stack if not _is_ours(frame.filename)]
    first = shown.stack.index(own[0]) if own else len(shown.stack)
    del shown.stack[:first]
    log.info("%s", "".join(shown.format()).rstrip())
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return ConfigError(f"{what}: {' '.join(''.join(shown.format_exception_only()).split())}{place}")


def _is_ours(path: str) -> bool:
    """Whether a frame is of this file, or of Python's import."""
    return path == __file__ or path.startswith("<frozen importlib") or "importlib" in path.split(os.sep)
