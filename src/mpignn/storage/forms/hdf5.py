"""HDF5 files with the arrays of a graph."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import GraphData
from mpignn.storage.form import Form, file_named
from mpignn.storage.named_arrays import graph_of_arrays


def read_hdf5(path: Path) -> GraphData:
    """A graph of either kind, its arrays named as in an .npz file; groups are what stands before a slash."""
    try:
        with h5py.File(path, "r") as file:
            return graph_of_arrays(_Datasets(file, path), str(path))
    except OSError as error:
        raise DataError(f"{path}: not an HDF5 file that can be read: {error}") from error


class _Datasets(Mapping[str, np.ndarray]):
    """The datasets of a file by path, read when asked for.  Links that lead elsewhere are not followed."""

    def __init__(self, file: h5py.File, path: Path):
        self._file, self._path = file, path
        self._names: list[str] = []
        file.visititems(lambda name, found: self._names.append(name) if isinstance(found, h5py.Dataset) else None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        try:
            return np.asarray(self._file[name][()])
        except (OSError, TypeError, ValueError) as error:
            raise DataError(f"{self._path}: {name}: not an array that can be read: {error}") from error


FORMS = (Form("an .h5 or .hdf5 file with arrays that are named as in an .npz file", file_named(".h5", ".hdf5"),
              read_hdf5),)
