"""What a graph keeps of the tables that it was made of: their description and what was learnt from their rows.

A record is what JSON can hold, and the same for the same tables wherever they lie: files are named without folders and
endings.  `mpignn.tables.like` makes new tables into a graph by it.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from mpignn.errors import DataError
from mpignn.graph.types import EType, etype_key, parse_etype
from mpignn.tables.description import (
    ByColumn,
    ByFile,
    ByMask,
    ByShare,
    ByTime,
    Column,
    Description,
    Edges,
    Nodes,
    Rows,
    Split,
)
from mpignn.tables.formats import plain_name
from mpignn.tables.learnt import Learnt, LearntColumn, LearntLabels, LearntNumbers, LearntValues

_SCHEMA = "mpignn-tables/3"      # whoever changes what is in a record gives it another number
_SPLITS: Mapping[str, type[Any]] = {"column": ByColumn, "mask": ByMask, "file": ByFile, "share": ByShare,
                                    "time": ByTime}
_NODES = ("id",)
_EDGES = ("src", "dst", "relation", "weights", "time", "reverse", "drop_duplicates", "drop_self_loops", "drop_unknown")


def to_record(description: Description, learnt: Mapping[str, Learnt], keep_dtype: bool) -> dict[str, Any]:
    """What a graph keeps.  Not collective.

    Args:
        description: What its tables mean.
        learnt: By node type or edge type key, of those that have files.
        keep_dtype: Whether numbers were stored in their own types.
    """
    nodes = {ntype: _of_rows(rows, _NODES, learnt.get(ntype)) for ntype, rows in description.nodes.items()}
    edges = {etype_key(etype): _of_rows(rows, _EDGES, learnt.get(etype_key(etype)))
             for etype, rows in description.edges.items()}
    return {"schema": _SCHEMA, "keep_dtype": keep_dtype, "nodes": nodes, "edges": edges}


def from_record(record: Mapping[str, Any], where: str) -> Description:
    """The description that `to_record` was given, with what was learnt; in the place of files are their plain names.

    Not collective.

    Args:
        record: What the graph has kept.
        where: What messages call the description.

    Raises:
        DataError: Another version of the program has made it, and keeps other things.
    """
    schema = record.get("schema")
    if schema != _SCHEMA:
        raise DataError(f"{where}: what is kept of its tables is of format {schema}, and this version of mpignn reads "
                        f"{_SCHEMA}: make that graph again of its tables")
    nodes = {ntype: Nodes(**_to_rows(said, _NODES), features=tuple(Column(**one) for one in said["features"]))
             for ntype, said in record["nodes"].items()}
    edges: dict[EType, Edges] = {parse_etype(key): Edges(**_to_rows(said, _EDGES))
                                 for key, said in record["edges"].items()}
    return Description(where, nodes, edges)


def _of_rows(rows: Rows, own: Sequence[str], learnt: Learnt | None) -> dict[str, Any]:
    said: dict[str, Any] = {"files": [plain_name(path) for path in rows.files], "header": list(rows.header)}
    said |= {name: getattr(rows, name) for name in own}
    if isinstance(rows, Nodes):
        said["features"] = [asdict(column) for column in rows.features]
    return said | {"data": {name: asdict(column) for name, column in rows.data.items()}, "labels": list(rows.labels),
                   "split": _of_split(rows.split), "seed": rows.seed,
                   "learnt": None if learnt is None else _of_learnt(learnt)}


def _to_rows(said: Mapping[str, Any], own: Sequence[str]) -> dict[str, Any]:
    """The arguments of the class of the rows, but for features."""
    return {"files": tuple(map(Path, said["files"])), "header": tuple(said["header"]),
            **{name: said[name] for name in own},
            "data": {name: Column(**one) for name, one in said["data"].items()}, "labels": tuple(said["labels"]),
            "split": _to_split(said["split"]), "seed": said["seed"],
            "learnt": None if said["learnt"] is None else _to_learnt(said["learnt"])}


def _of_split(split: Split | None) -> dict[str, Any] | None:
    if split is None:
        return None
    kind = next(name for name, of in _SPLITS.items() if isinstance(split, of))
    return {"by": kind, **{one.name: _plain(getattr(split, one.name)) for one in fields(split)}}


def _to_split(said: Mapping[str, Any] | None) -> Split | None:
    if said is None:
        return None
    split: Split = _SPLITS[said["by"]](**{name: _value(value) for name, value in said.items() if name != "by"})
    return split


def _of_learnt(learnt: Learnt) -> dict[str, Any]:
    columns = {name: [{name: _plain(value) for name, value in asdict(one).items()} for one in some]
               for name, some in learnt.columns.items()}
    return {"columns": columns, "labels": None if learnt.labels is None else asdict(learnt.labels),
            "held_out": learnt.held_out, "relations": None if learnt.relations is None else list(learnt.relations)}


def _to_learnt(said: Mapping[str, Any]) -> Learnt:
    labels = said["labels"]
    if labels is not None:
        labels = LearntLabels(**labels | {"names": None if labels["names"] is None else tuple(labels["names"])})
    return Learnt({name: tuple(map(_to_column, some)) for name, some in said["columns"].items()}, labels,
                  said["held_out"], None if said["relations"] is None else tuple(said["relations"]))


def _to_column(said: Mapping[str, Any]) -> LearntColumn:
    values = {name: _value(value) for name, value in said.items()}
    return LearntValues(**values) if "values" in said else LearntNumbers(**values)


def _plain(value: Any) -> Any:
    """A value of a table, or several, as JSON can hold them."""
    match value:
        case tuple() | list():
            return [_plain(one) for one in value]
        case float() if not isfinite(value):
            return {"float": str(value)}
        case datetime.datetime():
            return {"time": value.isoformat()}
        case datetime.date():
            return {"date": value.isoformat()}
        case Decimal():
            return {"decimal": str(value)}
    return value


def _value(said: Any) -> Any:
    """What `_plain` was given, tuples for lists."""
    match said:
        case list():
            return tuple(map(_value, said))
        case {"float": text}:
            return float(text)
        case {"time": text}:
            return datetime.datetime.fromisoformat(text)
        case {"date": text}:
            return datetime.date.fromisoformat(text)
        case {"decimal": text}:
            return Decimal(text)
    return said
