"""Which edges a batch must not see, because they are what it shall predict.

Shapes: E edges of a global batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpignn.errors import ConfigError, DataError
from mpignn.graph.book import checked_ids
from mpignn.graph.types import ByEType, EType, Schema, etype_key
from mpignn.store.lookup import match_edges
from mpignn.store.published import PublishedGraph
from mpignn.unique import unique

ReverseTypes = ByEType[str] | ByEType[EType] | ByEType[str | EType]

MODES = (None, "self", "reverse_id", "reverse_types")


class Exclusion:
    """The edges of a global batch, and with some modes those that lead back.

    All trainers take out the edges of the whole global batch, not of their share of it, so that what is drawn does
    not depend on who computes which edge.  Where reverse edges are found by their ends, each trainer therefore looks
    as many edges up as a global batch has.
    """

    def __init__(self, schema: Schema, mode: str | None, reverse_eids: Any = None,
                 reverse_etypes: ReverseTypes | None = None) -> None:
        """Say which.

        Args:
            schema: Types of the graph.
            mode: None: no edge.  ``self``: the edges themselves, by id: others that join the same nodes stay.
                ``reverse_id``: also their reverse edges, which are of the same type, and given by id or found by their
                ends.  ``reverse_types``: all edges that join their ends, in their type and, the other way round, in the
                type that leads back.
            reverse_eids: For ``reverse_id``: what has the global id of each edge's reverse at the edge's global id
                (array, tensor, `DistTensor`), or a dict of such by edge type: the edge and that one are taken out.
                Without, every edge of the type that joins the ends, either way round.
            reverse_etypes: For ``reverse_types``: the type of the reverse edges of each type.

        Raises:
            ConfigError: An unknown mode, or one that does not fit the other arguments or the graph's types.
        """
        if mode not in MODES:
            raise ConfigError(f"exclude is {mode!r}; it is one of: {', '.join(map(str, MODES))}")
        if (reverse_eids is not None and mode != "reverse_id") or (reverse_etypes is None) == (mode == "reverse_types"):
            raise ConfigError(f"exclude is {mode!r}: reverse_eids goes with 'reverse_id', and reverse_etypes with "
                              "'reverse_types', which needs it")
        self._mode = mode
        self._given: dict[EType, Any] = {}
        if reverse_eids is not None:
            by_type = reverse_eids if isinstance(reverse_eids, Mapping) else {None: reverse_eids}
            self._given = {schema.etype(etype): ids for etype, ids in by_type.items()}
        pairs = {schema.etype(etype): schema.etype(back) for etype, back in (reverse_etypes or {}).items()}
        if mode == "reverse_id":
            pairs = {etype: etype for etype in schema.etypes if etype not in self._given and etype[0] == etype[2]}
        for etype, back in pairs.items():
            if (back[2], back[0]) != (etype[0], etype[2]):
                raise ConfigError(f"reverse_etypes: {etype_key(back)} does not lead back from {etype[2]} to {etype[0]}")
        self._back = pairs

    @property
    def needs_ends(self) -> bool:
        """Whether reverse edges are found by the ends of the edges."""
        return bool(self._back)

    def check(self, etype: EType) -> None:
        """Raise ConfigError if it is not known where the reverse edges of a type of seeds are.  Not collective."""
        if self._mode in ("reverse_id", "reverse_types") and etype not in self._given and etype not in self._back:
            argument = "reverse_eids" if self._mode == "reverse_id" else "reverse_etypes"
            raise ConfigError(f"exclude is {self._mode!r}, but {argument} says nothing of {etype_key(etype)}")

    def edges(self, graph: PublishedGraph, etype: EType, eids: Sequence[np.ndarray],
              ends: tuple[np.ndarray, np.ndarray] | None) -> list[dict[EType, list[np.ndarray]]]:
        """Global ids to take out for the edges of one type of several global batches, by edge type.

        Args:
            graph: The graph.
            etype: Type of the edges.
            eids: (E,) int64 global ids for each batch.
            ends: (sum of E,) sources and destinations of all of them, if `needs_ends`.

        Not collective.

        Raises:
            IDError: ``reverse_eids`` has an id outside the graph.
        """
        found: list[dict[EType, list[np.ndarray]]] = [{etype: [ids]} for ids in eids]
        cuts = np.cumsum([ids.size for ids in eids])[:-1]
        if etype in self._given:
            back = np.asarray(self._given[etype][np.concatenate(eids)])
            if back.ndim != 1:
                raise DataError(f"reverse_eids of {etype_key(etype)!r} has rows of shape {back.shape[1:]}, not one id")
            back = checked_ids(back, graph.book.num_edges(etype), f"reverse_eids of {etype_key(etype)!r}")
            for batch, ids in zip(found, np.split(back, cuts), strict=True):
                batch[etype].append(ids)
        elif etype in self._back:
            assert ends is not None, "they are needed"
            src, dst = ends
            for joining, pairs in (etype, (src, dst)), (self._back[etype], (dst, src)):
                first, count = match_edges(graph, joining, *pairs)
                for batch, start, many in zip(found, np.split(first, cuts), np.split(count, cuts), strict=True):
                    ids = np.repeat(start - (np.cumsum(many) - many), many) + np.arange(many.sum())
                    batch.setdefault(joining, []).append(ids)
        return found


def joined(parts: Sequence[Mapping[EType, list[np.ndarray]]]) -> dict[EType, np.ndarray]:
    """Ids by edge type, sorted and each once, out of several lists.  Not collective."""
    of_type: dict[EType, list[np.ndarray]] = {}
    for part in parts:
        for etype, ids in part.items():
            of_type.setdefault(etype, []).extend(ids)
    return {etype: unique(np.concatenate(ids)) for etype, ids in of_type.items()}
