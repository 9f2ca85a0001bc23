"""What a partitioned graph is like, counted before anything is trained on it: sizes, degrees, labels, splits, data.

Shapes: N nodes of a type, R rows in hand.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.graph.types import EType, etype_key
from mpignn.log import phase
from mpignn.progress import each
from mpignn.storage.degrees import in_degrees
from mpignn.storage.mapped import MappedRows
from mpignn.storage.read import GraphFile
from mpignn.storage.remote_share import remote_shares
from mpignn.storage.user_names import IdReader
from mpignn.storage.validate import FEATURES, LABELS
from mpignn.unique import unique

Figures = dict[str, Any]

_HUBS = 10              # nodes with the most in-edges that are named
_CHUNK_ROWS = 1 << 20       # in hand at a time
_LOOKED_AT = 50_000         # rows of features, spread over all nodes of a type
_MOST_CLASSES = 10_000      # that are told one by one


def inspect_graph(graph: GraphFile, fanouts: Sequence[int], batch_size: int) -> Figures:
    """All figures of a graph.  Not collective.

    Args:
        graph: Open.
        fanouts, batch_size: How batches are drawn whose growth is told, as for `remote_shares`.

    Returns:
        ``path``, ``graph_id``, ``parts``, ``bytes``, ``cut_share``, ``remote_share``; ``nodes`` and ``edges`` by type,
        with their data, degrees and hubs; ``splits`` and ``overlap`` by type; ``labels`` by type; ``growth`` of a batch
        by hop; ``reached``: the node types from which something gets into a batch, with how many hops that takes.

    Raises:
        DataError: A part file that is damaged.
    """
    report = graph.report
    with phase("count degrees"):
        edges = {etype_key(etype): _edges(graph, etype) for etype in each(graph.schema.etypes, "edge type")}
    with phase("look at features"):
        nodes = {ntype: _nodes(graph, ntype) for ntype in each(graph.schema.ntypes, "node type")}
    with phase("look at splits"):
        splits = {key: _splits(graph, key) for key in (*nodes, *edges)}
    with phase("count labels"):
        labels = {key: found for key in (*nodes, *edges) if (found := _labels(graph, key)) is not None}
    with phase("draw batches"):
        growth = _growth(graph, fanouts, batch_size)
    files = [graph.path, *graph.part_paths]
    return {"path": str(graph.path.parent), "graph_id": graph.graph_id, "parts": graph.num_parts,
            "bytes": sum(file.stat().st_size for file in files), "cut_share": report["cut_share"],
            "remote_share": report["remote_share"], "nodes": nodes, "edges": edges,
            "splits": {key: found for key, found in splits.items() if found},
            "overlap": {key: count for key, count in report["overlap"].items() if count}, "labels": labels,
            "growth": growth, "reached": _reached(graph)}


def _nodes(graph: GraphFile, ntype: str) -> Figures:
    of = graph.report["nodes"][ntype]
    return {**{name: of[name] for name in ("count", "per_part", "balance", "halo")}, "data": _data(graph, ntype),
            "features": _features(graph, ntype)}


def _edges(graph: GraphFile, etype: EType) -> Figures:
    of, key = graph.report["edges"][etype_key(etype)], etype_key(etype)
    degrees = in_degrees(graph, etype)
    num_dst = graph.book.num_nodes(etype[2])
    return {**{name: of[name] for name in ("count", "per_part", "balance", "cut", "cut_share", "remote_share")},
            "data": _data(graph, key), "mean_degree": of["count"] / max(1, num_dst),
            "largest_degree": degrees.largest, "degrees": degrees.counts.tolist(), "hubs": _hubs(graph, etype)}


def _data(graph: GraphFile, owner: str) -> dict[str, str]:
    """Type and shape of a row of each array of a type, by name."""
    found = {}
    for path, info in graph.infos.items():
        key = ArrayKey.parse(path)
        if key.data_name is not None and key.owner == owner:
            found[key.data_name] = f"{info.dtype} {list(info.row_shape) or ''}".rstrip()
    return found


def _hubs(graph: GraphFile, etype: EType) -> list[Figures]:
    """The nodes with the most in-edges, by the users' ids if they gave any."""
    rows, count = MappedRows(graph, ArrayKey.edge(etype, "indptr"), verified=False), graph.book.num_nodes(etype[2])
    best, degrees = np.empty(0, np.int64), np.empty(0, np.int64)
    for begin in range(0, count, _CHUNK_ROWS):
        ids = np.arange(begin, min(count, begin + _CHUNK_ROWS))
        start, end = rows.read(ids).T
        best, degrees = np.concatenate([best, ids]), np.concatenate([degrees, end - start])
        first = np.argsort(-degrees, kind="stable")[:_HUBS]
        best, degrees = best[first], degrees[first]
    orig = MappedRows(graph, ArrayKey.node(etype[2], "orig_id"), verified=False).read(best) if best.size else best
    stored = graph.user_names.ids.get(etype[2])
    names: Sequence[object] = orig.tolist()
    if stored is not None and best.size:
        read = IdReader(stored).read(orig)
        names = [str(name) for name in read.of(0, len(read))]
    return [{"node": name, "degree": int(degree)} for name, degree in zip(names, degrees, strict=True) if degree]


def _features(graph: GraphFile, ntype: str) -> Figures | None:
    """What rows of features are like, in some that lie evenly among all; None: there are none."""
    key = ArrayKey.node_data(ntype, FEATURES)
    count = graph.book.num_nodes(ntype)
    if key.path not in graph.infos or count == 0:
        return None
    ids = unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64))
    rows = MappedRows(graph, key, verified=False).read(ids).reshape(ids.size, -1)
    constant = int((rows == rows[:1]).all(0).sum()) if ids.size > 1 else 0
    return {"columns": rows.shape[1], "looked_at": int(ids.size), "all_zero": int((rows == 0).all(1).sum()),
            "constant_columns": constant, "largest": float(np.abs(rows.astype(np.float32)).max(initial=0))}


def _splits(graph: GraphFile, key: str) -> dict[str, Figures]:
    """Sizes and balance of each split of a type; of nodes, how many have no in-edge."""
    return {name: {**of, "isolated": _isolated(graph, key, name)}
            for name, of in graph.report["splits"].get(key, {}).items()}


def _isolated(graph: GraphFile, key: str, name: str) -> int | None:
    """How many nodes of a split have no in-edge of any type; None: it is of edges."""
    if key not in graph.schema.ntypes:
        return None
    rows = [MappedRows(graph, ArrayKey.edge(etype, "indptr"), verified=False) for etype in graph.schema.etypes
            if etype[2] == key]
    lonely = 0
    for ids in graph.split_pieces(key, name):
        degree = np.zeros(ids.size, np.int64)
        for of_type in rows:
            start, end = of_type.read(ids).T
            degree += end - start
        lonely += int((degree == 0).sum())
    return lonely


def _labels(graph: GraphFile, key: str) -> Figures | None:
    """How often each class is in each split; None: there are no labels, or they are numbers to be predicted."""
    of_nodes = key in graph.schema.ntypes
    array = ArrayKey.node_data(key, LABELS) if of_nodes else \
        ArrayKey.edge_data(graph.book.to_canonical_etype(key), LABELS)
    if array.path not in graph.infos:
        return None
    info, rows = graph.infos[array.path], MappedRows(graph, array, verified=False)
    names = graph.user_names.classes.get(key, {}).get(LABELS)
    whole = info.dtype.kind in "iu" and not info.row_shape
    several = len(info.row_shape) == 1
    if not whole and not several:
        return {"kind": "numbers", "classes": 0, "unknown": {}, "out_of_range": {}, "splits": {}, "names": None}
    # As training sees it: one class for each node or edge are ids.
    limit = graph.num_rows(array.path) if names is None else len(names)
    counts = {name: _Classes(several, limit) for name in graph.splits(key)}
    for name, of_split in counts.items():
        for ids in graph.split_pieces(key, name):
            of_split.add(rows.read(ids))
    classes = max([of.counts.size for of in counts.values()] + ([] if names is None else [len(names)]), default=0)
    return {"kind": "several labels" if several else "classes", "classes": classes,
            "unknown": {name: of.unknown for name, of in counts.items()},
            "out_of_range": {name: of.out_of_range for name, of in counts.items()},
            "splits": {name: np.pad(of.counts, (0, classes - of.counts.size)).tolist() for name, of in counts.items()
                       if classes <= _MOST_CLASSES},
            "names": None if names is None else [str(names[number]) for number in range(len(names))]}


class _Classes:
    """Counts labels.

    Attributes:
        counts: (K,) int64 of each class.
        unknown: Rows with an entry that says "unknown".
        out_of_range: Those that are no class.
    """

    def __init__(self, several: bool, limit: int) -> None:
        """Not collective.

        Args:
            several: Whether each seed has a row of labels.
            limit: What is as large is no class.
        """
        self._several, self._limit = several, limit
        self.counts = np.zeros(0, np.int64)
        self.unknown = self.out_of_range = 0

    def add(self, rows: np.ndarray) -> None:
        if self._several:
            unknown = ~np.isfinite(rows) if rows.dtype.kind == "f" else rows < 0
            found = ((rows > 0) & ~unknown).sum(0)
            self.unknown += int(unknown.any(1).sum())
        else:
            rows = rows.astype(np.int64)
            classes = rows[(rows >= 0) & (rows < self._limit)]
            self.out_of_range += rows.size - classes.size
            found = np.bincount(classes)
        size = max(found.size, self.counts.size)
        self.counts = np.pad(self.counts, (0, size - self.counts.size)) + np.pad(found, (0, size - found.size))


def _growth(graph: GraphFile, fanouts: Sequence[int], batch_size: int) -> Figures:
    """What batches of seeds meet, hop after hop."""
    found = remote_shares(graph, fanouts, batch_size)
    return {"fanouts": list(fanouts), "batch_size": batch_size, "of_training": found.of_training,
            "seeds": found.num_seeds, "inputs": found.inputs.count, "inputs_remote": found.inputs.share,
            "hops": [{"fanout": fanout, "edges": hop.count, "remote": hop.share}
                     for fanout, hop in zip(reversed(fanouts), found.hops, strict=True)]}


def _reached(graph: GraphFile) -> dict[str, int]:
    """From which node types something gets to the seeds, and over how many hops at least; nothing without seeds."""
    seeds = set(_seed_types(graph))
    hops, found, ring = 0, dict.fromkeys(seeds, 0), seeds
    while ring:
        hops += 1
        ring = {src for src, _, dst in graph.schema.etypes if dst in ring} - found.keys()
        found |= dict.fromkeys(ring, hops)
    return found


def _seed_types(graph: GraphFile) -> Iterator[str]:
    splits: Mapping[str, Any] = graph.report["splits"]
    for key, named in splits.items():
        if "train" in named:
            yield from [key] if key in graph.schema.ntypes else graph.book.to_canonical_etype(key)[::2]
