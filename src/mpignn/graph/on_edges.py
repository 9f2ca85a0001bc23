"""Data of edges that layers read along with the rows of sources."""

from collections.abc import Mapping
from dataclasses import dataclass

from mpignn.errors import DataError, UnknownName
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.types import ArrayInfo, Schema, etype_key


@dataclass(frozen=True)
class OnEdges:
    """What layers read of the edges of a type.

    Attributes:
        feats: Name of the data with features; None: none are read.
        columns: How many these have.
        weight: Name of the data with one number for each edge; None: none is read.
    """

    feats: str | None = None
    columns: int = 0
    weight: str | None = None

    @property
    def names(self) -> list[str]:
        """Data that a batch must bring."""
        return list(dict.fromkeys(name for name in (self.feats, self.weight) if name is not None))


def find_on_edges(schema: Schema, infos: Mapping[str, ArrayInfo], feats: str | None,
                  weight: str | None) -> dict[str, OnEdges]:
    """What layers can read of the edges of each type that has any such data, by its key.  Not collective.

    Args:
        schema, infos: Types and arrays of the graph.
        feats, weight: Names of the data; None: it is not read.

    Raises:
        UnknownName: No edge type has data of that name.
        DataError: It is no row of numbers for each edge, or a weight is not one number.
    """
    found = {}
    for etype in schema.etypes:
        rows, numbers = (None if name is None else infos.get(ArrayKey.edge_data(etype, name).path)
                         for name in (feats, weight))
        if rows is not None and (len(rows.row_shape) > 1 or rows.dtype.kind not in "biuf"):
            raise DataError(f"--edge-feats: {rows.name} is {rows.dtype} with rows of shape {rows.row_shape}: layers "
                            "read one row of numbers per edge")
        if numbers is not None and (numbers.width != 1 or numbers.dtype.kind not in "biuf"):
            raise DataError(f"--edge-weight: {numbers.name} is {numbers.dtype} with rows of shape {numbers.row_shape}: "
                            "a weight is one number per edge")
        told = OnEdges(None if rows is None else feats, 0 if rows is None else rows.width,
                       None if numbers is None else weight)
        if told.names:
            found[etype_key(etype)] = told
    for flag, name in (("--edge-feats", feats), ("--edge-weight", weight)):
        if name is not None and not any(name in told.names for told in found.values()):
            known = sorted({of.data_name for of in map(ArrayKey.parse, infos) if of.kind == "edge" and of.data_name})
            raise UnknownName(f"{flag}: no edge type has data named {name!r}; there is: {', '.join(known) or 'none'}")
    return found
