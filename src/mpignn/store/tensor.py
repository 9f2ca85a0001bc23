"""A tensor whose rows are spread over the ranks, and which the trainers make, own and write.

The data of a graph is one, too, but read only: see `store.graph_tensor`.  Which writes a reader sees is said in
``docs/concepts/memory-model.md``.

Shapes: N rows, K rows asked for or given.
"""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mpignn.comm.group import Group
from mpignn.comm.sharded import ShardedArray
from mpignn.comm.writable import Delivered
from mpignn.errors import ConfigError, DataError, MpignnError
from mpignn.graph.types import EType
from mpignn.storage.tensors import TensorType, read_tensor, write_tensors
from mpignn.store.conflicts import PUT
from mpignn.store.given import Index, RowsLike, as_array, described, row_numbers, rows_to_write, stored_type, takes_ids
from mpignn.store.registry import Entry, TensorRegistry, the_only_registry

if TYPE_CHECKING:
    from mpignn.store.graph import DistGraph

log = logging.getLogger(__name__)

_REDUCIBLE = (torch.float32, torch.float64, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
_BLOCK_BYTES = 64 << 20     # moved at a time where a whole tensor passes through one rank


class DistTensor:
    """Rows spread over ranks, read and written by global row number.

    An index is an integer, integers of one dimension (tensor, array or list; any order, repeats allowed), a slice, or
    a mask of N booleans.  Results are new tensors on the CPU, in the order asked for.

    Attributes:
        shape: (N, ...).
        dtype: Type of an element.
        name: By which it is found again; None for one that only its maker knows.
        part_policy: What its rows stand for, which decides who owns them: a node type, the key of an edge type, or
            ``even``; None for data of a graph whose type was not said.
        persistent: Whether it lives until the graph is closed, though nobody refers to it.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, name: str | None = None,
                 init_func: Callable[..., torch.Tensor] | None = None, part_policy: str | EType | None = None,
                 persistent: bool = False, g: "DistGraph | _Graph | None" = None) -> None:
        """Make a tensor owned by the trainers, or find the one of that name.  Collective over the trainers.

        Args:
            shape: (N, ...).
            dtype: Type of an element.
            name: A second tensor of that name is the first: shape, dtype, policy and persistence must be equal.
            init_func: ``init_func(shape, dtype)`` gives the first values of the rows that this trainer owns, of that
                shape; one of three arguments is also given their numbers, (n,) int64, so that values need
                not depend on who owns what.  None: zeros.  Not called where the tensor is found.
            part_policy: A node type, an edge type, or ``even`` (``:even`` where a node type has that name); None: the
                only type that has N nodes or edges.
            persistent: Keep it until the graph is closed, though nobody refers to it.
            g: The graph it belongs to; None: the only one that is open.

        Raises:
            ConfigError: No graph, a persistent tensor without a name, or a type that cannot be stored.
            DataError: The trainers ask for different tensors, a tensor of that name is another one, N does not fit
                the policy, or ``init_func`` fails.
            UnknownName: No such policy.
            ResourceError: Not enough memory.
        """
        registry: TensorRegistry = the_only_registry() if g is None else g.registry
        description, stored, problem = None, None, None
        try:
            stored = stored_type(dtype)
            description = registry.describe(shape, str(dtype), name, part_policy, persistent)
        except MpignnError as error:
            problem = error
        entry = registry.open(description, stored, self, problem)
        found = entry.description
        self._entry = entry
        self._set(entry.array, registry, found.shape, dtype, name, found.policy, found.persistent)
        if not entry.ready:
            self._fill(init_func, entry)
            entry.ready = True

    def __getitem__(self, index: Index) -> torch.Tensor:
        """(K, ...) rows in the order of ``index``; of an integer, that row.  Not collective.

        Raises:
            IDError: A row that the tensor does not have; the first is named.
        """
        ids, one = self._ids(index)
        rows = torch.empty((ids.size, *self.shape[1:]), dtype=self.dtype)
        self._array.gather(ids, as_array(rows).reshape(ids.size, self._width)).wait()
        return rows[0] if one else rows

    def __setitem__(self, index: Index, rows: RowsLike) -> None:
        """Replace rows; of repeated ones the last given counts.  Not collective.

        Args:
            index: As for reading.
            rows: (K, ...) of the tensor's dtype, or one number for all.

        Raises:
            IDError: A row that the tensor does not have; the first is named.
            DataError: Rows of another shape or dtype.
            CommError: Data of a graph.
        """
        ids, one = self._ids(index)
        given, own = self._to_write(rows, ids.size, one), self._own()
        own.array.put(ids, given)
        own.note(PUT, ids)

    def read_together(self, index: Index, out: torch.Tensor | None = None) -> torch.Tensor:
        """As ``self[index]``, by a call that all trainers make together.  Collective over the trainers.

        Each has an index of its own, which may mean no rows.  A read of another node's rows on its own may wait until
        their owner's next MPI call; here the owners are in the same call.

        Args:
            index: As for reading.
            out: (K, ...) of the tensor's dtype, contiguous, on the CPU: where the rows go; None: to a new tensor.
        """
        ids, one = self._ids(index)
        rows = torch.empty((ids.size, *self.shape[1:]), dtype=self.dtype) if out is None else out
        self._array.gather_together(ids, as_array(rows).reshape(ids.size, self._width))
        return rows[0] if one else rows

    def to_owners(self, ids: np.ndarray, rows: torch.Tensor) -> Delivered:
        """Send ``rows[i]``, such as a gradient, to the owner of row ``ids[i]``.  Collective over the trainers.

        The tensor stays as it is.  What arrives here is for the rows of `local`, in a fixed order.

        Args:
            ids: (K,) int64, repeats allowed, empty allowed.
            rows: (K, ...) of the tensor's dtype.

        Raises:
            IDError: On all trainers: a row that the tensor does not have; the first is named.
            CommError: On all trainers: rows of another shape or dtype; data of a graph.
        """
        rows = rows.detach().contiguous()
        return self._own().array.to_owners(ids, as_array(rows).reshape(len(rows), rows[:1].numel() or self._width))

    def beside(self, what: str, row_shape: Sequence[int] | None = None,
               dtype: torch.dtype | None = None) -> "DistTensor":
        """Zeros for each row, owned by the same trainers, and as persistent.  Collective over the trainers.

        Args:
            what: The name is that of this tensor, a slash and this; none if this one has none.
            row_shape: Shape of a row; None: as here.
            dtype: None: as here.
        """
        row_shape = self.shape[1:] if row_shape is None else row_shape
        return DistTensor((len(self), *row_shape), self.dtype if dtype is None else dtype,
                          None if self.name is None else f"{self.name}/{what}", part_policy=self.part_policy,
                          persistent=self.persistent, g=_Graph(self._known_registry()))

    def add_(self, index: Index, rows: RowsLike) -> None:
        """Add to rows; to repeated ones the sum of what is given.  Not collective.

        Whoever else adds at the same time: nothing is lost.  Arguments and errors as for writing, and:

        Raises:
            DataError: The tensor's dtype is none that MPI can add, such as bfloat16.
        """
        self._reduce(index, rows, "add")

    def min_(self, index: Index, rows: RowsLike) -> None:
        """Take the smaller of each element and what is given, otherwise like `add_`.  Not collective."""
        self._reduce(index, rows, "min")

    def max_(self, index: Index, rows: RowsLike) -> None:
        """Take the larger of each element and what is given, otherwise like `add_`.  Not collective."""
        self._reduce(index, rows, "max")

    def flush(self) -> None:
        """Return when what this trainer wrote has reached the owners.  Not collective."""
        self._own().array.flush()

    def sync(self) -> None:
        """Return when what any trainer wrote before is there for all to read.  Collective over the trainers.

        Raises:
            CommError: On all trainers, at ``--log debug`` only: two trainers wrote a row since the last sync, and not
                both by the same reduction.
        """
        own = self._own()
        own.array.sync()
        if own.conflicts is not None:
            own.conflicts.check(self._trainers())

    def free(self) -> None:
        """Give the memory back now, whoever else refers to the tensor.  Collective over the trainers."""
        self._known_registry().free(self._own())

    def count_nonzero(self) -> int:
        """Elements that are not zero.  Collective over the trainers."""
        shares = np.linspace(0, len(self), self._trainers().size + 1).astype(np.int64)
        lo, hi = shares[self._trainers().rank:self._trainers().rank + 2].tolist()
        step = max(1, _BLOCK_BYTES // max(1, self._array.spec.dtype.itemsize * self._width))
        mine = sum(int(torch.count_nonzero(self[first:min(first + step, hi)])) for first in range(lo, hi, step))
        return int(self._trainers().all_sum(np.array([mine]))[0])

    def to_hdf5(self, file: str | os.PathLike[str], name: str | None = None) -> None:
        """Write the tensor to a file of its own, after a `sync`.  Collective over the trainers.

        The first trainer writes all rows, under a temporary name; a file that has the name already is replaced at the
        end.  The same values give the same bytes, whoever owned them.

        Args:
            file: Its name.
            name: Name of the dataset; None: that of the tensor.

        Raises:
            ConfigError: On all trainers: no file can be made there, or there is no name.
            ResourceError: On all trainers: the disk is full.
        """
        self.sync()
        trainers = self._trainers()
        with trainers.all_or_none():
            if trainers.rank == 0:
                self._write(Path(file), self._dataset(name))

    def from_hdf5(self, file: str | os.PathLike[str], name: str | None = None) -> None:
        """Replace all rows by those of a file that `to_hdf5` wrote, and `sync`.  Collective over the trainers.

        Each trainer reads the rows that it owns, so all of them must see the file.

        Args:
            file, name: As given to `to_hdf5`.

        Raises:
            CommError: Data of a graph.
            DataError: On all trainers: no such file or dataset, one of another shape or dtype, or a damaged one; some
                rows may be replaced then.
        """
        self[[]] = False        # raises where the tensor may not be written
        self.sync()
        array = self._array
        with self._trainers().all_or_none():
            read_tensor(Path(file), self._dataset(name), self._stored(), array.lo, array.local)
        self.sync()

    def __or__(self, other: "DistTensor") -> "DistTensor":
        """A new tensor of the element-wise or, as of two masks.  Collective over the trainers."""
        if not isinstance(other, DistTensor):
            return NotImplemented
        return DistTensor(self.shape, self.dtype, part_policy=self.part_policy, g=_Graph(self._known_registry()),
                          init_func=lambda shape, dtype, ids: self[ids] | other[ids])

    @property
    def local(self) -> torch.Tensor:
        """(n, ...) the rows ``local_ids``, no copy: those that this trainer owns.

        Others see what is written to it after the next `sync`.  For data of a graph: the rows that lie in this node's
        memory; they must not be written, which most often ends the process.
        """
        rows = self._array.local
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # torch has no tensors that are read only and warns of each
            tensor = torch.from_numpy(rows)
        return tensor.view(self.dtype).reshape(len(rows), *self.shape[1:])

    @property
    def local_bounds(self) -> tuple[int, int]:
        """The first of `local_ids`, and one past the last."""
        return self._array.lo, self._array.hi

    @property
    def local_partition(self) -> torch.Tensor:
        """As `local`; DGL's name."""
        return self.local

    @property
    def local_ids(self) -> torch.Tensor:
        """(n,) int64 numbers of the rows of `local`, ascending without gaps."""
        return torch.arange(self._array.lo, self._array.hi)

    def __dlpack__(self, **options: Any) -> Any:
        """`local` for other libraries, no copy."""
        return self.local.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.local.__dlpack_device__()

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return (f"DistTensor(shape={self.shape}, dtype={self.dtype}, name={self.name!r}, "
                f"part_policy={self.part_policy!r}, persistent={self.persistent})")

    def _set(self, array: ShardedArray, registry: TensorRegistry | None, shape: tuple[int, ...], dtype: torch.dtype,
             name: str | None, part_policy: str | None, persistent: bool) -> None:
        self._array, self._registry = array, registry
        self._width = array.spec.width
        self.shape, self.dtype, self.name = shape, dtype, name
        self.part_policy, self.persistent = part_policy, persistent

    def _own(self) -> Entry:
        """What its writes go to."""
        return self._entry

    def _known_registry(self) -> TensorRegistry:
        if self._registry is None:
            raise ConfigError(f"{self.name} does not know the trainers: take it from a graph, g.ndata[...]")
        return self._registry

    def _trainers(self) -> Group:
        return self._known_registry().trainers

    def _dataset(self, name: str | None) -> str:
        chosen = self.name if name is None else name
        if not chosen:
            raise ConfigError("a tensor without a name needs one in a file: to_hdf5(file, name)")
        if "\0" in chosen or any(part in ("", ".") for part in chosen.split("/")):
            raise ConfigError(f"{chosen!r} cannot be a name in an HDF5 file, where '/' parts groups: give another one, "
                              "to_hdf5(file, name)")
        return chosen

    def _stored(self) -> TensorType:
        return TensorType(self.shape, self._array.spec.dtype, str(self.dtype))

    def _write(self, path: Path, name: str) -> None:
        step = max(1, _BLOCK_BYTES // max(1, self._array.spec.dtype.itemsize * self._width))
        blocks = (as_array(self[first:first + step]) for first in range(0, len(self), step))
        write_tensors(path, {name: (self._stored(), blocks)})

    def _fill(self, init_func: Callable[..., torch.Tensor] | None, entry: Entry) -> None:
        """Write the first values of the rows owned.  Collective over the trainers."""
        problem = None
        if init_func is not None:
            local = self.local
            try:
                arguments = (self.local_ids,) if takes_ids(init_func) else ()
                rows = init_func(tuple(local.shape), self.dtype, *arguments)
                if not isinstance(rows, torch.Tensor) or rows.shape != local.shape or rows.dtype != self.dtype:
                    raise DataError(f"gave {described(rows)}, asked for {self.dtype} {tuple(local.shape)}")
                local.copy_(rows.detach())
            except Exception as error:      # whatever a user's function raises: the other trainers must learn of it
                log.debug("init_func", exc_info=True)
                problem = DataError(f"init_func of {self._array.spec.name}: {type(error).__name__}: {error}")
        try:
            self._trainers().agree(problem)
        except MpignnError:
            self._known_registry().free(entry)
            raise
        entry.array.sync()

    def _reduce(self, index: Index, rows: RowsLike, how: str) -> None:
        if self.dtype not in _REDUCIBLE:
            raise DataError(f"{self._array.spec.name}: MPI cannot {how} elements of {self.dtype}: keep the tensor in "
                            "float32, or let the owners change their rows through `local`")
        ids, one = self._ids(index)
        given, own = self._to_write(rows, ids.size, one), self._own()
        own.array.accumulate(ids, given, how)
        own.note(how, ids)

    def _ids(self, index: Any) -> tuple[np.ndarray, bool]:
        return row_numbers(index, len(self), self._array.spec.name)

    def _to_write(self, given: Any, count: int, one: bool) -> np.ndarray:
        """(K, W) rows to write, in the type that they are stored in."""
        shape = self.shape[1:] if one else (count, *self.shape[1:])
        return rows_to_write(given, shape, self.dtype, self._array.spec.name).reshape(count, self._width)


@dataclass(frozen=True)
class _Graph:
    """As much of a graph as a tensor asks for."""

    registry: TensorRegistry
