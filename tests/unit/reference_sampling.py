"""What the kernels of sampling draw, in plain Python: the same numbers, bit for bit."""

import itertools
import math

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


def unit(stream, number):
    """A number between 0 and 1 of 52 random bits."""
    return ((word(stream, number) >> 12) + 0.5) * 2.0**-52


def pick_row(key, orig, degree, fanout, replace, weights=None, allowed=None):
    """Positions picked in a row.

    Args:
        weights: Weights of each position.
        allowed: Positions that may be picked, ascending; None for all.
    """
    allowed = list(range(degree)) if allowed is None else allowed
    if weights is None:
        return [allowed[rank] for rank in _pick_ranks(key, orig, len(allowed), fanout, replace)]
    allowed = [p for p in allowed if weights[p] > 0]
    stream = draw(key, orig)
    if replace and allowed:
        sums = np.cumsum([float(weights[p]) for p in allowed])
        found = np.searchsorted(sums, [unit(stream, number) * sums[-1] for number in range(fanout)], side="right")
        return [allowed[min(j, len(allowed) - 1)] for j in found]
    if fanout < 0 or len(allowed) <= fanout:
        return allowed
    return sorted(allowed, key=lambda p: -math.log(1 - unit(stream, p)) / float(weights[p]))[:fanout]


def _pick_ranks(key, orig, degree, fanout, replace):
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


def number_moment(node, time):
    """What the draws of a node at an integer time depend on."""
    return mix(node ^ mix((time * GOLDEN + GOLDEN) & MASK))


def sample(graph, seeds, fanouts, key, replace=False, prob=None, mask=None, exclude=(), times=None, edge_time=None,
           node_time=None):
    """The canonical form of a batch: for each hop and edge type a list of (dst, (src, ...)), all in original ids.

    With ``times``, of (dst, time, (src, ...)).

    Args:
        graph: A `GraphData`.
        seeds: Original ids by node type.
        fanouts: A dict by edge type for each hop, that of the seeds first.
        prob, mask: Names of edge data.
        exclude: Pairs of an edge type and an original edge id.
        times: Times of the seeds, integers by node type.
        edge_time, node_time: Names of edge data and node data.
    """
    frontier = {t: set(zip(np.asarray(seeds.get(t, ())).tolist(), itertools.repeat(None) if times is None else
                           np.asarray(times.get(t, ())).tolist(), strict=False)) for t in graph.num_nodes}
    hops = []
    for hop, fanout in enumerate(fanouts):
        found, reached = {}, {t: set(nodes) for t, nodes in frontier.items()}
        for number, (etype, csc) in enumerate(graph.csc.items()):
            found[etype] = []
            node_times = graph.node_data.get(etype[0], {}).get(node_time)
            for v, time in sorted(frontier[etype[2]]):
                places = range(csc.indptr[v], csc.indptr[v + 1])
                row, data = csc.indices[list(places)], graph.edge_data.get(etype, {})
                ids = list(places) if csc.edge_ids is None else csc.edge_ids[list(places)].tolist()
                weights = data[prob][ids] if prob in data else None
                allowed = [p for p, edge in enumerate(ids) if (etype, edge) not in exclude
                           and (mask not in data or data[mask][edge])
                           and (edge_time not in data or data[edge_time][edge] < time)
                           and (node_times is None or node_times[row[p]] < time)]
                picks = pick_row(derive(key, hop, number), v if time is None else number_moment(v, time), row.size,
                                 fanout[etype], replace and fanout[etype] >= 0, weights, allowed)
                found[etype].append((v, *([] if time is None else [time]), tuple(row[picks].tolist())))
                reached[etype[0]].update((u, time) for u in row[picks].tolist())
        hops.append(found)
        frontier = reached
    return hops
