"""One partition by itself: what is owned, the halo, ids and data, as plain loops over the source say."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_storage import fresh

import mpignn as mg
from graphs import edge_list, graphs, random_assignment, random_hetero_graph
from mpignn.errors import DataError, IDError
from mpignn.graph.types import etype_key
from mpignn.storage.write import write_graph

files_reused = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(data=graphs(), num_parts=st.integers(1, 4))
@files_reused
def test_the_partitions_together_are_the_graph(data, num_parts, tmp_path):
    assignment = random_assignment(data, num_parts)
    write_graph(data, assignment, num_parts, fresh(tmp_path / "g"))
    book, name, ntypes, etypes = mg.load_partition_book(tmp_path / "g")
    assert (name, ntypes, etypes) == ("g", list(data.num_nodes), list(data.csc))
    seen_edges = {e: [] for e in data.csc}
    for part in range(num_parts):
        g, node_feats, edge_feats, of_part, *names = mg.load_partition(tmp_path / "g", part)
        assert names == [name, ntypes, etypes] and of_part.metadata() == book.metadata()
        for ntype in ntypes:
            frame = g.nodes[ntype].data
            ids, inner, orig = frame[mg.NID], frame["inner_node"], frame["orig_id"]
            own = int(inner.sum())
            assert inner[:own].all() and ids[:own].tolist() == book.partid2nids(part, ntype).tolist()
            assert (assignment[ntype][orig[:own]] == part).all() and (assignment[ntype][orig[own:]] != part).all()
            assert sorted(ids[own:].tolist()) == ids[own:].tolist() and len(set(ids.tolist())) == len(ids)
            met = {s for e in etypes if e[0] == ntype for d, s, _ in edge_list(data, e) if assignment[e[2]][d] == part}
            assert set(orig[own:].tolist()) == {s for s in met if assignment[ntype][s] != part}
            assert g.num_nodes(ntype) == len(ids)
            for key, rows in data.node_data[ntype].items():
                assert torch.equal(node_feats[f"{ntype}/{key}"], torch.from_numpy(rows[orig[:own].numpy()]))
        for etype in etypes:
            src, dst = g.ends(etype)
            pairs = [(int(g.nodes[etype[2]].data["orig_id"][d]), int(g.nodes[etype[0]].data["orig_id"][s]))
                     for s, d in zip(src.tolist(), dst.tolist(), strict=True)]
            edges = [(d, s) for d, s, _ in edge_list(data, etype) if assignment[etype[2]][d] == part]
            assert sorted(pairs) == edges and g.num_edges(etype) == len(edges)
            assert g.edges[etype].data["inner_edge"].all()
            seen_edges[etype] += g.edges[etype].data[mg.EID].tolist()
            assert len(edge_feats[f"{etype_key(etype)}/weight"]) == len(edges)
    for etype, ids in seen_edges.items():
        assert sorted(ids) == list(range(data.csc[etype].num_edges))


def test_names_of_dgl_for_graphs_of_one_type(tmp_path):
    data = random_hetero_graph(2)
    write_graph(data, random_assignment(data, 3), 3, tmp_path / "g")
    g, node_feats, edge_feats, *_ = mg.load_partition(tmp_path / "g", 1, load_feats=False)
    assert node_feats == edge_feats == {}
    nodes, edges = mg.load_partition_feats(tmp_path / "g" / "graph.h5", 1)
    assert "paper/features" in nodes and "author:writes:paper/weight" in edges
    assert mg.load_partition_feats(tmp_path / "g", 1, load_edges=False)[1] == {}
    assert g.num_nodes() == sum(g.num_nodes(t) for t in g.schema.ntypes)
    assert g.num_edges() == sum(g.num_edges(e) for e in g.schema.etypes)
    assert nodes["paper/features"].shape == (int(g.nodes["paper"].data["inner_node"].sum()), 3)


def test_wrong_partitions_and_files_are_named(tmp_path):
    data = random_hetero_graph(2)
    write_graph(data, random_assignment(data, 3), 3, tmp_path / "g")
    for part in (-1, 3):
        for load in (mg.load_partition, mg.load_partition_feats):
            with pytest.raises(IDError, match=f"partition {part} is not in 0..2"):
                load(tmp_path / "g", part)
    with pytest.raises(DataError, match="no such file"):
        mg.load_partition_book(tmp_path / "none")
    assert np.array_equal(mg.load_partition_book(tmp_path / "g")[0].node_ranges["paper"][[0, -1]], [0, 30])
