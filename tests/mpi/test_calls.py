"""How many MPI calls sampling and fetching make: counted where they are made, and as the transport tells.

Shapes: H hops, K batches prepared together.
"""

import importlib
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from mpignn.comm.transport import Request
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.roles import Role
from mpignn.sampling.block_sampler import SamplerInput
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.cut import place
from mpignn.store.graph import published_graph
from mpignn.store.published import PublishedGraph

NODES, DEGREE, HOPS = 1_200, 8, 3
LOOP = ("node", "to", "node")


def counting(counts):
    """MPI with a communicator and a window that count the calls made on them."""
    from mpignn.mpi.library import MPI

    def wrap(base):
        def method(name):
            def call(self, *args, **kwargs):
                counts[name] += 1
                return getattr(base, name)(self, *args, **kwargs)
            return call
        names = [n for n in dir(base) if n[0].isupper() or n in ("bcast", "allgather", "gather", "send", "recv")]
        skipped = ("Create", "Dup", "Get_rank", "Get_size", "Allocate_shared", "Free")
        return type(base.__name__, (base,), {n: method(n) for n in names if n not in skipped
                                             and callable(getattr(base, n)) and not n.startswith(("Create", "Alloc"))})

    class Counted(type(MPI)):
        def __getattr__(self, name):
            return self.__dict__.get(name) or getattr(MPI, name)

    counted = Counted("MPI")
    counted.Win, counted.Intracomm = wrap(MPI.Win), wrap(MPI.Intracomm)
    return counted


def publish(world, access, replicate):
    """A regular graph with features, cut over the servers; and its arrays."""
    from mpignn.mpi.transport import MpiTransport
    servers = len(world.topology.server_ranks)
    rng = np.random.default_rng(0)
    ranges = np.arange(servers + 1) * NODES // servers
    book = RangePartitionBook(Schema(("node",), (LOOP,)), {"node": ranges}, {LOOP: ranges * DEGREE})
    arrays = {"node/node/orig_id": np.arange(NODES), "node/node/data/x": rng.standard_normal((NODES, 5)),
              "edge/node:to:node/indptr": np.arange(NODES + 1) * DEGREE,
              "edge/node:to:node/indices": rng.integers(0, NODES, NODES * DEGREE).astype(np.int32)}
    infos = {name: ArrayInfo(name, rows.dtype, rows.shape[1:]) for name, rows in arrays.items()}
    placement = place(book, infos, world.topology, lambda _, row: row * DEGREE, replicate)
    transport = MpiTransport(world, placement.specs(world.node_id), access)
    if world.server_index is not None:
        for name, array in transport.arrays.items():
            lo, hi = array.spec.bounds[world.server_index:world.server_index + 2]
            rows = arrays[name][lo:hi + (array.spec.step < array.spec.width)]
            transport.shard(name)[:] = rows.reshape(-1)
    transport.publish()
    return PublishedGraph(book, infos, transport), arrays


def prepare(world, published, arrays, batches) -> None:
    """Sample some batches and fetch their features, as a loader does."""
    rng = np.random.default_rng(world.rank)
    inputs = [SamplerInput(rng.choice(NODES, 300, replace=False), key) for key in range(batches)]
    sampled = NeighborSampler([2] * HOPS).sample_many(published, inputs)
    array, _ = published.node_data("node", "x")
    requests = [Request(array, inputs, np.empty((inputs.size, 5))) for inputs, _, _ in sampled]
    published.transport.gather(requests).wait()
    for request in requests:
        np.testing.assert_array_equal(request.out, arrays["node/node/data/x"][request.ids])


@pytest.mark.ranks(2, 3, 4, ranks_per_node=(None, 1, 2))
@pytest.mark.parametrize("access", ["rma", "owner"])
@pytest.mark.parametrize(("batches", "replicate"), [(1, "none"), (3, "none"), (2, "topology"), (2, "all")])
def test_as_many_calls_as_the_design_says(world, access, batches, replicate):
    from mpignn.mpi import rma_way
    from mpignn.mpi.sync import MpiGroup
    counts: Counter = Counter()
    with patch.object(rma_way, "MPI", counting(counts)):
        group = world.all
        world = replace(world, all=MpiGroup(rma_way.MPI.Intracomm(group.comm), group.blocks))
        published, arrays = publish(world, access, replicate)
        transport = published.transport
        counts.clear()
        if Role.TRAINER in world.role:
            prepare(world, published, arrays, batches)
        made, stats = Counter(counts), transport.stats()
        world.finish()
        transport.free()
    first, last = world.topology.servers_of(world.node_id)
    owners = 0 if replicate == "all" else len(world.topology.server_ranks) - (last - first)
    if Role.TRAINER not in world.role:
        return
    if owners == 0:
        assert made == {} and stats.calls() == 0
        return
    of_structure = 0 if replicate == "topology" else 2
    requests = (of_structure * HOPS + 1) * owners       # for all batches together
    if access == "rma":
        assert made == ({"Rget": requests} if rma_way._TELLS_THE_END else {"Get": requests, "Flush": requests})
    else:
        served = {"Improbe"} if world.server_index is not None else set()
        assert made["Irecv"] == requests and set(made) <= {"Irecv", "Isend"} | served
        assert made["Isend"] >= requests if served else made["Isend"] == requests
    for server in range(len(world.topology.server_ranks)):
        remote = not first <= server < last
        for hop in range(HOPS):
            assert stats.calls("structure", hop, "remote", server) == (of_structure if remote else 0)
        assert stats.calls("feature", owner=server) == (1 if remote else 0)
    assert stats.calls() == requests
    for hop in range(HOPS):
        assert (stats.rows("structure", hop, "remote") > 0) == (of_structure > 0)
    assert stats.rows("feature", None, "remote") > 0 and stats.wait_s > 0
    assert stats.rows("write") == stats.rows("tensor") == 0


@pytest.mark.ranks(2, 4, ranks_per_node=(1, 2))
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("thread", [False, True])
def test_a_loader_makes_a_round_trip_per_hop_twice_and_one_for_features(world, prefetch, thread):
    from mpignn.loader.node import NodeDataLoader
    from mpignn.store.graph import DistGraph
    published, arrays = publish(world, "rma", "none")
    transport, steps = published.transport, 0
    if Role.TRAINER in world.role:
        g = DistGraph(published, world.topology, world.trainers, {})
        sampler = NeighborSampler([2] * HOPS, prefetch_node_feats=["x"])
        loader = NodeDataLoader(g, np.arange(NODES), sampler, global_batch_size=NODES // 6, shuffle=True,
                                prefetch=prefetch, thread=thread)
        for inputs, _, blocks in loader:
            np.testing.assert_array_equal(blocks[0].srcdata["x"], arrays["node/node/data/x"][inputs])
            steps += 1
        assert steps == 6
    stats = transport.stats()
    world.finish()
    transport.free()
    if Role.TRAINER not in world.role:
        return
    first, last = world.topology.servers_of(world.node_id)
    for server in range(len(world.topology.server_ranks)):
        groups = 0 if first <= server < last else 6 // prefetch
        assert stats.calls("feature", owner=server) == groups
        for hop in range(1, HOPS):
            assert stats.calls("structure", hop, "remote", server) == 2 * groups
        assert stats.calls("structure", 0, "remote", server) <= 2 * groups     # seeds are dealt to where they are


@contextmanager
def refusing_one_sided_calls():
    """Let every module of the package find an MPI whose windows cannot be made or used."""
    importlib.import_module("mpignn.mpi.transport")     # with all that it needs
    from mpignn.mpi.library import MPI

    class NoWin:
        def __getattr__(self, name):
            raise AssertionError(f"MPI.Win.{name} was called")

    class Refusing(type(MPI)):
        Win = NoWin()

        def __getattr__(self, name):
            return getattr(MPI, name)

    holders = [m for name, m in sys.modules.items() if name.startswith("mpignn.mpi.") and vars(m).get("MPI") is MPI]
    assert {"mpignn.mpi.rma_way", "mpignn.mpi.rma_array", "mpignn.mpi.segment"} <= {m.__name__ for m in holders}
    for module in holders:
        module.MPI = Refusing("MPI")
    try:
        yield
    finally:
        for module in holders:
            module.MPI = MPI


@pytest.mark.ranks(2, 3, 5, ranks_per_node=(None, 1, 2))
def test_by_way_of_owners_nothing_is_one_sided(world):
    """Loading, sampling, fetching, questions about edges, tensors of the trainers: not one call on a window."""
    from test_dist_graph import GRAPHS, opened
    world = replace(world, access="owner")
    data = GRAPHS["types"]
    with refusing_one_sided_calls(), opened(world, data, out_edges=True) as g:
        if world.trainers is not None:
            etype = g.canonical_etypes[0]
            papers = np.arange(g.num_nodes("paper"))
            NeighborSampler([3, 3]).sample(published_graph(g), {"paper": papers}, 1)
            edges = np.arange(g.num_edges(etype))
            src, dst = g.find_edges(edges, etype)
            assert g.edge_ids(src, dst, etype).numel() == edges.size
            assert g.in_degrees(papers, etype).sum() == g.out_degrees(np.arange(g.num_nodes(etype[0])), etype).sum()
            assert g.new_nids(g.orig_nids(papers, "paper"), "paper").tolist() == papers.tolist()
            np.testing.assert_array_equal(g.nodes["paper"].data["features"][papers],
                                          data.node_data["paper"]["features"][g.orig_nids(papers, "paper")])
            import torch

            from mpignn.store.tensor import DistTensor
            t = DistTensor((papers.size, 2), torch.float32, "t", part_policy="paper", g=g)
            for way in t.add_, t.max_, t.min_:
                way(papers, 1)
                t.sync()
            assert t.count_nonzero() == 2 * papers.size
            t[papers[world.trainers.rank::world.trainers.size]] = 3
            t.sync()
            assert (t[papers] == 3).all()
            t.sync()
