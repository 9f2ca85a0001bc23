"""Data of nodes and edges for the batches that are prepared together.

Shapes: N rows wanted.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from mpignn.buffers import Pool
from mpignn.comm.transport import GraphArray, Request
from mpignn.comm.turns import Course
from mpignn.errors import ConfigError, UnknownName
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.block import EID, NID, TIME, Block, Frame
from mpignn.graph.pairs import PairGraph
from mpignn.graph.types import EType
from mpignn.nn.device import sent
from mpignn.sampling.block_sampler import Names
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.published import PublishedGraph

K = TypeVar("K", bound=Hashable)

_pool = Pool()      # of all loaders: training and evaluation take turns, and need not hold memory twice


class Fetch:
    """Rows for the frames of several batches, all of them in one request: a row that several want comes once."""

    def __init__(self, graph: PublishedGraph):
        self._graph = graph
        self._wanted: dict[str, list[tuple[Frame, str, np.ndarray, bool]]] = {}
        self._arrays: dict[str, tuple[GraphArray, tuple[int, ...]]] = {}

    def nodes(self, frame: Frame, ntype: str, names: Iterable[str], ids: np.ndarray, label: bool = False) -> None:
        """Want node data in a frame.

        Args:
            frame: Gets (N, ...) tensors under ``names``.
            ntype: Node type.
            names: Names of data that it has.
            ids: (N,) int64.
            label: Make whole numbers int64.

        Not collective.
        """
        for name in names:
            self._want(self._graph.node_data(ntype, name), frame, name, ids, label)

    def edges(self, frame: Frame, etype: EType, names: Iterable[str], ids: np.ndarray, label: bool = False) -> None:
        """Want edge data in a frame, as `nodes` does it.  Not collective."""
        for name in names:
            self._want(self._graph.edge_data(etype, name), frame, name, ids, label)

    def of_blocks(self, blocks: Iterable[Block], names: Mapping[EType, Iterable[str]]) -> None:
        """Want data of the edges of blocks in their frames, by edge type.  Not collective."""
        for block in blocks:
            for etype, of_type in names.items():
                ids = block.csc[etype].edge_ids
                assert ids is not None, "the sampler was told to return them"
                self.edges(block.edge_frames.setdefault(etype, {}), etype, of_type, ids)

    def _want(self, data: tuple[GraphArray, tuple[int, ...]], frame: Frame, name: str, ids: np.ndarray,
              label: bool) -> None:
        key = data[0].spec.name
        self._arrays[key] = data
        self._wanted.setdefault(key, []).append((frame, name, ids, label))

    def rows(self) -> dict[str, np.ndarray]:
        """(N,) ids of the rows that are wanted, by name of their array.  Not collective."""
        return {key: np.concatenate([ids for _, _, ids, _ in wanted]) for key, wanted in self._wanted.items()}

    def finish(self, course: Course | None = None) -> None:
        """Fetch all that is wanted.  Not collective.

        Args:
            course: The pass over batches, where copies of rows change from turn to turn; this makes one.
        """
        requests = []
        for key, wanted in self._wanted.items():
            array, _ = self._arrays[key]
            ids = wanted[0][2] if len(wanted) == 1 else np.concatenate([ids for _, _, ids, _ in wanted])
            requests.append(Request(array, ids, _pool.empty((ids.size, array.spec.width), array.spec.dtype)))
        if course is None:
            self._graph.transport.gather(requests).wait()
        else:
            course.gather(self._graph.transport, requests)
        for request, (key, wanted) in zip(requests, self._wanted.items(), strict=True):
            _, shape = self._arrays[key]
            begin = 0
            for frame, name, ids, label in wanted:
                rows = torch.from_numpy(request.out[begin:begin + ids.size].reshape(ids.size, *shape))
                frame[name] = rows.to(torch.int64) if label and not rows.dtype.is_floating_point else rows
                begin += ids.size
        self._wanted = {}


def put_ids(block: Block) -> None:
    """Put the ids and times of nodes, and ids of edges, if there are any, into a block's frames.  Not collective."""
    for ntype, ids in block.src_ids.items():
        tensor = torch.from_numpy(ids)
        block.src_frames.setdefault(ntype, {})[NID] = tensor
        block.dst_frames.setdefault(ntype, {})[NID] = tensor[:block.num_dst[ntype]]
        if block.src_times is not None:
            times = torch.from_numpy(block.src_times[ntype])
            block.src_frames[ntype][TIME], block.dst_frames[ntype][TIME] = times, times[:block.num_dst[ntype]]
    for etype, csc in block.csc.items():
        if csc.edge_ids is not None:
            block.edge_frames.setdefault(etype, {})[EID] = torch.from_numpy(csc.edge_ids)


def names_by_ntype(g: DistGraph, names: Names, ntypes: Iterable[str] | None = None) -> dict[str, list[str]]:
    """Names of node data by node type.  Not collective.

    Args:
        g: The graph.
        names: By type; or names without types, which are those of every type that has such data.
        ntypes: Types that names without types must all be of.

    Raises:
        UnknownName: There is no data of a name.
        ConfigError: Loaders put something else under that name.
    """
    if ntypes is not None and not isinstance(names, Mapping):
        names = dict.fromkeys(ntypes, names)
    if isinstance(names, Mapping):
        by_type: Mapping[Any, Sequence[str]] = names
        found = {g.schema.ntype(ntype): list(of_type) for ntype, of_type in by_type.items()}
        for ntype, of_type in found.items():
            for name in of_type:
                published_graph(g).node_data(ntype, name)
        return _fields(found)
    found = {t: [n for n in names if n in published_graph(g).data_of(t)] for t in g.schema.ntypes}
    for name in names:
        if not any(name in of_type for of_type in found.values()):
            raise UnknownName(f"no node type has data named {name!r}")
    return _fields(found)


def names_by_etype(g: DistGraph, names: Names, etypes: Iterable[EType]) -> dict[EType, list[str]]:
    """Names of edge data by edge type.  Not collective.

    Args:
        g: The graph.
        names: By type; or names without types, which are those of all ``etypes``.
        etypes: Types of the edges at hand.

    Raises:
        UnknownName: There is no data of a name.
        ConfigError: Loaders put something else under that name.
    """
    if not isinstance(names, Mapping):
        by_type: Mapping[Any, Sequence[str]] = dict.fromkeys(etypes, names)
    else:
        by_type = names
    found = {g.schema.etype(etype): list(of_type) for etype, of_type in by_type.items()}
    for etype, of_type in found.items():
        for name in of_type:
            published_graph(g).edge_data(etype, name)
    return _fields(found)


def names_on_edges(g: DistGraph, names: Names) -> dict[EType, list[str]]:
    """As `names_by_etype`, but that names without types are those of every type that has such data."""
    if isinstance(names, Mapping):
        return names_by_etype(g, names, ())
    graph, schema = published_graph(g), g.schema
    found = {e: [n for n in names if ArrayKey.edge_data(e, n).path in graph.infos] for e in schema.etypes}
    for name in names:
        if not any(name in of_type for of_type in found.values()):
            raise UnknownName(f"no edge type has data named {name!r}")
    return _fields({etype: of_type for etype, of_type in found.items() if of_type})


def _fields(names: dict[K, list[str]]) -> dict[K, list[str]]:
    """The names, if a frame may have fields of them beside the ids and times that loaders put there."""
    for name in (name for of_type in names.values() for name in of_type):
        if name in (NID, EID, TIME):
            raise ConfigError(f"data named {name!r} cannot come with batches, which hold ids or times under that name: "
                              "read it by g.ndata or g.edata, or give it another name in the source")
    return names


def tensors(ids: Mapping[Any, np.ndarray] | np.ndarray) -> Any:
    """Ids as tensors that share their memory."""
    if isinstance(ids, Mapping):
        return {kind: torch.from_numpy(of_kind) for kind, of_kind in ids.items()}
    return torch.from_numpy(ids)


def to_device(batch: Any, device: Any) -> Any:
    """A batch with its tensors on a device, by way of pinned memory where that is a GPU.

    What kernels read, the structure of blocks, stays where it is.
    """
    if isinstance(batch, torch.Tensor):
        return sent(batch, device)
    if isinstance(batch, Mapping):
        return {kind: to_device(part, device) for kind, part in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)([to_device(part, device) for part in batch])
    if isinstance(batch, Block):
        for frames in batch.src_frames, batch.dst_frames, batch.edge_frames:
            frames.update(to_device(frames, device))
    if isinstance(batch, PairGraph):
        batch.ends, batch.node_ids = to_device(batch.ends, device), to_device(batch.node_ids, device)
        batch.edge_frames.update(to_device(batch.edge_frames, device))
    return batch
