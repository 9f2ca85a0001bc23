"""Which trainer owns which rows of a tensor that trainers write.

Shapes: N rows, S servers, T trainers.
"""

import numpy as np

from mpignn.errors import DataError, UnknownName
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import EType, etype_key
from mpignn.roles import Topology
from mpignn.store.cut import server_rows

EVEN = "even"
"""The policy of a tensor of any length: equal shares in order."""
EVEN_BESIDE_TYPE = ":even"
"""The same in a graph that has a node type named `EVEN`, where that word means the type; no name holds a colon."""


def resolve_policy(book: RangePartitionBook, num_rows: int, policy: str | EType | None) -> str:
    """The policy meant: a node type, the key of an edge type, or `EVEN`.  Not collective: the same on all ranks.

    Args:
        book: Partition book of the graph.
        num_rows: N.
        policy: Name of a node type or edge type, or `EVEN`, which a node type of that name goes before: then
            `EVEN_BESIDE_TYPE` is the policy; None: the only type with N nodes or edges.

    Raises:
        DataError: N is not the size of the type, or of no type or several where none is named.
        UnknownName: No such type.
    """
    even = EVEN_BESIDE_TYPE if EVEN in book.ntypes else EVEN
    if policy in (even, EVEN_BESIDE_TYPE):
        return even
    if policy is None:
        fitting = [t for t in book.ntypes if book.num_nodes(t) == num_rows]
        fitting += [etype_key(e) for e in book.canonical_etypes if book.num_edges(e) == num_rows]
        if len(fitting) == 1:
            return fitting[0]
        raise DataError(f"{num_rows} rows are the size of {' and '.join(fitting) or 'no node or edge type'}: "
                        f"give part_policy, {even!r} for a tensor of any length")
    key = _key(book, policy)
    size = book.num_nodes(key) if key in book.ntypes else book.num_edges(key)
    if size != num_rows:
        raise DataError(f"part_policy {key} has {size} rows, not {num_rows}; {even!r} takes any length")
    return key


def is_even(book: RangePartitionBook, policy: str) -> bool:
    """Whether a policy, as `resolve_policy` returns it, is that of rows which stand for no node or edge."""
    return policy in (EVEN, EVEN_BESIDE_TYPE) and policy not in book.ntypes


def trainer_rows(book: RangePartitionBook, topology: Topology, policy: str, num_rows: int) -> np.ndarray:
    """Where the rows are cut for the trainers.  Not collective: the same on all ranks.

    Rows of a type stay on the node whose servers own that type's rows (for edges to rounding, if servers own parts of
    partitions), in equal shares for its trainers.  Where some node has only servers or only trainers, all
    trainers get equal shares instead.

    Args:
        book: Partition book of the graph.
        topology: Topology of the job.
        policy: As `resolve_policy` returns it.
        num_rows: N.

    Returns:
        (T + 1,) int64 first row of each trainer.
    """
    nodes = topology.nodes
    servers = [topology.servers_of(node) for node in nodes]
    trainers = [topology.trainers_of(node) for node in nodes]
    if is_even(book, policy) or any(first == last for first, last in servers + trainers):
        return _shares(0, num_rows, len(topology.trainer_ranks))
    ranges = book.node_ranges[policy] if policy in book.ntypes else book.edge_ranges[book.schema.etype(policy)]
    cuts = server_rows(ranges, len(topology.server_ranks))
    pieces = [_shares(cuts[s[0]], cuts[s[1]], t[1] - t[0])[1:] for s, t in zip(servers, trainers, strict=True)]
    return np.concatenate([np.zeros(1, np.int64), *pieces])


def _key(book: RangePartitionBook, policy: str | EType) -> str:
    if isinstance(policy, str) and policy in book.ntypes:
        return policy
    try:
        return etype_key(book.schema.etype(policy))
    except UnknownName as error:
        raise UnknownName(f"part_policy {policy!r} is neither {EVEN!r} nor a node type ({', '.join(book.ntypes)}) "
                          f"nor an edge type of the graph ({', '.join(map(etype_key, book.canonical_etypes))})"
                          ) from error


def _shares(lo: int, hi: int, count: int) -> np.ndarray:
    return lo + (hi - lo) * np.arange(count + 1, dtype=np.int64) // count
