"""The times of seeds, for samplers that choose edges by time.

Shapes: N ids of a pass, n of them in a step on this trainer, of one type.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import numpy as np
from numpy.typing import ArrayLike

from mpignn.comm.transport import GraphArray
from mpignn.errors import ConfigError, DataError
from mpignn.loader.share import K, Share
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.store.published import PublishedGraph

Data = Callable[[PublishedGraph, K, str], tuple[GraphArray, tuple[int, ...]]]


class SeedTimes(Generic[K]):
    """Says the time of each seed: what was given with the seeds, or what the graph has of them."""

    def __init__(self, sampler: BlockSampler, ids: Mapping[K, np.ndarray],
                 given: ArrayLike | Mapping[Any, ArrayLike] | None, kind: Callable[[Any], K], graph: PublishedGraph,
                 named: str | Mapping[Any, str] | None, data: Data[K]) -> None:
        """Not collective.

        Args:
            sampler: What draws for them.
            ids: (N,) of each type.
            given: (N,) times: an array, a dict by type, or the name of the data that has them; None: see ``named``.
            kind: Makes the key of ``ids`` out of one of ``given``; of None where it is an array.
            graph: The graph that has the seeds.
            named: Data of the seeds that are times: a name, or names by type; None if there is none.
            data: The array of a seed's data, such as `PublishedGraph.node_data`.

        Raises:
            ConfigError: Times are given to a sampler that does not ask for them, or it asks and there are none.
            DataError: Not one time for each seed.
            UnknownName: The seeds have no data of that name.
        """
        self._given: dict[K, np.ndarray] | None = None
        self._names: dict[K, str] = {}
        self._data = data
        if not sampler.temporal:
            if given is not None:
                raise ConfigError("input_time is given, but the sampler has no name of timestamps to compare it with: "
                                  "give it edge_timestamp_attr_name or node_timestamp_attr_name")
        elif isinstance(given, str):
            for name in ids:
                data(graph, name, given)
            self._names = dict.fromkeys(ids, given)
        elif given is not None:
            by_type: Mapping[Any, Any] = given if isinstance(given, Mapping) else {None: given}
            self._given = {kind(name): np.asarray(times) for name, times in by_type.items()}
            for name, of_type in ids.items():
                found = self._given.get(name)
                if found is None or found.shape != of_type.shape:
                    raise DataError(f"input_time: {of_type.size} seeds of {name} and times of shape "
                                    f"{None if found is None else found.shape}; each seed has one")
        elif named is None:
            raise ConfigError("edges are chosen by time, and the sampler has no name of timestamps of the seeds: give "
                              "their times as input_time")
        else:
            names = {kind(k): v for k, v in named.items()} if isinstance(named, Mapping) else dict.fromkeys(ids, named)
            for name in ids:
                if name not in names:
                    raise ConfigError(f"there is no name of timestamps of {name}: give the times as input_time")
                data(graph, name, names[name])
            self._names = {name: names[name] for name in ids}

    def of(self, graph: PublishedGraph, shares: Sequence[Share[K]]) -> list[dict[K, np.ndarray]] | None:
        """(n,) times of this trainer's seeds of some steps, by type; None where no time is asked for.

        Not collective; one round trip for each type of seeds that lie on other nodes and have no times given.
        """
        if self._given is not None:
            return [{kind: times[share.at[kind][share.mine[kind]]] for kind, times in self._given.items()
                     if kind in share.mine} for share in shares]
        if not self._names:
            return None
        found: list[dict[K, np.ndarray]] = [{} for _ in shares]
        for kind, name in self._names.items():
            ids = [share.ids[kind] for share in shares]
            times = graph.read(self._data(graph, kind, name)[0], np.concatenate(ids)).reshape(-1)
            for of_share, part in zip(found, np.split(times, np.cumsum([i.size for i in ids])[:-1]), strict=True):
                of_share[kind] = part
        return found
