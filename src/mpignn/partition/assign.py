"""Which partition each node goes to.

Shapes: N nodes of all types together, N_t of one type, E edges of the symmetric graph, P partitions.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mpignn.arguments import whole_number
from mpignn.errors import ConfigError, DataError
from mpignn.files import read_file
from mpignn.graph.likeness import one_of
from mpignn.graph.types import GraphData
from mpignn.partition.balance import balanced, check_balance
from mpignn.partition.methods import METHODS
from mpignn.partition.neighbors import Neighbors
from mpignn.partition.union import by_ntype, union_graph

_FEW_PARTS = 1024       # which may be more than nodes
_DIGITS = 18            # of a number that int64 holds
_LINE_BYTES, _FILE_BYTES = 64, 1 << 16      # more has no file of partitions, for each node and beside

Partitioner = Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]


def assign(data: GraphData, num_parts: int, method: str | Path | Partitioner = "metis",
           seed: int = 0, balance: Sequence[str] = (), neighbors: Callable[[], Neighbors] | None = None
           ) -> dict[str, np.ndarray]:
    """Give each node a partition.  Not collective, but with ``neighbors``; the result depends on the others alone.

    Args:
        num_parts: P.
        method: A name, one of `mpignn.partition.methods.METHODS`; ``metis`` cuts the graph of all types, made
            symmetric.  A path: a file with one partition per line, the types one after the other.  A function
            ``(indptr, indices, num_parts, weights) -> (N,) partitions``, called with the symmetric graph of all types
            without self loops, int32 or int64, and a weight of 1 for each node.
        seed: Seed of a method with a name.
        balance: What no partition shall have more than 5 % above the mean of: some of
            `mpignn.partition.balance.BALANCES`, or these with commas; for methods that say so.
        neighbors: Finds the neighbors of the nodes of this rank, for a method that all ranks of a group do together,
            see `is_together`; then collective over the group.  None: this process alone cuts the graph.

    Returns:
        (N_t,) integers in ``0:num_parts`` for each node type.

    Raises:
        ConfigError: An unknown method, one whose library is not installed, fewer than one partition or far more than
            nodes, a seed that is negative, too large or without effect, or a balance that is unknown or that the
            method does not keep.
        DataError: A file or a function that does not give one partition for each node.
        ResourceError: A library ran out of memory.
    """
    num_parts, seed, balance = check_choice(num_parts, method, seed, balance)
    named, sizes = None if callable(method) else METHODS.get(str(method)), data.num_nodes
    if num_parts > max(_FEW_PARTS, sum(sizes.values())):
        raise ConfigError(f"parts is {num_parts}, but the graph has {sum(sizes.values())} nodes: most parts would be "
                          "empty files; choose at most one for each node")
    if callable(method):
        return _split(method(*union_graph(data), num_parts, np.ones(sum(sizes.values()), np.int64)), data, num_parts,
                      getattr(method, "__name__", "the partitioner"))
    if named is None:
        return _split(_read_lines(method, sum(sizes.values())), data, num_parts, str(method))
    if num_parts == 1:
        return {t: np.zeros(n, np.int64) for t, n in sizes.items()}
    if neighbors is not None and named.together is not None:
        found = named.together(data, num_parts, seed, neighbors)
    else:
        found = named.assign(data, num_parts, seed)
    return checked_assignment(sizes, balanced(data, found, num_parts, balance) if balance else found, num_parts)


def check_choice(num_parts: int, method: str | Path | Partitioner, seed: int, balance: Sequence[str]
                 ) -> tuple[int, int, tuple[str, ...]]:
    """How a graph shall be cut, so far as that can be told without the graph.  Not collective.

    Args and errors: As for `assign`.

    Returns:
        P, the seed, and what shall be balanced.
    """
    num_parts, seed = whole_number(num_parts, "parts", 1), whole_number(seed, "seed")
    named = None if callable(method) else METHODS.get(str(method))
    if named is None and not callable(method) and not Path(method).is_file():
        raise ConfigError(f"method {str(method)!r} is neither a file nor {one_of(str(method), METHODS)}")
    balance = check_balance(balance)
    if balance and (named is None or not named.balances):
        able = ", ".join(other.name for other in METHODS.values() if other.balances)
        raise ConfigError("balance: " + ("partitions that are given" if named is None else f"those of {named.name}")
                          + f" stay as they are: leave it out, or choose one of the methods {able}")
    if seed and (named is None or named.seeds_below == 1):
        raise ConfigError(f"seed has no effect: {'partitions that are given' if named is None else named.name} needs "
                          "none: leave it out")
    if named is not None and seed >= named.seeds_below:
        raise ConfigError(f"seed is {seed}; {named.name.upper()} takes those below {named.seeds_below}")
    if named is not None and named.needs is not None and num_parts > 1 and find_spec(named.needs) is None:
        raise ConfigError(f"--method {named.name}: the package {named.needs} is not installed: pip install "
                          f"{named.needs}, or --method metis")
    return num_parts, seed, balance


def is_together(method: str | Path | Partitioner, balance: Sequence[str] = ()) -> bool:
    """Whether the ranks of a group can do a method together; if partitions are to be balanced, one process does it."""
    named = None if callable(method) else METHODS.get(str(method))
    return named is not None and named.together is not None and not balance


def takes_long(method: str | Path | Partitioner, num_parts: int) -> bool:
    """Whether a method looks at the edges of a graph, so that what it finds is worth to be kept."""
    return num_parts > 1 and not callable(method) and str(method) in METHODS and METHODS[str(method)].balances


def kept(data: GraphData) -> tuple[dict[str, np.ndarray], int]:
    """The partitions that a graph has, as `assign` returns them, and how many there are.  Not collective.

    Raises:
        ConfigError: It was not partitioned.
    """
    if data.partitioning is None:
        raise ConfigError("parts: say into how many the graph shall be cut, as in --parts 4; only of a graph that is "
                          "partitioned already they are kept")
    return {t: parts.astype(np.int64) for t, parts in data.partitioning.parts.items()}, data.partitioning.num_parts


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


def _read_lines(path: str | Path, count: int) -> np.ndarray:
    """(count,) partitions, if the file is one of these: the caller looks at their number."""
    try:
        lines = read_file(path, _FILE_BYTES + count * _LINE_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected the number of a partition in each line, got no text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip().isdecimal() or len(line.strip()) > _DIGITS:
            raise DataError(f"{path}:{number}: expected the number of a partition, got {line[:40]!r}")
    return np.array(lines, np.int64)


def _split(parts: ArrayLike, data: GraphData, num_parts: int, what: str) -> dict[str, np.ndarray]:
    return by_ntype(data, _checked(parts, sum(data.num_nodes.values()), num_parts, what))


def _checked(parts: ArrayLike, count: int, num_parts: int, what: str) -> np.ndarray:
    parts = np.asarray(parts)
    if parts.shape != (count,) or (count and parts.dtype.kind not in "iu"):
        raise DataError(f"{what}: expected one partition for each of {count} nodes, got {parts.dtype} {parts.shape}")
    outside = np.flatnonzero((parts < 0) | (parts >= num_parts))
    if outside.size:
        raise DataError(f"{what}: node {outside[0]} is given partition {parts[outside[0]]}, not in 0..{num_parts - 1}")
    return parts.astype(np.int64)
