"""A job that goes through batches of edges and writes down, on every trainer, what each step held.

    mpirun -np N python edge_job.py FOLDER GRAPH PREFETCH [NAME=VALUE...]

NAME=VALUE are settings of the job.  `recorded.recorded` reads what was drawn, with the negative sampler in place of the
epoch; FOLDER/pairs-R.npz gets the ends of the edges and of the negative
pairs in original ids, as ``SAMPLER.STEP/positive`` and ``SAMPLER.STEP/negative``, (E, 2).
"""

import sys
from pathlib import Path

import numpy as np

import recorded

DESTINATIONS = 250      # whose in-edges are the seeds


def main(folder: str, graph: str, prefetch: str, *settings: str) -> None:
    import mpignn as mg
    named = dict(setting.split("=") for setting in settings)
    mg.run(lambda g, _: record(g, Path(folder), int(prefetch)), graph=graph, **named)


def record(g, folder: Path, prefetch: int) -> None:
    import mpignn as mg
    from mpignn.sampling.canonical import canonical_rows
    from mpignn.store.graph import published_graph

    (etype,), (ntype,) = g.canonical_etypes, g.ntypes
    graph = published_graph(g)
    bounds = graph.read(graph.adjacency(etype).rows, g.new_nids(np.arange(DESTINATIONS)).numpy())
    eids = np.concatenate([np.arange(*row) for row in bounds])      # in an order that all partitionings share
    found, ends = {}, {}
    for make in mg.negative.Uniform, mg.negative.GlobalUniform, mg.negative.InBatch:
        loader = mg.EdgeDataLoader(
            g, eids, mg.NeighborSampler([4, 5], return_eids=True), global_batch_size=400, shuffle=True, seed=3,
            exclude="reverse_id", negative_sampler=make(2, exclude_self_loops=True, exclude_edges=True),
            prefetch=prefetch)
        for step, (_, positive, negative, blocks) in enumerate(loader):
            name = f"{make.__name__}.{step}"
            for hop, block in enumerate(reversed(blocks)):
                found[f"{name}/{hop}"] = canonical_rows(graph, block, hop)
            for kind, pairs in ("positive", positive), ("negative", negative):
                nodes = pairs.node_ids[ntype]
                ends[f"{name}/{kind}"] = np.stack([g.orig_nids(nodes[side]) for side in pairs.edges()], 1)
    recorded.record(folder, g.trainers.rank, found)
    np.savez(folder / f"pairs-{g.trainers.rank}.npz", **ends)


if __name__ == "__main__":
    main(*sys.argv[1:])
