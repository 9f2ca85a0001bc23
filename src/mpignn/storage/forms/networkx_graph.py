"""Graphs of NetworkX.

Shapes: N nodes, E edges.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage.form import Form, comes_from
from mpignn.storage.named_arrays import data_of_type, typed
from mpignn.storage.validate import LABELS

log = logging.getLogger(__name__)

_WHERE = "NetworkX graph"


def is_networkx(source: object) -> bool:
    """Whether it is a graph of NetworkX, with or without directions and parallel edges."""
    return comes_from(source, "networkx", "Graph")


def read_networkx(source: Any) -> GraphData:
    """A homogeneous graph; an edge without a direction becomes two, both ways, and a self loop one.

    Attributes that are numbers, or as many numbers for each, become data; labels may be texts, and may be missing, as
    None, NaN or an empty text.
    What nodes are called becomes their user ids, but for 0 to N - 1.
    """
    nodes, edges, key = list(source.nodes), list(source.edges(data=True)), etype_key(ETYPE)
    number = {node: i for i, node in enumerate(nodes)}
    ends = np.array([(number[src], number[dst]) for src, dst, _ in edges], np.int64).reshape(-1, 2)
    place = np.arange(len(ends))        # of each edge among those of NetworkX
    if not source.is_directed():
        back = np.flatnonzero(ends[:, 0] != ends[:, 1])
        ends, place = np.concatenate([ends, ends[back][:, ::-1]]), np.concatenate([place, back])
    of_nodes, node_classes = _columns([source.nodes[node] for node in nodes], "node", nodes)
    of_edges, edge_classes = _columns([named for *_, named in edges], "edge", [edge[:2] for edge in edges])
    of_edges = {name: values[place] for name, values in of_edges.items()}
    data = typed({f"num_nodes/{NTYPE}": np.array(len(nodes)), f"edge/{key}/src": ends[:, 0],
                  f"edge/{key}/dst": ends[:, 1]} | data_of_type(NTYPE, len(nodes), of_nodes, _WHERE, {})
                 | data_of_type(key, len(ends), of_edges, _WHERE, {}), _WHERE)
    ids = _user_ids(nodes)
    classes = {NTYPE: node_classes, key: edge_classes}
    return replace(data, user_ids={} if ids is None else {NTYPE: ids},
                   class_names={of: {LABELS: names} for of, names in classes.items() if names})


def _columns(rows: Sequence[Mapping[Any, Any]], kind: str, called: Sequence[Hashable]
             ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Attributes as arrays, and the names of classes where labels are texts."""
    found: dict[str, np.ndarray] = {}
    class_names: tuple[str, ...] = ()
    left_out = []
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if name == LABELS and any(isinstance(value, str) for value in values):
            found[name], class_names = _classes(values, kind, called)
        elif any(map(_is_number, values)):
            unknown = np.nan if name == LABELS else None
            known = [unknown if value is None else value for value in values]
            found[str(name)] = _numbers(known, f"{kind} {{!r}} has {{}} {name!r}", called)
        else:
            left_out.append(str(name))
    if left_out:
        log.warning("%s: attributes of %ss that are no numbers are left out: %s", _WHERE, kind, ", ".join(left_out))
    return found, class_names


def _classes(values: Sequence[Any], kind: str, called: Sequence[Hashable]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of the class of each label, -1 where it is missing, and the names of classes in order."""
    known = [value if _is_known(value) else None for value in values]
    for value, name in zip(known, called, strict=True):
        if value is not None and not isinstance(value, str):
            raise DataError(f"{_WHERE}: {kind} {name!r} has the label {value!r}, where another has a text: "
                            "make all texts, or all numbers")
        _encodable(value or "", f"{kind} {name!r} has the label")
    class_names = tuple(sorted({value for value in known if value is not None}))
    codes = {text: code for code, text in enumerate(class_names)}
    return np.array([-1 if value is None else codes[value] for value in known]), class_names


def _is_known(value: Any) -> bool:
    """Whether a label is neither None nor NaN nor an empty text."""
    if isinstance(value, float | np.floating):
        return not np.isnan(value)
    return value is not None and not (isinstance(value, str) and not value)


def _encodable(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{_WHERE}: {what} {text!r}, which cannot be written in UTF-8: rename it") from error


def _numbers(values: Sequence[Any], problem: str, called: Sequence[Hashable]) -> np.ndarray:
    shape = next(np.shape(value) for value in values if _is_number(value))
    for value, name in zip(values, called, strict=True):
        if not _is_number(value) or np.shape(value) != shape:
            got = "no" if value is None else f"{value!r} as"
            expected = f"{shape[0]} numbers" if shape else "a number"
            raise DataError(f"{_WHERE}: {problem.format(name, got)}, where another has {expected}")
    return np.array(values)


def _is_number(value: Any) -> bool:
    """Whether it is a number, or a row of them."""
    try:
        array = np.asarray(value)
    except ValueError:      # lists of lists of different lengths
        return False
    return array.dtype.kind in "biuf" and array.ndim < 2


def _user_ids(nodes: Sequence[Any]) -> UserIds | None:
    if all(isinstance(node, int | np.integer) and not isinstance(node, bool) for node in nodes):
        if nodes == list(range(len(nodes))):
            return None
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= min(nodes) and max(nodes) <= np.iinfo(dtype).max:
                return UserIds(np.array(nodes, dtype))
    by_text: dict[str, Any] = {}
    for node in nodes:
        text = str(node)
        _encodable(text, "there is a node")
        if text in by_text:
            raise DataError(f"{_WHERE}: nodes {by_text[text]!r} and {node!r} are both written {text!r}: rename one, as "
                            "networkx.relabel_nodes does")
        by_text[text] = node
    return UserIds.of_texts(list(by_text))


FORMS = (Form("a graph of NetworkX", is_networkx, read_networkx, in_memory=True),)
