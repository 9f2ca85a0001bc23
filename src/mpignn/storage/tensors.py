"""Tensors that are spread over ranks, as datasets of an HDF5 file of their own.

One rank writes, block after block; any reads the rows that it wants.  The file does not depend on how many there are.

Shapes: N rows, W elements in a row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mpignn.errors import DataError
from mpignn.large.disk import full_disk_named
from mpignn.storage.array_writers import ArrayWriter
from mpignn.storage.arrays import ArrayType, damage_named, read_rows, stored_array
from mpignn.storage.atomic import new_file
from mpignn.storage.sink import writing

_MEANING = "dtype"      # attribute
_ABOUT = "about"
_MEND = "write it again, or take a copy of it"


@dataclass(frozen=True, slots=True)
class TensorType(ArrayType):
    """What a tensor is in a file.

    Attributes:
        meaning: What an element is to those who use the tensor, where HDF5 has no such type.
    """

    meaning: str


def write_tensors(path: Path, tensors: Mapping[str, tuple[TensorType, Iterable[np.ndarray]]],
                  about: str = "") -> None:
    """Write a file that holds some tensors; a file of that name is replaced once all is written.  Not collective.

    Args:
        path: Path of the file.
        tensors: By name of the dataset, with the rows in order, (n, ...) each.
        about: What else to keep; `read_about` tells it.

    Raises:
        ConfigError: The file cannot be made there.
        ResourceError: The disk is full.
    """
    with new_file(path) as partial, full_disk_named(path), writing(partial) as file:
        if about:
            file.attrs[_ABOUT] = about
        for name, (tensor, blocks) in tensors.items():
            writer = ArrayWriter(file, name, tensor.shape, tensor.dtype)
            for block in blocks:
                writer.append(block.reshape(len(block), *tensor.shape[1:]))
            writer.close()
            file[name].attrs[_MEANING] = tensor.meaning


def read_about(path: Path) -> str:
    """What else a file keeps; empty for nothing.  Not collective.

    Raises:
        DataError: No such file, or a damaged one.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with damage_named(str(path), _MEND), h5py.File(path, "r") as file:
        about: str = file.attrs.get(_ABOUT, "")
        return about


def read_tensor(path: Path, name: str, tensor: TensorType, lo: int, out: np.ndarray) -> None:
    """Read the rows from ``lo`` on, and verify them.  Not collective.

    Args:
        path: Path of the file.
        name: Name of the dataset.
        tensor: What it must be.
        lo: First row.
        out: (n, W) of the type ``dtype``, C-contiguous.

    Raises:
        DataError: No such file or dataset, it holds a tensor of another shape or dtype, or it is damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with damage_named(str(path), _MEND), h5py.File(path, "r") as file:
        if name not in file:
            raise DataError(f"{path}: holds no tensor {name!r}, but: {', '.join(file) or 'none'}")
        data = file[name]
        found = data.attrs.get(_MEANING, str(data.dtype))
        if data.shape != tensor.shape or data.dtype != tensor.dtype or found != tensor.meaning:
            raise DataError(f"{path}: {name} is {found} {data.shape}, the tensor is {tensor.meaning} {tensor.shape}")
        array = stored_array(file, str(path), name, _MEND)
        read_rows(array, lo, lo + out.shape[0], out.reshape(len(out), *tensor.shape[1:]))
