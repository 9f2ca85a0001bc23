"""HDF5 files with the arrays of a graph."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import GraphData
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.storage.arrays import damage_named
from mpignn.storage.form import Form, file_named
from mpignn.storage.named_arrays import graph_of_arrays

_LARGE_BYTES = 1 << 20
_MEND = "write it again, in HDF5"


def read_hdf5(path: Path, scratch: Scratch | None = None) -> GraphData:
    """A graph of either kind, its arrays named as in an .npz file; groups are what stands before a slash.

    An array may have several names, hard and soft links; each counts.  Links into other files are refused.  Large
    arrays are read some rows at a time, but for those that HDF5 keeps in chunks.

    Collective over the group of ``scratch``, if there is one.
    """
    with damage_named(str(path), _MEND), h5py.File(path, "r") as file:
        arrays = {name: _array(found, f"{path}: {name}") for name, found in _datasets(file, str(path), "", (file,))}
        return graph_of_arrays(arrays, str(path), scratch)


def _datasets(group: h5py.Group, path: str, before: str, above: tuple[h5py.Group, ...]
              ) -> Iterator[tuple[str, h5py.Dataset]]:
    """All datasets by every name that they have; `h5py.Group.visititems` tells one only.

    Args:
        group: Where to look.
        path: What errors call the file.
        before: What stands before the names in the group.
        above: The group and those that hold it.
    """
    for last in group:
        name, link = before + last, group.get(last, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(f"{path}: {name} is a link into another file, {link.filename}: store the array itself")
        if isinstance(link, h5py.SoftLink) and group.get(last) is None:
            raise DataError(f"{path}: {name} is a link to {link.path}, which is not there: store the array itself")
        found = group[last]
        if isinstance(found, h5py.Dataset):
            yield name, found
        elif isinstance(found, h5py.Group):
            if found in above:
                raise DataError(f"{path}: {name} is a link to a group that holds it: leave it out")
            yield from _datasets(found, path, f"{name}/", (*above, found))


def _array(dataset: h5py.Dataset, where: str) -> np.ndarray:
    with damage_named(where, _MEND):
        place, one_after_another = dataset.id.get_offset(), dataset.chunks is None and not dataset.external
        if place is None or not one_after_another or dataset.dtype.kind not in "biuf" or (
                not dataset.ndim or dataset.nbytes < _LARGE_BYTES):
            return np.asarray(dataset[()])
        found = FileArray(Path(dataset.file.filename), dataset.dtype, dataset.shape, place)
        if found.path.stat().st_size < place + found.nbytes:
            raise DataError(f"{where}: the file ends before its rows do; {_MEND}")
        return found.rows


FORMS = (Form("an .h5 or .hdf5 file with arrays that are named as in an .npz file", file_named(".h5", ".hdf5"),
              read_hdf5, ("scratch",), last=True),)       # so is graph.h5 of a partitioned graph
