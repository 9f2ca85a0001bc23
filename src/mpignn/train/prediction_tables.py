"""Predictions as a table: a row for each node, or each edge of a split, under the ids and names that users gave.

Every trainer computes some blocks of rows; the first one gathers a round of them and writes them, in order.

Shapes: N nodes of a type, E edges of a split, n rows of a block, C classes, labels or numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from mpignn.buffers import Pool
from mpignn.errors import MpignnError, TrainingError
from mpignn.graph.types import EType, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.large.disk import check_space
from mpignn.log import phase
from mpignn.progress import each
from mpignn.storage.atomic import new_file
from mpignn.store.graph import DistGraph
from mpignn.store.sizes import LINK_SOURCES
from mpignn.store.tensor import DistTensor
from mpignn.tables.columns import Coded, Column
from mpignn.tables.endings import TableKind
from mpignn.train.inference import DrawnRows, Whole
from mpignn.train.network import Network
from mpignn.train.predictions import BLOCK, check_finite, problems_named
from mpignn.train.tasks.base import Task
from mpignn.train.tasks.edge import EdgeTask
from mpignn.train.tasks.link import LinkPrediction
from mpignn.train.top_links import TopLinks

if TYPE_CHECKING:
    from mpignn.tables.write_rows import TableWriter  # brings in Apache Arrow

_LEAST_BYTES = 4        # of a line, beside ids


@dataclass(frozen=True)
class _Part:
    """Rows of a table.

    Attributes:
        count: How many.
        least_bytes: They take no less as plain text.
        say: What a trainer knows of a range of them, (n, ...) arrays.  Collective over the trainers; the range may be
            empty.
        tell: Given a range of them and what was said of it, columns by name.  Not collective.
        block: How many of them a trainer takes at a time.
    """

    count: int
    least_bytes: int
    say: Callable[[int, int], list[np.ndarray]]
    tell: Callable[[int, int, list[np.ndarray]], Mapping[str, Column]]
    block: int = BLOCK


def write(g: DistGraph, task: Task, network: Network, rows: Mapping[str, DistTensor] | Mapping[str, DrawnRows],
          split: str, out: Path, kind: TableKind, top: TopLinks | None = None,
          chosen: np.ndarray | None = None) -> None:
    """Write what a network says, to a file that the first trainer sees.  Collective over the trainers.

    For tasks about nodes: ``id``, ``prediction`` and, of classes, its ``probability``, in order of original id.  About
    edges: ``src``, ``dst``, and the same, or ``score``, for the edges of a split in order of original edge id; where
    these are of several types, ``type`` comes first.  Each of several labels or numbers has a column.  New links have
    the columns that edges have, in order of original id of their sources, and by falling score.  Equal rows give equal
    bytes on any number of trainers.

    Args:
        g, task, network, rows, split, out: As `mpignn.train.predictions.write` takes them.
        kind: What kind of file it is.
        top: The new links to write, of a task about links, in the place of the edges of a split; None: none.
        chosen: (n,) original ids of the nodes to write, of a task about nodes, in their order; None: all, whose rows
            are there.

    Raises:
        ConfigError, ResourceError, TrainingError: As there.
        DataError: On all trainers: the file of the users' ids is damaged.
    """
    if task.goal.ntype is not None:
        parts = [_nodes(g, task, ntype, of_type, chosen) for ntype, of_type in rows.items()]
    elif top is not None:
        assert isinstance(task, LinkPrediction), "it is about links"
        parts = _links(g, task, network, cast(Whole, rows), top)
    else:
        assert isinstance(task, EdgeTask), "it is about edges"
        parts = _edges(g, task, network, cast(Whole, rows), split)
    with phase("write predictions"), torch.no_grad(), ExitStack() as stack:
        writer: TableWriter | None = None
        with g.trainers.all_or_none(), problems_named(out):
            if g.trainers.rank == 0:
                from mpignn.tables import write_rows  # starts threads, which nobody else needs
                if kind.separator is not None and not kind.gzipped:
                    check_space(out, sum(part.least_bytes for part in parts))
                writer = stack.enter_context(write_rows.TableWriter(stack.enter_context(new_file(out)), kind))
        problem: MpignnError | None = None
        for part in parts:
            problem = _write_part(g, part, writer, problem, out)
        g.trainers.agree(problem)
        with g.trainers.all_or_none(), problems_named(out):
            stack.close()       # gives it its name


def _write_part(g: DistGraph, part: _Part, writer: "TableWriter | None", problem: MpignnError | None,
                out: Path) -> MpignnError | None:
    """Write rows, a round of blocks at a time; returns what is wrong.  Collective over the trainers.

    Raises:
        MpignnError: On all trainers: what was wrong before the last round was written.
    """
    rank, size, pool = g.trainers.rank, g.trainers.size, Pool()
    rounds = range(0, max(1, part.count), part.block * size)        # one even of no rows: columns have names
    for first in each(rounds, "block"):
        ranges = [(min(lo, part.count), min(lo + part.block, part.count))
                  for lo in range(first, first + part.block * size, part.block)]
        lo, hi = ranges[rank]
        to_first = np.zeros(size, np.int64)
        to_first[0] = hi - lo
        said, packed = [], np.empty((0, 1), np.uint8)
        try:
            said = part.say(lo, hi)
            packed = _packed(said, hi - lo)
        except TrainingError as error:
            problem = problem or error
        rows, counts = g.trainers.exchange(packed, to_first, pool, problem)
        if writer is not None:
            try:
                with problems_named(out):
                    for (lo, hi), end in zip(ranges, np.cumsum(counts).tolist(), strict=True):
                        writer.append(part.tell(lo, hi, _unpacked(rows[end - (hi - lo):end], said)))
            except MpignnError as error:
                problem = error
    return problem


def _packed(arrays: Sequence[np.ndarray], count: int) -> np.ndarray:
    """(n, W) uint8: the bytes of rows of some arrays side by side."""
    return np.concatenate([np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(count, _row_bytes(a))
                           for a in arrays], axis=1)


def _unpacked(rows: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The inverse of `_packed`, for arrays of some types."""
    found, place = [], 0
    for array in like:
        end = place + _row_bytes(array)
        piece = np.ascontiguousarray(rows[:, place:end]).reshape(-1).view(array.dtype)
        found.append(piece.reshape(len(rows), *array.shape[1:]))
        place = end
    return found


def _row_bytes(array: np.ndarray) -> int:
    return array.itemsize * math.prod(array.shape[1:])


def _nodes(g: DistGraph, task: Task, ntype: str, rows: DistTensor | DrawnRows, chosen: np.ndarray | None) -> _Part:
    def ids(lo: int, hi: int) -> np.ndarray:
        return np.arange(lo, hi) if chosen is None else chosen[lo:hi]

    def say(lo: int, hi: int) -> list[np.ndarray]:
        return _judged(task, rows.read_together(g.new_nids(ids(lo, hi), ntype)))

    def tell(lo: int, hi: int, said: list[np.ndarray]) -> Mapping[str, Column]:
        return {"id": g.names.read_ids(ids(lo, hi), ntype), **_columns(task, said)}

    stored = g.names.ids.get(ntype)
    texts = 0 if chosen is not None or stored is None or stored.bounds is None else stored.values.shape[0]
    count = g.num_nodes(ntype) if chosen is None else chosen.size
    return _Part(count, texts + _LEAST_BYTES * count, say, tell)


def _edges(g: DistGraph, task: EdgeTask, network: Network, rows: Mapping[str, DistTensor], split: str) -> list[_Part]:
    seeds = task.seeds(g, split)
    ends = _ends(g, list(seeds))

    def part(etype: EType, ids: np.ndarray) -> _Part:
        def say(lo: int, hi: int) -> list[np.ndarray]:
            src, dst = g.find_edges(ids[lo:hi], etype)
            said = task.judge(network, etype, rows[etype[0]].read_together(src), rows[etype[2]].read_together(dst))
            return [g.orig_nids(src, etype[0]).numpy(), g.orig_nids(dst, etype[2]).numpy(), *_judged(task, said)]

        def tell(lo: int, hi: int, said: list[np.ndarray]) -> Mapping[str, Column]:
            return {**ends(etype, said[0], said[1]), **_columns(task, said[2:])}

        return _Part(ids.size, (2 + _LEAST_BYTES) * ids.size, say, tell)

    return [part(etype, ids) for etype, ids in seeds.items()]


def _links(g: DistGraph, task: LinkPrediction, network: Network, rows: Mapping[str, DistTensor], top: TopLinks
           ) -> list[_Part]:
    ends = _ends(g, list(top.sources))

    def part(etype: EType, sources: np.ndarray) -> _Part:
        def say(lo: int, hi: int) -> list[np.ndarray]:
            return list(task.best(g, network, rows, etype, sources[lo:hi], top.k))

        def tell(lo: int, hi: int, said: list[np.ndarray]) -> Mapping[str, Column]:
            source, place = np.nonzero(said[0] >= 0)
            return {**ends(etype, sources[lo:hi][source], said[0][source, place]), "score": said[1][source, place]}

        return _Part(sources.size, 0, say, tell, LINK_SOURCES)       # there may be nothing new for any of them

    return [part(etype, sources) for etype, sources in top.sources.items()]


def _ends(g: DistGraph, etypes: Sequence[EType]) -> Callable[[EType, np.ndarray, np.ndarray], dict[str, Column]]:
    """What makes columns of the (n,) original ids of the ends of edges of some types; not collective itself."""
    ends = [[etype[place] for etype in etypes] for place in (0, 2)]
    as_texts = [len({_kind(g, ntype) for ntype in ntypes}) > 1 for ntypes in ends]      # a column has one type

    def columns(etype: EType, orig_src: np.ndarray, orig_dst: np.ndarray) -> dict[str, Column]:
        src, dst = (_texts(found) if texts else found for found, texts in zip(
            (g.names.read_ids(orig_src, etype[0]), g.names.read_ids(orig_dst, etype[2])), as_texts, strict=True))
        which: dict[str, Column] = {}
        if len(etypes) > 1:
            which["type"] = Coded(np.zeros(orig_src.size, np.int64), (etype_key(etype),))
        return {**which, "src": src, "dst": dst}

    return columns


def _kind(g: DistGraph, ntype: str) -> str:
    """What the ids of a node type are."""
    stored = g.names.ids.get(ntype)
    return "int64" if stored is None else "texts" if stored.bounds is not None else str(stored.values.dtype)


def _texts(ids: UserIds) -> UserIds:
    return UserIds.of_texts([str(one) for one in ids.of(0, len(ids))]) if ids.bounds is None else ids


def _judged(task: Task, outputs: torch.Tensor) -> list[np.ndarray]:
    """What outputs stand for: a score; or the prediction and, where there is such, how probable it is.

    Raises:
        TrainingError: They are not finite.
    """
    check_finite("predictions", outputs)
    found = [outputs if task.goal.labels is None else task.decide(outputs)]
    probability = None if task.goal.labels is None else task.probability(outputs)
    if probability is not None:
        found.append(probability)
    return [(rows.float() if rows.is_floating_point() else rows).cpu().numpy() for rows in found]


def _columns(task: Task, said: Sequence[np.ndarray]) -> dict[str, Column]:
    """Columns of what `_judged` found, by name."""
    if task.goal.labels is None:
        return {"score": said[0]}
    known = task.goal.class_names
    names = (*known, *map(str, range(len(known), task.outputs)))
    found: dict[str, Column] = {}
    for what, rows in zip(("prediction", "probability"), said, strict=False):
        if rows.ndim == 1:
            found[what] = Coded(rows, names) if known and rows.dtype.kind == "i" else rows
        elif rows.shape[1] == 1 and not known:
            found[what] = rows[:, 0]
        else:
            found |= {f"{what}_{name}": rows[:, place] for place, name in enumerate(names)}
    return found
