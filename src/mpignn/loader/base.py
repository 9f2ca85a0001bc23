"""Passes over ids in an order that does not depend on the number of ranks: what all loaders share.

A loader of its own kind says what a batch is, in `DistDataLoader._make`; which ids make a step, who computes them,
what is prepared ahead and where a pass stands is decided here.

Shapes: N ids of a pass, G ids of a global batch, n of them this trainer's, T trainers.
"""

import operator
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import ArrayLike

from mpignn.arguments import whole_number
from mpignn.comm.turns import Course
from mpignn.errors import ConfigError, DataError, IDError
from mpignn.graph.block import Block
from mpignn.kernels.rng import derive
from mpignn.loader.ahead import Ahead, InTurn, Via
from mpignn.loader.between import Between
from mpignn.loader.fetch import Fetch, to_device
from mpignn.loader.seed_order import BatchPlan, deal, even_share
from mpignn.loader.share import K, LoaderStats, Share
from mpignn.log import beat
from mpignn.shown import Shown
from mpignn.store.graph import DistGraph, published_graph, stop_when_closed

# Streams of randomness under one seed.
_ORDER, _DRAWS = 1, 2

IDS = "ids"     # what ids without types are a type of


class DistDataLoader(Shown, Generic[K]):
    """Batches of ids, in an order that does not depend on the number of ranks.

    Iterating yields what ``collate_fn`` makes of the ids of a step.  Every trainer makes the same number of steps; its
    share of a step may be empty.  All trainers iterate in step if other ranks own rows.

    Attributes:
        scale: Trainers / ids of the current global batch.  With a loss summed over a trainer's ids times
            ``scale``, gradients averaged over the trainers are those of the exact global mean.
        global_size: Ids of the current global batch.
        plan: How a pass is cut into steps.
        stats: `LoaderStats` of the current pass.

    Iterating is not collective.
    """

    SHOWN = ("plan",)

    def __init__(self, ids: ArrayLike | Mapping[Any, ArrayLike], batch_size: int | None = None,
                 collate_fn: Callable[[Any], Any] | None = None, *, g: DistGraph | None = None,
                 global_batch_size: int | None = None, shuffle: bool = False, drop_last: bool = False, seed: int = 0,
                 prefetch: int = 2, use_ddp: bool = True, pad: str | None = None, num_workers: int = 0,
                 device: Any = None, thread: bool | None = None) -> None:
        """Plan the passes.  Collective over the trainers if not ``use_ddp``, else not collective.

        Args:
            ids: (N,) all ids, integers, the same on all trainers and in an order that does not depend on the
                partitioning; or a dict of them by type.
            batch_size: Ids of a step per trainer; or
            collate_fn: Makes a batch of this trainer's ids of a step: an int64 tensor, or a dict of them by
                type.  Without, they are the batch.
            g: Whose trainers share the ids.  Without a graph this process takes all.
            global_batch_size: ids of a step over all trainers.
            shuffle: Permute the ids anew in every epoch.
            drop_last: Leave out a last batch that is not full.
            seed: Seed of order and draws.
            prefetch: Batches that are prepared together, where rows of other nodes are fetched for them; else there
                is nothing to fuse, and each is prepared by itself.
            use_ddp: Deal the ids to the trainers.  If not, ``ids`` are this trainer's own, as from `node_split`, of
                ``batch_size`` in a step; a trainer that has run out gets empty batches.
            pad: ``repeat``: where the ids of a step do not divide evenly, trainers with one less repeat one of another
                trainer.  What is learnt then depends on the number of trainers.
            num_workers: 0.
            device: Where the tensors of a batch go.
            thread: Prepare batches in a thread beside the compute.  None: where torch has more than one core to compute
                with, and all that makes batches is this library's own; what others wrote might call MPI.

        Raises:
            ConfigError: Not exactly one batch size, prefetch below 1, workers, or options that exclude each other.
            DataError: Ids that are no integers of one dimension.
        """
        if num_workers != 0:
            raise ConfigError(f"num_workers is {num_workers}: a process that is forked or spawned beside MPI hangs or "
                              "crashes; leave it at 0, batches are prepared ahead with prefetch=k instead")
        if (batch_size is None) == (global_batch_size is None):
            raise ConfigError("give the loader either batch_size (per trainer) or global_batch_size")
        prefetch, seed = whole_number(prefetch, "prefetch", 1), whole_number(seed, "seed", below=1 << 64)
        if batch_size is None:
            size = whole_number(global_batch_size, "global_batch_size", 1)
        else:
            size = whole_number(batch_size, "batch_size", 1)
        if pad not in (None, "repeat"):
            raise ConfigError(f"pad is {pad!r}; it is 'repeat', or None for shares that may differ by one")
        if not use_ddp and (pad or batch_size is None):
            raise ConfigError("use_ddp=False takes this trainer's own ids in steps of batch_size: neither "
                              "global_batch_size nor pad go with it")
        self._typed = isinstance(ids, Mapping)
        given: Mapping[Any, Any] = ids if isinstance(ids, Mapping) else {None: ids}
        by_type = {self._kind(kind): self._checked(self._kind(kind), of_kind) for kind, of_kind in given.items()}
        self._ids, self._collate, self._prefetch, self._seed = by_type, collate_fn, prefetch, seed
        self._starts = np.cumsum([0, *(of_type.size for of_type in by_type.values())])    # places of each type's ids
        self._trainers = None if g is None else g.trainers
        self._node_of_trainer = np.zeros(1, np.int64) if g is None else np.asarray(
            [g.topology.node_of_rank[rank] for rank in g.topology.trainer_ranks], np.int64)
        self._pad, self._device, self._thread = pad, device, thread
        self._clock: Callable[[], float] = time.perf_counter
        count = int(self._starts[-1])
        self._counts: np.ndarray | None = None      # ids of each trainer, where they have their own
        if not use_ddp:
            self._counts = np.asarray([count] if g is None else g.trainers.allgather(count), np.int64)
        elif batch_size is not None:
            size *= self._node_of_trainer.size
        self.plan = BatchPlan(count, size, shuffle, drop_last)
        self._epoch = self._first = self._step = 0
        self.scale, self.global_size, self.stats = 0.0, 0, LoaderStats()

    def __len__(self) -> int:
        """Steps of a whole pass."""
        if self._counts is None:
            return self.plan.steps
        steps = [BatchPlan(int(n), self.plan.global_batch_size, False, self.plan.drop_last).steps
                 for n in self._counts]
        return min(steps) if self.plan.drop_last else max(steps)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the draws of the next pass, by a whole number from 0 on."""
        epoch = whole_number(epoch, "epoch")
        if epoch != self._epoch:
            self._epoch, self._first, self._step = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Where the passes stand: ``epoch``, and ``step`` as the number of batches delivered in it.

        Everything else is a function of these, so a loader on another number of trainers can go on from here.
        """
        return {"epoch": self._epoch, "step": self._step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next pass deliver what was left of the one that `state_dict` was taken from.

        Raises:
            ConfigError: Not the state of such a loader.
        """
        try:
            epoch, step = operator.index(state["epoch"]), operator.index(state["step"])
        except (KeyError, TypeError):
            raise ConfigError(f"a loader's state is its epoch and step, not {state!r}") from None
        if not 0 <= step <= len(self):
            raise ConfigError(f"step {step} of a loader with {len(self)} steps: its state is of another batch size or "
                              "another set of ids")
        self._epoch, self._first, self._step = epoch, step, step

    def __iter__(self) -> Iterator[Any]:
        epoch, first, self._first = self._epoch, self._first, 0
        self._step, self.stats = first, LoaderStats()
        together = self._together()
        groups = [range(begin, min(begin + together, len(self))) for begin in range(first, len(self), together)]
        course = self._course()
        prepare = partial(self._prepare, epoch) if course is None else _ByTurns(self, epoch, groups, course)
        source = self._source()(prepare, groups)
        self._clock = source.clock
        for g in self._graphs():
            stop_when_closed(g, source)
        try:
            for _ in groups:
                made = source.next()
                while made:
                    share, batch = made.pop(0)
                    source.meet()
                    self._step = share.step + 1
                    self.global_size = share.size
                    self.scale = self._node_of_trainer.size / share.size
                    self.stats.add(share, self._blocks(batch))
                    beat()
                    yield batch if self._device is None else to_device(batch, self._device)
                    del batch       # its memory may serve the next one
        finally:
            source.stop()
            if course is not None:
                course.end()
            self._clock = time.perf_counter     # the source refers to this loader

    def seeds_of(self, step: int) -> dict[K, np.ndarray]:
        """This trainer's ids of a step, ascending by type.  Not collective."""
        return self._share(self._epoch, step).ids

    def make_one(self, ids: Mapping[Any, Any], epoch: int, step: int) -> Any:
        """The batch of ids that were chosen elsewhere, with the draws of a step.

        Not collective; all trainers call it equally often where other ranks own rows.

        Args:
            ids: (n,) ids by type, in the place of this trainer's share; None is the only type.
            epoch, step: What the draws depend on.

        Raises:
            ConfigError: Ids of a type that this loader has none of.
        """
        whole = {kind: of_kind[:0] for kind, of_kind in self._ids.items()}
        for name, given in ids.items():
            kind = self._kind(name)
            if kind not in whole:
                known = ", ".join(map(str, whole))
                raise ConfigError(f"ids of {kind}: the data set has none of that type, but of {known}")
            whole[kind] = self._checked(kind, given)
        places = {kind: np.arange(of_kind.size) for kind, of_kind in whole.items()}
        share = Share(step, sum(map(len, whole.values())), derive(self._seed, _DRAWS, epoch, step), whole, places,
                      places)
        batches, fetches = self._make([share], lambda graph: graph)
        for fetch in fetches:
            fetch.finish()
        return batches[0] if self._device is None else to_device(batches[0], self._device)

    def _kind(self, kind: Any) -> K:
        """The type meant by a key of ``ids``, or by None where these have no types."""
        if kind is None:
            kind = IDS
        meant: K = kind
        return meant

    def _checked(self, kind: K, ids: Any) -> np.ndarray:
        return _integers(kind, ids)

    def _in_graph(self, given: Any, count: int, what: str) -> np.ndarray:
        """Ids as (N,) int64, all of them in ``0:count``; else IDError."""
        ids = _integers(what, given)
        bad = (ids < 0) | (ids >= count)
        if bad.any():
            at = int(np.argmax(bad))
            raise IDError(f"seed {at} is {what} {ids[at]}, but the graph has {count} of that type")
        return ids

    def _graphs(self) -> tuple[DistGraph, ...]:
        """What batches are read from."""
        return ()

    def _home(self, kind: K, ids: np.ndarray) -> np.ndarray:
        """The node that had best compute each id."""
        return np.zeros(ids.size, np.int64)

    def _together(self) -> int:
        """How many batches are prepared together: more of them take more memory, and save nothing but round trips."""
        return 1 if self._is_near() else self._prefetch

    def _is_near(self) -> bool:
        """Whether no other node is asked for anything."""
        return all(array.whole for g in self._graphs() for array in published_graph(g).transport.arrays.values())

    def _source(self) -> type[Ahead] | type[Between] | type[InTurn]:
        """How batches are prepared."""
        possible = self._in_thread()
        if self._thread and not possible:
            raise ConfigError("thread=True: a collate_fn, sampler or tensor of others might call MPI, which only the "
                              "main thread may")
        if possible and (torch.get_num_threads() > 1 if self._thread is None else self._thread):
            return Ahead
        return Between if possible and not self._is_near() else InTurn

    def _in_thread(self) -> bool:
        """Whether nothing that makes batches calls MPI but through the graph that `_make` is given."""
        return False

    def _course(self) -> Course | None:
        """A pass with copies of rows that change as batches read them; None: there are no such."""
        return None

    def _course_over(self, g: DistGraph) -> Course | None:
        """As `_course`, of the input nodes of a graph."""
        turns = published_graph(g).transport.turns
        return None if turns is None or self._counts is not None else turns.begin()

    def _prepare(self, epoch: int, steps: range, via: Via) -> list[tuple[Share[K], Any]]:
        return self._fetched(*self._drawn(epoch, steps, via))

    def _drawn(self, epoch: int, steps: range, via: Via) -> tuple[list[tuple[Share[K], Any]], list[Fetch]]:
        """Batches with their shares, and what is to be fetched for them."""
        shares = [self._share(epoch, step) for step in steps]
        batches, fetches = self._make(shares, via)
        return list(zip(shares, batches, strict=True)), fetches

    def _fetched(self, batches: list[tuple[Share[K], Any]], fetches: Sequence[Fetch],
                 course: Course | None = None) -> list[tuple[Share[K], Any]]:
        """The batches, with what is to be fetched; the first of these makes a turn of ``course``."""
        started = self._clock()
        for number, fetch in enumerate(fetches):
            fetch.finish(course if number == 0 else None)
        self.stats.fetch_s += self._clock() - started
        return batches

    def _make(self, shares: Sequence[Share[K]], via: Via) -> tuple[list[Any], list[Fetch]]:
        """The batches of some steps, read from ``via(graph)`` where a graph is needed; and what they still lack."""
        batches = []
        for share in shares:
            ids = {kind: torch.from_numpy(of_kind) for kind, of_kind in share.ids.items()}
            batch: Any = ids if self._typed else next(iter(ids.values()))
            batches.append(batch if self._collate is None else self._collate(batch))
        return batches, []

    def _blocks(self, batch: Any) -> Sequence[Block]:
        """The blocks of a batch."""
        return ()

    def _share(self, epoch: int, step: int) -> Share[K]:
        at = self.plan.positions(derive(self._seed, _ORDER, epoch), step)
        types = np.searchsorted(self._starts, at, side="right") - 1
        places = [np.flatnonzero(types == t) for t in range(len(self._ids))]
        whole, among, home, rank = {}, {}, np.empty_like(at), np.empty(at.size)
        for t, (kind, ids) in enumerate(self._ids.items()):
            among[kind] = at[places[t]] - self._starts[t]
            whole[kind] = ids[among[kind]]
            home[places[t]] = self._home(kind, whole[kind])
            rank[places[t][np.argsort(whole[kind], kind="stable")]] = (np.arange(places[t].size) + 0.5) / places[t].size
        if self._counts is None:
            me = 0 if self._trainers is None else self._trainers.rank
            # Trainers of a node take stretches of ids, each its part of every type: those of a partition lie side by
            # side, and share neighbors.
            by_rank = np.argsort(rank, kind="stable")
            order, bounds = deal(home[by_rank], self._node_of_trainer)
            order = by_rank[order]
            mine, size = order[bounds[me]:bounds[me + 1]], at.size
            if self._pad and at.size:
                mine = even_share(order, bounds, me)
                size = mine.size * self._node_of_trainer.size
        else:
            mine = np.arange(at.size)
            first = step * self.plan.global_batch_size
            size = int(np.clip(self._counts - first, 0, self.plan.global_batch_size).sum())
        own = np.zeros(at.size, bool)
        own[mine] = True
        ascending = {}
        for t, (kind, ids) in enumerate(whole.items()):
            found = np.flatnonzero(own[places[t]])
            ascending[kind] = found[np.argsort(ids[found], kind="stable")]
        return Share(step, size, derive(self._seed, _DRAWS, epoch, step), whole, ascending, among)


class _ByTurns(Generic[K]):
    """Prepares groups of batches with the neighbors of later ones drawn already, so that it is known what they read."""

    def __init__(self, loader: DistDataLoader[K], epoch: int, groups: Iterable[range], course: Course) -> None:
        """Not collective."""
        self._loader, self._epoch, self._groups, self._course = loader, epoch, iter(groups), course
        self._drawn: deque[tuple[list[tuple[Share[K], Any]], list[Fetch]]] = deque()

    def __call__(self, steps: range, via: Via) -> list[tuple[Share[K], Any]]:
        while len(self._drawn) <= self._course.ahead and (group := next(self._groups, None)) is not None:
            drawn = self._loader._drawn(self._epoch, group, via)
            self._course.list(drawn[1][0].rows())
            self._drawn.append(drawn)
        return self._loader._fetched(*self._drawn.popleft(), self._course)


def _integers(what: Hashable, ids: Any) -> np.ndarray:
    array = np.asarray(ids)
    if array.ndim != 1 or array.size and array.dtype.kind not in "iu":
        raise DataError(f"{what}: a loader takes integers in one dimension, not {array.dtype} of shape {array.shape}")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{what}: {array.max()} is more than int64 holds")
    return array.astype(np.int64, copy=False)
