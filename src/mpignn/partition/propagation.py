"""Cutting a graph that no rank holds as a whole: clusters by label propagation, METIS for the graph of these.

As Meyerhenke, Sanders and Schulz, "Parallel Graph Partitioning for Complex Networks" (2017), with one level of
clusters.  Nodes take labels batch after batch: those of a batch see what was before it.  Each rank looks at the
neighbors of its own nodes, and all take the same steps with what all have seen; so a result does not depend on who
holds which rows.

Shapes: N nodes of all types together, R nodes of a batch, K labels told of each, P partitions, C clusters.
"""

from collections.abc import Iterator

import numpy as np

from mpignn.graph.csc import row_chunks
from mpignn.kernels import propagate as kernels
from mpignn.partition.metis import cut_by_metis
from mpignn.partition.neighbors import Neighbors
from mpignn.progress import each

_BATCHES = 64
_TOLD = 8       # labels told of each node
_CLUSTERS_PER_PART = 32         # at least
_ROUNDS, _FEW = 8, 100      # until fewer than one node in so many takes another label
_MOVES = 20
_TOLERANCE = 0.03
_CHUNK_EDGES = 1 << 22
_MOST_WEIGHT = 1 << 30      # of all edges: METIS adds 32-bit numbers


def cut_by_propagation(neighbors: Neighbors, num_parts: int, seed: int) -> np.ndarray:
    """Few edges between partitions, none with more than 3 % above the mean number of nodes, or one node.

    Args:
        neighbors: The graph.
        num_parts: P, more than 1.
        seed: Seed of the order of nodes.

    Returns:
        (N,) int64 partitions, on all ranks.

    Raises:
        ResourceError: METIS ran out of memory, on all ranks.

    Collective over ``neighbors.group``.
    """
    count = neighbors.num_nodes
    order = np.random.default_rng(seed).permutation(count)
    clusters, sizes = np.arange(count), np.ones(count, np.int64)
    limit = max(2, count // (num_parts * _CLUSTERS_PER_PART))
    for _ in range(_ROUNDS):
        moved = sum(kernels.join(*seen, limit, sizes, clusters) for seen in _batches(neighbors, order, clusters))
        if moved * _FEW < count:
            break
    number = np.cumsum(sizes > 0) - 1       # of each label that is left
    clusters = number[clusters]
    parts: np.ndarray = _cut_clusters(neighbors, clusters, sizes[sizes > 0], num_parts, seed)[clusters]
    sizes = np.bincount(parts, minlength=num_parts)
    limit = max(int(count * (1 + _TOLERANCE) / num_parts), -(-count // num_parts))
    for _ in range(_MOVES):
        if not sum(kernels.move(*seen, limit, sizes, parts) for seen in _batches(neighbors, order, parts)):
            break
    return parts


def _batches(neighbors: Neighbors, order: np.ndarray, labels: np.ndarray
             ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The nodes of each batch, and (R, K) most common labels around each and how often they are there."""
    for batch in each(np.array_split(order, _BATCHES), "batch"):
        own = np.flatnonzero((batch >= neighbors.first) & (batch < neighbors.last))
        found, counts = np.empty((own.size, _TOLD), np.int64), np.empty((own.size, _TOLD), np.int32)
        kernels.most_common(neighbors.indptr, neighbors.indices, batch[own] - neighbors.first, labels, found, counts)
        if neighbors.group.size == 1:
            yield batch, found, counts
            continue
        all_found, all_counts = np.empty((batch.size, _TOLD), np.int64), np.empty((batch.size, _TOLD), np.int32)
        for places, some_found, some_counts in neighbors.group.allgather((own, found, counts)):
            all_found[places], all_counts[places] = some_found, some_counts
        yield batch, all_found, all_counts


def _cut_clusters(neighbors: Neighbors, cluster: np.ndarray, sizes: np.ndarray, num_parts: int, seed: int
                  ) -> np.ndarray:
    """(C,) partitions of clusters: few edges between them, equal numbers of nodes.

    Args:
        cluster: (N,) int64 cluster of each node.
        sizes: (C,) int64 nodes of each.
    """
    group, indptr = neighbors.group, neighbors.indptr
    told = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for lo, hi in row_chunks(indptr, 0, indptr.size - 1, _CHUNK_EDGES):
        one = np.repeat(cluster[neighbors.first + lo:neighbors.first + hi], np.diff(indptr[lo:hi + 1]))
        other = cluster[neighbors.indices[indptr[lo]:indptr[hi]]]
        between = one != other
        told.append(_summed(one[between] * sizes.size + other[between], np.ones(np.count_nonzero(between), np.int64)))
    own = _summed(*(np.concatenate(arrays) for arrays in zip(*told, strict=True)))
    keys, weights = _summed(*(np.concatenate(arrays) for arrays in zip(*group.allgather(own), strict=True)))

    def cut() -> np.ndarray:
        if num_parts >= sizes.size:
            return np.arange(sizes.size)
        starts = np.searchsorted(keys, np.arange(sizes.size + 1) * sizes.size)
        scale = -(-int(weights.sum()) // _MOST_WEIGHT)
        return cut_by_metis(starts, keys % sizes.size, num_parts, seed, sizes, -(-weights // max(1, scale)))

    return group.by_first(cut)


def _summed(keys: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each key once, in ascending order, and the sum of its amounts."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[begins], np.add.reduceat(amounts[order], begins) if begins.size else amounts[:0]
