"""Batches of ids that another loader chooses are those of the loaders of nodes and edges; edges as a graph."""

import numpy as np
import pytest
import torch
from services import serve
from test_loader import graphs_of

from graphs import HETERO_ETYPES, random_graph, random_hetero_graph
from mpignn import negative
from mpignn.errors import ConfigError, IDError, UnknownName
from mpignn.graph.block import EID
from mpignn.loader.base import DistDataLoader
from mpignn.loader.collate import EdgeCollator, NodeCollator
from mpignn.loader.edge import EdgeDataLoader
from mpignn.loader.node import NodeDataLoader
from mpignn.sampling.frontier import sample_neighbors
from mpignn.sampling.neighbor import NeighborSampler

WRITES, CITES, WRITTEN, IN = HETERO_ETYPES


def graph_of(source, parts=2):
    (g,) = graphs_of(serve(source, parts=parts), 1)
    return g


def alike(one, other):
    """Whether two batches are the same, to the last edge and row."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if hasattr(one, "csc"):
        return (all(np.array_equal(csc.indptr, other.csc[etype].indptr)
                    and np.array_equal(csc.indices, other.csc[etype].indices) for etype, csc in one.csc.items())
                and alike(one.src_frames, other.src_frames) and alike(one.dst_frames, other.dst_frames)
                and one.key == other.key)
    return alike([*one.ends.values(), one.node_ids, one.edge_frames],
                 [*other.ends.values(), other.node_ids, other.edge_frames])


@pytest.mark.parametrize("typed", [False, True])
def test_a_loader_of_ids_that_collates_yields_what_the_loader_of_nodes_does(typed):
    g = graph_of(random_hetero_graph(2, 20, 40) if typed else random_graph(3))
    ids = {t: torch.arange(g.num_nodes(t)) for t in g.ntypes} if typed else torch.arange(40)
    sampler = NeighborSampler([3, 2], prefetch_node_feats=["features"])
    collator = NodeCollator(g, ids, sampler, seed=4)
    assert collator.dataset is ids
    plain = DistDataLoader(collator.dataset, 7, collator.collate, g=g, shuffle=True, seed=4)
    whole = NodeDataLoader(g, ids, sampler, batch_size=7, shuffle=True, seed=4)
    for epoch in 0, 2:
        for loader in plain, whole, collator:
            loader.set_epoch(epoch)
        got, wanted = list(plain), list(whole)
        assert len(got) == len(plain) > 3 and alike(got, wanted)
    collator.set_epoch(2, step=1)
    assert alike(collator.collate(whole.seeds_of(1) if typed else whole.seeds_of(1)[g.ntypes[0]]), wanted[1])
    assert not alike(got[0], got[1])


@pytest.mark.parametrize("exclude", [None, "self"])
def test_a_loader_of_ids_that_collates_yields_what_the_loader_of_edges_does(exclude):
    g = graph_of(random_graph(3))
    ids, sampler = np.arange(g.num_edges()), NeighborSampler([3, 2], prefetch_node_feats=["features"])
    options = {"exclude": exclude, "negative_sampler": negative.PerSourceUniform(2), "seed": 5}
    collator = EdgeCollator(g, ids, sampler, **options)
    got = list(DistDataLoader(collator.dataset, 30, collator.collate, g=g, shuffle=True, seed=5))
    assert alike(got, list(EdgeDataLoader(g, ids, sampler, batch_size=30, shuffle=True, **options)))


def test_ids_come_as_numbers_pairs_or_by_type():
    g = graph_of(random_hetero_graph(2, 20, 40))
    sampler = NeighborSampler([2])
    ids = {"paper": np.arange(9), "author": np.arange(5)}
    batches = []
    for items in ([("paper", 3), ("author", 1), ("paper", 2)], {"author": [1], "paper": torch.tensor([3, 2])}):
        collator = NodeCollator(g, ids, sampler)
        batches.append(collator.collate(items))
    assert alike(*batches) and batches[0][1]["paper"].tolist() == [3, 2]
    assert NodeCollator(g, ids, sampler).collate([("author", 4)])[1]["paper"].tolist() == []
    (other,) = {*g.ntypes} - {*ids}
    for items, kind in (([("paper", 99)], IDError), ({"nobody": [1]}, UnknownName), ({other: [0]}, ConfigError),
                        ([("paper", 1), 2], ConfigError), ([("paper", 1), ("paper", 1)], IDError)):
        with pytest.raises(kind):
            NodeCollator(g, ids, sampler).collate(items)
    one = graph_of(random_graph(3))
    collator = NodeCollator(one, range(40), sampler)
    assert collator.collate([5, 3])[1].tolist() == [5, 3] and collator.collate([])[1].tolist() == []
    with pytest.raises(ConfigError, match="step is -1"):
        collator.set_epoch(0, -1)


def test_edges_make_a_graph_of_their_ends():
    g = graph_of(random_graph(3))
    eids = [7, 2, 7]
    sub = g.edge_subgraph(eids)
    src, dst = g.find_edges(eids)
    (nodes,) = sub.node_ids.values()
    assert sub.edata[EID].tolist() == eids and sub.num_edges() == 3
    assert nodes.tolist() == sorted({*src.tolist(), *dst.tolist()})
    assert [nodes[ends].tolist() for ends in sub.edges()] == [src.tolist(), dst.tolist()]
    with pytest.raises(IDError):
        g.edge_subgraph([g.num_edges()])


def test_edges_of_several_types_make_a_graph_of_their_ends():
    g = graph_of(random_hetero_graph(2, 20, 40))
    eids = {CITES: [3, 0], WRITES: torch.tensor([5])}
    sub = g.edge_subgraph(eids)
    for etype, ids in eids.items():
        ends = zip((etype[0], etype[2]), sub.edges(etype), g.find_edges(ids, etype), strict=True)
        assert all(torch.equal(sub.node_ids[ntype][places], of_graph) for ntype, places, of_graph in ends)
    assert set(sub.canonical_etypes) == {CITES, WRITES}
    with pytest.raises(UnknownName):
        g.edge_subgraph({"no such": [0]})


def test_a_frontier_of_one_edge_type_answers_without_its_name():
    g = graph_of(random_graph(3))
    frontier = sample_neighbors(g, [0, 4], 2)
    edges = frontier[None]
    assert (frontier.src is edges.src and np.array_equal(frontier.dst, edges.dst) and frontier.eid is edges.eid
            and frontier.num_edges() == frontier.num_edges(None) == edges.eid.size > 0)
    typed = sample_neighbors(graph_of(random_hetero_graph(2, 20, 40)), {"paper": [0, 1]}, -1)
    assert typed.num_edges() == sum(typed.num_edges(etype) for etype in typed.edges)
    with pytest.raises(UnknownName):
        typed.src  # noqa: B018
