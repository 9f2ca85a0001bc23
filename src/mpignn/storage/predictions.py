"""What a model says of nodes and edges, as one HDF5 file in original ids.

Shapes: N rows of a dataset.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpignn.storage.blocks import ArrayWriter
from mpignn.storage.folder import full_disk_named, new_file
from mpignn.storage.sink import writing


@dataclass(frozen=True)
class Dataset:
    """One dataset to write.

    Attributes:
        shape: (N, ...).
        dtype: Of an element.
    """

    shape: tuple[int, ...]
    dtype: np.dtype


def write_predictions(path: Path, groups: Iterable[tuple[Mapping[str, Dataset], Iterable[Mapping[str, np.ndarray]]]],
                      attributes: Mapping[str, str]) -> None:
    """Write a file; one of that name is replaced once all is written.  Not collective.

    Args:
        path: Of the file.
        groups: Datasets that are written side by side: what they are, by name, and their rows in order, block by block.
        attributes: Of the file.

    Raises:
        ConfigError: The file cannot be made there.
        ResourceError: The disk is full.
    """
    with new_file(path) as partial, full_disk_named(path), writing(partial) as file:
        file.attrs.update(attributes)
        for datasets, blocks in groups:
            writers = {name: ArrayWriter(file, name, data.shape, data.dtype) for name, data in datasets.items()}
            for block in blocks:
                for name, rows in block.items():
                    writers[name].append(rows)
            for writer in writers.values():
                writer.close()
