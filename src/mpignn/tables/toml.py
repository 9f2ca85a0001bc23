"""Descriptions of tables in TOML files: read, checked key by key, and written."""

import datetime
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mpignn.errors import ConfigError, DataError, os_errors
from mpignn.files import read_file
from mpignn.graph.likeness import SPLITS
from mpignn.graph.types import EType, etype_key, parse_etype
from mpignn.options import nearest
from mpignn.tables.description import (
    ANY,
    ENCODINGS,
    ON_UNKNOWN,
    ByColumn,
    ByFile,
    ByMask,
    ByShare,
    ByTime,
    Column,
    Description,
    Edges,
    Fill,
    Nodes,
    Rows,
    Split,
    reversed_type,
)

_MOST_BYTES = 1 << 20
_FIRST = ("files", "header", "id", "src", "dst", "relation", "features", "labels", "split")       # as they are written


def read_description(path: Path) -> Description:
    """Read a description; its files are named relative to its folder, or else to the current one.  Not collective.

    Raises:
        ConfigError: No such file, no TOML, an unknown key, or a value that cannot be meant; names the key.
    """
    return checked(_read(path))


def read_node_tables(path: Path) -> Description:
    """The same of a file that describes tables of nodes alone, of nodes that a graph has already.  Not collective."""
    found = _read(path)
    for etype in found.edges:
        raise ConfigError(f"{path}: [edges.{_quoted(etype_key(etype))}]: edges stay as they are: leave it out, and "
                          "describe nodes")
    for ntype, nodes in found.nodes.items():
        if not nodes.files:
            raise ConfigError(f'{path}: [nodes.{ntype}]: files is missing; write files = "nodes.csv"')
    if not found.nodes:
        raise ConfigError(f"{path}: no tables are described: write [nodes.TYPE]")
    return found


def _read(path: Path) -> Description:
    try:
        with os_errors(ConfigError, str(path)):
            tables = tomllib.loads(read_file(path, _MOST_BYTES).decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    top = _Section(str(path), tables)
    nodes = {name: _nodes(section, path.parent) for name, section in top.sections("nodes")}
    edges = {}
    for key, section in top.sections("edges"):
        try:
            etype = parse_etype(key)
        except DataError as error:
            raise ConfigError(f'{section.where}: {error}, such as [edges."author:writes:paper"]') from error
        edges[etype] = _edges(section, path.parent)
        _check_relation(section, etype, edges[etype])
    top.refuse_others("[nodes.TYPE] or [edges.\"SOURCE:RELATION:DESTINATION\"]")
    return Description(str(path), nodes, edges)


def checked(description: Description) -> Description:
    """A description with a node type for each end of its edges.  Not collective.

    Raises:
        ConfigError: No edges, two edge types of one name, or a reverse that is none.
    """
    where, edges = description.where, description.edges
    if not edges:
        raise ConfigError(f'{where}: there are no edges; write [edges."SOURCE:RELATION:DESTINATION"] with files, src '
                          "and dst")
    nodes = dict(description.nodes)
    taken = set(edges)
    for etype, table in edges.items():
        for end in (etype[0], etype[2]):
            nodes.setdefault(end, Nodes())
        back = reversed_type(etype, table)
        if back in taken:
            raise ConfigError(f"{where}: [edges.{_quoted(etype_key(etype))}]: reverse = {_quoted(back[1])} is an edge "
                              "type of its own: give another name")
        if back is not None:
            taken.add(back)
        if table.reverse is True and etype[0] != etype[2]:
            raise ConfigError(f"{where}: [edges.{_quoted(etype_key(etype))}]: reverse = true is for edges between "
                              f'nodes of one type; give the edges from {etype[2]} to {etype[0]} a name: reverse = '
                              f'"rev_{etype[1]}"')
    return replace(description, nodes=nodes)


def _check_relation(section: "_Section", etype: EType, edges: Edges) -> None:
    """Raise unless a column names the relations where, and only where, the type has a star in their place."""
    src, relation, dst = etype
    if edges.relation is None and relation == ANY:
        raise ConfigError(f'{section.where}: relation is missing; write relation = "the column that names the relation '
                          'of each edge", or a name in the place of *')
    if edges.relation is not None and relation != ANY:
        raise ConfigError(f"{section.where}: relation = {_quoted(edges.relation)} makes an edge type of each value of "
                          f'that column: write [edges."{src}:{ANY}:{dst}"], or leave relation out')
    if edges.relation is not None and isinstance(edges.reverse, str) and ANY not in edges.reverse:
        raise ConfigError(f"{section.where}: reverse = {_quoted(edges.reverse)} is one name for the reverse of many "
                          f'relations: write * where theirs shall stand, such as reverse = "rev_{ANY}"')


class _Section:
    """A table of the file, of which each key is taken once."""

    def __init__(self, where: str, values: Mapping[str, Any]):
        self.where = where
        self._values = dict(values)
        self._asked: list[str] = []

    def sections(self, key: str) -> Iterator[tuple[str, "_Section"]]:
        """The tables below a key, by name."""
        for name, table in self._typed(key, dict, "tables").items() if key in self._values else ():
            shown = name if re.fullmatch(r"[\w-]+", name) else _quoted(name)
            if not isinstance(table, dict):
                raise ConfigError(f"{self.where}: {key}.{shown} must be a table: [{key}.{shown}]")
            yield name, _Section(f"{self.where}: [{key}.{shown}]", table)
        self._asked.append(key)
        self._values.pop(key, None)

    def text(self, key: str) -> str | None:
        text: str | None = self._typed(key, str, 'a text, such as "paper_id"')
        if text == "":
            raise self.wrong(key, text, "a text that is not empty")
        return text

    def flag(self, key: str) -> bool:
        return bool(self._typed(key, bool, "true or false"))

    def whole(self, key: str) -> int:
        return int(self._typed(key, int, "a whole number") or 0)

    def texts(self, key: str) -> tuple[str, ...]:
        """A text, or a list of them."""
        return self.as_texts(key, self.take(key))

    def as_texts(self, key: str, value: Any) -> tuple[str, ...]:
        found = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
            raise self.wrong(key, value, "a text, or a list of texts")
        return tuple(found)

    def take(self, key: str) -> Any:
        self._asked.append(key)
        return self._values.pop(key, None)

    def needed(self, key: str, example: str) -> str:
        text = self.text(key)
        if text is None:
            raise ConfigError(f"{self.where}: {key} is missing; write {key} = {example}")
        return text

    def refuse_others(self, known: str | None = None) -> None:
        """Raise if there is a key that nobody asked for."""
        for key in self._values:
            raise ConfigError(f"{self.where}: unknown key {key}" + (f"; known are: {known}" if known else
                                                                    nearest(key, self._asked)))

    def wrong(self, key: str, value: Any, expected: str) -> ConfigError:
        return ConfigError(f"{self.where}: {key} = {_toml(value)} must be {expected}")

    def _typed(self, key: str, kind: type, expected: str) -> Any:
        value = self.take(key)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise self.wrong(key, value, expected)
        return value


def _nodes(section: _Section, base: Path) -> Nodes:
    values: dict[str, Any] = {"id": section.text("id"), "features": _columns(section, "features")}
    nodes = Nodes(**_rows(section, base), **values)
    section.refuse_others()
    _check_data(section, nodes, {"features": nodes.features})
    if not nodes.files and nodes != Nodes():
        raise ConfigError(f'{section.where}: files is missing; write files = "nodes.csv"')
    return nodes


def _edges(section: _Section, base: Path) -> Edges:
    reverse = section.take("reverse")
    if reverse is not None and not isinstance(reverse, bool) and not (isinstance(reverse, str) and reverse):
        raise section.wrong("reverse", reverse, "true, false, or the name of the edges the other way round")
    on_unknown = section.text("on_unknown") or ON_UNKNOWN[0]
    if on_unknown not in ON_UNKNOWN:
        raise section.wrong("on_unknown", on_unknown, " or ".join(map(_quoted, ON_UNKNOWN)))
    edges = Edges(**_rows(section, base), src=section.needed("src", '"the column of the sources"'),
                  dst=section.needed("dst", '"the column of the destinations"'), relation=section.text("relation"),
                  weights=section.text("weights"), time=section.text("time"), reverse=reverse or False,
                  drop_duplicates=section.flag("drop_duplicates"), drop_self_loops=section.flag("drop_self_loops"),
                  drop_unknown=on_unknown == "drop")
    section.refuse_others()
    if not edges.files:
        raise ConfigError(f'{section.where}: files is missing; write files = "edges.csv"')
    _check_data(section, edges, {"weight": edges.weights, "time": edges.time})
    return edges


def _check_data(section: _Section, rows: Rows, others: Mapping[str, object]) -> None:
    """Raise if one name of data is that of other data that there is."""
    for name, other in {"labels": rows.labels, **others}.items():
        if name in rows.data and other:
            raise ConfigError(f"{section.where}: data: {name} is given twice: give it another name there")


def _rows(section: _Section, base: Path) -> dict[str, Any]:
    """The values of what nodes and edges have in common."""
    data = section.take("data") or {}
    if not isinstance(data, dict):
        raise section.wrong("data", data, 'a table, such as {year = "year"}')
    files, split = _files(section)
    header = section.texts("header")
    if len(set(header)) < len(header):
        raise section.wrong("header", list(header), "names that differ, one for each column")
    return {"files": tuple(_found(base, name) for name in files), "header": header, "labels": section.texts("labels"),
            "split": _split(section) if split is None else split, "seed": section.whole("seed"),
            "data": {name: _column(section, f"data.{name}", column) for name, column in data.items()}}


def _files(section: _Section) -> tuple[Sequence[str], ByFile | None]:
    """The files of a table, and the split that they are, if one is named for each."""
    given = section.take("files")
    if not isinstance(given, dict):
        return section.as_texts("files", given), None
    own = _Section(f"{section.where}: files", given)
    files = {name: file for name in SPLITS if (file := own.text(name)) is not None}
    own.refuse_others()
    if len(set(files.values())) < len(files):
        raise section.wrong("files", files, "a file of its own for each split")
    if section.take("split") is not None:
        raise ConfigError(f"{section.where}: split: files = {_toml(files)} says it already: leave split out, or write "
                          "files as a list")
    return list(files.values()), ByFile(tuple(files)) if files else None


def _found(base: Path, name: str) -> Path:
    """Where a file is that a description in the folder ``base`` names, as seen from there or else from here."""
    return base / name if (base / name).exists() or not Path(name).exists() else Path(name)


def _columns(section: _Section, key: str) -> tuple[Column, ...]:
    value = section.take(key)
    listed = [] if value is None else value if isinstance(value, list) else [value]
    return tuple(_column(section, key, column) for column in listed)


def _column(section: _Section, key: str, value: Any) -> Column:
    if isinstance(value, str) and value:
        return Column(value)
    if not isinstance(value, dict):
        raise section.wrong(key, value, 'columns: "age" or {column = "age", as = "standard", fill = "mean"}')
    own = _Section(f"{section.where}: {key}", value)
    column, how, fill = own.needed("column", '"age"'), own.text("as") or "number", own.take("fill")
    own.refuse_others()
    if how not in ENCODINGS:
        raise ConfigError(f"{own.where}: as = {_quoted(how)} is unknown{nearest(how, ENCODINGS)}")
    if fill is not None and (isinstance(fill, bool) or not isinstance(fill, int | float | str)):
        raise own.wrong("fill", fill, 'a number, a text, or "mean"')
    return Column(column, how, fill)


def _split(section: _Section) -> Split | None:
    value = section.take("split")
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*[\d.]+(\s*/\s*[\d.]+){2}\s*", value):
        return _by_share(section, value)
    if isinstance(value, str) and value:
        return ByColumn(value)
    if not isinstance(value, dict):
        raise section.wrong("split", value, 'a column, shares such as "0.8/0.1/0.1", {by = "year", at = [2017, 2018]}, '
                                            'or {train = "train_mask"}')
    own = _Section(f"{section.where}: split", value)
    if set(value) & set(SPLITS):
        masks = ByMask(tuple((name, column) for name in SPLITS if (column := own.text(name)) is not None))
        own.refuse_others()
        return masks
    column, at = own.needed("by", '"year"'), own.take("at")
    own.refuse_others()
    moments = (int, float, datetime.datetime, datetime.date)
    ordered = isinstance(at, list) and len(at) == 2 and all(
        isinstance(moment, moments) and not isinstance(moment, bool) for moment in at)
    if ordered:
        numbers = [isinstance(moment, int | float) for moment in at]
        ordered = numbers[0] == numbers[1] and (at[0] <= at[1] if numbers[0] else str(at[0]) <= str(at[1]))
    if not ordered:
        raise own.wrong("at", at, "the last moments of train and of val, such as [2017, 2018]")
    return ByTime(column, (at[0], at[1]))


def _by_share(section: _Section, text: str) -> ByShare:
    try:
        train, val, test = map(float, text.split("/"))
    except ValueError as error:
        raise section.wrong("split", text, 'shares of train, val and test, such as "0.8/0.1/0.1"') from error
    if train + val + test > 1 + 1e-9 or train <= 0:
        raise section.wrong("split", text, "shares that are together at most 1, that of train above 0")
    return ByShare((train, val, test))


def comment(text: str) -> str:
    """A line of a TOML file that is there to be read by people; control characters are spelt out.  Not collective."""
    return "# " + re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)


def to_toml(description: Description) -> str:
    """The text of the file that describes the same tables, with the remarks as comments.  Not collective."""
    tables: list[tuple[str, Rows]] = [(f"nodes.{_key(name)}", nodes) for name, nodes in description.nodes.items()
                                      if nodes.files]
    tables += [(f"edges.{_quoted(etype_key(etype))}", edges) for etype, edges in description.edges.items()]
    return "\n".join(line for name, rows in tables for line in (f"[{name}]", *_lines(rows), ""))


def _lines(rows: Rows) -> Iterator[str]:
    own = {option.name for option in fields(rows)}
    for key in (*_FIRST, *sorted(own - {*_FIRST, "notes", "drop_unknown"})):
        value = getattr(rows, key) if key in own else None
        if isinstance(rows.split, ByFile) and key in ("files", "split"):
            value = None if key == "split" else dict(zip(rows.split.splits, map(str, rows.files), strict=True))
        if value not in (None, False, (), {}, 0):
            yield f"{key} = {_shown(key, value)}"
    if isinstance(rows, Edges) and rows.drop_unknown:
        yield 'on_unknown = "drop"'
    yield from map(comment, rows.notes)


def _shown(key: str, value: Any) -> str:
    if key == "features":
        return _toml([_of_column(column) for column in value])
    if key == "data":
        return _toml({name: _of_column(column) for name, column in value.items()})
    if key == "header":
        return _toml(list(value))
    if key in ("files", "labels") and isinstance(value, tuple):
        return _toml(str(value[0]) if len(value) == 1 else [str(text) for text in value])
    match value:
        case ByColumn(column):
            return _toml(column)
        case ByShare(shares):
            return _toml("/".join(f"{share:g}" for share in shares))
        case ByMask(columns):
            return _toml(dict(columns))
        case ByTime(column, at):
            return _toml({"by": column, "at": list(at)})
    return _toml(value)


def _of_column(column: Column) -> str | dict[str, Fill]:
    more: dict[str, Fill] = {} if column.how == "number" else {"as": column.how}
    if column.fill is not None:
        more["fill"] = column.fill
    return {"column": column.column, **more} if more else column.column


def _toml(value: Any) -> str:
    """A value as TOML spells it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return "{" + ", ".join(f"{_key(name)} = {_toml(entry)}" for name, entry in value.items()) + "}"
    return str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    """A basic string; TOML escapes as JSON does, but for DEL."""
    return json.dumps(text, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")

