"""Which array of a graph: a record, and the path by which files and messages call it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mpignn.errors import UnknownName
from mpignn.graph.types import ArrayInfo, EType, etype_key, parse_etype

NODE, EDGE, OUT = "node", "edge", "out"
IN = "in"
DIRECTIONS = (IN, OUT)      # of edges; arrays of those that go out are of a kind of their own
_DATA = "data/"
_STRUCTURE = ("orig_id", "indptr", "indices", "edge_id")


@dataclass(frozen=True, slots=True)
class ArrayKey:
    """Which array of a graph.

    Attributes:
        kind: ``node``; ``edge``, for edges by destination and their data; ``out``, for edges by source.
        owner: The node type, or the edge type as `etype_key` spells it.
        what: ``orig_id`` or ``new_id`` of nodes, ``indptr``, ``indices`` or ``edge_id`` of edges, or ``data/<name>``.
    """

    kind: str
    owner: str
    what: str

    @classmethod
    def node(cls, ntype: str, what: str) -> "ArrayKey":
        return cls(NODE, ntype, what)

    @classmethod
    def edge(cls, etype: EType, what: str) -> "ArrayKey":
        return cls(EDGE, etype_key(etype), what)

    @classmethod
    def out(cls, etype: EType, what: str) -> "ArrayKey":
        return cls(OUT, etype_key(etype), what)

    @classmethod
    def node_data(cls, ntype: str, name: str) -> "ArrayKey":
        return cls.data(NODE, ntype, name)

    @classmethod
    def edge_data(cls, etype: EType, name: str) -> "ArrayKey":
        return cls.data(EDGE, etype_key(etype), name)

    @classmethod
    def data(cls, kind: str, owner: str, name: str) -> "ArrayKey":
        return cls(kind, owner, _DATA + name)

    @classmethod
    def parse(cls, path: str) -> "ArrayKey":
        """The inverse of `path`."""
        return cls(*path.split("/", 2))

    @property
    def path(self) -> str:
        """Its path in a part file, such as ``node/paper/data/features``."""
        return f"{self.kind}/{self.owner}/{self.what}"

    @property
    def etype(self) -> EType:
        """The edge type; not of a node's array."""
        return parse_etype(self.owner)

    @property
    def data_name(self) -> str | None:
        """The name of data that the user has given; None for the structure of the graph."""
        return self.what.removeprefix(_DATA) if self.what.startswith(_DATA) else None

    @property
    def is_structure(self) -> bool:
        """Whether the array is part of the graph's structure: not data, and not ``new_id``, which no sampler reads."""
        return self.what in _STRUCTURE


def find_info(infos: Mapping[str, ArrayInfo], key: ArrayKey) -> ArrayInfo:
    """What is known of an array of data.  Not collective.

    Args:
        infos: The arrays of a graph, by path.
        key: The array of data.

    Raises:
        UnknownName: There is no such data; the message says what there is of its type.
    """
    if key.path not in infos:
        base = ArrayKey.data(key.kind, key.owner, "").path
        known = ", ".join(path.removeprefix(base) for path in infos if path.startswith(base)) or "none"
        raise UnknownName(f"{key.path} is not in the graph; data there: {known}")
    return infos[key.path]
