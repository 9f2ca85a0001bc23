"""The cache of a node: copies of features that other nodes hold, of the nodes that its trainers' batches meet most.

What a batch holds does not depend on it: a copy is read in the place of a message.

Shapes: N nodes of a type, C copies.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mpignn.arguments import share_or_bytes
from mpignn.comm.sharded import ArraySpec
from mpignn.comm.transport import GraphArray
from mpignn.comm.turns import LISTED_SHARE, room_for, turns_ahead, turns_bytes
from mpignn.config import SCHEDULE, Config, LoaderConfig
from mpignn.errors import UnknownName
from mpignn.graph.types import EType, etype_key, parse_etype
from mpignn.samplers import find_sampler, values_of
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.lookup import find_edges
from mpignn.store.visits import CHUNK, Visits, end_chances, seed_chances

log = logging.getLogger(__name__)

# What `fill` takes of a trainer, in bytes; a test measures it.  Seeds, chances and sums of all types lie there
# together, and what is made of them for one type after the other; so it is with how often nodes are read, and ids.
_CHANCES, _OF_ONE_TYPE = 24, 16
_HOW_OFTEN, _CHOOSING = 8, 32
_CHANCES_OF_ROW, _HOW_OFTEN_OF_ROW = 104, 64        # of those in hand at a time


def num_copies(loader: LoaderConfig, specs: Sequence[ArraySpec], first: int, last: int) -> dict[str, int]:
    """How many rows of each array a node copies.  Not collective.

    Args:
        loader: Has the setting: a share of the rows that it does not hold, or bytes, which are dealt to arrays in
            proportion to those.
        specs: The arrays.
        first, last: Its servers are ``first`` to ``last - 1``.
    """
    assert loader.cache is not None, "there is a cache"
    share, most_bytes = share_or_bytes(loader.cache, "cache")
    away = {spec.name: spec.num_rows - (spec.bounds[last] - spec.bounds[first]) for spec in specs}
    if share is None:
        assert most_bytes is not None, "one of the two"
        whole = sum(away[spec.name] * _row_bytes(spec) for spec in specs)
        beside = LISTED_SHARE if loader.cache_policy == SCHEDULE else 0
        share = min(1.0, most_bytes / max(1, whole * (1 + beside)))
    return {name: int(share * count) for name, count in away.items()}


def cache_bytes(loader: LoaderConfig, specs: Sequence[ArraySpec], first: int, last: int, trainers: int) -> int:
    """Bytes that a node's copies take, with what goes with them.  Not collective.

    Args:
        loader, specs, first, last: As for `num_copies`.
        trainers: Trainers of the node.
    """
    counts = num_copies(loader, specs, first, last)
    if loader.cache_policy == SCHEDULE:
        ahead = turns_ahead(loader.prefetch)
        return turns_bytes([room_for(spec, counts[spec.name], trainers, ahead) for spec in specs if counts[spec.name]],
                           trainers, ahead)
    return sum(counts[spec.name] * _row_bytes(spec) for spec in specs)


def fill_bytes(loader: LoaderConfig, num_nodes: Mapping[str, int]) -> int:
    """Bytes that each trainer takes for a while to find which rows are copied.  Not collective.

    Args:
        loader: Has the settings.
        num_nodes: N of each type.
    """
    if loader.cache is None or loader.cache_policy == SCHEDULE:
        return 0
    whole, largest = sum(num_nodes.values()), max(num_nodes.values(), default=0)
    in_hand = min(CHUNK, largest)
    choosing = _HOW_OFTEN * whole + _CHOOSING * largest
    if loader.cache_policy == "degree":
        return max(_HOW_OFTEN * whole + _HOW_OFTEN_OF_ROW * in_hand, choosing)
    return max(_CHANCES * whole + _OF_ONE_TYPE * largest + _CHANCES_OF_ROW * in_hand, choosing)


def fill(g: DistGraph, config: Config) -> None:
    """Copy the rows that the settings ask for to each node.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of a training.

    Raises:
        ResourceError: On all trainers: a machine has too little memory.
    """
    cache, graph = config.loader.cache, published_graph(g)
    if cache is None:
        return
    me = g.trainers.rank
    arrays = {t: graph.node_data(t, config.graph.features)[0] for t in g.ntypes
              if config.graph.features in graph.data_of(t)}
    if not any(g.trainers.allgather(any(not array.whole for array in arrays.values()))):
        if me == 0:
            log.warning("--cache %s has no effect here: every node holds all rows of %s", cache, config.graph.features)
        return
    topology = g.topology
    mine = topology.node_of_rank[topology.trainer_ranks[me]]
    counts = num_copies(config.loader, [array.spec for array in arrays.values()], *topology.servers_of(mine))
    if config.loader.cache_policy == SCHEDULE:
        graph.transport.keep_by_turns(counts, turns_ahead(config.loader.prefetch))
        if me == 0:
            log.info("cache: copies of up to %d rows of other nodes, of those that are read soonest",
                     sum(counts.values()))
        return
    visits = Visits(graph, topology, g.trainers)
    how_often = visits.out_degrees() if config.loader.cache_policy == "degree" else _chances(g, visits, config)[mine]
    rows = {array.spec.name: most_visited(how_often[t], array, counts[array.spec.name]) for t, array in arrays.items()}
    graph.transport.keep(rows, "the cache")
    if me == 0:
        size = sum(ids.size * _row_bytes(graph.transport.arrays[name].spec) for name, ids in rows.items())
        log.info("cache: copies of %d rows of other nodes by %s, %.1f MB", sum(ids.size for ids in rows.values()),
                 config.loader.cache_policy, size / 1e6)


def most_visited(how_often: np.ndarray, array: GraphArray, count: int) -> np.ndarray:
    """(C,) int64 ids, ascending, of the ``count`` rows elsewhere that are read most; none that are never read.

    Args:
        how_often: (N,) float64.
        array: The array whose rows they are.
        count: How many at most.

    Not collective.
    """
    away = np.concatenate([np.arange(array.lo), np.arange(array.hi, array.spec.num_rows)])
    away = away[how_often[away] > 0]
    if count < away.size:
        away = away[np.argpartition(-how_often[away], count)[:count]] if count else away[:0]
    return np.sort(away)


def _chances(g: DistGraph, visits: Visits, config: Config) -> dict[int, dict[str, np.ndarray]]:
    """For this trainer's node the probability that the batches of its trainers in a step hold each node, by type.

    Collective over the trainers, who go through the edges together for one node of the job after the other.
    """
    topology, sampling = g.topology, config.sampling
    sampler, values = find_sampler(sampling.sampler), values_of(sampling)

    def drawn(fanout: int, degrees: np.ndarray) -> np.ndarray:
        each, which = np.unique(degrees, return_inverse=True)
        kept = math.inf if fanout < 0 else fanout
        return np.array([sampler.chance(kept, max(1, degree), values) for degree in each.tolist()])[which]

    mine = topology.node_of_rank[topology.trainer_ranks[g.trainers.rank]]
    found = {}
    for node in topology.nodes:
        first, last = topology.trainers_of(node)
        if first < last:
            seeds = _seeds(g, config, node, (last - first) / g.trainers.size)
            chances = visits.chances(seeds, tuple(reversed(sampling.fanouts)), drawn)
            if node == mine:
                found[node] = chances
    return found


def _seeds(g: DistGraph, config: Config, node: int, part: float) -> dict[str, np.ndarray]:
    """(N,) float64 probability that the seeds of a node of the job hold each node of the graph, by type.

    A step's seeds are dealt to where they lie.  Collective over the trainers.
    """
    splits = {key: g.splits[key]["train"] for key in _targets(g, config) if "train" in g.splits.get(key, ())}
    if not any(ids.size for ids in splits.values()):
        splits = {t: np.arange(g.num_nodes(t)) for t in g.ntypes}
    near = {key: ids[_home(g, key)(ids) == node] for key, ids in splits.items()}
    if not any(ids.size for ids in near.values()):
        near = splits       # it gets seeds of others
    count = part * config.global_batch_size(g.trainers.size)
    whole = sum(ids.size for ids in near.values())
    found = {t: np.zeros(g.num_nodes(t)) for t in g.ntypes}
    for key, ids in near.items():
        some = count * ids.size / max(1, whole)
        if key in found:
            found[key] = seed_chances(ids, some, g.num_nodes(key))
            continue
        etype = parse_etype(key)
        for ntype, logs in _ends(g, config, etype, ids, some):
            found[ntype] = 1 - (1 - found[ntype]) * np.exp(logs)
    return found


def _ends(g: DistGraph, config: Config, etype: EType, ids: np.ndarray,
          count: float) -> Sequence[tuple[str, np.ndarray]]:
    """Logarithms of the probability that no end of ``count`` training edges is a node; of false links, too.

    Collective over the trainers.
    """
    first, last = g.trainers.share(ids.size)
    ends = find_edges(published_graph(g), etype, ids[first:last])
    found = []
    for ntype, side in zip((etype[0], etype[2]), ends, strict=True):
        logs = end_chances(side, min(1.0, count / max(1, ids.size)), g.num_nodes(ntype))
        found.append((ntype, g.trainers.all_sum(logs)))
    if config.task.task == "link_prediction" and config.task.negatives == "uniform":
        num_nodes = g.num_nodes(etype[2])
        logs = end_chances(np.arange(num_nodes), 1 / max(1, num_nodes), num_nodes)
        found.append((etype[2], logs * count * config.task.num_negatives))
    return found


def _targets(g: DistGraph, config: Config) -> Sequence[str]:
    """Keys of the types that may have seeds."""
    task = config.task
    try:
        if task.task.startswith("node"):
            return g.ntypes if task.target_ntype is None else [g.schema.ntype(task.target_ntype)]
        etypes = g.canonical_etypes if task.target_etype is None else [g.schema.etype(task.target_etype)]
    except UnknownName:
        return ()       # a program of one's own, which need not look at that setting
    return [etype_key(etype) for etype in etypes]


def _home(g: DistGraph, key: str) -> Callable[[np.ndarray], np.ndarray]:
    """Gives the node of the job that owns each seed of a type."""
    return lambda ids: g.home(key, ids) if key in g.ntypes else g.home_of_edges(parse_etype(key), ids)


def _row_bytes(spec: ArraySpec) -> int:
    return spec.width * spec.dtype.itemsize
