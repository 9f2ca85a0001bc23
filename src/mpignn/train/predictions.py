"""Predictions for users: what a trained network says of all nodes, or of the edges of a split, in original ids.

Every trainer writes its share, block by block in step with the others, as what it writes may be owned by any of them.

Shapes: N nodes of a type, E edges of a split, B of them in a block, C classes, F columns of a node's row.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mpignn.errors import DataError, MpignnError, ResourceError, TrainingError, os_errors
from mpignn.graph.types import EType, etype_key
from mpignn.large.disk import check_space
from mpignn.log import phase
from mpignn.progress import each
from mpignn.storage.array_writers import RowWriter, make_file, write_crcs
from mpignn.storage.arrays import ArrayType, StoredArray
from mpignn.storage.atomic import check_file, new_file
from mpignn.storage.user_names import encoded, longest_text, text_type
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor
from mpignn.train.finite import is_finite
from mpignn.train.network import Network
from mpignn.train.tasks.base import Task
from mpignn.train.tasks.edge import EdgeTask

BLOCK = 1 << 14        # rows at a time


@dataclass(frozen=True)
class _Part:
    """Datasets with a row for each of the same nodes or edges.

    Attributes:
        datasets: By name.
        count: Their rows.
        say: Given a range of them, their rows by name, tensors or arrays.  Collective over the trainers; the range
            may be empty.
    """

    datasets: Mapping[str, ArrayType]
    count: int
    say: Callable[[int, int], Mapping[str, torch.Tensor | np.ndarray]]


def check_out(g: DistGraph, out: Path) -> None:
    """Raise ConfigError on all trainers unless the first can write that file.  Collective over the trainers."""
    with g.trainers.all_or_none():
        if g.trainers.rank == 0:
            check_file(out)


def write(g: DistGraph, task: Task, network: Network, rows: Mapping[str, DistTensor], split: str, out: Path) -> None:
    """Write what a network says, to a file that all trainers see.  Collective over the trainers.

    For tasks about nodes: ``/node/<ntype>/logits`` and ``prediction``, row i of the node with original id i.  About
    edges: ``/node/<ntype>/embedding`` likewise, and for edges of a split, in order of original edge id, the original
    ids of their ends ``/edge/<src:rel:dst>/src`` and ``dst``, with ``logits`` and ``prediction``, or with ``score``.
    Where users gave ids, row i of ``/node/<ntype>/id`` is that of the node with original id i; where they gave names
    to classes, ``class_names`` beside ``prediction`` has them in order.  Equal rows give equal bytes on any number of
    trainers.

    Args:
        g: The graph.
        task: What was learnt.
        network: In the mode for evaluation.
        rows: (N, F) what the model's last layer says of all nodes of the types that the task is about.
        split: The edges' split.
        out: The file; one of that name is replaced.

    Raises:
        ConfigError: On all trainers: no file can be made there.
        ResourceError: On all trainers: the disk is full, or a trainer does not see the file.
        TrainingError: On all trainers: what the network says is not finite, or not as float32; no file is left.
        DataError: On all trainers: the file of the users' ids is damaged.
    """
    parts = [_nodes(g, task, ntype, tensor) for ntype, tensor in rows.items()]
    if task.goal.ntype is None:
        assert isinstance(task, EdgeTask), "it is about edges"
        parts += [_edges(g, task, network, rows, etype, ids) for etype, ids in task.seeds(g, split).items()]
    parts += [part for ntype in rows for part in _ids(g, ntype)] + _class_names(task)
    datasets = {name: data for part in parts for name, data in part.datasets.items()}
    with phase("write predictions"), torch.no_grad(), ExitStack() as stack:
        def begun() -> tuple[Path, dict[str, StoredArray]]:
            partial = stack.enter_context(new_file(out))
            with problems_named(out):
                check_space(out, sum(data.num_bytes for data in datasets.values()))
                return partial, make_file(partial, datasets, {"task": task.goal.task, "split": split})

        partial, made = g.trainers.by_first(begun)
        written: RowWriter | None = None
        problem: MpignnError | None = None
        try:
            with problems_named(out):
                written = RowWriter(partial, made)
        except ResourceError as error:
            problem = error
        problem = _write_share(g, parts, written, problem, out)
        shares = g.trainers.allgather(None if written is None else written.pieces)
        g.trainers.agree(problem)
        with g.trainers.all_or_none(), problems_named(out):
            if g.trainers.rank == 0:
                write_crcs(partial, datasets, [piece for share in shares for piece in share])
                stack.close()       # gives it its name


def problems_named(out: Path) -> AbstractContextManager[None]:
    """Turn whatever the system says of a write into a `ResourceError`."""
    return os_errors(ResourceError, f"{out}: cannot be written", "; it must lie where all trainers see it, with room "
                     "for all rows")


def _write_share(g: DistGraph, parts: Sequence[_Part], writer: RowWriter | None, problem: MpignnError | None,
                 out: Path) -> MpignnError | None:
    """Write this trainer's blocks; returns what is wrong.  Collective over the trainers, those with a problem, too."""
    rank, size = g.trainers.rank, g.trainers.size
    for part in parts:
        blocks = -(-part.count // BLOCK)
        for block in each(range(rank, -(-blocks // size) * size, size), "block"):
            lo, hi = min(block * BLOCK, part.count), min((block + 1) * BLOCK, part.count)
            try:
                said = part.say(lo, hi)
                with problems_named(out):
                    if writer is not None and problem is None:
                        for name, rows in said.items():
                            check_finite(name, rows)
                            writer.write(name, lo, rows if isinstance(rows, np.ndarray) else rows.cpu().numpy())
            except (DataError, ResourceError, TrainingError) as error:
                problem = error
    try:
        with problems_named(out):
            if writer is not None:
                writer.close()
    except ResourceError as error:
        problem = problem or error
    return problem


def check_finite(name: str, rows: torch.Tensor | np.ndarray) -> None:
    """Raise `TrainingError` if rows are not finite as they will be stored."""
    if isinstance(rows, torch.Tensor) and rows.is_floating_point() and not is_finite(rows.float()):
        raise TrainingError(f"{name}: what the network says is not finite: it has diverged, or features are not finite")


def _nodes(g: DistGraph, task: Task, ntype: str, rows: DistTensor) -> _Part:
    base, count = f"node/{ntype}", len(rows)
    name = "embedding" if task.goal.ntype is None else "logits"
    datasets = {f"{base}/{name}": ArrayType(tuple(rows.shape), np.dtype(np.float32))}
    if task.goal.ntype is not None:
        datasets[f"{base}/prediction"] = _prediction(task, count)

    def say(lo: int, hi: int) -> Mapping[str, torch.Tensor]:
        found = rows.read_together(g.new_nids(np.arange(lo, hi), ntype))
        said = {f"{base}/{name}": task.in_unit(found)}
        return said if task.goal.ntype is None else said | {f"{base}/prediction": task.decide(found)}

    return _Part(datasets, count, say)


def _edges(g: DistGraph, task: EdgeTask, network: Network, rows: Mapping[str, DistTensor], etype: EType,
           ids: np.ndarray) -> _Part:
    base, count, whole = f"edge/{etype_key(etype)}", ids.size, np.dtype(np.int64)
    datasets = {f"{base}/src": ArrayType((count,), whole), f"{base}/dst": ArrayType((count,), whole)}
    stored = np.dtype(np.float32)
    if task.goal.labels is None:
        datasets[f"{base}/score"] = ArrayType((count,), stored)
    else:
        datasets |= {f"{base}/logits": ArrayType((count, task.outputs), stored),
                     f"{base}/prediction": _prediction(task, count)}

    def say(lo: int, hi: int) -> Mapping[str, torch.Tensor]:
        src, dst = g.find_edges(ids[lo:hi], etype)
        said = task.judge(network, etype, rows[etype[0]].read_together(src), rows[etype[2]].read_together(dst))
        ends = {f"{base}/{end}": g.orig_nids(nodes, ntype)
                for end, nodes, ntype in (("src", src, etype[0]), ("dst", dst, etype[2]))}
        if task.goal.labels is None:
            return ends | {f"{base}/score": said}
        return ends | {f"{base}/logits": task.in_unit(said), f"{base}/prediction": task.decide(said)}

    return _Part(datasets, count, say)


def _ids(g: DistGraph, ntype: str) -> list[_Part]:
    """The users' ids of a node type, if they gave any.  Collective over the trainers."""
    stored = g.names.ids.get(ntype)
    if stored is None:
        return []
    name, count = f"node/{ntype}/id", g.num_nodes(ntype)
    dtype = stored.values.dtype if stored.bounds is None else text_type(
        g.trainers.by_first(lambda: longest_text(stored)))

    def say(lo: int, hi: int) -> Mapping[str, np.ndarray]:
        ids = g.names.read_ids(np.arange(lo, hi), ntype)
        return {name: ids.values if ids.bounds is None else encoded(ids.of(0, hi - lo), dtype)}

    return [_Part({name: ArrayType((count,), dtype)}, count, say)]


def _class_names(task: Task) -> list[_Part]:
    """The names of classes, if they have any."""
    goal, found = task.goal, []
    if goal.class_names:
        texts = encoded(goal.class_names)
        name = f"{'edge' if goal.ntype is None else 'node'}/{goal.keys[0]}/class_names"
        datasets = {name: ArrayType(texts.shape, texts.dtype)}
        found.append(_Part(datasets, texts.size, lambda lo, hi: {name: texts[lo:hi]}))
    return found


def _prediction(task: Task, count: int) -> ArrayType:
    """What `Task.decide` gives, for so many rows."""
    example = task.decide(torch.zeros(1, task.outputs))
    return ArrayType((count, *example.shape[1:]), example.numpy().dtype)
