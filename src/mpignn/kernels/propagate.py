"""Label propagation: which labels are most common among the neighbors of nodes, and who takes one of them.

Shapes: N nodes, R rows asked for, E edges, K labels told of each row, L labels.
"""

import numpy as np

from mpignn.kernels.compiled import kernel


@kernel
def most_common(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray, labels: np.ndarray, found: np.ndarray,
                counts: np.ndarray) -> None:
    """The most common labels of the neighbors of some rows.

    Args:
        indptr: (n + 1,) int64.
        indices: (E,) int32 or int64 neighbors, in ``0:N``.
        rows: (R,) int64, in ``0:n``.
        labels: (N,) int32 or int64; none is negative.
        found: (R, K) as ``labels``, written: the most common one first, of equal ones the smallest; then -1.
        counts: (R, K) int32, written: how often.
    """
    most = found.shape[1]
    for i in range(rows.shape[0]):
        there = np.sort(labels[indices[indptr[rows[i]]:indptr[rows[i] + 1]]])
        found[i] = -1
        counts[i] = 0
        begin = 0
        while begin < there.shape[0]:
            end = begin
            while end < there.shape[0] and there[end] == there[begin]:
                end += 1
            place = most
            while place > 0 and counts[i, place - 1] < end - begin:
                place -= 1
            if place < most:
                for k in range(most - 1, place, -1):
                    found[i, k], counts[i, k] = found[i, k - 1], counts[i, k - 1]
                found[i, place], counts[i, place] = there[begin], end - begin
            begin = end


@kernel
def join(nodes: np.ndarray, found: np.ndarray, counts: np.ndarray, limit: int, sizes: np.ndarray, labels: np.ndarray
         ) -> np.int64:
    """Let each node take the label that most of its neighbors have, if fewer than ``limit`` nodes have it.

    Where another label is as common as its own, a node takes it if more nodes have it, so that small ones vanish.

    Args:
        nodes: (R,) int64, as they come.
        found, counts: (R, K) as `most_common` finds them.
        sizes: (L,) int64 nodes of each label; kept up to date.
        labels: (N,), changed in place.

    Returns:
        How many have taken another one.
    """
    moved = np.int64(0)
    for i in range(nodes.shape[0]):
        own, best, most = labels[nodes[i]], -1, 0
        for k in range(found.shape[1]):
            if found[i, k] == own:
                most = counts[i, k]
        for k in range(found.shape[1]):
            label = found[i, k]
            if label < 0 or counts[i, k] < most:
                break
            if label == own or sizes[label] >= limit:
                continue
            if counts[i, k] > most or (best < 0 and sizes[label] > sizes[own]):
                best, most = label, counts[i, k]
        if best >= 0:
            sizes[own] -= 1
            sizes[best] += 1
            labels[nodes[i]] = best
            moved += 1
    return moved


@kernel
def move(nodes: np.ndarray, found: np.ndarray, counts: np.ndarray, limit: int, sizes: np.ndarray, labels: np.ndarray
         ) -> np.int64:
    """Let each node move where more of its neighbors are, or out of a partition that is too large.

    Args:
        limit: Most nodes of a partition.

    Others and returns: As `join`; all labels are partitions, in ``0:L``.
    """
    moved = np.int64(0)
    for i in range(nodes.shape[0]):
        own, best, most = labels[nodes[i]], -1, 0
        if sizes[own] > limit:
            best, most = int(np.argmin(sizes)), -1
        else:
            for k in range(found.shape[1]):
                if found[i, k] == own:
                    most = counts[i, k]
        for k in range(found.shape[1]):
            if found[i, k] < 0 or counts[i, k] <= most:
                break
            if found[i, k] != own and sizes[found[i, k]] < limit:
                best = found[i, k]
                break
        if best >= 0 and best != own:
            sizes[own] -= 1
            sizes[best] += 1
            labels[nodes[i]] = best
            moved += 1
    return moved
