"""What is printed in a notebook or a log tells sizes, and is no dump of arrays."""

import numpy as np
import torch
from services import serve

from graphs import HETERO_ETYPES, random_hetero_graph
from mpignn import negative
from mpignn.comm.group import LocalGroup
from mpignn.loader.edge import EdgeDataLoader
from mpignn.roles import BOTH, Topology
from mpignn.sampling.frontier import sample_neighbors
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor


def test_objects_that_users_meet_are_told_in_a_line():
    data = random_hetero_graph(2, 2000, 9000)
    with DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), {}) as g:
        frontier = sample_neighbors(g, {"paper": np.arange(2000)}, 5)
        loader = EdgeDataLoader(g, {HETERO_ETYPES[1]: np.arange(3000)}, NeighborSampler([5]), batch_size=3000,
                                negative_sampler=negative.Uniform(2))
        _, positive, _, (block,) = next(iter(loader))
        tensor = DistTensor((2000, 3), torch.float32, part_policy="paper", g=g)
        for thing in (block, frontier, frontier["cites"], positive, block.csc, data, g, tensor, g.local_partition,
                      g.nodes["paper"].data, g.schema):
            assert len(repr(thing)) < 600 and "\n" not in repr(thing), repr(thing)
        assert repr(frontier["cites"]).startswith("FrontierEdges(in: 2000 nodes, ")
        assert "paper: 2000" in repr(g) and f"paper:cites:paper: {block.num_edges('cites')}" in repr(block)
    assert repr(g) == "DistGraph(closed)"
