"""What partitions are to have equally much of, and moving nodes until they do.

Shapes: N nodes of all types together, N_t of one type, P partitions.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mpignn.errors import ConfigError
from mpignn.graph.likeness import one_of
from mpignn.graph.types import GraphData, parse_etype
from mpignn.partition.union import Amounts, Assignment, by_ntype, first_nodes, union_graph

log = logging.getLogger(__name__)

_TOLERANCE = 0.05       # of the mean
_STAGES = (1, 0.5, 0.25, 0.12, 0.04)         # little by little, so that neighbors follow those that have to move


def check_balance(balance: Sequence[str]) -> tuple[str, ...]:
    """Names of `BALANCES`.  Not collective.

    Raises:
        ConfigError: Another name.
    """
    if isinstance(balance, str):
        balance = [name.strip() for name in balance.split(",") if balance.strip()]
    for name in balance:
        if name not in BALANCES:
            raise ConfigError(f"balance {name!r} is not {one_of(str(name), BALANCES)}")
    return tuple(balance)


def balanced(data: GraphData, assignment: Assignment, num_parts: int, balance: Sequence[str]) -> Assignment:
    """Move nodes until no partition has more than 5 % above the mean of what is asked for, then to cut fewer edges.

    Not collective.  A number that the mean divides badly, such as 5 of 4 partitions, is as even as it can be.  What
    cannot be reached, since one node has too much, is told as a warning.

    Args:
        assignment: (N_t,) partitions by node type.
        num_parts: P.
        balance: Some of `BALANCES`; numbers of nodes always count.

    Returns:
        (N_t,) partitions by node type.
    """
    from mpignn.partition.loads import Loads  # here, for commands that move nothing need no kernels

    parts = np.concatenate([assignment[t] for t in data.num_nodes]).astype(np.int64)
    asked = [column for name in dict.fromkeys(("nodes", *balance)) for column in BALANCES[name](data)]
    loads = Loads(parts, num_parts, asked)
    indptr, indices = union_graph(data)
    for tolerance in _STAGES:
        loads.allow(tolerance)
        loads.even_out(indptr, indices)
        loads.refine(indptr, indices)
    loads.allow(_TOLERANCE)
    for what, share in loads.above():
        log.warning("the partition that has most %s has %.2f times the mean: no node that could move makes it less",
                    what, share)
    return by_ntype(data, parts)


def _nodes(data: GraphData) -> Iterator[Amounts]:
    yield "nodes", np.ones(sum(data.num_nodes.values()), np.int64)


def _edges(data: GraphData) -> Iterator[Amounts]:
    first = first_nodes(data)
    found = np.zeros(sum(data.num_nodes.values()), np.int64)
    for (_, _, dst), csc in data.csc.items():
        found[first[dst]:first[dst] + csc.num_dst] += np.diff(csc.indptr)
    yield "in-edges", found


def _train(data: GraphData) -> Iterator[Amounts]:
    """Training nodes of each type, and training edges, which their destinations have."""
    first = first_nodes(data)
    for key, splits in data.splits.items():
        found = np.zeros(sum(data.num_nodes.values()), np.int64)
        ids = np.asarray(splits.get("train", np.empty(0, np.int64)))
        if key in first:
            found[first[key] + ids] = 1
            yield f"training nodes {key}", found
        else:
            etype = parse_etype(key)
            csc = data.csc[etype]
            learnt = np.zeros(csc.num_edges, bool)
            learnt[ids] = True
            if csc.edge_ids is not None:
                learnt = learnt[csc.edge_ids]
            lo = first[etype[2]]
            running = np.concatenate([[0], np.cumsum(learnt)])
            found[lo:lo + csc.num_dst] = np.diff(running[csc.indptr])
            yield f"training edges {key}", found


def _types(data: GraphData) -> Iterator[Amounts]:
    for (ntype, count), first in zip(data.num_nodes.items(), first_nodes(data).values(), strict=True):
        found = np.zeros(sum(data.num_nodes.values()), np.int64)
        found[first:first + count] = 1
        yield f"nodes {ntype}", found


BALANCES: Mapping[str, Callable[[GraphData], Iterator[Amounts]]] = {
    "nodes": _nodes, "edges": _edges, "train": _train, "types": _types}
