"""Graphs in DGL's chunked format: a ``metadata.json`` that names the files, and many small files.

As the user guide of DGL, "Data Preprocessing" of distributed training, specifies it.

Shapes: N nodes, E edges of a type, n rows of a chunk.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from mpignn.errors import DataError
from mpignn.files import read_file
from mpignn.graph.types import GraphData, parse_etype
from mpignn.storage.form import Form, folder_with
from mpignn.storage.forms.dgl_graph import USUAL
from mpignn.storage.forms.npy import is_folder, read_npy
from mpignn.storage.forms.tables import DESCRIPTION
from mpignn.storage.named_arrays import checked_pairs, data_of_type, typed

METADATA = "metadata.json"
_MOST_BYTES = 1 << 28
_TYPES = ("node_type", "edge_type")


def is_chunked(path: Path) -> bool:
    """Whether a folder has such metadata, and beside it no arrays or description that say themselves what they are.

    A file of this name that other programs have written does not count; one that cannot be read does, so that it is
    told.
    """
    if not folder_with(METADATA)(path) or is_folder(path) or (path / DESCRIPTION).exists():
        return False
    try:
        found = _parsed(path / METADATA)
    except DataError:
        return True
    return isinstance(found, dict) and any(key in found for key in _TYPES)


def read_chunks(folder: Path) -> GraphData:
    """A graph of one type or several; names as in `mpignn.storage.forms.dgl_graph.read_dgl_graph`."""
    meta = _Metadata(folder / METADATA)
    num_nodes = meta.sizes("node_type", "num_nodes_per_chunk")
    num_edges = meta.sizes("edge_type", "num_edges_per_chunk")
    edges, node_data, edge_data = (meta.mapping(key) for key in ("edges", "node_data", "edge_data"))
    arrays: dict[str, np.ndarray] = {f"num_nodes/{ntype}": np.array(sum(sizes)) for ntype, sizes in num_nodes.items()}
    for key, sizes in num_edges.items():
        src, _, dst = parse_etype(key)
        for end in (src, dst):
            if end not in num_nodes:
                raise DataError(f"{meta.path}: edge type {key!r}: {end!r} is not in node_type")
        counts = sum(num_nodes[src]), sum(num_nodes[dst])
        pairs = np.concatenate([np.empty((0, 2), np.int64)] + [
            checked_pairs(array, counts, str(path))
            for path, array in meta.chunks(edges, key, f"edges/{key}", sizes)])
        arrays |= {f"edge/{key}/src": pairs[:, 0], f"edge/{key}/dst": pairs[:, 1]}
    for kind, of_kind, data in (("node", num_nodes, node_data), ("edge", num_edges, edge_data)):
        for key, named in data.items():
            if key not in of_kind:
                raise DataError(f"{meta.path}: {kind}_data is given for {key!r}, which is not in {kind}_type")
            whole = {name: meta.array(meta.object(named, f"{kind}_data/{key}"), name, f"{kind}_data/{key}/{name}",
                                      sum(of_kind[key])) for name in meta.object(named, f"{kind}_data/{key}")}
            arrays |= data_of_type(key, sum(of_kind[key]), whole, str(meta.path),
                                   USUAL if kind == "node" else {"label": USUAL["label"]})
    return typed(arrays, str(meta.path))


def reads_chunks(folder: Path) -> list[Path]:
    """What `read_chunks` reads.  Not collective.

    Raises:
        DataError: Metadata that do not name files.
    """
    meta = _Metadata(folder / METADATA)
    found = list(meta.mapping("edges").items())
    for kind in ("node_data", "edge_data"):
        for key, named in meta.mapping(kind).items():
            found += meta.object(named, f"{kind}/{key}").items()
    return [meta.path, *(path for what, spec in found for path in meta.files(meta.object(spec, what), what))]


def _parsed(path: Path) -> Any:
    try:
        return json.loads(read_file(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not metadata of DGL's chunked format that can be read: {error}") from error


class _Metadata:
    """What ``metadata.json`` says; raises `DataError` with the key where it does not say it."""

    def __init__(self, path: Path):
        self.path = path
        self._all = self.object(_parsed(path), "all of it")

    def object(self, value: Any, what: str) -> Mapping[str, Any]:
        """``value``, which must be an object of JSON."""
        if not isinstance(value, dict):
            raise DataError(f"{self.path}: {what} must be an object, got {type(value).__name__}")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The object at a key; where it is missing, an empty one."""
        return self.object(self._all.get(key) or {}, key)

    def sizes(self, types: str, per_chunk: str) -> dict[str, list[int]]:
        """Rows of each chunk, by type."""
        names, sizes = self._all.get(types), self._all.get(per_chunk)
        if not _list_of(names, str):
            raise DataError(f"{self.path}: {types} must be a list of names")
        if not isinstance(sizes, list) or len(sizes) != len(names) or not all(
                _list_of(of_type, int) and min(of_type, default=0) >= 0 for of_type in sizes):
            raise DataError(f"{self.path}: {per_chunk} must be a list with a list of numbers for each {types}")
        return dict(zip(names, sizes, strict=True))

    def chunks(self, named: Mapping[str, Any], name: str, what: str, sizes: Sequence[int]
               ) -> list[tuple[Path, np.ndarray]]:
        """The files of an array, and what they hold; as many rows as ``sizes`` says, where there is a file for each."""
        if name not in named:
            raise DataError(f"{self.path}: {what} is missing")
        spec = self.object(named[name], what)
        style, files = self.object(spec.get("format"), f"{what}/format"), self.files(spec, what)
        found = [(path, _read(path, style, f"{self.path}: {what}/format")) for path in files]
        rows = [len(array) for _, array in found]
        for (path, array), size in zip(found, sizes if len(sizes) == len(found) else rows, strict=True):
            if len(array) != size:
                raise DataError(f"{path}: has {len(array)} rows, but {self.path} says {size}")
        if sum(rows) != sum(sizes):
            raise DataError(f"{self.path}: {what}: its {len(files)} files have {sum(rows)} rows, expected {sum(sizes)}")
        return found

    def files(self, spec: Mapping[str, Any], what: str) -> list[Path]:
        """The files of an array."""
        files = spec.get("data")
        if not _list_of(files, str):
            raise DataError(f"{self.path}: {what}/data must be a list of files")
        return [self.path.parent / file for file in files]      # absolute ones stay as they are

    def array(self, named: Mapping[str, Any], name: str, what: str, count: int) -> np.ndarray:
        """An array of ``count`` rows, whole."""
        found = self.chunks(named, name, what, [count])
        if not found:       # no file, of no rows
            return np.empty(0, np.float32)
        filled = [(path, array) for path, array in found if len(array)] or found
        for path, array in filled[1:]:
            if array.shape[1:] != filled[0][1].shape[1:]:
                raise DataError(f"{path}: has rows of shape {array.shape[1:]}, but those of {filled[0][0]} have "
                                f"{filled[0][1].shape[1:]}")
        return np.concatenate([array for _, array in filled]) if len(filled) > 1 else filled[0][1]


def _read(path: Path, style: Mapping[str, Any], what: str) -> np.ndarray:
    from mpignn.tables import numbers  # here, for who reads other sources needs no Arrow

    match style.get("name"):
        case "numpy":
            array = read_npy(path)
        case "csv":
            delimiter = style.get("delimiter", ",")
            if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii():
                raise DataError(f"{what}: delimiter must be one character of ASCII, got {delimiter!r}")
            array = numbers.read_text(path, delimiter)
            array = array[:, 0] if array.shape[1] == 1 else array
        case "parquet":
            array = numbers.read_parquet(path)
        case other:
            raise DataError(f"{what}: name must be csv, numpy or parquet, got {other!r}")
    if not array.ndim:
        raise DataError(f"{path}: a single number is not an array of rows")
    return array


def _list_of(value: Any, kind: type) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in value)


FORMS = (Form(f"a folder with the {METADATA} of DGL's chunked format", is_chunked, read_chunks, reads=reads_chunks),)
