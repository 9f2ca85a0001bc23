"""Rows that trainers own in a file of their own, by original id: what it holds does not depend on who owns them.

Shapes: N rows of a tensor.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpignn.errors import MpignnError
from mpignn.storage.tensors import TensorType, read_about, read_tensor, write_tensors
from mpignn.store.registry import TensorRegistry

if TYPE_CHECKING:
    from mpignn.store.tensor import DistTensor


def save_rows(path: Path, registry: TensorRegistry, tensors: Mapping[str, "DistTensor"], about: str) -> None:
    """Write some tensors to one file, which appears when all of it is on the disk.  Collective over the trainers.

    Args:
        path: Path of the file; one of that name is replaced.
        registry: To which the tensors belong.
        tensors: By name of the dataset.
        about: What else to keep.

    Raises:
        ConfigError: On all trainers: no file can be made there; rows that stand for edges.
        ResourceError: On all trainers: the disk is full.
    """
    def blocks(tensor: "DistTensor") -> Iterator[np.ndarray]:
        for span in _type(tensor).blocks():
            yield tensor[registry.rows_of(_policy(tensor), *span)].numpy()

    for tensor in tensors.values():
        tensor.sync()
    with registry.trainers.all_or_none():
        if registry.trainers.rank == 0:
            write_tensors(path, {name: (_type(tensor), blocks(tensor)) for name, tensor in tensors.items()}, about)


def load_rows(path: Path, registry: TensorRegistry, tensors: Mapping[str, "DistTensor"]) -> None:
    """Replace all rows of some tensors by those of a file of `save_rows`.  Collective over the trainers.

    The trainers read a share each.

    Args:
        path: Path of the file.
        registry: To which the tensors belong.
        tensors: By name of the dataset.

    Raises:
        DataError: On all trainers: no such file or dataset, one of another shape or dtype, or a damaged one; some rows
            may be replaced then.
    """
    problem, trainers = None, registry.trainers
    try:
        for name, tensor in tensors.items():
            for first, last in _type(tensor).blocks()[trainers.rank::trainers.size]:
                rows = np.empty((last - first, *tensor.shape[1:]), _type(tensor).dtype)
                read_tensor(path, name, _type(tensor), first, rows.reshape(last - first, -1))
                tensor[registry.rows_of(_policy(tensor), first, last)] = rows
    except MpignnError as error:
        problem = error
    for tensor in tensors.values():
        tensor.sync()
    trainers.agree(problem)


def read_about_together(path: Path, registry: TensorRegistry) -> str:
    """What else a file of `save_rows` keeps.  Collective over the trainers.

    Raises:
        DataError: On all trainers: no such file, or a damaged one.
    """
    return registry.trainers.by_first(lambda: read_about(path))


def _type(tensor: "DistTensor") -> TensorType:
    return TensorType(tuple(tensor.shape), tensor.local[:0].numpy().dtype, str(tensor.dtype))


def _policy(tensor: "DistTensor") -> str:
    assert tensor.part_policy is not None, "what the trainers own stands for something"
    return tensor.part_policy
