"""Which partition each node goes to.

Shapes: N nodes of all types together, N_t of one type, E edges of the symmetric graph, P partitions.
"""

import difflib
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mpignn.arguments import whole_number
from mpignn.child import call_apart
from mpignn.errors import ConfigError, DataError, ResourceError
from mpignn.files import read_file
from mpignn.graph.types import GraphData

METHODS = ("metis", "random", "range")
_FEW_PARTS = 1024       # which may be more than nodes
_SEEDS = 1 << 31        # of METIS
_DIGITS = 18            # of a number that int64 holds
_LINE_BYTES, _FILE_BYTES = 64, 1 << 16      # more has no file of partitions, for each node and beside

Partitioner = Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]


def assign(data: GraphData, num_parts: int, method: str | Path | Partitioner = "metis",
           seed: int = 0) -> dict[str, np.ndarray]:
    """Give each node a partition.  Not collective; the result depends on the arguments alone.

    Args:
        num_parts: P.
        method: ``metis``: few edges between partitions, equal numbers of nodes, by the library METIS on the graph of
            all types, made symmetric.  ``random``: each type dealt evenly.  ``range``: equal stretches of the ids of
            each type.  A path: a file with one partition per line, the types one after the other.  A function
            ``(indptr, indices, num_parts, weights) -> (N,) partitions``, called with the symmetric graph of all types
            without self loops, int32 or int64, and a weight of 1 for each node.
        seed: Seed of ``metis`` and ``random``.

    Returns:
        (N_t,) integers in ``0:num_parts`` for each node type.

    Raises:
        ConfigError: An unknown method, fewer than one partition or far more than nodes, or a seed that is negative or
            too large.
        DataError: A file or a function that does not give one partition for each node.
        ResourceError: METIS ran out of memory.
    """
    num_parts, seed = whole_number(num_parts, "parts", 1), whole_number(seed, "seed")
    sizes = data.num_nodes
    if num_parts > max(_FEW_PARTS, sum(sizes.values())):
        raise ConfigError(f"parts is {num_parts}, but the graph has {sum(sizes.values())} nodes: most parts would be "
                          "empty files; choose at most one for each node")
    if seed >= _SEEDS and method == "metis":
        raise ConfigError(f"seed is {seed}; METIS takes those below {_SEEDS}")
    if callable(method):
        return _split(method(*union_graph(data), num_parts, np.ones(sum(sizes.values()), np.int64)), data, num_parts,
                      getattr(method, "__name__", "the partitioner"))
    if str(method) not in METHODS:
        return _split(_read_lines(method, sum(sizes.values())), data, num_parts, str(method))
    if num_parts == 1:
        return {t: np.zeros(n, np.int64) for t, n in sizes.items()}
    if method == "random":
        return {t: np.random.default_rng([seed, i]).permutation(_even(n, num_parts))
                for i, (t, n) in enumerate(sizes.items())}
    if method == "metis" and num_parts < sum(sizes.values()) and any(c.num_edges for c in data.csc.values()):
        return _split(_metis(*union_graph(data), num_parts, seed), data, num_parts, "METIS")
    return {t: _even(n, num_parts) for t, n in sizes.items()}


def checked_assignment(num_nodes: Mapping[str, int], assignment: Mapping[str, np.ndarray],
                       num_parts: int) -> dict[str, np.ndarray]:
    """An assignment made elsewhere, as `assign` returns it.

    Raises:
        ConfigError: Fewer than one partition.
        DataError: Not one partition in ``0:num_parts`` for each node.
    """
    num_parts = whole_number(num_parts, "parts", 1)
    return {t: _checked(assignment.get(t, ()), n, num_parts, f"the assignment of {t!r} nodes")
            for t, n in num_nodes.items()}


def union_graph(data: GraphData) -> tuple[np.ndarray, np.ndarray]:
    """The nodes and edges of all types as one symmetric graph without self loops or parallel edges.

    Returns:
        (N + 1,) indptr and (E,) indices; the types follow each other in the order of the schema.
    """
    from scipy import sparse  # here, for servers read this package's neighbors and need no SciPy

    first = dict(zip(data.num_nodes, itertools.accumulate(data.num_nodes.values(), initial=0), strict=False))
    total = sum(data.num_nodes.values())
    union = sparse.csr_matrix((total, total), dtype=bool)
    for (src, _, dst), csc in data.csc.items():
        indptr = np.zeros(total + 1, np.int64)
        lo = first[dst]
        indptr[lo:lo + csc.num_dst + 1] = csc.indptr
        indptr[lo + csc.num_dst + 1:] = csc.num_edges
        indices = np.asarray(csc.indices, np.int32 if total < 1 << 31 else np.int64)
        union = union + sparse.csr_matrix((np.ones(csc.num_edges, bool), indices + first[src], indptr),
                                          shape=(total, total))
    union = union + union.T.tocsr()
    union.sum_duplicates()
    rows = np.repeat(np.arange(total, dtype=union.indices.dtype), np.diff(union.indptr))
    keep = rows != union.indices
    indptr = np.zeros(total + 1, np.int64)
    np.cumsum(np.bincount(rows[keep], minlength=total), out=indptr[1:])
    return indptr, union.indices[keep]


def _metis(indptr: np.ndarray, indices: np.ndarray, num_parts: int, seed: int) -> np.ndarray:
    import pymetis  # here, for a cluster's node that only reads partitions need not have it

    dtype = np.dtype(pymetis.zero_copy_dtype())     # of METIS's own indices; any other array would be copied
    if indices.size > np.iinfo(dtype).max:
        raise ResourceError(f"METIS here counts edges in {dtype} and the graph has {indices.size}: "
                            "use --method random or a file of partitions")
    adjacency = pymetis.CSRAdjacency(indptr.astype(dtype), indices.astype(dtype, copy=False))

    def part() -> np.ndarray:
        return np.asarray(pymetis.part_graph(num_parts, adjacency, options=pymetis.Options(seed=seed))[1])

    try:
        return call_apart(part, indptr.size - 1)
    except (RuntimeError, MemoryError) as error:
        raise ResourceError(f"METIS failed ({error}): use --method random or a machine with more memory") from error


def _even(count: int, num_parts: int) -> np.ndarray:
    """(count,) partitions in ascending order whose sizes differ by at most one."""
    return np.arange(count, dtype=np.int64) * num_parts // max(count, 1)


def _read_lines(path: str | Path, count: int) -> np.ndarray:
    """(count,) partitions, if the file is one of these: the caller looks at their number."""
    if not Path(path).is_file():
        near = difflib.get_close_matches(str(path), METHODS, 1)
        raise ConfigError(f"method {str(path)!r} is neither a file nor one of: {', '.join(METHODS)}"
                          + (f"; did you mean {near[0]!r}?" if near else ""))
    try:
        lines = read_file(path, _FILE_BYTES + count * _LINE_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected the number of a partition in each line, got no text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip().isdecimal() or len(line.strip()) > _DIGITS:
            raise DataError(f"{path}:{number}: expected the number of a partition, got {line[:40]!r}")
    return np.array(lines, np.int64)


def _split(parts: ArrayLike, data: GraphData, num_parts: int, what: str) -> dict[str, np.ndarray]:
    parts = _checked(parts, sum(data.num_nodes.values()), num_parts, what)
    return dict(zip(data.num_nodes, np.split(parts, np.cumsum(list(data.num_nodes.values()))[:-1]), strict=True))


def _checked(parts: ArrayLike, count: int, num_parts: int, what: str) -> np.ndarray:
    parts = np.asarray(parts)
    if parts.shape != (count,) or (count and parts.dtype.kind not in "iu"):
        raise DataError(f"{what}: expected one partition for each of {count} nodes, got {parts.dtype} {parts.shape}")
    outside = np.flatnonzero((parts < 0) | (parts >= num_parts))
    if outside.size:
        raise DataError(f"{what}: node {outside[0]} is given partition {parts[outside[0]]}, not in 0..{num_parts - 1}")
    return parts.astype(np.int64)
