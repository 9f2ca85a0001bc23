"""Small graphs for tests: hypothesis strategies, and random graphs by seed.

All have what breaks code: isolated nodes, self loops, parallel edges, types without nodes, empty splits.

Shapes: N nodes of a type, E edges of a type, P partitions.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from mpignn.graph.csc import csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

HETERO_NTYPES = ("paper", "author", "venue")
HETERO_ETYPES = (("author", "writes", "paper"), ("paper", "cites", "paper"), ("paper", "written", "author"),
                 ("paper", "in", "venue"))


def random_graph(seed: int = 0, num_nodes: int = 40, num_edges: int = 160, shuffled: bool = False) -> GraphData:
    """A homogeneous graph with features, labels, edge weights and splits.

    Args:
        shuffled: Leave the rows in no order, so that original edge ids are those of a random permutation.
    """
    return _graph(np.random.default_rng(seed), {NTYPE: num_nodes}, {ETYPE: num_edges}, shuffled)


def random_hetero_graph(seed: int = 0, num_nodes: int = 30, num_edges: int = 90, shuffled: bool = False) -> GraphData:
    """Three node types, one of which has no nodes if ``seed`` is odd, and four edge types; data as `random_graph`."""
    sizes = {"paper": num_nodes, "author": num_nodes // 2 + 1, "venue": 0 if seed % 2 else 3}
    return _graph(np.random.default_rng(seed), sizes, dict.fromkeys(HETERO_ETYPES, num_edges), shuffled)


def write_hetero_cuts(folder: Path) -> Path:
    """Partition a graph of 300 papers in several ways below ``folder``.

    It has edge data ``weight``, ``kept`` and times ``when``, and times ``born`` of nodes.
    """
    data, rng = random_hetero_graph(2, num_nodes=300, num_edges=3000), np.random.default_rng(0)
    marked = {e: dict(named) | {"kept": rng.random(data.csc[e].num_edges) < 0.6} for e, named in data.edge_data.items()}
    for etype, named in marked.items():
        named["when"] = rng.integers(0, 100, data.csc[etype].num_edges)
    nodes = {t: dict(named) | {"born": rng.integers(0, 100, data.num_nodes[t])} for t, named in data.node_data.items()}
    cuts = {"one": (1, "range"), "random3": (3, "random"), "random8": (8, "random"), "metis5": (5, "metis")}
    for name, (parts, method) in cuts.items():
        partition_graph(replace(data, edge_data=marked, node_data=nodes), folder / name, parts, method=method)
    return folder


def random_assignment(data: GraphData, num_parts: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A partition for each node, with no attempt at balance: some partitions may be empty."""
    rng = np.random.default_rng(seed)
    return {t: rng.integers(0, num_parts, n) for t, n in data.num_nodes.items()}


@st.composite
def graphs(draw, max_nodes: int = 20, max_edges: int = 60) -> GraphData:
    """Graphs as of `random_graph` and `random_hetero_graph`, down to one node and no edges."""
    make = draw(st.sampled_from([random_graph, random_hetero_graph]))
    return make(draw(st.integers(0, 1 << 20)), draw(st.integers(1, max_nodes)), draw(st.integers(0, max_edges)),
                draw(st.booleans()))


@st.composite
def range_sizes(draw, num_types: int, max_parts: int = 5, max_size: int = 6) -> list[list[int]]:
    """Sizes of the ranges of each type in each partition, many of them 0."""
    parts = draw(st.integers(1, max_parts))
    return draw(st.lists(st.lists(st.integers(0, max_size), min_size=parts, max_size=parts),
                         min_size=num_types, max_size=num_types))


def edge_list(data: GraphData, etype) -> list[tuple[int, int, int]]:
    """(destination, source, edge id) of each edge of a type, by plain loops; sorted."""
    csc = data.csc[etype]
    found = []
    for dst in range(csc.num_dst):
        for place in range(csc.indptr[dst], csc.indptr[dst + 1]):
            edge = place if csc.edge_ids is None else csc.edge_ids[place]
            found.append((dst, int(csc.indices[place]), int(edge)))
    return sorted(found)


def ends(data: GraphData, etype) -> tuple[np.ndarray, np.ndarray]:
    """Sources and destinations of the edges of a type, by edge id."""
    by_id = sorted((edge, src, dst) for dst, src, edge in edge_list(data, etype))
    return np.array([src for _, src, _ in by_id], np.int64), np.array([dst for *_, dst in by_id], np.int64)


def masks(data: GraphData, key: str, count: int) -> dict[str, np.ndarray]:
    """The splits of a node or edge type as booleans, by name."""
    return {f"{name}_mask": np.isin(np.arange(count), ids) for name, ids in data.splits.get(key, {}).items()}


def as_stored(data: GraphData) -> GraphData:
    """The same graph with its edges in the order in which a source that lists them by their ends has them."""
    csc = {etype: csc_from_coo(*ends(data, etype), data.num_nodes[etype[2]]) for etype in data.csc}
    return read_source(replace(data, csc=csc))


def _graph(rng, num_nodes: dict, num_edges: dict, shuffled: bool) -> GraphData:
    csc = {}
    for etype, count in num_edges.items():
        src_count, dst_count = num_nodes[etype[0]], num_nodes[etype[2]]
        count = count if src_count and dst_count else 0
        # Low ids are hubs, the last quarter of the destinations is isolated.
        src = (rng.random(count) ** 2 * src_count).astype(np.int64)
        dst = rng.integers(0, max(1, dst_count - dst_count // 4), count)
        made = csc_from_coo(src, dst, dst_count)
        csc[etype] = _shuffle_rows(made, rng) if shuffled else made
    node_data = {t: {"features": rng.standard_normal((n, 3), dtype=np.float32), "labels": rng.integers(0, 4, n)}
                 for t, n in num_nodes.items()}
    edge_data = {e: {"weight": rng.random(c.num_edges)} for e, c in csc.items()}
    splits = {t: _splits(rng, n) for t, n in num_nodes.items()}
    last = list(csc)[-1]
    splits[etype_key(last)] = _splits(rng, csc[last].num_edges)
    return GraphData(num_nodes, csc, node_data, edge_data, splits)


def _shuffle_rows(csc, rng):
    order = np.lexsort((rng.random(csc.num_edges), np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))))
    ids = np.arange(csc.num_edges) if csc.edge_ids is None else csc.edge_ids
    return replace(csc, indices=csc.indices[order], edge_ids=ids[order])


def _splits(rng, count: int) -> dict[str, np.ndarray]:
    cut = np.sort(rng.integers(0, count + 1, 2))
    parts = np.split(rng.permutation(count), cut)
    return {name: np.sort(ids) for name, ids in zip(("train", "val", "test"), parts, strict=True)}
