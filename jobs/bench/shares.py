"""How much more do several trainers sample and fetch together than one that computes their global batches alone?

    python jobs/bench/shares.py GRAPH [--trainers 4] [--fanouts 5,10,15] [--batch-size 1000] [--steps 3]

One process plays each trainer in turn.  Edges and input rows are summed over the trainers and divided by those of one
trainer with the same global batches: a node that is met from the seeds of two trainers counts twice.  Seeds are
dealt to trainers on nodes of their own, by locality, and to trainers that share a node, where there is none.
"""

import argparse

import numpy as np

import mpignn as mg
from machine import header
from mpignn.comm.group import LocalGroup
from mpignn.comm.local import LocalTransport
from mpignn.graph.array_key import ArrayKey
from mpignn.roles import BOTH, Role, Topology
from mpignn.store.cut import array_specs
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.published import PublishedGraph


class Trainer(LocalGroup):
    """One of several trainers, as far as a loader asks."""

    def __init__(self, rank: int, size: int):
        self.rank, self.size = rank, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--trainers", type=int, default=4)
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    mg.run(lambda g, _: measure(g, options), graph=options.graph)


def measure(g: DistGraph, options: argparse.Namespace) -> None:
    count, fanouts = options.trainers, [int(f) for f in options.fanouts.split(",")]
    size = count * options.batch_size
    apart = Topology(tuple(range(count)), (BOTH,) * count)
    beside = Topology((0,) * count, (BOTH,) * count)
    alone = Topology((0,) * count, (BOTH,) + (Role.SERVER,) * (count - 1))
    print(header())
    print(f"{g.num_nodes()} nodes, {g.num_edges()} edges, {g.book.num_partitions()} partitions; {count} trainers, "
          f"global batches of {size}, fanouts {options.fanouts}, {options.steps} steps")
    published, train = _served_by(published_graph(g), count), g.split("train")

    def total(topology: Topology, rank: int = 0) -> np.ndarray:
        """Seeds, edges and rows of one trainer in some steps."""
        seen = DistGraph(published, topology, Trainer(rank, len(topology.trainer_ranks)), {})
        loader = mg.NodeDataLoader(seen, train, mg.NeighborSampler(fanouts), global_batch_size=size, shuffle=True)
        for step, _ in enumerate(loader):
            if step + 1 == options.steps:
                break
        return np.array([loader.stats.seeds, loader.stats.edges, loader.stats.rows], np.float64)

    one = total(alone)
    for name, topology in ("on nodes of their own", apart), ("on one node", beside):
        each = [total(topology, rank) for rank in range(count)]
        seeds, edges, rows = np.sum(each, axis=0) / one
        print(f"{name}: seeds {seeds:.2f}, edges {edges:.2f}, rows {rows:.2f} times those of one trainer "
              f"({one[1] / options.steps:,.0f} edges, {one[2] / options.steps:,.0f} rows a step)", flush=True)


def _served_by(published: PublishedGraph, servers: int) -> PublishedGraph:
    """The structure of a graph that is all in view, owned by several servers."""
    infos = [info for info in published.infos.values() if ArrayKey.parse(info.name).is_structure]

    def edge_start(etype, row):
        rows = published.adjacency(etype).rows.local
        return int(rows[row, 0] if row < rows.shape[0] else rows[-1, 1]) if rows.size else 0

    transport = LocalTransport(array_specs(published.book, infos, servers, edge_start))
    for name in transport.arrays:
        transport.shard(name)[:] = published.transport.arrays[name].flat
    transport.publish()
    return PublishedGraph(published.book, {info.name: info for info in infos}, transport)


if __name__ == "__main__":
    main()
