"""The methods of partitioning that have a name: one record each, for `mpignn.partition.assign` and the command line.

Shapes: N nodes of all types together, N_t of one type, E edges of the symmetric graph, P partitions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpignn.graph.types import GraphData
from mpignn.partition.kaminpar import cut_by_kaminpar
from mpignn.partition.metis import cut_by_metis
from mpignn.partition.neighbors import Neighbors
from mpignn.partition.union import Assignment, by_ntype, union_graph


@dataclass(frozen=True)
class Method:
    """A method of partitioning.

    Attributes:
        name: As the command line has it.
        text: What it does, in a few words.
        assign: Gives each node of a graph one of P partitions, P above 1; the result depends on its arguments alone.
        seeds_below: What a seed must be less than; at 1 there is none.
        together: The same by all ranks of a group, each with the neighbors of some nodes, which the last argument
            finds.  None: one process must hold the graph.
        balances: Whether nodes may move afterwards, so that partitions have equally much of what is asked for.
        needs: A package that is not always installed.
        is_mute: Whether it keeps Python's lock for long, so that its process tells nothing.
    """

    name: str
    text: str
    assign: Callable[[GraphData, int, int], Assignment]
    seeds_below: int = 1 << 63
    balances: bool = False
    together: Callable[[GraphData, int, int, Callable[[], Neighbors]], Assignment] | None = None
    needs: str | None = None
    is_mute: bool = False


def _metis(data: GraphData, num_parts: int, seed: int) -> Assignment:
    if _has_nothing_to_cut(data, num_parts):
        return _range(data, num_parts, seed)
    return by_ntype(data, cut_by_metis(*union_graph(data), num_parts, seed))


def _kaminpar(data: GraphData, num_parts: int, seed: int) -> Assignment:
    if _has_nothing_to_cut(data, num_parts):
        return _range(data, num_parts, seed)
    return by_ntype(data, cut_by_kaminpar(data, num_parts, seed))


def _ldg(data: GraphData, num_parts: int, seed: int) -> Assignment:
    from mpignn.partition.stream import cut_by_streaming  # here, for commands that cut nothing need no kernels

    return by_ntype(data, cut_by_streaming(*union_graph(data), num_parts, seed))


def _propagation(data: GraphData, num_parts: int, seed: int) -> Assignment:
    return _propagation_together(data, num_parts, seed, lambda: Neighbors.of(data))


def _propagation_together(data: GraphData, num_parts: int, seed: int, neighbors: Callable[[], Neighbors]) -> Assignment:
    if _has_nothing_to_cut(data, num_parts):
        return _range(data, num_parts, seed)
    from mpignn.partition.propagation import cut_by_propagation  # here, as above

    return by_ntype(data, cut_by_propagation(neighbors(), num_parts, seed))


def _random(data: GraphData, num_parts: int, seed: int) -> Assignment:
    return {t: np.random.default_rng([seed, i]).permutation(_even(n, num_parts))
            for i, (t, n) in enumerate(data.num_nodes.items())}


def _range(data: GraphData, num_parts: int, seed: int) -> Assignment:
    return {t: _even(n, num_parts) for t, n in data.num_nodes.items()}


def _has_nothing_to_cut(data: GraphData, num_parts: int) -> bool:
    return num_parts >= sum(data.num_nodes.values()) or not any(csc.num_edges for csc in data.csc.values())


def _even(count: int, num_parts: int) -> np.ndarray:
    """(count,) partitions in ascending order whose sizes differ by at most one."""
    return np.arange(count, dtype=np.int64) * num_parts // max(count, 1)


METHODS = {method.name: method for method in (
    Method("metis", "few edges between partitions, equal numbers of nodes, by the library METIS", _metis, 1 << 31,
           balances=True, is_mute=True),
    Method("kaminpar", "the same by the library KaMinPar, in a fifth of the memory (pip install kaminpar)", _kaminpar,
           1 << 31, balances=True, needs="kaminpar"),
    Method("ldg", "few edges between partitions, equal numbers of nodes, in passes over the nodes", _ldg,
           balances=True),
    Method("propagation", "the same for graphs that no process holds: METIS for clusters, found by all ranks together",
           _propagation, 1 << 31, balances=True, together=_propagation_together),
    Method("random", "each type dealt evenly", _random),
    Method("range", "equal stretches of the ids of each type", _range, 1),
)}


def is_mute(method: object) -> bool:
    """Whether a process tells nothing while it does the method of a name, so that another one has to."""
    return isinstance(method, str) and method in METHODS and METHODS[method].is_mute
