"""How fast are the feature rows of a batch brought together, from memory that the ranks share or from other nodes?"""

import numpy as np

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.limits import COPY, plain_copy
from mpignn.bench.sample import draw_seeds
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.buffers import Pool
from mpignn.comm.transport import Request
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import DistGraph, published_graph


def measure(g: DistGraph, asked: Asked) -> list[Figure]:
    """Gather as many rows as a batch has, drawn from all.  Collective over the trainers."""
    published, name = published_graph(g), asked.config.graph.features
    sampler = NeighborSampler(asked.config.sampling.fanouts)
    _, _, blocks = sampler.sample(published, draw_seeds(g, asked.config.loader.batch_size, 0), 0)
    ntype = max((ntype for ntype in g.schema.ntypes if name in published.data_of(ntype)),
                key=lambda ntype: blocks[0].src_ids[ntype].size)
    array, _ = published.node_data(ntype, name)
    num_rows = max(1, blocks[0].src_ids[ntype].size)
    drawn = [np.random.default_rng((repeat, g.trainers.rank)).choice(array.spec.num_rows, num_rows, replace=False)
             for repeat in range(asked.repeats + 1)]
    out = Pool().empty((num_rows, array.spec.width), array.spec.dtype)

    def gathering(order: str, rows: list[np.ndarray]) -> Timed:
        def call(repeat: int) -> float:
            published.transport.gather([Request(array, rows[repeat], out)]).wait()
            return 2 * out.nbytes / 1e9
        return Timed(f"{num_rows} rows of {array.spec.width * array.spec.dtype.itemsize} bytes, {order}", "GB/s", call,
                     COPY)

    return time_in_turn(g.trainers, [gathering("ascending", [np.sort(rows) for rows in drawn]),
                                     gathering("in any order", drawn), plain_copy(out.nbytes)], asked.repeats)
