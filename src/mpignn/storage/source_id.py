"""A hash of a graph in original ids, which is the same however it is cut.

Shapes: N rows of an array.
"""

import hashlib

import numpy as np
from zlib_ng.zlib_ng import crc32, crc32_combine

from mpignn.comm.group import Group, LocalGroup
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.types import GraphData
from mpignn.large.arrays import LargeArray
from mpignn.storage.schema import edge_path, node_path
from mpignn.storage.user_names import named_arrays

_CHUNK_BYTES = 1 << 24      # of rows in hand


def source_id(data: GraphData, group: Group | None = None) -> str:
    """The hash of a graph.  Collective over the group, if there is one.

    Args:
        data: The graph; what users call things is needed on the first rank only.
        group: Those who share the work.
    """
    if data.partitioning is not None:
        return data.partitioning.source_id
    group = group or LocalGroup()
    arrays: dict[str, LargeArray] = {
        ArrayKey.edge(e, what).path: array for e, csc in data.csc.items()
        for what, array in (("indptr", csc.indptr), ("indices", csc.indices), ("edge_ids", csc.edge_ids))
        if array is not None}
    for base, named in (*((node_path(t), named) for t, named in data.node_data.items()),
                        *((edge_path(e), named) for e, named in data.edge_data.items()),
                        *((f"split/{key}", named) for key, named in data.splits.items())):
        arrays |= {f"{base}/{name}": array for name, array in named.items()}
    crcs = {name: array_crc(array, group) for name, array in sorted(arrays.items())}

    def digest() -> str:
        names = dict(named_arrays(data))
        found = crcs | {name: array_crc(array) for name, array in names.items()}
        made = hashlib.blake2b(repr((data.schema, dict(data.num_nodes))).encode(), digest_size=16)
        for name, array in sorted((arrays | names).items()):
            made.update(f"{name} {array.dtype.str} {array.shape} {found[name]}\n".encode())
        return made.hexdigest()

    return group.by_first(digest)


def array_crc(array: LargeArray, group: Group | None = None) -> int:
    """The CRC-32 of all bytes of an array of N rows.  Collective over the group, if there is one."""
    group = group or LocalGroup()
    step = max(1, _CHUNK_BYTES * array.shape[0] // max(1, array.nbytes))
    crc, size, (first, last) = 0, 0, group.share(array.shape[0])
    for lo in range(first, last, step):
        rows = np.ascontiguousarray(array[lo:min(last, lo + step)])
        crc, size = crc32(rows.reshape(-1).view(np.uint8), crc), size + rows.nbytes
    whole = 0
    for of_rank, size_of_rank in group.allgather((crc, size)):
        whole = crc32_combine(whole, of_rank, size_of_rank)
    return whole
