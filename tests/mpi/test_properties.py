"""Any operations on tensors and graphs do what NumPy and plain loops do: any ranks, servers, nodes, ways to rows."""

from dataclasses import replace

import pytest

from properties import GRAPHS, TENSORS, N, examples, graph_as_loops, tensor_as_numpy

LAUNCHES = {"ranks_per_node": (None, 2)}
both_ways = pytest.mark.parametrize("way", ["rma", "owner"])
roles = pytest.mark.parametrize("servers", [None, 0, 2, 3])


def as_asked(world, servers, way):
    """The job with so many servers on each node and that way to rows; None where nodes have too few ranks for that."""
    from mpignn.mpi.world import initialize
    sizes = [world.topology.node_of_rank.count(node) for node in world.topology.nodes]
    if servers is not None:
        if servers >= min(sizes):
            return None
        world = initialize(servers, sizes[0] if len(sizes) > 1 else None)
        assert world.topology.servers_of(0) == (0, servers or sizes[0])
    return replace(world, access=way)


@pytest.mark.ranks(1, 3, 5, **LAUNCHES)
@both_ways
@roles
def test_tensors(world, servers, way):
    from test_shared_tensor import graph
    job = as_asked(world, servers, way)
    if job is None:
        return
    drawn = examples(job, TENSORS, 6)
    with graph(job, way, rows=N) as g:
        for example in drawn if g is not None else ():
            tensor_as_numpy(g, g.rank, g.size, example)


@pytest.mark.ranks(1, 3, 5, **LAUNCHES)
@both_ways
@roles
def test_graphs(world, servers, way):
    job = as_asked(world, servers, way)
    for example in examples(job, GRAPHS, 2) if job is not None else ():
        graph_as_loops(job, example)
