"""What the labels of a graph say of the outputs that a model needs.

Shapes: N ids of a split.
"""

import numpy as np

from mpignn.dist.graph import DistGraph
from mpignn.dist.lookup import read_rows
from mpignn.errors import DataError
from mpignn.transport.api import Window


def num_classes(g: DistGraph, labels: str, data: Window, key: str, limit: int) -> int:
    """One more than the largest label in any split.  Collective over the trainers, who look at a share each.

    Args:
        g: The graph.
        labels: Name of the labels.
        data: What holds them.
        key: The node type, or the key of the edge type, that has the splits.
        limit: How many nodes or edges of that type there are.

    Raises:
        DataError: On all trainers: a label is negative, or larger than a class can be.
    """
    problem, largest = None, -1
    for name, ids in g.splits[key].items():
        mine = ids[g.trainers.rank::g.trainers.size]
        found = read_rows(g.service, data, mine)
        if mine.size and found.min() < 0:
            at = mine[int(np.argmin(found)):][:1]
            which = f"{key} {at[0]}"
            if key in g.ntypes:
                which = f"{key} {read_rows(g.service, g.service.orig_ids(key), at)[0, 0]}"
            problem = DataError(f"{labels} of {which}, in split {name}, is {found.min()}: labels are 0 or more; leave "
                                "what has no label out of the splits")
        largest = max(largest, int(found.max(initial=-1)))
    if largest >= limit:
        problem = DataError(f"{labels} of {key} go up to {largest}, but there are {limit} of them: these are ids, not "
                            "classes")
    g.trainers.agree(problem)
    return max(g.trainers.allgather(largest)) + 1
