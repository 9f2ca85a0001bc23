"""A partition book of any assignment, spelt out by maps: for import, and to test the book of ranges against.

Shapes: P partitions, N nodes or edges of a type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mpignn.errors import DataError, IDError
from mpignn.graph.book import PartitionBook, RangePartitionBook, checked_ids
from mpignn.graph.types import EType, Kind, Schema, etype_key


class BasicPartitionBook(PartitionBook):
    """A book in which every node and edge has a partition of its own choice.

    Laid end to end by partition, and in a partition by id, the ids of a type have places; a `RangePartitionBook` of
    the places answers whatever goes by ranges.  Takes 20 bytes a node and edge.

    Attributes:
        schema: Names of the types.
    """

    def __init__(self, schema: Schema, node_map: Mapping[str, np.ndarray], edge_map: Mapping[EType, np.ndarray],
                 num_parts: int | None = None) -> None:
        """Not collective.

        Args:
            node_map: (N,) partition of each node, for each node type; any integers from 0.
            edge_map: (N,) partition of each edge, for each edge type.
            num_parts: P; None: one more than the largest partition named.

        Raises:
            DataError: A map is missing, or holds what is no partition.
        """
        given: dict[str | EType, np.ndarray] = {t: _partitions(node_map, t, t) for t in schema.ntypes}
        given |= {e: _partitions(edge_map, e, etype_key(e)) for e in schema.etypes}
        largest = max((int(parts.max(initial=-1)) for parts in given.values()), default=-1)
        parts = max(1, largest + 1) if num_parts is None else num_parts
        if largest >= parts:
            raise DataError(f"a map names partition {largest}, but there are {parts}")
        self.schema = schema
        self._maps = {key: _place(owner, parts) for key, owner in given.items()}
        self._book = RangePartitionBook(schema, {t: self._maps[t].ranges for t in schema.ntypes},
                                        {e: self._maps[e].ranges for e in schema.etypes})

    def num_partitions(self) -> int:
        """Number of partitions."""
        return self._book.num_partitions()

    def num_nodes(self, ntype: str | None = None) -> int:
        return self._book.num_nodes(ntype)

    def num_edges(self, etype: str | EType | None = None) -> int:
        return self._book.num_edges(etype)

    def nid2partid(self, ids: ArrayLike, ntype: str | None = None) -> np.ndarray:
        owner, ids = self._node_owner(ids, ntype)
        return np.asarray(owner[ids], np.int64)

    def eid2partid(self, ids: ArrayLike, etype: str | EType | None = None) -> np.ndarray:
        owner, ids = self._edge_owner(ids, etype)
        return np.asarray(owner[ids], np.int64)

    def partid2nids(self, part: int, ntype: str | None = None) -> np.ndarray:
        ids: np.ndarray = self._maps[self.schema.ntype(ntype)].order[self._book.partid2nids(part, ntype)]
        return ids

    def partid2eids(self, part: int, etype: str | EType | None = None) -> np.ndarray:
        ids: np.ndarray = self._maps[self.schema.etype(etype)].order[self._book.partid2eids(part, etype)]
        return ids

    def nid2localnid(self, ids: ArrayLike, part: int, ntype: str | None = None) -> np.ndarray:
        owner, ids = self._node_owner(ids, ntype)
        _refuse_foreign(owner, ids, part, self.num_partitions(), "node")
        return self._book.nid2localnid(self._maps[self.schema.ntype(ntype)].place[ids], part, ntype)

    def eid2localeid(self, ids: ArrayLike, part: int, etype: str | EType | None = None) -> np.ndarray:
        owner, ids = self._edge_owner(ids, etype)
        _refuse_foreign(owner, ids, part, self.num_partitions(), "edge")
        return self._book.eid2localeid(self._maps[self.schema.etype(etype)].place[ids], part, etype)

    def map_to_per_ntype(self, ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        numbers, places = self._book.map_to_per_ntype(ids)
        return numbers, self._at(self.ntypes, numbers, places)

    def map_to_per_etype(self, ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        numbers, places = self._book.map_to_per_etype(ids)
        return numbers, self._at(self.canonical_etypes, numbers, places)

    def map_to_homo_nid(self, ids: ArrayLike, ntype: str | None = None) -> np.ndarray:
        _, ids = self._node_owner(ids, ntype)
        return self._book.map_to_homo_nid(self._maps[self.schema.ntype(ntype)].place[ids], ntype)

    def map_to_homo_eid(self, ids: ArrayLike, etype: str | EType | None = None) -> np.ndarray:
        _, ids = self._edge_owner(ids, etype)
        return self._book.map_to_homo_eid(self._maps[self.schema.etype(etype)].place[ids], etype)

    def _node_owner(self, ids: ArrayLike, ntype: str | None) -> tuple[np.ndarray, np.ndarray]:
        name = self.schema.ntype(ntype)
        return self._maps[name].owner, checked_ids(ids, self.num_nodes(name), f"id of a {name!r} node")

    def _edge_owner(self, ids: ArrayLike, etype: str | EType | None) -> tuple[np.ndarray, np.ndarray]:
        name = self.schema.etype(etype)
        return self._maps[name].owner, checked_ids(ids, self.num_edges(name), f"id of a {etype_key(name)!r} edge")

    def _at(self, types: Sequence[str | EType], numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        ids = np.empty_like(places)
        for number, name in enumerate(types):
            of_type = numbers == number
            ids[of_type] = self._maps[name].order[places[of_type]]
        return ids


@dataclass(frozen=True)
class _Map:
    owner: np.ndarray       # (N,) partition of each id
    order: np.ndarray       # (N,) id at each place
    place: np.ndarray       # (N,) place of each id
    ranges: np.ndarray      # (P + 1,) places of each partition


def _place(owner: np.ndarray, parts: int) -> _Map:
    order = np.argsort(owner, kind="stable").astype(np.int64, copy=False)
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    ranges = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owner, minlength=parts))])
    return _Map(owner, order, place, ranges)


def _partitions(given: Mapping[Kind, np.ndarray], key: Kind, name: str) -> np.ndarray:
    if key not in given:
        raise DataError(f"{name}: no map of partitions is given")
    parts = np.asarray(given[key])
    if parts.size == 0:
        return np.empty(0, np.int32)
    if parts.ndim != 1 or parts.dtype.kind not in "iu" or parts.min() < 0:
        raise DataError(f"{name}: a map holds a partition from 0 for each id, got {parts.dtype} of shape {parts.shape}")
    return parts.astype(np.int32)


def _refuse_foreign(owner: np.ndarray, ids: np.ndarray, part: int, parts: int, what: str) -> None:
    if not 0 <= part < parts:
        raise IDError(f"partition {part} is not in 0..{parts - 1}")
    foreign = ids[owner[ids] != part]
    if foreign.size:
        raise IDError(f"{what} {foreign[0]} is not in partition {part} but in {owner[foreign[0]]}")
