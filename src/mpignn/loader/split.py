"""A set of nodes or edges dealt to the trainers, for loops that do without a loader.

Shapes: N nodes or edges of a type.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from mpignn.errors import DataError
from mpignn.graph.book import checked_ids
from mpignn.graph.types import EType, etype_key
from mpignn.loader.seed_order import deal
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor
from mpignn.unique import unique


def node_split(nodes: ArrayLike | DistTensor, g: DistGraph, ntype: str | None = None,
               force_even: bool = True) -> torch.Tensor:
    """This trainer's share of some nodes, ascending; every node goes to exactly one trainer.

    Args:
        nodes: Ids, or a mask of N booleans (tensor, array, list, `DistTensor`); equal on all trainers.
        g: The graph.
        ntype: Node type.
        force_even: Let counts differ by at most one, and give nodes to trainers of their owner's node as far as that
            allows.  Else always, however uneven; nodes whose owner's node has no trainer are dealt evenly.

    Not collective.

    Raises:
        IDError: An id outside the graph.
        DataError: A mask of another length.
    """
    ntype = g.schema.ntype(ntype)
    ids = _ids(nodes, g.num_nodes(ntype), f"id of a {ntype!r} node")
    return _share(g, ids, g.home(ntype, ids), force_even)


def edge_split(edges: ArrayLike | DistTensor, g: DistGraph, etype: str | EType | None = None,
               force_even: bool = True) -> torch.Tensor:
    """This trainer's share of some edges, as `node_split` does it with nodes.  Not collective."""
    etype = g.schema.etype(etype)
    ids = _ids(edges, g.num_edges(etype), f"id of a {etype_key(etype)!r} edge")
    return _share(g, ids, g.home_of_edges(etype, ids), force_even)


def _ids(given: Any, count: int, what: str) -> np.ndarray:
    """The distinct ids meant, ascending."""
    array = np.asarray(given[:] if isinstance(given, DistTensor) else given)
    if array.dtype != bool:
        return unique(checked_ids(array, count, what))
    if array.shape != (count,):
        raise DataError(f"{what}: a mask has {count} entries, not shape {array.shape}")
    return np.flatnonzero(array)


def _share(g: DistGraph, ids: np.ndarray, home: np.ndarray, force_even: bool) -> torch.Tensor:
    node_of_trainer = np.asarray([g.topology.node_of_rank[r] for r in g.topology.trainer_ranks], np.int64)
    if force_even:
        order, bounds = deal(home, node_of_trainer)
        return torch.from_numpy(np.sort(ids[order[bounds[g.trainers.rank]:bounds[g.trainers.rank + 1]]]))
    mine = node_of_trainer[g.trainers.rank]
    beside = np.flatnonzero(node_of_trainer == mine)
    own = ids[home == mine]
    orphans = ids[~np.isin(home, node_of_trainer)]
    place = g.trainers.rank - beside[0]
    shares = [_piece(own, place, beside.size), _piece(orphans, g.trainers.rank, node_of_trainer.size)]
    return torch.from_numpy(np.sort(np.concatenate(shares)))


def _piece(ids: np.ndarray, number: int, count: int) -> np.ndarray:
    return ids[ids.size * number // count:ids.size * (number + 1) // count]
