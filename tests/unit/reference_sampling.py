"""What the kernels of sampling draw, in plain Python: the same numbers, bit for bit."""

import numpy as np

from mpignn.kernels.rng import GOLDEN, derive

MASK = (1 << 64) - 1


def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def draw(key, counter):
    return mix(key ^ mix((counter + 1) * GOLDEN & MASK))


def word(stream, number):
    return mix((stream + number * GOLDEN) & MASK)


def below(stream, number, n):
    """Draw ``number`` of a stream, below n: numbers of 32 bits until one is under the last multiple of n."""
    bits = word(stream, number >> 1) >> 32 * (number & 1) & 0xFFFFFFFF
    attempt = 0
    while bits * n % 2**32 < 2**32 % n:
        attempt += 1
        bits = word(stream, number + (attempt << 32)) & 0xFFFFFFFF
    return bits * n >> 32


def pick_row(key, orig, degree, fanout, replace):
    """Positions picked in a row."""
    if degree == 0 or fanout == 0:
        return []
    if fanout < 0 or (not replace and fanout >= degree):
        return list(range(degree))
    stream = draw(key, orig)
    if replace:
        return [below(stream, number, degree) for number in range(fanout)]
    picked = []
    for number, top in enumerate(range(degree - fanout, degree)):
        position = below(stream, number, top + 1)
        picked.append(top if position in picked else position)
    return picked


def sample(graph, seeds, fanouts, key, replace=False):
    """The canonical form of a batch: for each hop and edge type a list of (dst, (src, ...)), all in original ids.

    Args:
        graph: A `GraphData`.
        seeds: Original ids by node type.
        fanouts: A dict by edge type for each hop, that of the seeds first.
    """
    frontier = {t: set(np.asarray(seeds.get(t, ())).tolist()) for t in graph.num_nodes}
    hops = []
    for hop, fanout in enumerate(fanouts):
        found, reached = {}, {t: set(nodes) for t, nodes in frontier.items()}
        for number, (etype, csc) in enumerate(graph.csc.items()):
            found[etype] = []
            for v in sorted(frontier[etype[2]]):
                row = csc.indices[csc.indptr[v]:csc.indptr[v + 1]]
                picks = pick_row(derive(key, hop, number), v, row.size, fanout[etype], replace)
                found[etype].append((v, tuple(row[picks].tolist())))
                reached[etype[0]].update(row[picks].tolist())
        hops.append(found)
        frontier = reached
    return hops
