"""Cutting a graph by passes over its nodes.

Shapes: N nodes, E edges of the symmetric graph, P partitions.
"""

import numpy as np

from mpignn.kernels import stream as kernels
from mpignn.partition.loads import Loads

_PASSES = 15
_TOLERANCE = 0.03


def cut_by_streaming(indptr: np.ndarray, indices: np.ndarray, num_parts: int, seed: int) -> np.ndarray:
    """Few edges between partitions, none with more than 3 % above the mean number of nodes.  Not collective.

    The first pass takes nodes with many neighbors first, which others then follow; later ones first those whose place
    is least in doubt: Awadelkarim and Ugander 2020.  At last nodes move as `Loads.refine` says.

    Args:
        indptr: (N + 1,) int64.
        indices: (E,) int32 or int64.
        num_parts: P, more than 1.
        seed: Seed of the order of nodes that are equal by this.

    Returns:
        (N,) int64 partitions.
    """
    count = indptr.size - 1
    shuffled = np.random.default_rng(seed).permutation(count)
    parts, leads = np.full(count, -1), np.diff(indptr)
    for number in range(_PASSES):
        if number:
            kernels.find_leads(indptr, indices, num_parts, parts, leads)
        order = shuffled[np.argsort(-leads[shuffled], kind="stable")]
        kernels.stream(indptr, indices, order, -(-count // num_parts), num_parts, parts)
    loads = Loads(parts, num_parts, [("nodes", np.ones(count, np.int64))])
    loads.allow(_TOLERANCE)
    loads.refine(indptr, indices)
    return parts
