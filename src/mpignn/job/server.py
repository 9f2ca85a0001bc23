"""The server role: read one's rows of the graph into the node's segment, then wait inside MPI.

A server never imports torch.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mpignn import stop
from mpignn.comm.transport import Transport
from mpignn.errors import DataError, Stopped
from mpignn.graph.array_key import NODE, OUT, ArrayKey
from mpignn.progress import BYTES, counted
from mpignn.storage.arrays import Store
from mpignn.storage.read import GraphFile

log = logging.getLogger(__name__)


def load(transport: Transport, path: Path, server: int, threads: int = 1, staged: Mapping[int, Path] | None = None
         ) -> None:
    """Read the rows that a server owns straight into its shards.  Not collective.

    Args:
        transport: Not yet published.
        path: The partitioned graph.
        server: Number of this server.
        threads: That read at a time: most of the time goes into making pages for what is read, and into checksums.
        staged: Copies of part files to read instead, by number.

    Raises:
        DataError: A file is missing, damaged, of another graph, or holds ids outside the graph.
        Stopped: This rank was asked to stop meanwhile.
    """
    started = time.perf_counter()
    shards = {name: transport.shard(name) for name in transport.arrays}
    size = sum(shard.nbytes for shard in shards.values())
    with counted("load graph", size, BYTES) as advance, GraphFile(path, staged=staged) as file:
        def store(out: np.ndarray, piece: np.ndarray) -> None:
            """Store elements; reading stops here if it shall."""
            if stop.wish() is not None:
                raise Stopped("asked to stop")
            transport.store(out, piece)
            advance(piece.nbytes)

        stores: dict[str, _Extremes | Store] = {
            name: _Extremes(shard.dtype, store) if ArrayKey.parse(name).what in ("indices", "edge_id") else store
            for name, shard in shards.items()}
        file.read_many([(name, array.spec.bounds[server], array.spec.bounds[server + 1], shards[name], stores[name])
                        for name, array in transport.arrays.items()], threads)
        for name, shard in shards.items():
            _check_ids(file, name, shard, stores[name])
    seconds = time.perf_counter() - started
    log.info("loaded and verified %.1f MB in %.2f s: %.2f GB/s", size / 1e6, seconds, size / seconds / 1e9)


class _Extremes:
    """Stores elements, and keeps the smallest and the largest, seen while they are in the core's cache anyway."""

    def __init__(self, dtype: np.dtype, store: Store) -> None:
        self._dtype, self._store = dtype, store
        self.found: list[int] = []

    def __call__(self, out: np.ndarray, piece: np.ndarray) -> None:
        elements = piece.view(self._dtype)
        self.found += [int(elements.min()), int(elements.max())]
        self._store(out, piece)


def _check_ids(file: GraphFile, name: str, shard: np.ndarray, store: _Extremes | Store) -> None:
    """A sampler follows these numbers without looking: they must lie inside the graph."""
    key = ArrayKey.parse(name)
    if key.kind == NODE or key.what not in ("indptr", "indices", "edge_id") or shard.size == 0:
        return
    etype = key.etype
    if isinstance(store, _Extremes):        # indices or edge_id
        end = etype[2 if key.kind == OUT else 0]
        limit = file.book.num_edges(etype) if key.what == "edge_id" else file.book.num_nodes(end)
        if min(store.found) < 0 or max(store.found) >= limit:
            at = int(np.argmax((shard < 0) | (shard >= limit)))
            held = f"edge {shard[at]}" if key.what == "edge_id" else f"node {shard[at]}"
            many = f"{limit} such edges" if key.what == "edge_id" else f"{limit} nodes of type {end}"
            raise DataError(f"{file.path}: {name} holds {held}, but the graph has {many}: rerun `mpignn partition`")
    elif (shard[1:] < shard[:-1]).any() or shard[0] < 0 or shard[-1] > file.book.num_edges(etype):
        raise DataError(f"{file.path}: {name} does not ascend from 0 to {file.book.num_edges(etype)}: "
                        "rerun `mpignn partition`")
