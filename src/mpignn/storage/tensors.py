"""A tensor that is spread over ranks, as a dataset of an HDF5 file of its own.

One rank writes, block after block; each owner reads its own rows.  The file does not depend on how many there are.

Shapes: N rows, W elements in a row.
"""

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from mpignn.errors import DataError
from mpignn.storage.blocks import ArrayWriter, damage_named, read_rows
from mpignn.storage.folder import full_disk_named, new_file
from mpignn.storage.sink import writing

_DTYPE = "dtype"        # attribute: what an element means where HDF5 has no such type


def write_tensor(path: Path, name: str, shape: tuple[int, ...], stored: np.dtype, dtype: str,
                 blocks: Iterable[np.ndarray]) -> None:
    """Write a file that holds one tensor; a file of that name is replaced once all is written.  Not collective.

    Args:
        path: Of the file.
        name: Of the dataset.
        shape: (N, ...).
        stored: Type of an element in the file.
        dtype: What it means.
        blocks: The rows in order, (n, ...) each.

    Raises:
        ConfigError: The file cannot be made there.
        ResourceError: The disk is full.
    """
    with new_file(path) as partial, full_disk_named(path), writing(partial) as file:
        writer = ArrayWriter(file, name, shape, stored)
        for block in blocks:
            writer.append(block.reshape(-1, *shape[1:]))
        writer.close()
        file[name].attrs[_DTYPE] = dtype


def read_tensor(path: Path, name: str, shape: tuple[int, ...], stored: np.dtype, dtype: str, lo: int,
                out: np.ndarray) -> None:
    """Read the rows from ``lo`` on, and verify them.  Not collective.

    Args:
        path, name, shape, stored, dtype: As in `write_tensor`.
        lo: First row.
        out: (n, W) of the type ``stored``, C-contiguous.

    Raises:
        DataError: No such file or dataset, it holds a tensor of another shape or dtype, or it is damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with damage_named(str(path)), h5py.File(path, "r") as file:
        if name not in file:
            raise DataError(f"{path}: holds no tensor {name!r}, but: {', '.join(file) or 'none'}")
        data = file[name]
        found = data.attrs.get(_DTYPE, str(data.dtype))
        if data.shape != shape or data.dtype != stored or found != dtype:
            raise DataError(f"{path}: {name} is {found} {data.shape}, the tensor is {dtype} {shape}")
        read_rows(data, f"{path}: {name}", lo, lo + out.shape[0], out.reshape(-1, *shape[1:]))
