"""The reference of the documentation, made of what the program says of itself.

Parsers say what commands and settings there are, docstrings what public names do.  ``python reference.py FOLDER``
writes the pages there, for those who want to look at them without a site.
"""

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mpignn
from docstrings import inline, markdown, summary
from mpignn import cli
from mpignn.cli_parser import HELPS
from mpignn.config import MOST_USED, SET, sections
from mpignn.options import add_flags

# Public names by what they are for; each stands once.
GROUPS = {
    "A job": "run initialize open_graph GraphServer settings Config stop init_process_group wrap",
    "Graphs and data": (
        "partition_graph check DistGraph DistTensor DistEmbedding SparseAdam SparseAdagrad SparseSGD GraphFile "
        "load_partition load_partition_feats load_partition_book RangePartitionBook BasicPartitionBook node_split "
        "edge_split"),
    "Batches": (
        "NeighborSampler MultiLayerNeighborSampler MultiLayerFullNeighborSampler LaborSampler BlockSampler negative "
        "NodeDataLoader EdgeDataLoader DistDataLoader NodeCollator EdgeCollator sample_neighbors in_subgraph to_block "
        "Block PairGraph NID EID TIME"),
    "Training": (
        "fn make_task make_network NodeClassification NodeMultilabel NodeRegression EdgeClassification "
        "EdgeRegression LinkPrediction fit evaluate infer layerwise rank_links make_metric Callback Checkpoints "
        "checkpoint"),
    "Layers": "nn",
    "Errors": (
        "MpignnError ConfigError DataError IDError UnknownName ResourceError CommError LeftBehind TrainingError "
        "Stopped"),
}
# Names that are text have no docstring of their own.
_TEXTS = {"NID": "The name under which blocks carry global ids of nodes.",
          "EID": "The name under which blocks carry global ids of edges.",
          "TIME": "The name under which blocks carry times, where edges are drawn by time."}
_MADE = "<!-- Made by docs/hooks/reference.py of what the program says of itself. -->\n\n"


def pages() -> dict[str, str]:
    """All pages of the reference that are made, by their paths in the documentation."""
    made = {"reference/commands.md": _commands(), "reference/settings.md": _settings(), "reference/api.md": _contents()}
    made |= {_page(group): _api(group) for group in GROUPS}
    return {path: _MADE + text.rstrip("\n") + "\n" for path, text in made.items()}


def names(group: str) -> list[str]:
    """The public names of a group."""
    return GROUPS[group].split()


def _page(group: str) -> str:
    return f"reference/api-{group.split()[-1].lower()}.md"


# Commands and settings


def _commands() -> str:
    parser = cli._parser()
    lines = ["# Commands", "", "`mpignn COMMAND`, or `python -m mpignn COMMAND`; `mpirun -np N` before it where ranks "
             f"shall share the work. {inline(parser.epilog or '')}", ""]
    return "\n".join([*lines, *_subcommands(parser, "mpignn", 2)])


def _subcommands(parser: argparse.ArgumentParser, before: str, level: int) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _command(command, f"{before} {name}", level)


def _command(parser: argparse.ArgumentParser, name: str, level: int) -> Iterator[str]:
    own = [action for action in parser._actions if action.dest not in _known_settings()
           and not {*HELPS} & {*action.option_strings} and not isinstance(action, argparse._SubParsersAction)]
    taken = sorted({action.dest for action in parser._actions} & _known_settings())
    usage = " ".join(parser.format_usage().split())
    yield from [f"{'#' * level} `{name}`", "", inline(parser.description or ""), "", f"    {usage}", ""]
    if own:
        yield from ["| argument | what it is |", "|---|---|",
                    *(f"| {_spelt(action)} | {_told(parser, action)} |" for action in own), ""]
    if len(taken) == len(_known_settings()) or taken and len(taken) > 20:
        yield from ["It takes all [settings](settings.md), too.", ""]
    elif taken:
        linked = ", ".join(f"`{_flag(name)}`" for name in taken)
        yield from [f"[Settings](settings.md) that it takes: {linked}.", ""]
    if parser.epilog:
        yield from [inline(parser.epilog), ""]
    yield from _subcommands(parser, name, level + 1)


def _known_settings() -> set[str]:
    return {option.name for _, kind in sections() for option in dataclasses.fields(kind) if option.name != "graph"}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _spelt(action: argparse.Action) -> str:
    """How an argument is written."""
    value = action.metavar or (None if action.nargs == 0 else action.dest.upper())
    value = f"{{{','.join(map(str, action.choices))}}}" if action.choices and action.option_strings else value
    if not action.option_strings:
        return f"`{value}`"
    shown = "" if value is None or action.nargs == 0 else f" [{value}]" if action.nargs == "?" else f" {value}"
    return ", ".join(f"`{flag}{shown}`" for flag in action.option_strings)


def _told(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return "" if action.help is None else inline(parser._get_formatter()._expand_help(action)).replace("\n", " ")


def _settings() -> str:
    lines = ["# Settings", "", "Each setting is a flag of `train` and a key of a TOML file, in the section that is the "
             "heading here, and goes by the same name with `_` in programs: `mg.settings(lr=0.01)`. Where they come "
             "from, and what refuses them, is told on the [page on settings](../guide/settings.md). Those in bold are "
             "asked for most.", ""]
    parser = argparse.ArgumentParser()
    add_flags(parser)
    by_name = {action.dest: action for action in parser._actions}
    for section, kind in sections():
        options = [option for option in dataclasses.fields(kind) if option.name != "graph"]
        if options:
            lines += [f"## {section}", "", inline(inspect.getdoc(kind) or ""), "",
                      "| flag | what it says | has an effect with |", "|---|---|---|"]
            lines += [f"| {_bold(_spelt(by_name[option.name]), option.name)} | {_told(parser, by_name[option.name])} | "
                      f"{_only(option)} |" for option in options] + [""]
    return "\n".join(lines)


def _bold(text: str, name: str) -> str:
    return f"**{text}**" if name in MOST_USED else text


def _only(option: dataclasses.Field[Any]) -> str:
    """Which values of other settings a setting needs; nothing where it always has an effect."""
    return "; ".join(f"`{_flag(other)}`" + ("" if values == SET else " " + ", ".join(f"`{_word(v)}`" for v in values))
                     for other, values in option.metadata["only"].items() if other != "data_path_only")


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# Public names


def _contents() -> str:
    lines = ["# Python", "", "`import mpignn as mg`; `dir(mg)` lists these names, and `help(mg.fit)` says what that "
             "name takes, gives and raises. Everything else is internal and may change without notice "
             "([what is promised](stability.md)). `mg.__version__` is the version.", ""]
    for group in GROUPS:
        page = Path(_page(group)).name
        lines += [f"## {group}", "", "| name | what it is |", "|---|---|"]
        lines += [f"| [`{name}`]({page}#{name.lower()}) | {summary(_doc(name))} |" for name in names(group)] + [""]
    return "\n".join(lines)


def _doc(name: str) -> str:
    return _TEXTS.get(name) or inspect.getdoc(getattr(mpignn, name)) or ""


def _api(group: str) -> str:
    lines = [f"# {group}", ""]
    seen: dict[int, str] = {}
    for name in names(group):
        thing = getattr(mpignn, name)
        first = name if isinstance(thing, str) else seen.setdefault(id(thing), name)
        other = [f"`{first}`, by the name that it has in DGL."]
        lines += [f"## `{name}`", "", *(_described(thing, name) if first == name else other), ""]
    return "\n".join(lines)


def _described(thing: Any, name: str) -> Iterator[str]:
    """What a public name is: its signature, what its docstring says, its exit code, its parts."""
    if callable(thing) and not _is_error(thing):
        yield from [f"```python\nmg.{name}{_signature(thing)}\n```", ""]
    yield markdown(_doc(name))
    if _is_error(thing):
        code = "that of the error which the others share" if name == "LeftBehind" else str(thing.exit_code)
        yield f"**Exit code**: {code}.\n"
    if inspect.isclass(thing):
        own = str(getattr(thing.__init__, "__module__", "")).startswith("mpignn.")
        made = thing.__init__.__doc__ if own else None
        yield markdown(inspect.cleandoc(made)) if made else ""
        for part, value in _parts(thing):
            shown = "" if isinstance(value, property) else _signature(value)
            yield from [f"### `{name}.{part}`", "", f"```python\n{part}{shown}\n```", "",
                        markdown(inspect.getdoc(value) or "")]
    if isinstance(thing, ModuleType):
        for part in _members(thing):
            value = getattr(thing, part)
            yield from [f"### `{name}.{part}`", "", f"```python\nmg.{name}.{part}{_signature(value)}\n```", "",
                        markdown(inspect.getdoc(value) or "")]


def _is_error(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)


def _parts(kind: type) -> list[tuple[str, Any]]:
    """Methods and properties of a class of ours, with those of its bases of ours, in their order."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("mpignn."):
            for part, value in vars(base).items():
                value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                told = (inspect.isroutine(value) or isinstance(value, property)) and inspect.getdoc(value)
                if told and not part.startswith("_"):
                    found.setdefault(part, value)
    return list(found.items())


def _members(module: ModuleType) -> list[str]:
    """Public functions and classes that a module has itself, or lists."""
    listed = getattr(module, "__all__", None)
    own = [name for name, value in vars(module).items() if not name.startswith("_") and inspect.getdoc(value)
           and (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__ == module.__name__
           and not issubclass(value if inspect.isclass(value) else object, BaseException)]
    named = own if listed is None else [name for name in listed if callable(getattr(module, name))]
    return [name for name in named if name not in mpignn.__all__]


def _signature(thing: Any) -> str:
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(...)"
    given = [_bare(parameter) for parameter in found.parameters.values() if parameter.name not in ("self", "cls")]
    return str(found.replace(parameters=given, return_annotation=inspect.Signature.empty))


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter without its type, which the docstring says, and without a default that nobody could write."""
    default = parameter.default
    if default is not inspect.Parameter.empty and re.search(r"<.* at 0x|^<", repr(default)):
        default = _Left()
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


class _Left:
    """A default that is left out."""

    def __repr__(self) -> str:
        return "..."


if __name__ == "__main__":
    for path, text in pages().items():
        target = Path(sys.argv[1]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
