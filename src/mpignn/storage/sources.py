"""Graphs as users have them, into one form.

`read_source` takes

- a folder of ``.npy`` files, or an ``.npz`` file, with the arrays of a homogeneous graph:

  ====================== ====================================================================================
  indptr, indices        in-edges by destination: those of v are ``indices[indptr[v]:indptr[v + 1]]``; or
  src, dst               the ends of each edge, in any order; edge i goes from ``src[i]`` to ``dst[i]``
  num_nodes              optional, one number: N, where isolated nodes would be missed in src and dst
  <name>_mask            (N,) booleans: the split <name>, such as train, val and test
  edge_<name>            (E, ...) edge data <name>, in the order of indices or of src
  <name>                 (N, ...) node data <name>; features and labels are what training looks for
  ====================== ====================================================================================

- an ``.npz`` file with the arrays of a heterogeneous graph:

  ================================================ ==========================================================
  num_nodes/<ntype>                                one number, for each node type
  edge/<src:rel:dst>/indptr and .../indices        in-edges by destination; or
  edge/<src:rel:dst>/src and .../dst               the ends of each edge
  edge/<src:rel:dst>/data/<name>                   (E, ...) edge data
  node/<ntype>/<name>                              (N, ...) node data
  split/<ntype or src:rel:dst>/<name>              integer ids of the split <name>, or booleans, one for each
  ================================================ ==========================================================

- an ``.mtx`` file, a square sparse matrix in the Matrix Market format: an entry in row i and column j is an edge from
  node i to node j, whose value, if the file has values, is the edge data ``value``; of a symmetric matrix both ways.

- the name of a bundled data set.

Pickled arrays are not read.  Folders are mapped, not loaded.  In which type numbers are stored says
`mpignn.storage.canonical`.

Shapes: N nodes, E edges of a type.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.csc import CSC, csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, EType, GraphData, etype_key, parse_etype
from mpignn.storage.canonical import canonical, integers, whole
from mpignn.storage.validate import ids_of_mask, validate

_STRUCTURE = ("indptr", "indices", "src", "dst", "num_nodes")
_ACCEPTED = ("a folder of .npy files with indptr and indices, or src and dst; an .npz file with these, or with "
             "num_nodes/<ntype> and edge/<src:rel:dst>/...; an .mtx file; or a bundled data set")


def read_source(source: str | Path, keep_dtype: bool = False) -> GraphData:
    """Read a graph, its numbers as they are stored, and make sure that it is sound.  Not collective.

    Args:
        source: A folder, a file, or the name of a bundled data set; see above.
        keep_dtype: As in `mpignn.storage.canonical.canonical`.

    Raises:
        DataError: Nothing that can be read, or a graph that is not sound; names the array and the first bad entry.
    """
    path = Path(source)
    if path.is_dir():
        data = _flat(_Folder(path), str(path))
    elif path.is_file():
        data = FORMATS.get(path.suffix.lower(), _npz)(path)
    else:
        data = _bundled(str(source))
    data = canonical(data, keep_dtype)
    validate(data)
    return data


def _npz(path: Path) -> GraphData:
    arrays = _Npz(path)
    return (_typed if any("/" in key for key in arrays) else _flat)(arrays, str(path))


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
        path = self._path / f"{name}.npy"
        if path.exists() and not path.is_file():        # a pipe would be waited on for ever
            raise DataError(f"{path}: not a file")
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            return array
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not an array that can be read: {_readable(error)}") from error


class _Npz(Mapping[str, np.ndarray]):
    """The arrays of an .npz file, loaded when asked for."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not an .npz file that can be read: {error}; expected {_ACCEPTED}") from error
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: a single array is not a graph; expected {_ACCEPTED}")

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
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self._path}: {name}: not an array that can be read: {_readable(error)}") from error


def _flat(arrays: Mapping[str, np.ndarray], where: str) -> GraphData:
    others = {name: arrays[name] for name in arrays if name not in _STRUCTURE}
    num_nodes = _flat_num_nodes(arrays, others, where)
    csc = _structure(arrays, num_nodes, num_nodes, where)
    node_data, edge_data, splits = {}, {}, {}
    for name, array in others.items():
        if name.endswith("_mask"):
            splits[name.removesuffix("_mask")] = ids_of_mask(array, num_nodes, f"{where}: {name}")
        elif name.startswith("edge_") and array.ndim and array.shape[0] == csc.num_edges:
            edge_data[name.removeprefix("edge_")] = array
        elif array.ndim and array.shape[0] == num_nodes:
            node_data[name] = array
        else:
            raise DataError(f"{where}: {name} has shape {array.shape}, expected one row for each of {num_nodes} nodes"
                            + (f" or {csc.num_edges} edges" if name.startswith("edge_") else ""))
    return GraphData({NTYPE: num_nodes}, {ETYPE: csc}, {NTYPE: node_data} if node_data else {},
                     {ETYPE: edge_data} if edge_data else {}, {NTYPE: splits} if splits else {})


def _flat_num_nodes(arrays: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], where: str) -> int:
    if "num_nodes" in arrays:
        return whole(arrays["num_nodes"], f"{where}: num_nodes")
    if "indptr" in arrays:
        return max(0, arrays["indptr"].size - 1)
    for name in ("features", "labels", "train_mask"):
        if name in others and others[name].ndim:
            return len(others[name])
    return 1 + max((int(arrays[end].max(initial=-1)) for end in ("src", "dst") if end in arrays), default=-1)


def _typed(arrays: Mapping[str, np.ndarray], where: str) -> GraphData:
    num_nodes: dict[str, int] = {}
    node_data: dict[str, dict[str, np.ndarray]] = {}
    edges: dict[EType, dict[str, np.ndarray]] = {}
    edge_data: dict[EType, dict[str, np.ndarray]] = {}
    split_keys = []
    for key in arrays:
        match key.split("/"):
            case ["num_nodes", ntype]:
                num_nodes[ntype] = whole(arrays[key], f"{where}: {key}")
            case ["node", ntype, name]:
                node_data.setdefault(ntype, {})[name] = arrays[key]
            case ["edge", spelt, ("indptr" | "indices" | "src" | "dst") as name]:
                edges.setdefault(parse_etype(spelt), {})[name] = arrays[key]
            case ["edge", spelt, "data", name]:
                edge_data.setdefault(parse_etype(spelt), {})[name] = arrays[key]
            case ["split", _, _]:
                split_keys.append(key)
            case _:
                raise DataError(f"{where}: {key!r} has no meaning; expected {_ACCEPTED}")
    for etype in edges:
        for end in (etype[0], etype[2]):
            if end not in num_nodes:
                raise DataError(f"{where}: num_nodes/{end} is missing, but there are edges {etype_key(etype)}")
    csc = {etype: _structure(named, num_nodes[etype[0]], num_nodes[etype[2]], f"{where}: edge/{etype_key(etype)}")
           for etype, named in edges.items()}
    sizes = {**num_nodes, **{etype_key(e): c.num_edges for e, c in csc.items()}}
    splits: dict[str, dict[str, np.ndarray]] = {}
    for path in split_keys:
        _, key, name = path.split("/")
        splits.setdefault(key, {})[name] = _split_ids(arrays[path], sizes.get(key, 0), f"{where}: {path}")
    return GraphData(num_nodes, csc, node_data, edge_data, splits)


def _structure(arrays: Mapping[str, np.ndarray], num_src: int, num_dst: int, where: str) -> CSC:
    """The in-edges of one type; of src and dst only what would keep them from being grouped is checked."""
    if "indptr" in arrays and "indices" in arrays:
        indptr = integers(arrays["indptr"], f"{where}: indptr")
        return CSC(indptr.astype(np.int64, copy=False), integers(arrays["indices"], f"{where}: indices"))
    if "src" not in arrays or "dst" not in arrays:
        raise DataError(f"{where}: no edges found; expected indptr and indices, or src and dst, got: "
                        + (", ".join(sorted(arrays)) or "nothing"))
    src, dst = (integers(arrays[end], f"{where}: {end}") for end in ("src", "dst"))
    if src.shape != dst.shape:
        raise DataError(f"{where}: src has {src.size} entries and dst {dst.size}; expected one of each for an edge")
    for end, ids, count in (("src", src, num_src), ("dst", dst, num_dst)):
        bad = np.flatnonzero((ids < 0) | (ids >= count))
        if bad.size:
            raise DataError(f"{where}: {end}[{bad[0]}] = {ids[bad[0]]} but there are {count} nodes")
    return csc_from_coo(src, dst, num_dst)


def _split_ids(array: np.ndarray, count: int, what: str) -> np.ndarray:
    if array.dtype == bool and array.size:
        return ids_of_mask(array, count, what)
    return np.sort(integers(array, what)).astype(np.int64, copy=False)


def _readable(error: Exception) -> str:
    """What NumPy says of a file, with the mend where it is an array of Python objects."""
    if "object" in str(error).lower():
        return "it holds Python objects; store numbers, as array.astype('float32') makes them"
    return str(error)


def _bundled(name: str) -> GraphData:
    from mpignn.storage.datasets import bundled_names, load_bundled

    if name not in bundled_names():
        raise DataError(f"{name}: no such file or folder, and not a bundled data set ({', '.join(bundled_names())}); "
                        f"expected {_ACCEPTED}")
    return load_bundled(name)


def _mtx(path: Path) -> GraphData:
    """A sparse matrix in the Matrix Market format (Boisvert, Pozo and Remington 1996)."""
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
    return _flat(arrays if values == "pattern" else arrays | {"edge_value": matrix.data}, str(path))


FORMATS: dict[str, Callable[[Path], GraphData]] = {".npz": _npz, ".mtx": _mtx}     # by the ending of a file's name
