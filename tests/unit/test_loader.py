"""Batches of seed nodes: every seed once, the right rows beside the right ids, shares that add up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from services import serve

from graphs import random_graph, random_hetero_graph
from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, IDError, UnknownName
from mpignn.graph.block import EID, NID
from mpignn.kernels.rng import derive
from mpignn.loader.node import NodeDataLoader
from mpignn.roles import BOTH, Role, Topology
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import DistGraph
from mpignn.train.tasks.base import EVALUATION


class Trainer(LocalGroup):
    """One of several trainers, as far as a loader asks."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def graphs_of(served, trainers):
    """The graph as each of several trainers sees it, each on a node of its own."""
    topology = Topology(tuple(range(trainers)), (BOTH,) * trainers)
    return [DistGraph(served.published, topology, Trainer(rank, trainers), {}) for rank in range(trainers)]


def seeds_of(loader):
    return [batch[1] for batch in loader]


@pytest.mark.parametrize("trainers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_every_seed_once_and_as_many_steps_for_all(trainers, count):
    served = serve(random_graph(1), parts=trainers, servers=trainers)
    seeds = np.random.default_rng(count).permutation(40)[:count]
    got = [seeds_of(NodeDataLoader(g, seeds, NeighborSampler([3, 3]), global_batch_size=7, shuffle=True, seed=5))
           for g in graphs_of(served, trainers)]
    assert {len(batches) for batches in got} == {-(-count // 7)}
    assert sorted(torch.cat([*sum(got, []), torch.empty(0, dtype=torch.int64)]).tolist()) == sorted(seeds.tolist())
    for step in zip(*got, strict=True):
        sizes = [batch.shape[0] for batch in step]
        assert max(sizes) - min(sizes) <= 1


def test_rows_lie_beside_their_ids():
    graph = random_graph(2)
    served = serve(graph, parts=3)
    (ntype,) = graph.num_nodes
    (g,) = graphs_of(served, 1)
    loader = NodeDataLoader(g, np.arange(40), NeighborSampler([4, 4], return_eids=True,
                            prefetch_node_feats=["features"], prefetch_labels=["labels"]), batch_size=9, shuffle=True)
    orig = served.orig[ntype]
    for inputs, outputs, blocks in loader:
        np.testing.assert_array_equal(blocks[0].srcdata[NID], inputs)
        np.testing.assert_array_equal(blocks[-1].dstdata[NID], outputs)
        np.testing.assert_array_equal(blocks[0].srcdata["features"], graph.node_data[ntype]["features"][orig[inputs]])
        np.testing.assert_array_equal(blocks[-1].dstdata["labels"], graph.node_data[ntype]["labels"][orig[outputs]])
        assert blocks[-1].dstdata["labels"].dtype == torch.int64
        assert blocks[0].edata[EID].shape == (blocks[0].num_edges(),)
        assert loader.scale == 1 / outputs.shape[0]
    assert loader.stats.seeds == 40


def test_types_without_the_feature_are_passed_over():
    graph = random_hetero_graph(2, 20, 40)
    served = serve(graph)
    (g,) = graphs_of(served, 1)
    named = {t: set(data) for t, data in graph.node_data.items()}
    ntype, name = next((t, n) for t, names in named.items() for n in names)
    fanouts = [dict.fromkeys(graph.csc, 2)]
    seeds = {t: np.arange(n) for t, n in graph.num_nodes.items()}
    sampler = NeighborSampler(fanouts, prefetch_node_feats=[name])
    for _, outputs, blocks in NodeDataLoader(g, seeds, sampler, batch_size=1000):
        for t in graph.num_nodes:
            assert (name in blocks[0].src_frames[t]) == (name in named.get(t, ()))
            np.testing.assert_array_equal(np.sort(outputs[t]), seeds[t])
    sampler = NeighborSampler(fanouts, prefetch_node_feats={ntype: [name]})
    for _, _, blocks in NodeDataLoader(g, seeds, sampler, batch_size=1000):
        assert [t for t in graph.num_nodes if name in blocks[0].src_frames[t]] == [ntype]
    for names in (["nonsense"], {ntype: ["nonsense"]}, {"nonsense": [name]}):
        with pytest.raises(UnknownName, match="nonsense"):
            NodeDataLoader(g, {ntype: [0]}, NeighborSampler(fanouts, prefetch_node_feats=names), batch_size=1)


def test_epochs_differ_and_repeat():
    served = serve(random_graph(1))
    (g,) = graphs_of(served, 1)
    loader = NodeDataLoader(g, np.arange(40), NeighborSampler([2]), batch_size=10, shuffle=True)
    first = [s.tolist() for s in seeds_of(loader)]
    loader.set_epoch(1)
    assert [s.tolist() for s in seeds_of(loader)] != first
    loader.set_epoch(0)
    assert [s.tolist() for s in seeds_of(loader)] == first


@pytest.mark.parametrize("seed", [0, (1 << 64) - 1, *(derive(seed, EVALUATION) for seed in range(8))])
def test_a_seed_may_have_all_64_bits_that_derived_ones_have(seed):
    served = serve(random_graph(1))
    (g,) = graphs_of(served, 1)
    (batch,) = seeds_of(NodeDataLoader(g, [1, 3], NeighborSampler([2]), batch_size=2, seed=seed))
    assert batch.tolist() == [1, 3]


@pytest.mark.parametrize("prefetch", [2, 3, 100])
def test_batches_prepared_together_are_the_same(prefetch):
    served = serve(random_graph(1))
    (g,) = graphs_of(served, 1)
    one, many = (list(NodeDataLoader(g, np.arange(40), NeighborSampler([3, 3], prefetch_node_feats=["features"]),
                                     batch_size=6, shuffle=True, prefetch=k)) for k in (1, prefetch))
    assert len(one) == len(many)
    for a, b in zip(one, many, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        assert torch.equal(a[2][0].srcdata["features"], b[2][0].srcdata["features"])
        assert all(np.array_equal(x.csc[e].indices, y.csc[e].indices)
                   for x, y in zip(a[2], b[2], strict=True) for e in x.csc)


@pytest.mark.parametrize(("change", "error", "part"), [
    ({"batch_size": None}, ConfigError, "either batch_size"),
    ({"global_batch_size": 3}, ConfigError, "either batch_size"),
    ({"prefetch": 0}, ConfigError, "prefetch is 0"),
    ({"seed": 1 << 64}, ConfigError, "must be less than 18446744073709551616"),
    ({"nids": [0, 40]}, IDError, "seed 1 is"),
    ({"nids": [-1]}, IDError, "-1"),
    ({"sampler": NeighborSampler([2], prefetch_labels=["nope"])}, UnknownName, "nope"),
])
def test_what_cannot_be_is_refused(change, error, part):
    served = serve(random_graph(1))
    (g,) = graphs_of(served, 1)
    arguments = {"nids": [0], "sampler": NeighborSampler([2]), "batch_size": 2} | change
    with pytest.raises(error, match=part):
        NodeDataLoader(g, **arguments)


def test_drop_last():
    served = serve(random_graph(1))
    (g,) = graphs_of(served, 1)
    loader = NodeDataLoader(g, np.arange(40), NeighborSampler([2]), batch_size=12, drop_last=True)
    assert len(loader) == 3 == len(list(loader))
    assert replace(loader.plan, drop_last=False).steps == 4


def test_trainers_of_a_node_take_stretches_of_ids_with_their_part_of_every_type():
    served = serve(random_hetero_graph(2, 400, 600), parts=4)
    ids = {"paper": np.random.default_rng(0).permutation(400), "author": np.arange(201)[::-1].copy()}
    topology = Topology((0,) * 3, (BOTH,) * 3)
    loaders = [NodeDataLoader(DistGraph(served.published, topology, Trainer(rank, 3), {}), ids, NeighborSampler([0]),
                              global_batch_size=90, shuffle=True) for rank in range(3)]
    for step in range(len(loaders[0])):
        shares = [loader.seeds_of(step) for loader in loaders]
        for ntype in ids:
            for one, next_one in zip(shares, shares[1:], strict=False):
                assert one[ntype].max() < next_one[ntype].min()
            sizes = [share[ntype].size for share in shares]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("edges", [False, True])
def test_trainers_do_not_compute_the_seeds_of_others(edges):
    from mpignn.loader.edge import EdgeDataLoader
    served = serve(random_graph(1, num_nodes=20_000, num_edges=100_000), parts=4, servers=4)
    make, totals = EdgeDataLoader if edges else NodeDataLoader, {}
    for trainers in 1, 4:       # of four servers
        roles = (BOTH,) * trainers + (Role.SERVER,) * (4 - trainers)
        topology = Topology((0, 1, 2, 3) if trainers == 4 else (0,) * 4, roles)
        counts = np.zeros(3, np.int64)
        for rank in range(trainers):
            g = DistGraph(served.published, topology, Trainer(rank, trainers), {})
            loader = make(g, np.arange(1000), NeighborSampler([4, 4]), global_batch_size=200, shuffle=True)
            for _ in loader:
                pass
            counts += loader.stats.seeds, loader.stats.edges, loader.stats.rows
        totals[trainers] = counts
    seeds, drawn, rows = totals[4] / totals[1]
    assert seeds == 1 and 1 <= drawn < 1.6 and 1 <= rows < 1.6
