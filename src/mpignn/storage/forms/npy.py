"""Arrays that NumPy has stored: folders of .npy files, which are mapped and not loaded, and .npz files.

Pickled arrays are not read.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import GraphData
from mpignn.large.scratch import Scratch
from mpignn.storage.form import Form, file_named, folder_with
from mpignn.storage.forms.sparse import is_matrix_file, read_matrix_file
from mpignn.storage.named_arrays import FLAT, TYPED, flat, graph_of_arrays

_WANTED = f"arrays named {FLAT}, or {TYPED}"


def is_folder(path: Path) -> bool:
    """Whether a folder has the ends of edges as .npy files."""
    return folder_with("indptr.npy", "indices.npy", "src.npy", "dst.npy")(path)


def read_folder(path: Path, scratch: Scratch | None = None) -> GraphData:
    """A homogeneous graph.  Collective over the group of ``scratch``, if there is one."""
    return flat(_Folder(path), str(path), scratch)


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped; raises `DataError` if it cannot be read."""
    if path.exists() and not path.is_file():        # a pipe would be waited on for ever
        raise DataError(f"{path}: not a file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(f"{path}: not an array that can be read: {_readable(error)}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: not an array that can be read: it holds several, as an .npz file does")
    return array


def read_npz(path: Path) -> GraphData:
    """A graph of either kind, or a sparse matrix."""
    arrays = Npz(path)
    return read_matrix_file(path) if is_matrix_file(arrays) else graph_of_arrays(arrays, str(path))


class _Folder(Mapping[str, np.ndarray]):
    """The .npy files of a folder, mapped when asked for."""

    def __init__(self, path: Path):
        self._path = path
        self._names = sorted(file.stem for file in path.glob("*.npy"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return read_npy(self._path / f"{name}.npy")


class Npz(Mapping[str, np.ndarray]):
    """The arrays of an .npz file, loaded when asked for."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
            raise DataError(f"{path}: not an .npz file that can be read: {error}; expected {_WANTED}") from error
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: a single array is not a graph; expected {_WANTED}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._file.files:
            raise KeyError(name)
        try:
            array: np.ndarray = self._file[name]
            return array
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise DataError(f"{self._path}: {name}: not an array that can be read: {_readable(error)}") from error


def _readable(error: Exception) -> str:
    """What NumPy says of a file, with the mend where it is an array of Python objects."""
    if "object" in str(error).lower():
        return "it holds Python objects; store numbers, as array.astype('float32') makes them"
    return str(error)


FORMS = (Form(f"a folder of .npy files, {FLAT}", is_folder, read_folder, ("scratch",)),
         Form(f"an .npz file with the same arrays, with {TYPED}, or of "
              "scipy.sparse.save_npz", file_named(".npz", ".npy"), read_npz))
