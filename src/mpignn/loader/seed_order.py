"""Which seeds make a step, and who computes them.

What a step learns from is a function of (seeds, key, global batch size) alone; the number of ranks and the
partitioning decide only who computes which seed.

Shapes: N seeds, G seeds of a global batch, T trainers.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.errors import ConfigError
from mpignn.kernels.permute import permute


@dataclass(frozen=True)
class BatchPlan:
    """How a pass over the seeds is cut into global batches.

    Attributes:
        num_seeds: N.
        global_batch_size: Seeds of a step; the last one may have fewer.
        shuffle: Whether the order depends on the key of the pass.
        drop_last: Whether a last batch that is not full is left out.
    """

    num_seeds: int
    global_batch_size: int
    shuffle: bool
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.global_batch_size < 1:
            raise ConfigError(f"the global batch size is {self.global_batch_size}; it must be at least 1")

    @property
    def steps(self) -> int:
        """Steps of a pass, the same on all trainers."""
        full, rest = divmod(self.num_seeds, self.global_batch_size)
        return full + (rest > 0 and not self.drop_last)

    def positions(self, key: int, step: int) -> np.ndarray:
        """(G,) int64 places in the seed set of the seeds of a step; none beyond the last.

        The order is a bijection of the places keyed by ``key``, so no permutation is ever stored.
        """
        first = min(step * self.global_batch_size, self.num_seeds)
        count = min(self.global_batch_size, self.num_seeds - first)
        if self.shuffle:
            return permute(key, self.num_seeds, first, count)
        return np.arange(first, first + count, dtype=np.int64)


def deal(home: np.ndarray, node_of_trainer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deal seeds to trainers: to the node that owns them, evened out to counts that differ by at most one.

    Args:
        home: (G,) node that owns each seed.
        node_of_trainer: (T,) node of each trainer, ascending.

    Returns:
        ``order`` (G,) and ``bounds`` (T + 1,), both int64: trainer t computes the seeds
        ``order[bounds[t]:bounds[t + 1]]``.
    """
    num_nodes = int(max(home.max(initial=0), node_of_trainer.max())) + 1
    owned = np.bincount(home, minlength=num_nodes)
    trainers = np.bincount(node_of_trainer, minlength=num_nodes)
    base, extra = divmod(home.size, node_of_trainer.size)
    # A trainer has `base` seats; the `extra` ones go where most owned seeds would be left standing.
    place = np.arange(node_of_trainer.size) - np.searchsorted(node_of_trainer, node_of_trainer)
    want = (owned - base * trainers)[node_of_trainer] - place
    seats = np.full(node_of_trainer.size, base, np.int64)
    seats[np.argsort(-want, kind="stable")[:extra]] += 1

    capacity = np.bincount(node_of_trainer, weights=seats, minlength=num_nodes).astype(np.int64)
    by_home = np.argsort(home, kind="stable")
    place = np.empty(home.size, np.int64)
    place[by_home] = np.arange(home.size) - np.repeat(np.cumsum(owned) - owned, owned)
    seat = np.where(place < capacity[home], home, num_nodes)
    free = capacity - np.minimum(owned, capacity)
    seat[seat == num_nodes] = np.repeat(np.arange(num_nodes), free)
    return np.argsort(seat, kind="stable"), np.concatenate([[0], np.cumsum(seats)]).astype(np.int64)


def even_share(order: np.ndarray, bounds: np.ndarray, trainer: int) -> np.ndarray:
    """A trainer's seeds as `deal` says, and where it has one less than others the first of the next trainer as well.

    Args:
        order, bounds: As from `deal`, of at least one seed.
        trainer: Its number.

    Returns:
        (n,) int64, n = G / T rounded up, each once.
    """
    mine = order[bounds[trainer]:bounds[trainer + 1]]
    if mine.size == np.diff(bounds).max():
        return mine
    return np.append(mine, order[bounds[trainer + 1] % order.size])
