"""How many edges a second are drawn from the graph?

``one hop`` draws the last of the fanouts for many nodes; ``batches`` all hops for the seeds of a batch.  Both check,
draw and relabel, as loaders do.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.limits import RANDOM_READS, random_reads
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import DistGraph, published_graph

_SEEDS = 20_000


def measure(g: DistGraph, asked: Asked) -> list[Figure]:
    """Draw edges for seeds at random, as many of each node type.  Collective over the trainers."""
    fanouts = asked.config.sampling.fanouts
    return time_in_turn(g.trainers, [
        _drawing(g, asked, f"one hop, fanout {fanouts[-1]}", fanouts[-1:], _SEEDS),
        _drawing(g, asked, f"batches, fanouts {','.join(map(str, fanouts))}", fanouts, asked.config.loader.batch_size),
        random_reads(g.num_edges())], asked.repeats)


def _drawing(g: DistGraph, asked: Asked, name: str, fanouts: Sequence[int], num_seeds: int) -> Timed:
    published, sampler = published_graph(g), NeighborSampler(fanouts)
    seeds = [draw_seeds(g, num_seeds, repeat) for repeat in range(asked.repeats + 1)]

    def call(repeat: int) -> float:
        _, _, blocks = sampler.sample(published, seeds[repeat], repeat)
        return sum(block.num_edges() for block in blocks) / 1e6
    return Timed(name, "M edges/s", call, RANDOM_READS)


def draw_seeds(g: DistGraph, num_seeds: int, number: int) -> dict[str, np.ndarray]:
    """Ids of nodes of each type, drawn for this trainer, each once.  Not collective.

    Args:
        g: The graph.
        num_seeds: How many of all types together, if there are as many.
        number: That of the draw.
    """
    rng, ntypes = np.random.default_rng((number, g.trainers.rank)), g.schema.ntypes
    return {ntype: rng.choice(g.num_nodes(ntype), min(-(-num_seeds // len(ntypes)), g.num_nodes(ntype)), replace=False)
            for ntype in ntypes}
