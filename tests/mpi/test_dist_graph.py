"""A graph that is open answers the same on any number of ranks and nodes: as plain loops over the source do."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from graphs import edge_list, random_assignment, random_graph, random_hetero_graph
from mpignn.errors import CommError, DataError, IDError, UnknownName
from mpignn.graph.types import etype_key
from mpignn.storage.write import write_graph
from mpignn.store.graph import published_graph

SHAPES = {"ranks_per_node": (None, 1, 2)}
GRAPHS = {"one type": random_graph(1, 40, 160, shuffled=True), "types": random_hetero_graph(2, 30, 90),
          "a type without nodes": random_hetero_graph(3, 30, 90), "no edges": random_graph(4, 5, 0)}


def written(world, data, parts=3, out_edges=False):
    """The graph on disk."""
    folder = tempfile.mkdtemp() if world.rank == 0 else None
    folder = Path(world.all.bcast(folder))
    if world.rank == 0:
        write_graph(data, random_assignment(data, parts, seed=1), parts, folder / "graph", out_edges)
    world.all.barrier()
    return folder / "graph"


def opened(world, data, parts=3, out_edges=False, replicate="none"):
    """The graph as a trainer sees it; None on a rank that only serves."""
    from mpignn.job.open_graph import open_graph
    return open_graph(world, written(world, data, parts, out_edges), replicate)


def new_edges(g, data, etype):
    """(source, destination) in new ids of each edge, by new edge id: rows in order of new id, in a row of original."""
    orig = g.orig_nids(np.arange(g.num_nodes(etype[2])), etype[2]).tolist()
    rows = {}
    for dst, src, edge in edge_list(data, etype):
        rows.setdefault(dst, []).append((src, edge))
    new_src = g.new_nids(np.arange(data.num_nodes[etype[0]]), etype[0]).tolist()
    return [(new_src[src], new) for new, old in enumerate(orig) for src, _ in sorted(rows.get(old, []))]


@pytest.mark.ranks(1, 2, 4, **SHAPES)
@pytest.mark.parametrize("name", GRAPHS)
def test_counts_types_and_data(world, name):
    data = GRAPHS[name]
    with opened(world, data) as g:
        assert (g.ntypes, g.canonical_etypes) == (tuple(data.num_nodes), tuple(data.csc))
        assert g.etypes == tuple(e[1] for e in data.csc) and g.is_homogeneous == (len(data.num_nodes) == 1)
        assert g.num_nodes() == sum(data.num_nodes.values()) == g.number_of_nodes()
        assert g.num_edges() == sum(c.num_edges for c in data.csc.values()) == g.number_of_edges()
        if world.trainers is None:
            return
        for ntype, named in data.node_data.items():
            orig = g.orig_nids(np.arange(data.num_nodes[ntype]), ntype)
            assert set(g.nodes[ntype].data) == set(named)
            for key, rows in named.items():
                tensor = g.nodes[ntype].data[key]
                assert tensor.shape == rows.shape
                np.testing.assert_array_equal(tensor[np.arange(len(rows))], rows[orig.numpy()])
        for etype in data.csc:
            assert list(g.edges[etype].data) == list(g.edges[etype_key(etype)].data) == ["weight"]
            assert g.edges[etype].data["weight"].shape == (data.csc[etype].num_edges,)
        if g.is_homogeneous:
            assert set(g.ndata) == {"features", "labels"} and set(g.edata) == {"weight"}
            assert "features" in repr(g.ndata) and "(40, 3)" in repr(g.ndata) or name == "no edges"
        else:
            with pytest.raises(UnknownName):
                _ = g.ndata


@pytest.mark.ranks(1, 2, 4, **SHAPES)
@pytest.mark.parametrize("name", GRAPHS)
def test_edges_degrees_and_ids(world, name):
    data = GRAPHS[name]
    with opened(world, data) as g:
        if world.trainers is None:
            return
        for ntype, count in data.num_nodes.items():
            ids = np.arange(count)
            orig = g.orig_nids(ids, ntype)
            assert sorted(orig.tolist()) == ids.tolist()
            assert g.new_nids(orig, ntype).tolist() == ids.tolist()
            owners = [g.topology.server_ranks.index(rank) for rank in g.rank_of(ids, ntype).tolist()]
            assert owners == sorted(owners)
        for etype in data.csc:
            edges = new_edges(g, data, etype)
            src, dst = g.find_edges(np.arange(len(edges)), etype)
            assert list(zip(src.tolist(), dst.tolist(), strict=True)) == edges
            degrees = np.bincount([d for _, d in edges], minlength=g.num_nodes(etype[2]))
            assert g.in_degrees(np.arange(degrees.size), etype).tolist() == degrees.tolist()
            first = {}
            for number, pair in enumerate(edges):
                first.setdefault(pair, number)
            assert g.edge_ids(src, dst, etype).tolist() == [first[pair] for pair in edges]
            pairs = np.array(list(first), np.int64).reshape(-1, 2)
            u, v, ids = g.edge_ids(pairs[:, 0], pairs[:, 1], etype, return_uv=True)
            assert sorted(ids.tolist()) == list(range(len(edges)))
            assert [edges[i] for i in ids.tolist()] == list(zip(u.tolist(), v.tolist(), strict=True))
            with pytest.raises(DataError, match="partition it with --out-edges"):
                g.out_degrees([], etype)


@pytest.mark.ranks(1, 2, 4, **SHAPES)
@pytest.mark.parametrize("replicate", ["none", "topology"])
def test_out_edges(world, replicate):
    for name in "types", "a type without nodes", "no edges":
        data = GRAPHS[name]
        with opened(world, data, out_edges=True, replicate=replicate) as g:
            if world.trainers is None:
                continue
            for etype in data.csc:
                edges = new_edges(g, data, etype)
                degrees = np.bincount([s for s, _ in edges], minlength=g.num_nodes(etype[0]))
                assert g.out_degrees(np.arange(degrees.size), etype).tolist() == degrees.tolist()
                graph = published_graph(g)
                adjacency = graph.adjacency(etype, "out")
                ids, dst = (graph.read(array, np.arange(len(edges)))[:, 0].tolist()
                            for array in (adjacency.edge_ids, adjacency.indices))
                assert sorted(ids) == list(range(len(edges))) and dst == [edges[i][1] for i in ids]
                with pytest.raises(IDError, match=f"{degrees.size} "):
                    g.out_degrees([degrees.size], etype)


@pytest.mark.ranks(1, 3, ranks_per_node=(None, 1))
def test_homogeneous_ids_at_every_boundary(world):
    data = GRAPHS["types"]
    with opened(world, data, 4) as g:
        layout = [(number, int(i)) for part in range(4) for number, t in enumerate(g.ntypes)
                  for i in g.book.partid2nids(part, t)]
        numbers, ids = g.book.map_to_per_ntype(np.arange(g.num_nodes()))
        assert list(zip(numbers.tolist(), ids.tolist(), strict=True)) == layout
        for number, ntype in enumerate(g.ntypes):
            edges = np.unique(np.clip(np.concatenate([g.book.node_ranges[ntype] + d for d in (-1, 0, 1)]), 0,
                                      g.num_nodes(ntype) - 1))
            assert g.book.map_to_homo_nid(edges, ntype).tolist() == [layout.index((number, i)) for i in edges.tolist()]


@pytest.mark.ranks(1, 3, ranks_per_node=(None, 1))
def test_bulk_arguments_and_bad_ones(world):
    import torch
    with opened(world, GRAPHS["one type"]) as g:
        if world.trainers is None:
            return
        expected = g.in_degrees([3, 3, 0])
        for ids in (np.array([3, 3, 0], np.int32), torch.tensor([3, 3, 0])):
            assert torch.equal(g.in_degrees(ids), expected)
        assert expected.dtype == torch.int64
        for empty in ([], torch.empty(0), np.empty(0, np.int32)):
            assert g.in_degrees(empty).shape == g.orig_nids(empty).shape == g.new_nids(empty).shape == (0,)
            assert g.edge_ids(empty, empty).shape == g.find_edges(empty)[1].shape == (0,)
        for call in (g.in_degrees, g.orig_nids, g.new_nids, g.rank_of):
            with pytest.raises(IDError, match="40 is not in 0..39"):
                call([1, 40, 50])
        with pytest.raises(IDError, match="160 is not in 0..159"):
            g.find_edges([160])
        src, dst = (int(ids[0]) for ids in g.find_edges([0]))
        lonely = int(g.new_nids([39])[0])           # the last quarter of the destinations is isolated
        with pytest.raises(IDError, match=rf"joins {src} to {lonely} \(pair 1\)"):
            g.edge_ids([src, src], [dst, lonely])
        with pytest.raises(DataError, match="no pairs"):
            g.edge_ids([0, 1], [0, 1, 2])
        with pytest.raises(UnknownName, match="nope"):
            _ = g.ndata["nope"]
        with pytest.raises(DataError, match="DistTensor of 40 rows"):
            g.ndata["x"] = torch.zeros(40)
        g.ndata["copy"] = g.ndata["labels"]
        assert torch.equal(g.ndata["copy"][:], g.ndata["labels"][:])
        del g.ndata["copy"]
        assert "copy" not in g.ndata


@pytest.mark.ranks(1, 2, 4, **SHAPES)
def test_splits_give_every_id_once(world):
    from mpignn.loader.split import edge_split, node_split
    with opened(world, GRAPHS["types"]) as g:
        if world.trainers is None:
            return
        ids = np.array([7, 3, 29, 11, 0])
        mask = np.isin(np.arange(30), ids)
        for even in (True, False):
            for given in (ids, mask, mask.tolist()):
                shares = g.trainers.allgather(node_split(given, g, "paper", force_even=even).tolist())
                assert sorted(sum(shares, [])) == sorted(ids) and all(s == sorted(s) for s in shares)
                if even:
                    assert max(map(len, shares)) - min(map(len, shares)) <= 1
            shares = g.trainers.allgather(edge_split(np.arange(g.num_edges("cites")), g, "cites", even).tolist())
            assert sorted(sum(shares, [])) == list(range(g.num_edges("cites")))
        with pytest.raises(DataError, match="a mask has 30 entries"):
            node_split(mask[:-1], g, "paper")


@pytest.mark.ranks(1, 2, 4, **SHAPES)
def test_several_graphs_are_open_at_once(world):
    first, second = GRAPHS["one type"], GRAPHS["types"]
    with opened(world, first) as a:
        with opened(world, second) as b:
            if world.trainers is not None:
                assert (a.num_nodes(), b.num_nodes("paper")) == (40, 30)
                assert sorted(a.orig_nids(np.arange(40)).tolist()) == list(range(40))
                assert sorted(b.orig_nids(np.arange(30), "paper").tolist()) == list(range(30))
        with pytest.raises(CommError, match="closed"):
            b.num_nodes()
        b.close()       # again: harmless
        if world.trainers is not None:
            assert sorted(a.orig_nids(np.arange(40)).tolist()) == list(range(40))


@pytest.mark.ranks(1, 4, **SHAPES)
def test_the_local_partition_is_what_the_node_holds(world):
    data = GRAPHS["types"]
    with opened(world, data) as g:
        local = g.local_partition
        spans = world.all.allgather((world.node_id, {t: (r.start, r.stop) for t, r in local.nodes.items()}))
        for ntype, count in data.num_nodes.items():
            held = [i for lo, hi in {node: span[ntype] for node, span in spans}.values() for i in range(lo, hi)]
            assert sorted(held) == list(range(count))
        for etype in data.csc:
            assert local.indptr[etype].size == len(local.nodes[etype[2]]) + 1
            assert (local.indptr[etype][0], local.indptr[etype][-1]) == (local.edges[etype].start,
                                                                       local.edges[etype].stop)
            assert local.indices[etype].size == len(local.edges[etype])


@pytest.mark.ranks(1, 3, 4, ranks_per_node=(None, 2))
def test_servers_may_have_a_branch_of_their_own(world):
    from mpignn.errors import ConfigError
    from mpignn.job.open_graph import GraphServer, open_graph
    data = GRAPHS["one type"]
    path = written(world, data)
    if world.is_trainer:
        with pytest.raises(ConfigError, match=f"rank {world.rank} is a trainer and cannot only serve"):
            GraphServer(world, path)
        with open_graph(world, path) as g:
            features = g.ndata["features"][g.new_nids(np.arange(40))]
            np.testing.assert_array_equal(features, data.node_data["_N"]["features"])
    else:
        assert world.is_server
        GraphServer(world, path).serve()


def inode(address: int) -> str:
    """The file, with or without a name, that an address is mapped from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(word, 16) for word in line.split()[0].split("-"))
        if begin <= address < end:
            return line.split()[4]
    raise AssertionError("no such address")


@pytest.mark.ranks(2, 4, ranks_per_node=(None, 2))
@pytest.mark.parametrize("kind", ["memfd", "window"])
def test_ids_of_splits_are_once_on_a_node(world, kind):
    from unittest.mock import patch

    from mpignn.job.open_graph import open_graph
    from mpignn.mpi import segment
    from mpignn.storage.read import GraphFile
    data = GRAPHS["types"]
    path = written(world, data)
    make = (lambda _: -1) if kind == "window" else segment._make_memfd
    with patch.object(segment, "_make_memfd", make), open_graph(world, path) as g:
        splits = g.splits
    first, last = world.topology.trainers_of(world.node_id)
    with GraphFile(path) as file:       # by now the graph is closed, and the ids are there
        wanted = {key: {name: file.split(key, name) for name in file.splits(key)}
                  for key in (*file.schema.ntypes, *map(":".join, file.schema.etypes))}
    assert first < last and sum(map(len, wanted.values())) > 1
    assert {key: [*named] for key, named in splits.items()} == {key: [*named] for key, named in wanted.items()}
    for key, named in wanted.items():
        for name, ids in named.items():
            np.testing.assert_array_equal(splits[key][name], ids)
            assert not splits[key][name].flags.writeable
    if kind == "memfd":
        some = next(ids for named in splits.values() for ids in named.values() if ids.size)
        assert len(set(world.node.allgather(inode(some.ctypes.data)))) == 1
