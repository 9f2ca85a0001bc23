"""Sparse matrices of SciPy, in memory and in files that it has written.

An entry in row i and column j is an edge from node i to node j, and its value the edge data ``value``; of booleans, no
data.  Entries that are there twice are two edges.  Entries that are stored and zero are edges, too, in the layouts coo,
csr and csc; in dia they are not, and in bsr all entries of a block that is there are edges.
"""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import GraphData
from mpignn.storage.form import Form, comes_from
from mpignn.storage.named_arrays import flat


def is_matrix(source: object) -> bool:
    """Whether it is a sparse matrix or array of any layout."""
    return comes_from(source, "scipy") and hasattr(source, "tocoo")


def read_matrix(source: Any, where: str = "SciPy matrix") -> GraphData:
    """A homogeneous graph.

    Args:
        source: A sparse matrix.
        where: What errors call it.

    Raises:
        DataError: It is not square, or not of real numbers.
    """
    shape, values = tuple(source.shape), np.dtype(source.dtype)
    if len(shape) != 2 or shape[0] != shape[1] or values.kind not in "biuf":
        raise DataError(f"{where}: a matrix of shape {shape}, of {values}; expected one with as many rows as columns, "
                        "of real numbers or booleans")
    try:
        if hasattr(source, "check_format"):     # SciPy trusts the numbers of its compressed layouts
            source.check_format(full_check=True)
        entries = source.tocoo()
    except ValueError as error:
        raise DataError(f"{where}: not a sparse matrix that is sound: {error}") from error
    arrays = {"src": entries.row, "dst": entries.col, "num_nodes": np.array(shape[0])}
    return flat(arrays if values.kind == "b" else arrays | {"edge_value": entries.data}, where)


def is_matrix_file(names: Iterable[str]) -> bool:
    """Whether these are the names that `scipy.sparse.save_npz` gives to arrays."""
    return {"format", "shape", "data"} <= set(names)


def read_matrix_file(path: Path) -> GraphData:
    """A homogeneous graph, of what `scipy.sparse.save_npz` has written."""
    from scipy import sparse  # here, for who reads other sources needs no SciPy

    try:
        matrix = sparse.load_npz(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise DataError(f"{path}: not a sparse matrix that can be read: {error}") from error
    return read_matrix(matrix, str(path))


FORMS = (Form("a sparse matrix of SciPy", is_matrix, read_matrix, in_memory=True),)
