"""What the data sets share: edges into CSC, both directions, splits that do not depend on a library's generator.

Shapes: N nodes, E edges.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.graph.csc import CSC


def sorted_csc(src: np.ndarray, dst: np.ndarray, num_src: int, num_dst: int) -> CSC:
    """In-edges by destination, each row in ascending order of its sources; places are edge ids.

    Args:
        src, dst: (E,) ends of distinct edges, in any order.
    """
    return _csc(np.sort(dst.astype(np.int64) * num_src + src), num_src, num_dst)


def symmetric_csc(src: np.ndarray, dst: np.ndarray, num_nodes: int) -> CSC:
    """Both directions of each edge, no self loops, no duplicates; ordered as in `sorted_csc`."""
    src, dst = src.astype(np.int64), dst.astype(np.int64)
    keep = src != dst
    src, dst = src[keep], dst[keep]
    keys = np.concatenate([dst * num_nodes + src, src * num_nodes + dst])
    keys.sort()                                     # ten times faster than the hashing of np.unique
    first = np.ones(keys.size, bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return _csc(keys[first], num_nodes, num_nodes)


def destinations(csc: CSC) -> np.ndarray:
    """(E,) int64 destination of each place."""
    return np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))


def hash_order(num_nodes: int) -> np.ndarray:
    """(N,) all node ids in a fixed random order: that of a hash of the id.

    The hash is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
    """
    x = np.arange(1, num_nodes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")


def random_split(num_nodes: int, train: float = 0.1, val: float = 0.1) -> dict[str, np.ndarray]:
    """Cut the nodes into train, val and test in `hash_order`; the shares are exact."""
    num_train, num_val = int(num_nodes * train), int(num_nodes * val)
    return sorted_splits(np.split(hash_order(num_nodes), [num_train, num_train + num_val]))


def sorted_splits(parts: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Name the ids of train, val and test and sort them, as `GraphData.splits` wants them."""
    return {name: np.sort(np.asarray(ids, np.int64)) for name, ids in zip(("train", "val", "test"), parts, strict=True)}


def _csc(keys: np.ndarray, num_src: int, num_dst: int) -> CSC:
    dst = keys // num_src
    indptr = np.zeros(num_dst + 1, np.int64)
    np.cumsum(np.bincount(dst, minlength=num_dst), out=indptr[1:])
    small = num_src <= np.iinfo(np.int32).max
    return CSC(indptr, (keys - dst * num_src).astype(np.int32 if small else np.int64))
