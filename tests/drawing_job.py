"""A job that draws blocks in every way that samplers know, and writes down what each trainer drew.

    mpirun -np N python drawing_job.py FOLDER GRAPH JSON

JSON has ``threads`` and ``prefetch``, and settings of `mpignn.run`.  The graph is one of `graphs.write_hetero_cuts`.
`recorded.recorded` reads what was drawn from FOLDER, with the number of the way in place of the epoch.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import mpignn as mg
from mpignn.kernels import threads
from mpignn.sampling.canonical import canonical_rows
from mpignn.store.graph import published_graph
from recorded import record

SEEDS, SIZE = 60, 25


class Full(mg.BlockSampler):
    """All in-edges, said as a user would."""

    def sample_frontier(self, block_id, g, nodes, key):
        return mg.in_subgraph(g, nodes)


def ways(g):
    """Samplers, and the edges to exclude."""
    some, graph = {}, published_graph(g)
    for etype in g.canonical_etypes:        # of every third destination the first in-edge, by original ids
        ids = np.asarray(g.new_nids(np.arange(0, g.num_nodes(etype[2]), 3), etype[2]))
        bounds = graph.read(graph.adjacency(etype).rows, ids)
        some[etype] = np.sort(bounds[bounds[:, 0] < bounds[:, 1], 0])
    fanouts = [{e: 2 + number for number, e in enumerate(g.canonical_etypes)}, 4]
    return [(mg.NeighborSampler(fanouts), None), (mg.NeighborSampler(fanouts, replace=True), None),
            (mg.NeighborSampler(fanouts, "weight"), None), (mg.NeighborSampler([3, 4], "weight", replace=True), None),
            (mg.NeighborSampler([3, 4], mask="kept"), None), (mg.NeighborSampler([3, -1], "weight", mask="kept"), some),
            (mg.NeighborSampler(fanouts, return_eids=True), some), (mg.NeighborSampler(fanouts, "weight"), some),
            (Full(2), some), (mg.NeighborSampler(fanouts, edge_timestamp_attr_name="when"), None),
            (mg.NeighborSampler([-1, 4], "weight", mask="kept", edge_timestamp_attr_name="when",
                                node_timestamp_attr_name="born"), some)]


def times(sampler, g, nids):
    """Times of the seeds, for a sampler that asks for times which the graph has not."""
    if not sampler.temporal or sampler.node_timestamp_attr_name is not None:
        return None
    return {t: 20 + 7 * np.asarray(g.orig_nids(ids, t)) % 80 for t, ids in nids.items()}


def main(g, world):
    threads.GRAIN = 40      # cut even the little that a small graph has
    threads.set_num_threads(told["threads"])
    drawn = {}
    for number, (sampler, exclude) in enumerate(ways(g)):
        nids = {t: np.asarray(g.new_nids(np.arange(min(SEEDS, g.num_nodes(t))), t)) for t in g.ntypes}
        loader = mg.NodeDataLoader(g, nids, sampler, global_batch_size=SIZE, shuffle=True, seed=number,
                                   prefetch=told["prefetch"], input_time=times(sampler, g, nids))
        if exclude is not None:
            draw = sampler.sample_many
            sampler.sample_many = lambda published, inputs, draw=draw, gone=exclude: draw(
                published, [replace(batch, exclude=gone) for batch in inputs])
        for step, (_, _, blocks) in enumerate(loader):
            for hop, block in enumerate(reversed(blocks)):
                drawn[f"{number}.{step}/{hop}"] = canonical_rows(published_graph(g), block, hop)
    record(Path(sys.argv[1]), g.trainers.rank, drawn)


if __name__ == "__main__":
    settings = json.loads(sys.argv[3])
    told = {name: settings.pop(name) for name in ("threads", "prefetch")}
    mg.run(main, sys.argv[2], **settings)
