"""New tables that shall become a graph like one that was made of others: what they mean, and what was learnt there.

Columns are found by their names, tables by the names of their files or by a description.
"""

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mpignn.errors import ConfigError, DataError
from mpignn.graph.types import etype_key, listed
from mpignn.tables.description import ByFile, Description, Edges, ForTest, Nodes, Rows, Split, split_columns
from mpignn.tables.formats import plain_name
from mpignn.tables.guess import tables_at
from mpignn.tables.nameless import header_like
from mpignn.tables.record import from_record
from mpignn.tables.table import Table

log = logging.getLogger(__name__)

R = TypeVar("R", Nodes, Edges)

_OWN = ("files", "header", "id", "src", "dst", "relation", "split", "seed", "drop_unknown", "learnt", "notes")
# Options that new tables may have otherwise.


def found_like(path: Path, record: Mapping[str, Any], graph: str) -> Description:
    """The description of the tables of a folder, or of one table of edges.  Not collective.

    Args:
        path: Where they are; those of a folder have the names of the files that the graph was made of, whatever their
            endings.
        record: What that graph has kept of these.
        graph: Its path, for messages.

    Raises:
        DataError: A table is not there, or cannot be read.
    """
    known, tables = from_record(record, f"{path}, like {graph}"), tables_at(path)
    found = _wanted(path, tables, known)
    unused = [str(table) for table in tables if not any(table in files for files in found.values())]
    if unused:
        log.warning("%s: not read, since %s was made without: %s", path, graph, listed(unused))
    nodes = {ntype: replace(rows, files=found.get(f"[nodes.{ntype}]", ())) for ntype, rows in known.nodes.items()}
    edges = {etype: replace(rows, files=found[f'[edges."{etype_key(etype)}"]']) for etype, rows in known.edges.items()}
    nodes = {ntype: _with_header(rows) for ntype, rows in nodes.items()}
    edges = {etype: _with_header(rows) for etype, rows in edges.items()}
    return _with_what_is_there(replace(known, nodes=nodes, edges=edges))


def tables_like(path: Path, record: Mapping[str, Any], graph: str) -> list[Path]:
    """The tables that `found_like` reads; arguments and errors are those of it.  Not collective."""
    known = from_record(record, f"{path}, like {graph}")
    return [file for files in _wanted(path, tables_at(path), known).values() for file in files]


def _with_header(rows: R) -> R:
    return replace(rows, header=header_like(rows.files[0], rows.header)) if rows.header and rows.files else rows


def described_like(given: Description, record: Mapping[str, Any], graph: str) -> Description:
    """The description of tables whose files, ids and splits a description tells.  Not collective.

    Args:
        given: That one; what the graph says, too, is as it is there.
        record, graph: As for `found_like`.

    Raises:
        ConfigError: It differs from the graph's in more.
        DataError: It lacks a table, or has one of another type; or a table cannot be read.
    """
    known = from_record(record, f"{given.where}, like {graph}")
    lacking = [f"[nodes.{ntype}]" for ntype, rows in known.nodes.items()
               if rows.files and not given.nodes.get(ntype, Nodes()).files]
    lacking += [f'[edges."{etype_key(etype)}"]' for etype in known.edges if etype not in given.edges]
    if lacking:
        raise DataError(f"{given.where}: there is no {' nor '.join(lacking)}, which {graph} has: write each with "
                        "files; a table of none has names of columns and no rows")
    others = [f"[nodes.{ntype}]" for ntype, rows in given.nodes.items()
              if rows.files and not known.nodes.get(ntype, Nodes()).files]
    others += [f'[edges."{etype_key(etype)}"]' for etype in given.edges if etype not in known.edges]
    if others:
        raise DataError(f"{given.where}: {others[0]}: {graph} has no such table: leave it out")
    nodes, edges = dict(known.nodes), dict(known.edges)
    for ntype, rows in known.nodes.items():
        if rows.files:
            of_type = given.nodes[ntype]
            _check_same(rows, of_type, f"{given.where}: [nodes.{ntype}]", graph)
            nodes[ntype] = replace(rows, **_own(rows, of_type), id=of_type.id or rows.id)
    for etype, joined in known.edges.items():
        table = given.edges[etype]
        _check_same(joined, table, f'{given.where}: [edges."{etype_key(etype)}"]', graph)
        edges[etype] = replace(joined, **_own(joined, table), src=table.src, dst=table.dst,
                               relation=table.relation, drop_unknown=table.drop_unknown or joined.drop_unknown)
    return _with_what_is_there(replace(known, nodes=nodes, edges=edges))


def _wanted(path: Path, tables: list[Path], known: Description) -> dict[str, tuple[Path, ...]]:
    """Those among some tables that are of the types of a description, by what it calls these."""
    wanted: dict[str, Rows] = {f"[nodes.{ntype}]": rows for ntype, rows in known.nodes.items() if rows.files}
    wanted |= {f'[edges."{etype_key(etype)}"]': rows for etype, rows in known.edges.items()}
    if path.is_file() and len(wanted) == 1:     # whatever it is called
        return {key: tuple(tables) for key in wanted}
    return {key: _named(path, tables, key, rows) for key, rows in wanted.items()}


def _named(path: Path, tables: list[Path], key: str, rows: Rows) -> tuple[Path, ...]:
    """The tables that are called as those of a type were."""
    names = list(dict.fromkeys(str(name) for name in rows.files))
    found = [table for name in names for table in tables if plain_name(table) == name]
    if len({plain_name(table) for table in found}) < len(found):
        raise DataError(f"{listed(map(str, found))} could all be the table of {key}: leave one, or write into "
                        f"graph.toml {key} with files")
    if not found:
        raise DataError(f"{path}: there is no table of {key}: call it {names[0]}.csv, or write into graph.toml {key} "
                        "with files; a table of none has names of columns and no rows")
    return tuple(found)


def _check_same(known: R, given: R, what: str, graph: str) -> None:
    """Raise if a description says something else of a type than was learnt with."""
    usual = type(given)()
    for option in fields(given):
        here, there = getattr(given, option.name), getattr(known, option.name)
        if option.name not in _OWN and here not in (getattr(usual, option.name), there):
            raise ConfigError(f"{what}: {option.name} is not what {graph} was made with: leave it out, it is as it is "
                              "there")
    if given.split is not None and not (split_columns(given.split) or isinstance(given.split, ByFile)):
        log.warning("%s: no shares are drawn of new tables, nothing is learnt from them: all rows with labels are for "
                    "test, whatever split says", what)


def _own(known: Rows, given: Rows) -> dict[str, Any]:
    """What both nodes and edges take from the description of new tables."""
    split = None if isinstance(known.split, ByFile) else known.split       # of its files
    return {"files": given.files, "header": given.header, "split": given.split or split, "seed": given.seed}


def _with_what_is_there(known: Description) -> Description:
    """A description without the labels and splits that the tables lack; what is not split is for test."""
    nodes = {ntype: _of_columns(rows) if rows.files else rows for ntype, rows in known.nodes.items()}
    return replace(known, nodes=nodes, edges={etype: _of_columns(rows) for etype, rows in known.edges.items()})


def _of_columns(rows: R) -> R:
    names = Table.open(rows.files, header=rows.header or None).names
    labels = rows.labels if set(rows.labels) & set(names) else ()
    columns = split_columns(rows.split)
    split: Split | None = rows.split if columns and set(columns) <= set(names) else None
    if isinstance(rows.split, ByFile) and len(rows.split.splits) == len(rows.files):
        split = rows.split
    if split is None and (labels or isinstance(rows, Edges) and rows.labels):
        split = ForTest()       # edges without labels, too: those of a split are what is predicted
    return replace(rows, labels=labels, split=split)
