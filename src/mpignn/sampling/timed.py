"""Blocks in which a node seen at several times is several rows.

A row is a pair of a node and a time.  Hops inherit the times of the seeds, so what a row draws depends on nothing else.

Shapes: N pairs, U distinct times, D destinations and S sources of a node type, E edges of an edge type.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from mpignn.errors import DataError, IDError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import EType, Schema
from mpignn.unique import unique


class Pairs:
    """Numbers for pairs of a node and a time, in order of the node, and for one node of the time."""

    def __init__(self, times: Iterable[np.ndarray]) -> None:
        """``times`` are all that will be met, int64 or all float64."""
        self._times = unique(np.concatenate(list(times)))

    def numbers(self, ids: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(N,) int64 for (N,) ids and times.  Not collective."""
        return ids.astype(np.int64) * self._times.size + np.searchsorted(self._times, times)

    def of_sources(self, csc: CSC, times: np.ndarray) -> np.ndarray:
        """(E,) int64 for the sources of edges and the (D,) times of their destinations.  Not collective."""
        at = np.searchsorted(self._times, times)
        return csc.indices.astype(np.int64) * self._times.size + np.repeat(at, np.diff(csc.indptr))

    def split(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) int64 ids and (N,) times of numbers.  Not collective."""
        ids, at = np.divmod(numbers, max(1, self._times.size))
        return ids, self._times[at]


def check_times(ids: Mapping[str, np.ndarray], given: ArrayLike | Mapping[str, ArrayLike], schema: Schema,
                dtype: np.dtype) -> dict[str, np.ndarray]:
    """The times of seeds by node type, as int64 or float64.

    Args:
        ids: (D,) of each node type.
        given: (D,) times by node type; where there is one node type, an array will do.
        schema: Types of the graph.
        dtype: int64 or float64: what the graph's times are compared with.

    Raises:
        DataError: Not one number for each seed, of the kind of the graph's times, and none that is not a number.
        IDError: A seed is there twice with the same time.
    """
    by_type = {schema.ntype(t): times for t, times in (given if isinstance(given, Mapping) else {None: given}).items()}
    checked = {}
    for ntype, nodes in ids.items():
        times = np.asarray(by_type.get(ntype, np.empty(0, dtype)))
        what = f"times of {ntype!r} seeds"
        if times.shape != nodes.shape or times.dtype.kind not in "iuf" or times.dtype == np.uint64:
            raise DataError(f"{what} are {times.dtype} of shape {times.shape}, not one number for each of {nodes.size}")
        if (times.dtype.kind == "f") != (dtype.kind == "f") and times.size:
            raise DataError(f"{what} are {times.dtype}, but the graph's are compared as {dtype}: give both as "
                            "integers, or both as floating-point numbers")
        if np.isnan(times).any():
            raise DataError(f"{what}: that of seed {np.isnan(times).argmax()} is not a number")
        checked[ntype] = times.astype(dtype)
    pairs = Pairs(checked.values())
    for ntype, nodes in ids.items():
        numbers = pairs.numbers(nodes, checked[ntype])
        order = np.argsort(numbers, kind="stable")
        again = order[1:][numbers[order[1:]] == numbers[order[:-1]]]
        if again.size:
            at = again.min()
            raise IDError(f"seed of type {ntype!r}: {nodes[at]} is given twice with time {checked[ntype][at]}; pairs "
                          "of node and time must be unique")
    return checked


def assemble(schema: Schema, nodes: Mapping[str, np.ndarray], times: Mapping[str, np.ndarray],
             orig: Mapping[str, np.ndarray], edges: Mapping[EType, CSC]) -> Block:
    """The block of edges whose sources inherit the times of their destinations.

    Args:
        schema: Types of the graph.
        nodes, times: (D,) ids and times of the destinations of each node type.
        orig: (D,) their original ids.
        edges: By destination; sources are global ids.

    Returns:
        The block; destinations first, then the new pairs in order of id and time.

    Not collective.
    """
    pairs = Pairs(times.values())
    src, src_times, csc = {}, {}, {}
    for ntype, ids in nodes.items():
        first, leaving = pairs.numbers(ids, times[ntype]), [etype for etype in edges if etype[0] == ntype]
        met = np.concatenate([first, *(pairs.of_sources(edges[etype], times[etype[2]]) for etype in leaving)])
        ascending, which = _grouped(met)
        new = np.ones(ascending.size, bool)
        new[which[:first.size]] = False
        position = np.cumsum(new, dtype=np.int32) + np.int32(first.size - 1)
        position[which[:first.size]] = np.arange(first.size)
        src[ntype], src_times[ntype] = pairs.split(np.concatenate([first, ascending[new]]))
        begin = first.size
        for etype in leaving:
            end = begin + edges[etype].num_edges
            csc[etype] = CSC(edges[etype].indptr, position[which[begin:end]], edges[etype].edge_ids)
            begin = end
    return Block(schema, src, {t: ids.shape[0] for t, ids in nodes.items()}, orig, {e: csc[e] for e in edges},
                 src_times=src_times)


def _grouped(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers, ascending, and which of them each number is.

    They are sorted and compared with the one before: ten times as fast as numpy.unique, which hashes.
    """
    order = np.argsort(numbers)
    ascending, new = numbers[order], np.ones(numbers.size, bool)
    new[1:] = ascending[1:] != ascending[:-1]
    which = np.empty(numbers.size, np.int64)
    which[order] = np.cumsum(new) - 1
    return ascending[new], which
