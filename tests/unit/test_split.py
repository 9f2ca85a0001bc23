"""Shares of a set: every id goes to exactly one trainer, evenly or to where it is owned."""

import numpy as np
import pytest
from services import serve
from test_loader import graphs_of

from graphs import random_graph
from mpignn.loader.split import edge_split, node_split


@pytest.mark.parametrize("trainers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", [0, 1, "T-1", "T", "T+1", 4097])
@pytest.mark.parametrize("parts", [1, 3])
def test_every_id_goes_to_one_trainer(count, trainers, parts):
    count = eval(count, {"T": trainers}) if isinstance(count, str) else count
    served = serve(random_graph(1, num_nodes=4200, num_edges=4200), parts, servers=trainers)
    graphs, ids = graphs_of(served, trainers), np.random.default_rng(0).permutation(4200)[:count]
    for split in node_split, edge_split:
        for even in True, False:
            shares = [split(ids, g, force_even=even).numpy() for g in graphs]
            assert sorted(np.concatenate(shares)) == sorted(ids)
            assert all((np.diff(share) > 0).all() for share in shares)
            if even:
                sizes = [share.size for share in shares]
                assert max(sizes) - min(sizes) <= 1
            elif split is node_split:
                for node, (g, share) in enumerate(zip(graphs, shares, strict=True)):
                    assert (g.home("_N", share) == node).all()
