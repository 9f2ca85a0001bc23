"""Settings as they are said: in TOML files, as flags of the same names, and by programs.

What they mean is in `mpignn.config`.
"""

import argparse
import dataclasses
import difflib
import math
import os
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpignn.arguments import share_or_bytes
from mpignn.config import LARGEST, LEARNT, MOST_USED, SET, Config, ModelConfig, sections
from mpignn.errors import ConfigError, os_errors
from mpignn.files import read_file
from mpignn.models import OWN, check_arguments, find_model, is_own, takes
from mpignn.samplers import check_sampler
from mpignn.tasks import check_class_weights

_MOST_BYTES = 1 << 20       # of a file of settings


def load_config(path: str | Path | None, flags: Mapping[str, Any], preset: str | Path | None = None,
                unpreset: Collection[str] = ()) -> Config:
    """Defaults, overlaid by the preset of a bundled data set, by a TOML file, and by flags.

    Args:
        path: TOML file with the sections of `Config`, or None.
        flags: Values by field name; text is converted to the field's type.
        preset: TOML file, or None.
        unpreset: Names of settings that the preset does not set, though it has them.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), a value of the wrong type or range, fanouts
            that do not match the layers, both batch sizes at once, or a file that cannot be read.
    """
    layers = [dict(_read_toml(file)) for file in (preset, path) if file is not None]
    if preset is not None:
        layers[0] = {name: value for name, value in layers[0].items() if name not in unpreset}
    known = [option.name for _, kind in sections() for option in dataclasses.fields(kind)]
    for name in flags:
        if name not in known:
            raise ConfigError(f"unknown setting {name}{nearest(name, known)}")
    layers.append({name: (value, _flag(name)) for name, value in flags.items()})
    values: dict[str, tuple[Any, str]] = {}
    for layer in layers:
        if "batch_size" in layer and "global_batch_size" in layer:
            raise ConfigError(f"{layer['batch_size'][1]} and {layer['global_batch_size'][1]}: give one of the two")
        if "batch_size" in layer:
            values.pop("global_batch_size", None)       # said later, it counts
        values |= layer
    config = Config(**{section: kind(**{f.name: _convert(f, *values[f.name]) for f in dataclasses.fields(kind)
                                        if f.name in values})
                       for section, kind in sections()})
    check_arguments(config.model)
    check_sampler(config.sampling)
    check_class_weights(config.task.class_weights)
    if config.loader.cache is not None:
        share_or_bytes(config.loader.cache, values["cache"][1])
    if config.task.reverse_etypes is not None and config.task.exclude != "reverse_types":
        raise ConfigError(f"{values['reverse_etypes'][1]} has no effect with exclude {config.task.exclude}: give "
                          "--exclude reverse_types, too")
    for name, fanouts in (("fanouts", config.sampling.fanouts), ("eval-fanouts", config.eval_fanouts)):
        if len(fanouts) != config.num_layers:
            raise ConfigError(f"{name} {','.join(map(str, fanouts))} has {len(fanouts)} entries, but the model has "
                              f"{config.num_layers} layers: give one fanout per layer, input layer first")
    return config


def check_effects(config: Config, given: Collection[str]) -> None:
    """Raise if a setting that was given has no effect beside the others.

    Those of files do not count: config.toml of a run has all of them.

    Args:
        config: All settings.
        given: Names of those that were asked for, as by flags.

    Raises:
        ConfigError: One has no effect; names what it is for.
    """
    options = {option.name: (section, option) for section, kind in sections() for option in dataclasses.fields(kind)}
    names = sorted(set(given) & options.keys())
    idle = [_flag(name) for name in names if LEARNT.items() <= options[name][1].metadata["only"].items()]
    if config.train.data_path_only and idle:
        raise ConfigError(f"{', '.join(idle)}: no effect with --data-path-only, which runs no model: leave them out")
    for name in names:
        for other, values in options[name][1].metadata["only"].items():
            value = getattr(getattr(config, options[other][0]), other)
            if other == "model" and is_own(value) and OWN in values:
                continue        # `check_taken` looks when its class is known
            if values == SET and not value:
                given_as = f"no {_flag(other)}" if value is None else f"{_flag(other)} {value}"
                raise ConfigError(f"{_flag(name)} has no effect with {given_as}: leave it out, or give {_flag(other)} "
                                  "another value, too")
            if values != SET and value not in values:
                raise ConfigError(f"{_flag(name)} has no effect with {_flag(other)} {value}, only with "
                                  f"{', '.join(map(str, values))}: leave it out, or choose one of these")


def check_taken(config: Config, given: Collection[str]) -> None:
    """Raise if a setting was given that a class of the user's own does not take, now that it is known.

    Args:
        config: All settings.
        given: Names of those that were asked for, as by flags.

    Raises:
        ConfigError: There is such a setting.
    """
    model = config.model.model
    for option in dataclasses.fields(ModelConfig) if is_own(model) else ():
        for_some = "model" in option.metadata["only"]
        if for_some and option.name in given and not takes(find_model(model), option.name):
            raise ConfigError(f"{_flag(option.name)} has no effect: the constructor of {model} does not take "
                              f"{option.name}; leave it out")


def _read_toml(path: str | Path) -> Iterator[tuple[str, tuple[Any, str]]]:
    try:
        with os_errors(ConfigError, str(path)):
            tables = tomllib.loads(read_file(path, _MOST_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    known_sections = dict(sections())
    for section, table in tables.items():
        if section not in known_sections:
            raise ConfigError(f"{path}: unknown section [{section}]{nearest(section, known_sections)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} must be a section: [{section}]")
        known = [f.name for f in dataclasses.fields(known_sections[section])]
        for key, value in table.items():
            if key not in known:
                raise ConfigError(f"{path}: unknown key {key} in [{section}]{nearest(key, known)}")
            yield key, (value, f"{path}: {key}")


def settings_given(path: str | Path | None, flags: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What a file and flags say of some settings, as they say it, by name; errors of the file as `load_config`."""
    of_file = {} if path is None else {key: value for key, (value, _) in _read_toml(path)}
    return {name: value for name, value in (of_file | dict(flags)).items() if name in names}


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or nothing where no known word is similar."""
    names = list(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else f"; known are: {', '.join(names)}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(option: dataclasses.Field[Any]) -> tuple[type, bool]:
    """The type of a field's value (of its entries, for a tuple), and whether it is a tuple."""
    kind: Any = option.type
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _convert(option: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """``value`` as the field's type, range checked."""
    kind, many = _kind(option)
    value = _plain(value)
    if many:
        several = isinstance(value, list | tuple | range)
        entries = value.split(",") if isinstance(value, str) else value if several else [value]
        if not entries:
            raise ConfigError(f"{where}: the list is empty: leave it out for the default, or name what it shall hold")
        return tuple(_scalar(option, kind, v, where) for v in entries)
    return _scalar(option, kind, value, where)


_PARSERS: dict[type, Callable[[str], Any]] = {int: int, float: float}


def _plain(value: Any) -> Any:
    """A number, a list or a text for what a program gives: scalars and arrays of NumPy and torch, and paths."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _scalar(option: dataclasses.Field[Any], kind: type, value: Any, where: str) -> Any:
    value = _plain(value)
    if isinstance(value, str) and kind in _PARSERS:
        try:
            value = _PARSERS[kind](value.strip())
        except ValueError:
            raise ConfigError(f"{where}: {value!r} is not {_name(kind)}") from None
    if kind is float and type(value) is int:
        value = float(value) if abs(value) <= sys.float_info.max else math.inf
    if kind is str and isinstance(value, str):
        _check_text(value, where)
    if type(value) is not kind or isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {value!r} is not {_name(kind)}")
    low, below, choices = (option.metadata[k] for k in ("low", "below", "choices"))
    if kind is int and below is None:
        below = LARGEST
    if choices is not None and value not in choices:
        beside, other = option.metadata["other"] or (None, lambda text: None)
        made = other(value)
        if made is None:
            raise ConfigError(f"{where}: {value!r} is not one of: {', '.join((*choices, *filter(None, [beside])))}")
        return made
    if low is not None and not value >= low:
        raise ConfigError(f"{where}: {value} is less than {low}")
    if below is not None and not value < below:
        raise ConfigError(f"{where}: {value} is not less than {below}")
    return value


def _check_text(value: str, where: str) -> None:
    """Raise if a text says nothing, cannot stand in config.toml, or cannot be a path."""
    if not value:
        raise ConfigError(f"{where} is empty: write what it shall be, or leave it out")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: {value!r} is not UTF-8, as all settings must be: rename it") from None
    if "\0" in value:
        raise ConfigError(f"{where}: {value!r} holds a null character")


def _name(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]


def add_flags(parser: argparse.ArgumentParser, skip: Sequence[str] = ()) -> list[str]:
    """Give ``parser`` one flag for each field of `Config` but those of ``skip``; only flags given are stored.

    Returns:
        Names of those that are not among `MOST_USED`.
    """
    rare = []
    for section, kind in sections():
        options = [option for option in dataclasses.fields(kind) if option.name not in skip]
        group = parser.add_argument_group(section, kind.__doc__) if options else parser
        for option in options:
            value, many = _kind(option)
            how: dict[str, Any] = {"action": "store_true"}
            if value is not bool:
                bare = option.metadata["bare"]
                how = {"metavar": _METAVARS[value] + ",..." * many} | (
                    {} if bare is None else {"nargs": "?", "const": bare})
            group.add_argument(_flag(option.name), default=argparse.SUPPRESS, help=_help(option, value), **how)
            if option.name not in MOST_USED:
                rare.append(option.name)
    return rare


def named_choices() -> dict[str, tuple[str, ...]]:
    """The names that a setting may have, of the settings that take names alone."""
    return {option.name: option.metadata["choices"] for _, kind in sections() for option in dataclasses.fields(kind)
            if option.metadata["choices"] is not None and option.metadata["other"] is None}


_METAVARS = {int: "N", float: "X", str: "NAME"}


def _help(option: dataclasses.Field[Any], kind: type) -> str:
    """The help of a setting: what it is, its choices where that does not name them, its default."""
    text: str = option.metadata["help"]
    choices = option.metadata["choices"] or ()
    if any(choice not in text for choice in choices):
        text += f"; one of {', '.join(choices)}"
    if option.default is not None and kind is not bool:
        shown = ",".join(map(str, option.default)) if isinstance(option.default, tuple) else option.default
        text += f" (default: {shown})"
    return text
