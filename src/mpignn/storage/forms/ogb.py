"""Data sets of nodes of the Open Graph Benchmark, as unpacked: folders ``raw``, ``split`` and ``mapping``.

``raw`` holds tables of numbers in text, or .npz files where the data set is large, of a graph of one type or several.

Shapes: N nodes, E edges of a type.
"""

import csv
import gzip
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key, parse_etype
from mpignn.graph.user_ids import UserIds
from mpignn.storage.canonical import whole
from mpignn.storage.form import Form, folder_with
from mpignn.storage.forms.npy import Npz
from mpignn.storage.named_arrays import checked_pairs, data_of_type, typed
from mpignn.storage.validate import LABELS

log = logging.getLogger(__name__)

_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_USUAL = {"node-feat": "features", "node-label": "labels", "edge-feat": "feat", "species": "species"}
# Sets whose edges OGB makes to two when it loads them: by their folders, and by what their splits go by, for the zips
# unpack into folders of other names.
_STORED_ONCE, _SPLITS_OF_THESE = ("ogbn_products", "ogbn_proteins"), ("sales_ranking", "species")
_END = ".csv.gz"


@dataclass
class _Raw:
    """What the folder ``raw`` holds."""

    num_nodes: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, tuple[Path, np.ndarray]] = field(default_factory=dict)     # (E, 2) ends by ``src:rel:dst``
    data: list[tuple[str, str, Path, np.ndarray]] = field(default_factory=list)     # type and name of each array


def read_ogb(folder: Path) -> GraphData:
    """A graph with its features, labels and splits, and what else there is for each node or edge.

    ``node-feat`` are the features, ``edge-feat`` is the edge data ``feat``, ``node_year`` the node data ``year``, and
    the split ``valid`` is ``val``.  Names that ``mapping`` gives to nodes and classes are kept.  Where OGB makes each
    edge of its own set to two, both ways, so does this, whatever the folder is called now.

    Raises:
        DataError: A set of links, whose edges are not all in ``raw``, or nothing that can be read.
    """
    inside = folder / "raw"
    root = folder if inside.is_dir() else Path(os.path.abspath(folder)).parent
    _refuse_links(root)
    raw = _read_raw(inside if inside.is_dir() else folder)
    twice = 2 if _is_stored_once(root) else 1
    if twice == 2:
        log.info("%s: each edge becomes two, both ways, as OGB does with this data set", root)
    arrays: dict[str, np.ndarray] = {f"num_nodes/{ntype}": np.array(count) for ntype, count in raw.num_nodes.items()}
    num_rows = dict(raw.num_nodes)
    for key, (path, pairs) in raw.pairs.items():
        src, _, dst = parse_etype(key)
        for end in (src, dst):
            if end not in raw.num_nodes:
                raise DataError(f"{path}: the number of {end!r} nodes is not given")
        pairs = checked_pairs(pairs, (raw.num_nodes[src], raw.num_nodes[dst]), str(path))
        num_rows[key] = len(pairs)
        if twice == 2:
            pairs = np.stack([pairs, pairs[:, ::-1]], axis=1).reshape(-1, 2)
        arrays |= {f"edge/{key}/src": pairs[:, 0], f"edge/{key}/dst": pairs[:, 1]}
    for key, name, path, array in raw.data:
        if key not in num_rows:
            raise DataError(f"{path}: data of {key!r}, which is no type of the graph")
        rows = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 and name != "features" else array
        named = data_of_type(key, num_rows[key], {name: rows}, str(path), {})
        repeats = twice if ":" in key else 1
        arrays |= {what: np.repeat(found, repeats, axis=0) if repeats > 1 else found for what, found in named.items()}
    data = typed(arrays | _splits(root / "split", raw.num_nodes), str(folder))
    return replace(data, user_ids=_user_ids(root / "mapping", raw.num_nodes),
                   class_names=_class_names(root / "mapping", data.node_data))


def _names(root: Path) -> set[str]:
    """What a folder is called, with links and without, as OGB's releases for PyG and DGL did, too."""
    return {Path(path).name.removesuffix("_pyg").removesuffix("_dgl")
            for path in (os.path.abspath(root), os.path.realpath(root))}


def _is_stored_once(root: Path) -> bool:
    return not _names(root).isdisjoint(_STORED_ONCE) or any((root / "split" / by).is_dir() for by in _SPLITS_OF_THESE)


def _refuse_links(root: Path) -> None:
    links = next(root.glob("split/*/train.pt"), None)
    if links is not None or any(name.startswith("ogbl_") for name in _names(root)):
        raise DataError(f"{links or root}: a data set of links of the Open Graph Benchmark; only those of nodes "
                        "(ogbn_) are read: load it by its own package, and store edges and splits as an .npz file")


def _read_raw(raw: Path) -> _Raw:
    if (raw / "data.npz").exists():
        return _one_type_npz(raw)
    if (raw / "num_nodes_dict.npz").exists():
        return _types_npz(raw)
    return (_types_text if (raw / f"num-node-dict{_END}").exists() else _one_type_text)(raw)


def _one_type_text(raw: Path) -> _Raw:
    key = etype_key(ETYPE)
    return _Raw({NTYPE: _one(raw / f"num-node-list{_END}")}, {key: _pairs_text(raw)},
                [*_data_text(raw, "node", NTYPE), *_data_text(raw, "edge", key)])


def _types_text(raw: Path) -> _Raw:
    found = _Raw()
    path = raw / f"num-node-dict{_END}"
    rows = _lines(path)
    if len(rows) != 2:
        raise DataError(f"{path}: has {len(rows)} rows, expected two: names of types, and how many nodes each has")
    for ntype, count in zip(*rows, strict=True):
        if not count.isdecimal():
            raise DataError(f"{path}: row 2: {count!r} is no number of {ntype!r} nodes")
        found.num_nodes[ntype] = int(count)
        for what in ("node-feat", "node-label"):
            found.data += _data_text(raw / what / ntype, "node", ntype)
    for row in _lines(raw / f"triplet-type-list{_END}"):
        folder, key = raw / "relations" / "___".join(row), ":".join(row)
        found.pairs[key] = _pairs_text(folder)
        found.data += _data_text(folder, "edge", key)
    return found


def _one_type_npz(raw: Path) -> _Raw:
    path, key = raw / "data.npz", etype_key(ETYPE)
    arrays = Npz(path)
    found = _Raw({NTYPE: whole(_of(arrays, "num_nodes_list", path), f"{path}: num_nodes_list")},
                 {key: (path, _of(arrays, "edge_index", path).T)})
    for name in arrays:
        if name.startswith(("node_", "edge_")) and name != "edge_index":
            found.data.append((NTYPE if name.startswith("node_") else key, _ours(name), path, arrays[name]))
    labels = raw / "node-label.npz"
    if labels.exists():
        found.data.append((NTYPE, "labels", labels, _of(Npz(labels), "node_label", labels)))
    return found


def _types_npz(raw: Path) -> _Raw:
    sizes, edges = raw / "num_nodes_dict.npz", raw / "edge_index_dict.npz"
    found = _Raw({ntype: whole(count, f"{sizes}: {ntype}") for ntype, count in Npz(sizes).items()},
                 {key.replace("___", ":"): (edges, pairs.T) for key, pairs in Npz(edges).items()})
    for path in sorted(raw.glob("*.npz")):
        if path.name.startswith(("node_", "edge_", "node-label")) and path != edges:
            found.data += [(key.replace("___", ":"), _ours(path.stem), path, array) for key, array in Npz(path).items()]
    return found


def _pairs_text(folder: Path) -> tuple[Path, np.ndarray]:
    path, counted = folder / f"edge{_END}", folder / f"num-edge-list{_END}"
    pairs = _text(path)
    if counted.exists() and _one(counted) != len(pairs):
        raise DataError(f"{path}: has {len(pairs)} edges, but {counted.name} says {_one(counted)}")
    return path, pairs


def _data_text(folder: Path, kind: str, key: str) -> Iterator[tuple[str, str, Path, np.ndarray]]:
    """Files of the nodes or of the edges in a folder."""
    for path in sorted(folder.glob(f"*{_END}")):
        name = path.name.removesuffix(_END)
        if name.startswith((f"{kind}-", f"{kind}_")) or kind == "node" and name == "species":
            yield key, _ours(name), path, _text(path)


def _splits(folder: Path, num_nodes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The only way to split that there is; of one type, or of each type that has a folder."""
    ways = sorted(path for path in folder.glob("*") if path.is_dir())
    if not ways:
        return {}
    if len(ways) > 1:
        raise DataError(f"{folder}: holds several ways to split: {', '.join(path.name for path in ways)}; leave one")
    found = {}
    folders = {NTYPE: ways[0]} if NTYPE in num_nodes else {path.name: path for path in ways[0].iterdir()
                                                           if path.is_dir()}
    for ntype, of_type in folders.items():
        if not (of_type / f"train{_END}").exists() and (of_type / "split_dict.pt").exists():
            raise DataError(f"{of_type / 'split_dict.pt'}: splits are read from train{_END}, valid{_END} and "
                            f"test{_END}, one id a line: write these beside it")
        if ntype not in num_nodes:
            raise DataError(f"{of_type}: splits of {ntype!r}, which is no type of the graph")
        for name, ours in _SPLITS.items():
            path = of_type / f"{name}{_END}"
            ids = _text(path)
            if ids.shape[1] != 1:
                raise DataError(f"{path}: has {ids.shape[1]} columns, expected one id a line")
            ids = ids[:, 0] if len(ids) else np.empty(0, np.int64)
            bad = np.flatnonzero((ids < 0) | (ids >= num_nodes[ntype]) | (ids % 1 != 0))
            if bad.size:
                raise DataError(f"{path}: row {bad[0] + 1}: {ids[bad[0]]} is not in 0..{num_nodes[ntype] - 1}")
            found[f"split/{ntype}/{ours}"] = ids
    return found


def _user_ids(folder: Path, num_nodes: Mapping[str, int]) -> dict[str, UserIds]:
    """What the folder ``mapping`` calls nodes, of the types of which it says so."""
    from mpignn.tables.numbered import read_names  # here, for who reads other sources needs no Arrow

    found = {}
    for ntype, count in num_nodes.items():
        pattern = f"nodeidx2*{_END}" if ntype == NTYPE else f"{ntype}_entidx2name{_END}"
        for path in sorted(folder.glob(pattern))[:1]:
            ids = read_names(path)
            if ids is not None and len(ids) != count:
                raise DataError(f"{path}: has {len(ids)} names of nodes, expected {count}")
            if ids is not None:
                found[ntype] = ids
    return found


def _class_names(folder: Path, node_data: Mapping[str, Mapping[str, np.ndarray]]
                 ) -> dict[str, dict[str, tuple[str, ...]]]:
    """What the folder ``mapping`` calls classes, if one type has them."""
    from mpignn.tables.numbered import read_names  # here, for who reads other sources needs no Arrow

    labels = {ntype: named[LABELS] for ntype, named in node_data.items() if LABELS in named}
    paths = sorted(folder.glob(f"labelidx2*{_END}"))
    names = read_names(paths[0]) if len(paths) == len(labels) == 1 else None
    if names is None:
        return {}
    (ntype, classes), = labels.items()
    if np.nanmax(classes, initial=-1) >= len(names):
        raise DataError(f"{paths[0]}: has {len(names)} names of classes, but there is a label {np.nanmax(classes)}")
    return {ntype: {LABELS: tuple(map(str, names.of(0, len(names))))}}


def _text(path: Path) -> np.ndarray:
    from mpignn.tables.numbers import read_text  # here, for who reads other sources needs no Arrow

    return read_text(path)


def _one(path: Path) -> int:
    """The only number of a file."""
    numbers = _text(path)
    if numbers.size > 1:
        raise DataError(f"{path}: has {numbers.size} numbers, for as many graphs; a data set of one graph is expected")
    return whole(numbers, str(path))


def _lines(path: Path) -> list[list[str]]:
    """The rows of a small table of texts."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"{path}: not a table that can be read: {error}") from error
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}: row {number + 1} has {len(row)} columns, expected {len(rows[0])}")
    if not rows:
        raise DataError(f"{path}: is empty")
    return rows


def _of(arrays: Npz, name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        raise DataError(f"{path}: {name} is missing; there are: {', '.join(arrays) or 'no arrays'}")
    return arrays[name]


def _ours(name: str) -> str:
    """What data is called here: node-feat is features, node_year is year."""
    name = name.removesuffix("_dict")
    return _USUAL.get(name.replace("_", "-", 1), name.removeprefix("node_").removeprefix("edge_"))


FORMS = (Form("a folder of the Open Graph Benchmark, with raw and split", folder_with(
    *(f"raw/{mark}" for mark in (f"num-node-list{_END}", f"num-node-dict{_END}", "data.npz", "num_nodes_dict.npz")),
    f"num-node-list{_END}", f"num-node-dict{_END}"), read_ogb, reads=lambda path: [path]),)
