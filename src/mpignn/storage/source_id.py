"""A hash of a graph in original ids, which is the same however it is cut, and checksums of its arrays.

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


class Checksums:
    """CRC-32 of all bytes of arrays; each array is passed over once, however often it is asked for.

    Attributes:
        group: Those who share the work.
    """

    def __init__(self, group: Group | None = None) -> None:
        """Not collective.

        Args:
            group: None: this process alone.
        """
        self.group = group or LocalGroup()
        # With the array, so that no other one gets its number while this is known.
        self._known: dict[tuple[int, bool], tuple[LargeArray, int]] = {}

    def of(self, array: LargeArray) -> int:
        """That of an array of N rows which all ranks have.  Collective over the group."""
        return self._of(array, self.group)

    def of_own(self, array: LargeArray) -> int:
        """That of an array of N rows which this rank has.  Not collective."""
        return self._of(array, LocalGroup())

    def _of(self, array: LargeArray, group: Group) -> int:
        key = id(array), group.size > 1
        if key not in self._known:
            self._known[key] = array, _array_crc(array, group)
        return self._known[key][1]


def source_id(data: GraphData, checksums: Checksums | None = None) -> str:
    """The hash of a graph.  Collective over the group of ``checksums``, if there are any.

    Args:
        data: The graph; what users call things is needed on the first rank only.
        checksums: Those that are known of its arrays, and who share the work.
    """
    if data.partitioning is not None:
        return data.partitioning.source_id
    checksums = checksums or Checksums()
    arrays: dict[str, LargeArray] = {
        ArrayKey.edge(e, what).path: array for e, csc in data.csc.items()
        for what, array in (("indptr", csc.indptr), ("indices", csc.indices), ("edge_ids", csc.edge_ids))
        if array is not None}
    for base, named in (*((node_path(t), named) for t, named in data.node_data.items()),
                        *((edge_path(e), named) for e, named in data.edge_data.items()),
                        *((f"split/{key}", named) for key, named in data.splits.items())):
        arrays |= {f"{base}/{name}": array for name, array in named.items()}
    crcs = {name: checksums.of(array) for name, array in sorted(arrays.items())}

    def digest() -> str:
        names = dict(named_arrays(data))
        found = crcs | {name: checksums.of_own(array) for name, array in names.items()}
        made = hashlib.blake2b(repr((data.schema, dict(data.num_nodes))).encode(), digest_size=16)
        for name, array in sorted((arrays | names).items()):
            made.update(f"{name} {array.dtype.str} {array.shape} {found[name]}\n".encode())
        return made.hexdigest()

    return checksums.group.by_first(digest)


def _array_crc(array: LargeArray, group: Group) -> int:
    """Collective over the group."""
    step = max(1, _CHUNK_BYTES * array.shape[0] // max(1, array.nbytes))
    crc, size, (first, last) = 0, 0, group.share(array.shape[0])
    for lo in range(first, last, step):
        rows = np.ascontiguousarray(array[lo:min(last, lo + step)])
        crc, size = crc32(rows.reshape(-1).view(np.uint8), crc), size + rows.nbytes
    whole = 0
    for of_rank, size_of_rank in group.allgather((crc, size)):
        whole = crc32_combine(whole, of_rank, size_of_rank)
    return whole
