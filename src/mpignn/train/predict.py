"""Predictions for users: what a trained network says of all nodes, or of the edges of a split, in original ids.

The first trainer writes, block by block; the others wait, and their rows are read meanwhile.

Shapes: N nodes of a type, E edges of a split, B of them in a block, C classes, F columns of a node's row.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from mpignn.dist.graph import DistGraph
from mpignn.dist.tensor import DistTensor
from mpignn.errors import MpignnError
from mpignn.graph.types import EType, etype_key
from mpignn.log import phase
from mpignn.storage.predictions import Dataset, write_predictions
from mpignn.train.edge_task import EdgeTask
from mpignn.train.network import Network
from mpignn.train.task import Task

_BLOCK = 1 << 14        # rows at a time

Group = tuple[Mapping[str, Dataset], Iterator[Mapping[str, np.ndarray]]]


def write(g: DistGraph, task: Task, network: Network, rows: Mapping[str, DistTensor], split: str, out: Path) -> None:
    """Write what a network says.  Collective over the trainers.

    For tasks about nodes: ``/node/<ntype>/logits`` and ``prediction``, row i of the node with original id i.  About
    edges: ``/node/<ntype>/embedding`` likewise, and for edges of a split, in order of original edge id, the original
    ids of their ends ``/edge/<src:rel:dst>/src`` and ``dst``, with ``logits`` and ``prediction``, or with ``score``.

    Args:
        g: The graph.
        task: What was learnt.
        network: In the mode for evaluation.
        rows: (N, F) what the model's last layer says of all nodes of the types that the task is about.
        split: Of the edges.
        out: The file; one of that name is replaced.

    Raises:
        ConfigError: On all trainers: no file can be made there.
        ResourceError: On all trainers: the disk is full.
    """
    problem = None
    with phase("write predictions"), torch.no_grad():
        if g.trainers.rank == 0:
            groups = [_nodes(g, task, ntype, tensor) for ntype, tensor in rows.items()]
            if task.goal.ntype is None:
                groups += [_edges(g, task, network, rows, etype, ids)
                           for etype, ids in (task.seeds(g, split) or {}).items()]
            try:
                write_predictions(out, groups, {"task": task.goal.task, "split": split})
            except MpignnError as error:
                problem = error
        g.trainers.agree(problem)


def _nodes(g: DistGraph, task: Task, ntype: str, rows: DistTensor) -> Group:
    base, count = f"node/{ntype}", len(rows)
    name = "embedding" if task.goal.ntype is None else "logits"
    datasets = {f"{base}/{name}": Dataset(tuple(rows.shape), np.dtype(np.float32))}
    if task.goal.ntype is not None:
        datasets[f"{base}/prediction"] = _prediction(task, count)

    def blocks() -> Iterator[Mapping[str, np.ndarray]]:
        for first in range(0, count, _BLOCK):
            found = rows[g.new_nids(np.arange(first, min(first + _BLOCK, count)), ntype)]
            block = {f"{base}/{name}": found.numpy()}
            if task.goal.ntype is not None:
                block[f"{base}/prediction"] = task.decide(found).numpy()
            yield block

    return datasets, blocks()


def _edges(g: DistGraph, task: EdgeTask, network: Network, rows: Mapping[str, DistTensor], etype: EType,
           ids: np.ndarray) -> Group:
    base, count, whole = f"edge/{etype_key(etype)}", ids.size, np.dtype(np.int64)
    datasets = {f"{base}/src": Dataset((count,), whole), f"{base}/dst": Dataset((count,), whole)}
    if task.goal.labels is None:
        datasets[f"{base}/score"] = Dataset((count,), np.dtype(np.float32))
    else:
        datasets |= {f"{base}/logits": Dataset((count, task.outputs), np.dtype(np.float32)),
                     f"{base}/prediction": _prediction(task, count)}

    def blocks() -> Iterator[Mapping[str, np.ndarray]]:
        for first in range(0, count, _BLOCK):
            src, dst = g.find_edges(ids[first:first + _BLOCK], etype)
            said = task.judge(network, etype, rows[etype[0]][src], rows[etype[2]][dst])
            block = {f"{base}/{end}": g.orig_nids(nodes, ntype).numpy()
                     for end, nodes, ntype in (("src", src, etype[0]), ("dst", dst, etype[2]))}
            if task.goal.labels is None:
                yield block | {f"{base}/score": said.numpy()}
            else:
                yield block | {f"{base}/logits": said.numpy(), f"{base}/prediction": task.decide(said).numpy()}

    return datasets, blocks()


def _prediction(task: Task, count: int) -> Dataset:
    """Of so many rows: as `Task.decide` gives them."""
    example = task.decide(torch.zeros(1, task.outputs))
    return Dataset((count, *example.shape[1:]), example.numpy().dtype)
