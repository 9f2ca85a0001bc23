"""Sparse matrices in the Matrix Market format (Boisvert, Pozo and Remington 1996)."""

from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import GraphData
from mpignn.storage.form import Form, file_named
from mpignn.storage.named_arrays import flat


def read_mtx(path: Path) -> GraphData:
    """An entry in row i and column j is an edge from node i to node j, whose value, if the file has values, is the edge
    data ``value``; of a symmetric matrix both ways."""
    from scipy import io  # here, for who reads other sources needs no SciPy

    try:
        rows, columns, _, layout, values, _ = io.mminfo(path)
        if layout != "coordinate" or values == "complex" or rows != columns:
            raise DataError(f"{path}: a {layout} matrix of {rows} x {columns}, {values}; expected a sparse one with as "
                            "many rows as columns, of real numbers or none")
        matrix = io.mmread(path)
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: not a Matrix Market file that can be read: {error}") from error
    arrays = {"src": matrix.row, "dst": matrix.col, "num_nodes": np.array(rows)}
    return flat(arrays if values == "pattern" else arrays | {"edge_value": matrix.data}, str(path))


FORMS = (Form("an .mtx file", file_named(".mtx"), read_mtx, reads=lambda path: [path]),)
