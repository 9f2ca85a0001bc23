"""Names and layout of the files of a partitioned graph.

    graph.h5        attributes schema, graph_id, source_id, num_parts
      /types/ntype (T,)   /types/etype (R, 3)
      /arrays (K, 3)                                          path in the part files, dtype, shape of a row
      /ranges/node/<ntype>   /ranges/edge/<src:rel:dst>       int64 (P + 1,)
      /ranges/out/<src:rel:dst>                               int64 (P + 1,), if out-edges are stored
      /map/<ntype>                                            int64 (N,) new id of each original id
      /split/<ntype | src:rel:dst>/{train,val,test}           int64 new ids, in order of original id
      /ids/<ntype>/values   /ids/<ntype>/bounds               ids that users gave, by original id, if they gave any
      /names/<ntype | src:rel:dst>/<labels>                   (C,) texts: names of classes, if they have any
      /tables                                                 JSON text: how data was made of tables, if it was
      /report                                                 JSON text
      /parts/{crc32,bytes}                                    (P,) of each whole part file
      /parts/part-00000.h5 ...                                external links to the part files
    part-00000.h5   attributes schema, graph_id, part
      /node/<ntype>/orig_id   /node/<ntype>/data/<name>
      /edge/<src:rel:dst>/indptr   .../indices   .../data/<name>
      /out/<src:rel:dst>/indptr   .../indices   .../edge_id   if asked for: the same edges by source

The out-edges of a node lie with the node, in order of the destination's original id, equal ones of original edge id; so
(edge type, original source, place in its row) is an edge's identity among out-edges, whatever the partitioning.
``indptr`` (n_src + 1,) int64 holds global places: the parts' lists lie end to end, as those of in-edges do.  At a
place, ``indices`` int32 | int64 is the destination and ``edge_id`` int64 the global id of the edge, that is, its place
among the in-edges.

Users' ids are numbers, ``values`` (N,) int64 | uint64, or texts in UTF-8, ``values`` (B,) uint8 end to end, and
``bounds`` (N + 1,) int64 where each begins.

Datasets are contiguous and uncompressed.  Each has an attribute ``crc32``: one CRC-32 for each block of as many
whole rows as fit 64 MiB, at least one.  graph.h5 begins with a line of text, in the 512 bytes that HDF5 leaves to
its users, that holds the CRC-32 of all bytes after these.
"""

import numpy as np

from mpignn.graph.array_key import EDGE, NODE, OUT, ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import EType, etype_key

SCHEMA = "mpignn/1"
GRAPH_FILE = "graph.h5"
BLOCK_BYTES = 64 << 20
HEAD_BYTES = 512
HEAD_START = f"mpignn graph: the CRC-32 of all bytes after these {HEAD_BYTES} is ".encode()
MEND = "rerun `mpignn partition`"


def part_file(part: int) -> str:
    """Name of a part file, beside graph.h5."""
    return f"part-{part:05d}.h5"


def node_path(ntype: str) -> str:
    """The group of a node type in a part file, and of its ranges in graph.h5."""
    return f"{NODE}/{ntype}"


def edge_path(etype: EType) -> str:
    """The group of an edge type in a part file, and of its ranges in graph.h5."""
    return f"{EDGE}/{etype_key(etype)}"


def out_path(etype: EType) -> str:
    """The group of an edge type's edges by source in a part file, and of their ranges in graph.h5."""
    return f"{OUT}/{etype_key(etype)}"


def axis(key: ArrayKey, book: RangePartitionBook) -> tuple[np.ndarray, int]:
    """The ranges that cut the rows of an array, and how many rows a part file has beyond its range."""
    if key.kind == NODE:
        return book.node_ranges[key.owner], 0
    if key.what == "indptr":
        return book.node_ranges[key.etype[0 if key.kind == OUT else 2]], 1
    return (book.out_ranges if key.kind == OUT else book.edge_ranges)[key.etype], 0


def index_dtype(num_nodes: int) -> np.dtype:
    """What type-wise ids of the other ends of edges are stored as."""
    return np.dtype(np.int32 if num_nodes <= 1 << 31 else np.int64)


def head_line(crc: int) -> bytes:
    """The first `HEAD_BYTES` bytes of graph.h5."""
    return HEAD_START + f"{crc:08x}\n".encode().ljust(HEAD_BYTES - len(HEAD_START))
