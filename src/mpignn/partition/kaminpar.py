"""Cutting by the library KaMinPar, which reads a graph from a file.

Deep multilevel partitioning: Gottesbueren, Heuer, Sanders, Schulz and Seemaier 2021; with a graph that is compressed:
Salwasser, Seemaier, Gottesbueren and Sanders 2024 (TeraPart).

Shapes: N nodes of all types together, E edges of the symmetric graph, P partitions.
"""

import tempfile
from typing import BinaryIO

import numpy as np

from mpignn.child import call_apart
from mpignn.errors import ResourceError
from mpignn.graph.types import GraphData
from mpignn.partition.union import union_graph

_PRESET = "terapart"
_THREADS = 1        # with more, KaMinPar cuts the same graph differently each time
_IMBALANCE = 0.03       # of numbers of nodes

# What the first word of a ParHIP file says, bit by bit.
_NO_EDGE_WEIGHTS, _NO_NODE_WEIGHTS, _NARROW_NODES = 1, 2, 8
_HEADER_BYTES, _WORD = 24, np.dtype("<u8")
_CHUNK = 1 << 20        # of numbers in hand at a time


def cut_by_kaminpar(data: GraphData, num_parts: int, seed: int) -> np.ndarray:
    """Few edges between partitions, none with more than 3 % above the mean number of nodes.  Not collective.

    Args:
        data: A graph with edges.
        num_parts: P, more than 1 and fewer than nodes.
        seed: Less than 2**31.

    Returns:
        (N,) int64 partitions.

    Raises:
        ResourceError: Not enough memory, or room for the file.
    """
    try:
        with tempfile.TemporaryFile() as file:      # has no name, so nothing of it is left, whatever ends the process
            _write_parhip(file, *union_graph(data))     # which is in no memory while KaMinPar runs
            file.flush()
            return call_apart(lambda: _cut(f"/proc/self/fd/{file.fileno()}", num_parts, seed),
                              sum(data.num_nodes.values()))
    except OSError as error:        # of the file: `call_apart` raises none
        raise ResourceError("KaMinPar reads the graph from a file in the folder for temporary files, which cannot be "
                            f"written: {error.strerror}; set TMPDIR to a folder with room, or use --method metis"
                            ) from error
    except (RuntimeError, MemoryError) as error:
        raise ResourceError(f"KaMinPar failed ({error}): use --method random or a machine with more memory") from error


def _write_parhip(file: BinaryIO, indptr: np.ndarray, indices: np.ndarray) -> None:
    """Write a graph in the binary format of ParHIP: a header, the place in the file of each row, neighbors.

    Args:
        indptr: (N + 1,) int64.
        indices: (E,) int32 or int64.
    """
    width, first = indices.dtype.itemsize, _HEADER_BYTES + _WORD.itemsize * indptr.size
    version = _NO_EDGE_WEIGHTS | _NO_NODE_WEIGHTS | (_NARROW_NODES if width == 4 else 0)
    file.write(np.array([version, indptr.size - 1, indices.size], _WORD).tobytes())
    for begin in range(0, indptr.size, _CHUNK):
        file.write((indptr[begin:begin + _CHUNK] * width + first).astype(_WORD).data)
    for begin in range(0, indices.size, _CHUNK):
        file.write(np.ascontiguousarray(indices[begin:begin + _CHUNK], f"<i{width}").data)


def _cut(path: str, num_parts: int, seed: int) -> np.ndarray:
    import kaminpar  # here, in the child: it starts threads, which no process keeps that forks

    graph = kaminpar.load_graph(path, kaminpar.GraphFileFormat.PARHIP, compress=True)
    kaminpar.reseed(seed)
    library = kaminpar.KaMinPar(_THREADS, kaminpar.context_by_name(_PRESET))
    return np.array(library.compute_partition(graph, num_parts, _IMBALANCE), np.int64)
