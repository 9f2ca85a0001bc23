"""The named data of a node or edge type, as mappings of names to tensors."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mpignn.errors import DataError, UnknownName
from mpignn.graph.types import EType, Kind

if TYPE_CHECKING:
    from mpignn.store.tensor import DistTensor

D = TypeVar("D")


class DataView(MutableMapping[str, "DistTensor"]):
    """Name -> `DistTensor` of one type: the graph's own data, which is read only, and what is put here.

    Nothing is sent, and every rank has views of its own: put a tensor into those of all trainers.
    """

    def __init__(self, what: str, num_rows: int, names: Sequence[str], open_: Callable[[str], "DistTensor"]) -> None:
        """Not collective.

        Args:
            what: What is of which type, in messages.
            num_rows: Nodes or edges of the type.
            names: Names of the graph's own data.
            open_: Makes the tensor of such a name.
        """
        self._what, self._num_rows, self._open = what, num_rows, open_
        self._tensors: dict[str, DistTensor | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> "DistTensor":
        """The tensor of that name.

        Raises:
            UnknownName: There is none.
        """
        if name not in self._tensors:
            raise UnknownName(f"{self._what} has no data {name!r}; it has: {', '.join(self._tensors) or 'none'}")
        tensor = self._tensors[name]
        if tensor is None:
            tensor = self._tensors[name] = self._open(name)
        return tensor

    def __setitem__(self, name: str, tensor: "DistTensor") -> None:
        """Put a tensor of as many rows as the type has under a name.

        Raises:
            DataError: It is none, or has another number of rows.
        """
        from mpignn.store.tensor import DistTensor  # brings in torch, which servers do without
        if not isinstance(tensor, DistTensor) or tensor.shape[0] != self._num_rows:
            shape = getattr(tensor, "shape", None)
            raise DataError(f"{self._what}: data must be a DistTensor of {self._num_rows} rows, got "
                            f"{type(tensor).__name__} of shape {None if shape is None else tuple(shape)}")
        self._tensors[name] = tensor

    def __delitem__(self, name: str) -> None:
        """Take a name out of this view; the rows stay where they are."""
        if name not in self._tensors:
            raise UnknownName(f"{self._what} has no data {name!r}; it has: {', '.join(self._tensors) or 'none'}")
        del self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {tuple(t.shape)} {t.dtype}" for name, t in self.items()) + "}"


class TypeData(Generic[D]):
    """Holds the ``data`` of one type, as DGL writes it: a `DataView`, or a frame."""

    def __init__(self, data: D) -> None:
        self.data = data


class TypeViews(Mapping[Kind, TypeData[D]]):
    """Type -> object with the type's ``data``: what ``g.nodes`` and ``g.edges`` are."""

    def __init__(self, views: Mapping[Kind, D], resolve: Callable[[Any], Kind]) -> None:
        """Not collective.

        Args:
            views: `DataView` by type.
            resolve: The type meant by what a user writes in brackets.
        """
        self._views: Mapping[Kind, D] = views
        self._resolve: Callable[[Any], Kind] = resolve

    def __getitem__(self, key: str | EType | None) -> TypeData[D]:
        return TypeData(self._views[self._resolve(key)])

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)
