"""The server role: read one's rows of the graph into the node's segment, then wait inside MPI.

A server never imports torch.
"""

import logging
import time
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.log import phase
from mpignn.storage.read import GraphFile
from mpignn.transport.api import Transport

log = logging.getLogger(__name__)


def load(transport: Transport, path: Path, server: int) -> None:
    """Read the rows that a server owns straight into its shards.  Not collective.

    Args:
        transport: Not yet published.
        path: The partitioned graph.
        server: Number of this server.

    Raises:
        DataError: A file is missing, damaged, of another graph, or holds ids outside the graph.
    """
    started, size = time.perf_counter(), 0
    with phase("load graph"), GraphFile(path) as file:
        for name, window in transport.windows.items():
            lo, hi = window.spec.bounds[server:server + 2]
            shard = transport.shard(name)
            file.read(name, lo, hi, shard)
            _check_ids(file, name, shard)
            size += shard.nbytes
    seconds = time.perf_counter() - started
    log.info("loaded and verified %.1f MB in %.2f s: %.2f GB/s", size / 1e6, seconds, size / seconds / 1e9)


def _check_ids(file: GraphFile, name: str, shard: np.ndarray) -> None:
    """A sampler follows these numbers without looking: they must lie inside the graph."""
    kind, owner, what = name.split("/", 2)
    if kind != "edge" or what not in ("indptr", "indices") or shard.size == 0:
        return
    etype = file.schema.etype(owner)
    if what == "indices":
        limit = file.book.num_nodes(etype[0])
        if shard.min() < 0 or shard.max() >= limit:
            at = int(np.argmax((shard < 0) | (shard >= limit)))
            raise DataError(f"{file.path}: {name} holds node {shard[at]}, but the graph has {limit} nodes of type "
                            f"{etype[0]}: rerun `mpignn partition`")
    elif (np.diff(shard) < 0).any() or shard[0] < 0 or shard[-1] > file.book.num_edges(etype):
        raise DataError(f"{file.path}: {name} does not ascend from 0 to {file.book.num_edges(etype)}: "
                        "rerun `mpignn partition`")
