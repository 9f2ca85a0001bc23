"""Compiling the kernels of all common jobs beforehand: a first job then starts as fast as those after it.

What is compiled is kept, for each type of processor (`mpignn.kernels.compiled`).  Kernels lie in groups, which share
none: two processes that compile one kernel for two types at the same time would keep one of the results.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import product
from multiprocessing import get_context

import numpy as np

from mpignn.comm.group import Group
from mpignn.kernels import common, compiled, dropout, fence, segment, sparse, spread
from mpignn.log import phase
from mpignn.models import MODELS
from mpignn.mpi.host import usable_cores
from mpignn.progress import counted
from mpignn.sampling import positions
from mpignn.sampling.warm import small_graph, warming

Calls = Sequence[Callable[[], object]]

_INDEX = (np.dtype(np.int32), np.dtype(np.int64))
_EDGE_DATA, _NODE_DATA = (np.dtype(np.float32), np.dtype(np.bool_)), (np.dtype(np.int64),)
_REAL = (np.float32, np.float64)
_ROWS = (*_REAL, np.uint16)         # bfloat16, as kernels see it


def groups() -> Mapping[str, Calls]:
    """Calls of kernels, in groups of which no two have one in common; what takes longest comes first.

    They are those of batches with edge weights and times of the usual types, of all models, precisions and sparse
    optimizers.  Not collective.
    """
    graphs = [small_graph(index, set(_EDGE_DATA), set(_NODE_DATA)) for index in _INDEX]
    drawing, *others = warming(graphs, None)
    of_models = dict.fromkeys(name for model in MODELS.values() for name in model.kernels)
    return {
        "sampling": [drawing, partial(positions.warm, _INDEX)],
        **{f"sampling {number}": [call] for number, call in enumerate(others, 1)},
        "sparse optimizers": [partial(sparse.warm, *kind) for kind in product(("sgd", "adagrad", "adam"), _ROWS)],
        "layers": [partial(segment.warm, dtype) for dtype in _ROWS],
        **{name: [partial(importlib.import_module(f"mpignn.kernels.{name}").warm, dtype) for dtype in _REAL]
           for name in of_models},
        "dropout": [partial(dropout.warm, dtype) for dtype in _ROWS],
        "copies": [partial(spread.warm, _INDEX), fence.warm, common.warm],
    }


def warm_up(group: Group, ranks: int) -> int:
    """Compile what is not kept yet; returns how many groups that were.  Collective over the ranks of a machine.

    Args:
        group: These ranks, which share the work.
        ranks: How many processes a rank starts for its share; 1: none, it works itself.
    """
    of_all = groups()
    with phase("load kernels"):
        missing = [name for name, calls in of_all.items() if not all(map(compiled.load, calls))]
    wanted = sorted(set().union(*group.allgather(missing)), key=list(of_all).index)
    mine = [name for place, name in enumerate(wanted) if _whose(place, group.size) == group.rank]
    with counted("compile kernels", len(mine), "group") as advance:
        for _ in _compiled(mine, min(ranks, len(mine))):
            advance(1)
        group.barrier()
    return len(wanted)


def processes() -> int:
    """How many processes work at a time where no launcher has started several.  Not collective."""
    return len(usable_cores())


def _compiled(names: Sequence[str], ranks: int) -> Iterator[object]:
    """Compile groups; yields as one is done."""
    if ranks <= 1:
        yield from map(_compile, names)
        return
    with ProcessPoolExecutor(ranks, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_compile, name) for name in names]):
            yield done.result()


def _compile(name: str) -> None:
    for call in groups()[name]:
        call()


def _whose(place: int, ranks: int) -> int:
    """Which rank compiles a group: the first of them only the first, which takes as long as the rest."""
    return 0 if place == 0 or ranks == 1 else 1 + (place - 1) % (ranks - 1)
