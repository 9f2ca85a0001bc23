"""Names of the node and edge types of a graph, and a whole graph in memory.

Shapes: N nodes of a type, E edges of a type.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from mpignn.errors import DataError, UnknownName
from mpignn.graph.csc import CSC
from mpignn.graph.user_ids import UserIds

EType = tuple[str, str, str]
Kind = TypeVar("Kind", str, EType)      # of rows: the node type, or the edge type
V = TypeVar("V")
ByEType = Mapping[str, V] | Mapping[EType, V] | Mapping[str | EType, V]         # edge types in any spelling



class Counted(Protocol):
    """Ids, or only how many there are."""

    @property
    def size(self) -> int: ...


class Count(NamedTuple):
    """How many ids there are, where these themselves are not wanted."""

    size: int


Splits = Mapping[str, Mapping[str, Counted]]    # by node type or edge type key, and by name

_MOST_NAMES = 12        # of a graph, in a message

NTYPE = "_N"
ETYPE: EType = ("_N", "_E", "_N")
"""The types of a graph that names none, spelt as DGL does."""


def etype_key(etype: EType) -> str:
    """``src:rel:dst``, the name of an edge type in files and messages."""
    return ":".join(etype)


def parse_etype(key: str) -> EType:
    """The inverse of `etype_key`.

    Raises:
        DataError: The key does not have three parts.
    """
    parts = tuple(key.split(":"))
    if len(parts) != 3 or not all(parts):
        raise DataError(f"edge type {key!r} is not of the form source:relation:destination")
    return parts


def short(sizes: Mapping[str, Any]) -> str:
    """Sizes by type, for a ``repr``: the first ones, and how many there are where these are many."""
    return "{" + listed(f"{name}: {size}" for name, size in sizes.items()) + "}"


def listed(names: Iterable[str]) -> str:
    """Names for a message: the first ones, and how many there are where these are many."""
    known = list(names)
    return ", ".join(known[:_MOST_NAMES]) + (f", ... ({len(known)} in all)" if len(known) > _MOST_NAMES else "")


@dataclass(frozen=True)
class Schema:
    """The node types and canonical edge types of a graph, in the order of their numbers."""

    ntypes: tuple[str, ...]
    etypes: tuple[EType, ...]

    @property
    def is_homogeneous(self) -> bool:
        return len(self.ntypes) == 1 and len(self.etypes) == 1

    def ntype(self, name: str | None = None) -> str:
        """``name`` if it is a node type; without a name, the only one.

        Raises:
            UnknownName: No such type, or no name where there are several types.
        """
        if name is None and len(self.ntypes) == 1:
            return self.ntypes[0]
        if name not in self.ntypes:
            raise UnknownName(f"node type {name!r} is not one of: {listed(self.ntypes)}")
        return name

    def etype(self, name: str | EType | None = None) -> EType:
        """The canonical edge type meant by a relation's name, ``src:rel:dst``, or a triple.

        Raises:
            UnknownName: No such type, several with that relation, or no name where there are several.
        """
        if name is None and len(self.etypes) == 1:
            return self.etypes[0]
        if isinstance(name, str):
            found = [e for e in self.etypes if name in (e[1], etype_key(e))]
        else:
            canonical = tuple(name) if isinstance(name, Sequence) else None
            found = [canonical] if canonical in self.etypes else []
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownName(f"edge type {name!r} is ambiguous; it may be: {listed(map(etype_key, found))}")
        raise UnknownName(f"edge type {name!r} is unknown; the graph has: {listed(map(etype_key, self.etypes))}")


@dataclass(frozen=True)
class ArrayInfo:
    """An array of the graph's files.

    Attributes:
        name: Its path in a partition file, as `ArrayKey.path` spells it.
        dtype: Type of an element.
        row_shape: Shape of one row; () for a scalar.
    """

    name: str
    dtype: np.dtype
    row_shape: tuple[int, ...]

    @property
    def width(self) -> int:
        return int(np.prod(self.row_shape, dtype=np.int64))


@dataclass(frozen=True)
class Partitioning:
    """How a graph was partitioned before.

    Attributes:
        source_id: Hash of the source that was partitioned first.
        num_parts: P.
        parts: (N,) int32 partition of each node by node type.
    """

    source_id: str
    num_parts: int
    parts: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class GraphData:
    """A whole graph in one process, in original ids.

    Attributes:
        num_nodes: Nodes of each type.
        csc: In-edges of each edge type.  ``csc[e].edge_ids`` are original edge ids, by which
            ``edge_data`` is indexed.
        node_data: ``node_data[ntype][name]`` has shape (N, ...).
        edge_data: ``edge_data[etype][name]`` has shape (E, ...), in order of original edge id.
        splits: ``splits[key][name]`` are the sorted int64 original ids of a split, where key is a
            node type or the `etype_key` of an edge type and name is train, val or test.
        user_ids: What users call the nodes of a type, where that is something else than the original ids.
        class_names: ``class_names[key][name][c]`` is what users call class ``c`` of the labels ``name`` of a node
            type, or of an edge type by its `etype_key`.
        tables: How the data was made of tables, as JSON can hold it: see `mpignn.tables.record`.  None: it was not.
        partitioning: How the graph was partitioned before, if it was.  Its numbers are as they are stored, and a split
            of its edges is in the order of the source's edges, which their ids have lost, instead of sorted.
    """

    num_nodes: Mapping[str, int]
    csc: Mapping[EType, CSC]
    node_data: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    edge_data: Mapping[EType, Mapping[str, np.ndarray]] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    user_ids: Mapping[str, UserIds] = field(default_factory=dict)
    class_names: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    tables: Mapping[str, Any] | None = None
    partitioning: Partitioning | None = None

    def __repr__(self) -> str:
        edges = {etype_key(etype): csc.num_edges for etype, csc in self.csc.items()}
        return f"GraphData(nodes={short(self.num_nodes)}, edges={short(edges)})"

    @property
    def schema(self) -> Schema:
        return Schema(tuple(self.num_nodes), tuple(self.csc))
