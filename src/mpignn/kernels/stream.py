"""Nodes one after the other, each to the partition where most of its neighbors are.

Shapes: N nodes, E edges of a symmetric graph, P partitions, C things that are balanced, K amounts: node v has
``amounts[k]`` of thing ``columns[k]`` for k in ``first[v]:first[v + 1]``.
"""

import numpy as np

from mpignn.kernels.compiled import helper, kernel

_LEAST = 1e-12      # of what a move makes better, above errors of rounding


@kernel
def stream(indptr: np.ndarray, indices: np.ndarray, order: np.ndarray, room: int, num_parts: int,
           parts: np.ndarray) -> None:
    """Give all nodes a partition anew: linear deterministic greedy, Stanton and Kliot 2012.

    Each goes where most of its neighbors are, times the share of that partition which is free; where several are
    equal, to the smallest of them.  Neighbors that have not come yet are where an earlier pass left them: Nishimura
    and Ugander 2013.

    Args:
        indptr: (N + 1,) int64.
        indices: (E,) int32 or int64.
        order: (N,) int64 nodes, as they come.
        room: Most nodes of a partition; P of them hold all.
        num_parts: P.
        parts: (N,) int64 partitions, or -1 where a node has none yet; changed in place.
    """
    sizes, there = np.zeros(num_parts, np.int64), np.zeros(num_parts, np.int64)
    for v in order:
        _count(indptr, indices, parts, v, there)
        best, most = -1, -1.0
        for p in range(num_parts):
            gain = there[p] * (1 - sizes[p] / room)
            if sizes[p] < room and (gain > most or (gain == most and sizes[p] < sizes[best])):
                best, most = p, gain
        parts[v] = best
        sizes[best] += 1


@kernel
def find_leads(indptr: np.ndarray, indices: np.ndarray, num_parts: int, parts: np.ndarray, leads: np.ndarray) -> None:
    """How many neighbors more each node has in the partition that has most than in the one that comes next.

    Args:
        indptr, indices: As `stream`.
        num_parts: P.
        parts: (N,) int64 partitions.
        leads: (N,) int64, written.
    """
    there = np.zeros(num_parts, np.int64)
    for v in range(parts.shape[0]):
        _count(indptr, indices, parts, v, there)
        most, next_most = np.int64(0), np.int64(0)
        for p in range(num_parts):
            if there[p] > most:
                most, next_most = there[p], most
            elif there[p] > next_most:
                next_most = there[p]
        leads[v] = most - next_most


@kernel
def refine(indptr: np.ndarray, indices: np.ndarray, order: np.ndarray, first: np.ndarray, columns: np.ndarray,
           amounts: np.ndarray, limits: np.ndarray, loads: np.ndarray, parts: np.ndarray) -> np.int64:
    """Move each node where most of its neighbors are, unless that would load a partition above a limit.

    Args:
        indptr, indices: As `stream`.
        order: Nodes, as they come.
        first: (N + 1,) int64.
        columns: (K,) int32.
        amounts: (K,) int64.
        limits: (C,) int64, of each partition.
        loads: (C, P) int64 sums of the amounts; kept up to date.
        parts: (N,) int64 partitions; changed in place.

    Returns:
        How many moved.
    """
    there = np.zeros(loads.shape[1], np.int64)
    moved = np.int64(0)
    for v in order:
        _count(indptr, indices, parts, v, there)
        own = best = parts[v]
        for p in range(there.shape[0]):
            if there[p] > there[best]:
                fits = True
                for k in range(first[v], first[v + 1]):
                    fits &= loads[columns[k], p] + amounts[k] <= limits[columns[k]]
                if fits:
                    best = p
        if best != own:
            _move(first, columns, amounts, loads, parts, v, best)
            moved += 1
    return moved


@kernel
def find_losses(indptr: np.ndarray, indices: np.ndarray, first: np.ndarray, columns: np.ndarray, amounts: np.ndarray,
                limits: np.ndarray, loads: np.ndarray, parts: np.ndarray, losses: np.ndarray) -> None:
    """What a move of each node costs, to the partition where it costs least: edges cut for what it relieves.

    Args:
        losses: (N,) float64, written; infinite where no move of the node relieves anything.

    Others: As `refine`, and not changed.
    """
    there = np.zeros(loads.shape[1], np.int64)
    for v in range(parts.shape[0]):
        losses[v] = np.inf
        if _is_over(first, columns, limits, loads, v, parts[v]):
            _count(indptr, indices, parts, v, there)
            for p in range(there.shape[0]):
                relief = _relief(first, columns, amounts, limits, loads, v, parts[v], p)
                if relief > _LEAST:
                    losses[v] = min(losses[v], (there[parts[v]] - there[p]) / relief)


@kernel
def relieve(indptr: np.ndarray, indices: np.ndarray, order: np.ndarray, first: np.ndarray, columns: np.ndarray,
            amounts: np.ndarray, limits: np.ndarray, loads: np.ndarray, parts: np.ndarray) -> np.int64:
    """Move nodes out of partitions that are loaded above a limit, where it costs fewest edges for what it relieves.

    Every move makes the sum of what is above limits, each as a share of its limit, smaller.

    Args and returns: As `refine`.
    """
    there = np.zeros(loads.shape[1], np.int64)
    moved = np.int64(0)
    for v in order:
        if not _is_over(first, columns, limits, loads, v, parts[v]):
            continue
        _count(indptr, indices, parts, v, there)
        best, least = -1, np.inf
        for p in range(there.shape[0]):
            relief = _relief(first, columns, amounts, limits, loads, v, parts[v], p)
            if relief > _LEAST and (there[parts[v]] - there[p]) / relief < least:
                best, least = p, (there[parts[v]] - there[p]) / relief
        if best >= 0:
            _move(first, columns, amounts, loads, parts, v, best)
            moved += 1
    return moved


@helper
def _count(indptr: np.ndarray, indices: np.ndarray, parts: np.ndarray, v: int, there: np.ndarray) -> None:
    """How many neighbors of a node are in each partition."""
    there[:] = 0
    for e in range(indptr[v], indptr[v + 1]):
        if parts[indices[e]] >= 0:
            there[parts[indices[e]]] += 1


@helper
def _is_over(first: np.ndarray, columns: np.ndarray, limits: np.ndarray, loads: np.ndarray, v: int, p: int) -> bool:
    over = False
    for k in range(first[v], first[v + 1]):
        over |= loads[columns[k], p] > limits[columns[k]]
    return over


@helper
def _relief(first: np.ndarray, columns: np.ndarray, amounts: np.ndarray, limits: np.ndarray, loads: np.ndarray,
            v: int, own: int, p: int) -> float:
    """By how much less is above limits when node ``v`` moves to partition ``p``, each as a share of its limit."""
    relief = 0.0
    for k in range(first[v], first[v + 1]):
        c, amount = columns[k], amounts[k]
        less = min(amount, max(0, loads[c, own] - limits[c]))
        more = min(amount, max(0, loads[c, p] + amount - limits[c]))
        relief += (less - more) / limits[c]
    return relief


@helper
def _move(first: np.ndarray, columns: np.ndarray, amounts: np.ndarray, loads: np.ndarray, parts: np.ndarray,
          v: int, p: int) -> None:
    for k in range(first[v], first[v + 1]):
        loads[columns[k], parts[v]] -= amounts[k]
        loads[columns[k], p] += amounts[k]
    parts[v] = p
