"""How edges are chosen: what fanouts, weights, marks and times say for each edge type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpignn.arguments import whole_number
from mpignn.comm.transport import GraphArray
from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.types import ByEType, EType, Kind, Schema, etype_key
from mpignn.store.published import PublishedGraph

ALL = -1        # the fanout that keeps every edge

Fanout = int | ByEType[int]
Named = str | ByEType[str] | None       # edge data
NamedOfNodes = str | Mapping[str, str] | None


@dataclass(frozen=True)
class Rule:
    """How edges of one type are chosen.

    Attributes:
        fanout: Edges kept of each node; `ALL` keeps all, once each.
        replace: Whether an edge may be picked again.
        weights, marks: Weight and mark of each edge; None if all are alike.
        edge_times, node_times: Times of the edges, and of the nodes that they come from; an edge is picked only where
            both, if there are any, are less than the time of the row that it is picked for.
    """

    fanout: int
    replace: bool = False
    weights: GraphArray | None = None
    marks: GraphArray | None = None
    edge_times: GraphArray | None = None
    node_times: GraphArray | None = None

    @property
    def looks(self) -> bool:
        """Whether an edge has to be looked at to tell if it may be picked."""
        return self.weights is not None or self.marks is not None or self.timed

    @property
    def timed(self) -> bool:
        """Whether it depends on time which edges may be picked."""
        return self.edge_times is not None or self.node_times is not None


def check_fanout(entry: Fanout) -> Fanout:
    """A fanout, or a mapping of them, of plain ints; raises ConfigError if one is no integer of -1 to 2**31 - 1."""
    if isinstance(entry, Mapping):
        return {etype: _check_number(fanout) for etype, fanout in entry.items()}
    return _check_number(entry)


def _check_number(fanout: int) -> int:
    try:
        return whole_number(fanout, "fanout", ALL, 1 << 31)
    except ConfigError as error:
        raise ConfigError(f"{error}: -1 keeps all edges of a node, 0 none, k > 0 at most k") from None


def checked_fanouts(entries: Sequence[Fanout]) -> tuple[Fanout, ...]:
    """The fanouts of all layers; raises ConfigError if there are none, or what `check_fanout` raises."""
    if len(entries) == 0:
        raise ConfigError("fanouts is empty: give one per layer, input layer first")
    return tuple(check_fanout(entry) for entry in entries)


def make_rules(graph: PublishedGraph, fanout: Fanout, replace: bool = False, prob: Named = None, mask: Named = None,
               edge_times: Named = None, node_times: NamedOfNodes = None) -> dict[EType, Rule]:
    """How the edges of each type are chosen, in the schema's order.  Not collective.

    Args:
        graph: The graph.
        fanout: For all edge types, or a mapping that names every one.
        replace: With replacement.
        prob, mask, edge_times: Edge data: a name by edge type, or one name, of every edge type that has such data.
        node_times: Node data, likewise by node type.

    Raises:
        ConfigError: A mapping of fanouts leaves out an edge type.
        UnknownName: No such type or data.
        DataError: Weights or times that are no numbers, one an edge or node; or marks that are no booleans; or some
            times are integers and others are not.
    """
    schema = graph.schema
    fanouts = _fanouts(fanout, schema)
    weights, marks = _edge_arrays(graph, prob, "prob"), _edge_arrays(graph, mask, "mask")
    for array in weights.values():
        if array.spec.dtype.kind not in "iuf" or array.spec.dtype == np.float16 or array.spec.width != 1:
            raise DataError(f"prob: {array.spec.name} is {array.spec.dtype}, {array.spec.width} an edge; weights "
                            "are one number an edge, float32, float64 or an integer")
    for array in marks.values():
        if array.spec.dtype != np.bool_ or array.spec.width != 1:
            raise DataError(f"mask: {array.spec.name} is {array.spec.dtype}, {array.spec.width} an edge; marks are "
                            "one boolean an edge")
    of_edges = _edge_arrays(graph, edge_times, "edge_timestamp_attr_name")
    of_nodes = _node_arrays(graph, node_times)
    _check_times([*of_edges.values(), *of_nodes.values()])
    return {e: Rule(fanouts[e], replace and fanouts[e] != ALL, weights.get(e), marks.get(e), of_edges.get(e),
                    of_nodes.get(e[0])) for e in schema.etypes}


def time_dtype(rules: Mapping[EType, Rule]) -> np.dtype:
    """int64 or float64, as what the times of the seeds are compared with.  Not collective."""
    arrays = [array for rule in rules.values() for array in (rule.edge_times, rule.node_times) if array is not None]
    return np.dtype(np.float64 if arrays and arrays[0].spec.dtype.kind == "f" else np.int64)


def _check_times(arrays: Sequence[GraphArray]) -> None:
    for array in arrays:
        spec = array.spec
        if spec.dtype.kind not in "iuf" or spec.dtype in (np.float16, np.uint64) or spec.width != 1:
            raise DataError(f"{spec.name} is {spec.dtype}, {spec.width} a row; times are one number a row, float32, "
                            "float64 or an integer of 64 bits or fewer with a sign")
        first = arrays[0].spec
        if (spec.dtype.kind == "f") != (first.dtype.kind == "f"):
            raise DataError(f"{first.name} is {first.dtype} and {spec.name} is {spec.dtype}: give all times as "
                            "integers, or all as floating-point numbers")


def _fanouts(entry: Fanout, schema: Schema) -> dict[EType, int]:
    if not isinstance(entry, Mapping):
        return {etype: int(entry) for etype in schema.etypes}
    given = {schema.etype(name): int(fanout) for name, fanout in entry.items()}
    for etype in schema.etypes:
        if etype not in given:
            raise ConfigError(f"fanouts: edge type {etype_key(etype)} is missing; 0 keeps none of its edges")
    return {etype: given[etype] for etype in schema.etypes}


def _edge_arrays(graph: PublishedGraph, named: Named, what: str) -> dict[EType, GraphArray]:
    """The array of the edge data that is named, for each edge type that has it."""
    names = _names(graph, named, what, "edge", graph.schema.etypes, graph.schema.etype)
    return {etype: graph.edge_data(etype, name)[0] for etype, name in names.items()}


def _node_arrays(graph: PublishedGraph, named: NamedOfNodes) -> dict[str, GraphArray]:
    """The array of the node data that is named, for each node type that has it."""
    names = _names(graph, named, "node_timestamp_attr_name", "node", graph.schema.ntypes, graph.schema.ntype)
    return {ntype: graph.node_data(ntype, name)[0] for ntype, name in names.items()}


def _names(graph: PublishedGraph, named: str | Mapping[Any, str] | None, what: str, kind: str, types: Sequence[Kind],
           find: Callable[[Any], Kind]) -> dict[Kind, str]:
    """The name of data by type: as given, or one name of every type that has such data."""
    if named is None:
        return {}
    if isinstance(named, Mapping):
        return {find(given): name for given, name in named.items()}
    names = {t: named for t in types if named in graph.data_of(t)}
    if not names:
        raise UnknownName(f"{what}: no {kind} type has data named {named!r}")
    return names
