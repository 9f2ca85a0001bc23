"""Keeping a run: where it stands, checkpoints when they are due, going on from one, and stopping all together."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mpignn import stop
from mpignn.config import AUTO, CHECKPOINTS, Config, going_on
from mpignn.errors import MpignnError, ResourceError, Stopped
from mpignn.loader.base import DistDataLoader
from mpignn.storage import snapshot
from mpignn.store.graph import DistGraph
from mpignn.train import checkpoint
from mpignn.train.learner import Learner
from mpignn.train.report import Report
from mpignn.train.task import Task
from mpignn.train.trained import describe

log = logging.getLogger(__name__)

_COUNTS = ("seeds", "edges", "rows")
_TIMES = ("seconds", "sample_s", "fetch_s", "compute_s", "sync_s")
_SELDOM_S = 60.0        # between checkpoints of passes, unless the user says how many passes
_RUNNING = ("loss_sum", "seeds_seen")       # go on where they were, so that the last bit is the same


def no_sums() -> dict[str, float]:
    """`Position.sums` at the beginning of a pass."""
    return dict.fromkeys((*_COUNTS, *_TIMES, *_RUNNING), 0)


@dataclass
class Position:
    """Where a run stands, and by what its next decisions are made; equal on all trainers, but for times.

    Attributes:
        epoch: The pass that is under way or comes next.
        steps: Optimiser steps done, of all passes.
        best: The best value of the task's first metric on the split val; None before the first.
        best_epoch: After which that was.
        worse: Validations since then.
        best_steps: `steps` when `best` was found.
        values: All metrics of val then; those of the last validation while there is no best one.
        sums: What the pass under way has summed over the trainers before it was interrupted, by name of the sum.
        seconds: Seconds of the run, before it was interrupted.
        last_epoch: The pass with which a callback ended training; None: none has.
    """

    epoch: int = 0
    steps: int = 0
    best: float | None = None
    best_epoch: int = -1
    worse: int = 0
    best_steps: int | None = None
    values: dict[str, float | None] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=lambda: no_sums())
    seconds: float = 0.0
    last_epoch: int | None = None


class Keeper:
    """Keeps one run of one learner.

    Attributes:
        position: Where the run stands.
    """

    def __init__(self, g: DistGraph, learner: Learner | None, task: Task, loader: DistDataLoader[Any], config: Config,
                 report: Report, run_dir: Path) -> None:
        """Not collective.

        Args:
            g: The graph, with its persistent tensors.
            learner: Who learns; without one there is nothing to keep.
            task: What is learnt.
            loader: Loader of the training seeds.
            config: Settings of the run.
            report: Told of checkpoints; its metrics go on where a checkpoint left them.
            run_dir: Its folder.
        """
        self.position = Position()
        self._g, self._learner, self._loader, self._config = g, learner, loader, config
        self._report, self._folder = report, run_dir / CHECKPOINTS
        self._settings = config.what_counts(g.trainers.size) | task.goal.targets
        self._trained = None if learner is None else describe(g, task.goal, learner.network).about()
        self._started = self._saved_at = time.perf_counter()

    def begin(self) -> None:
        """Begin, or go on from the checkpoint that the settings ask for.  Collective over the trainers.

        Raises:
            Stopped: On all trainers: one of them was asked to stop; nothing is written, since nothing was learnt.
            ConfigError: On all trainers: it is of another graph or run.
            DataError: On all trainers: there is none, or it is damaged and none before it is whole.
        """
        self._begin()
        stop.check(self._g.trainers, "before a step was made")

    def _begin(self) -> None:
        asked, trainers = self._config.checkpoint.resume, self._g.trainers
        if self._learner is None or asked is None:
            self._begin_report(self._report.begin, asked is not None)
            return
        path = self._folder if asked == AUTO or (Path(asked) / CHECKPOINTS).is_dir() else Path(asked)
        if trainers.rank == 0:
            snapshot.remove_leftovers(self._folder)
        if asked == AUTO and not trainers.bcast(trainers.rank == 0 and bool(snapshot.found_in(path))):
            self._begin_report(self._report.begin, True)
            return
        found = checkpoint.load(path, self._g, settings=self._settings, learner=self._learner, loader=self._loader)
        self.position = Position(**found.about["position"])
        self._begin_report(self._report.go_on, found.about["metrics"])
        if trainers.rank == 0:
            for step, newer in snapshot.found_in(self._folder):
                if step > found.step:       # what they hold comes again; damaged, or one before them was asked for
                    snapshot.remove(newer)
        log.info("going on from %s: epoch %d, after %d steps in all", found.path, self.position.epoch,
                 self.position.steps)

    def seconds(self) -> float:
        """What the run has taken, without the time between two jobs of it.  Not collective."""
        return self.position.seconds + time.perf_counter() - self._started

    def flags(self) -> list[float]:
        """What this trainer has to say to the others at a step: two for `after_step`, and whether a callback is done.

        Not collective.
        """
        return [float(stop.vote()),
                float(self._is_trouble(self._report.problem)),
                float(self._report.done)]

    def after_step(self, flags: list[float], sums: Callable[[], dict[str, float]]) -> None:
        """Write a checkpoint if one is due, and stop if a trainer was asked to.  Collective over the trainers.

        Args:
            flags: The sums of all trainers' first two `flags`.
            sums: What the pass under way has summed: counts and times of this trainer since it went on, the rest as in
                `Position`.

        Raises:
            Stopped: On all trainers: a checkpoint is written.
            ResourceError: On all trainers: the disk is full.
        """
        wishes, troubles = flags
        if troubles:
            self._g.trainers.agree(self._report.problem)
        every = self._config.checkpoint.checkpoint_steps
        if stop.heard(wishes):
            self._leave(sums())
        elif every and self.position.steps % every == 0:
            self._save_and_look(self._interrupted(sums()))

    def after_epoch(self, is_best: bool) -> None:
        """End training if a callback is done, and write a checkpoint if one is due.  Collective over the trainers.

        `position` is at the beginning of the next pass.
        """
        if self._g.trainers.all_sum(np.array([self._report.done], np.int64))[0]:
            self.position.last_epoch = self.position.epoch - 1
        if self._learner is None:
            stop.check(self._g.trainers)
        elif self._config.checkpoint.checkpoint_every != 0 and (self.is_over() or self._is_due(is_best)):
            self._save_and_look(self.position)

    def is_over(self) -> bool:
        """Whether no pass is left.  Not collective."""
        settings, position = self._config.train, self.position
        return position.epoch >= settings.epochs or (
            settings.patience is not None and position.worse >= settings.patience) or (
            position.last_epoch is not None and position.epoch > position.last_epoch)

    @contextmanager
    def stopping(self, sums: Callable[[], dict[str, float]], undo: Callable[[], None] | None = None) -> Iterator[None]:
        """Write a checkpoint where what happens inside is stopped, if anything learns.  Collective over the trainers.

        Args:
            sums: What the pass under way has summed, as for `after_step`.
            undo: Brings the learner to where it shall go on.

        Raises:
            Stopped: On all trainers.
            ResourceError: On all trainers: no checkpoint can be written.
        """
        try:
            yield
        except Stopped:
            if self._learner is None:
                raise
            if undo is not None:
                undo()
            self._leave(sums())

    def _is_trouble(self, problem: MpignnError | None) -> bool:
        """Whether training must end because of what is not on the disk."""
        may_go_on = isinstance(problem, ResourceError) and self._config.checkpoint.on_checkpoint_error == "continue"
        return problem is not None and not may_go_on

    def _is_due(self, is_best: bool) -> bool:
        """Whether a checkpoint is to be written after this pass.  Collective over the trainers."""
        every = self._config.checkpoint.checkpoint_every
        if every is not None:
            return is_best or self.position.epoch % every == 0
        # A pass over a small graph is shorter than what the disk takes.  The clock of one decides for all.
        return bool(self._g.trainers.bcast(time.perf_counter() - self._saved_at >= _SELDOM_S))

    def _leave(self, sums: dict[str, float]) -> None:
        path = self._save(self._interrupted(sums), leaving=True)
        assert path is not None, "else it has raised"
        self._stop(path)

    def _save_and_look(self, position: Position) -> None:
        """Write a checkpoint that is due; if a trainer was asked to stop meanwhile, it is the last."""
        path = self._save(position)
        if path is not None and stop.asked(self._g.trainers):
            self._stop(path)

    def _stop(self, path: Path) -> None:
        raise stop.stopped(f"asked to stop after {self.position.steps} steps; {path} has all of them: go on with "
                           f"{going_on(self._folder.parent)}")

    def _interrupted(self, sums: dict[str, float]) -> Position:
        """The position in the middle of a pass.  Collective over the trainers."""
        counts = self._g.trainers.all_sum(np.array([sums[name] for name in _COUNTS], np.int64))
        added = sums | dict(zip(_COUNTS, counts.tolist(), strict=True))
        before = self.position.sums
        return replace(self.position, sums={name: added[name] if name in _RUNNING else before[name] + added[name]
                                            for name in before})

    def _save(self, position: Position, leaving: bool = False) -> Path | None:
        assert self._learner is not None, "where nothing learns there is nothing to save"
        self._learner.check()
        options, self._saved_at = self._config.checkpoint, time.perf_counter()
        about: dict[str, Any] = {"position": asdict(position) | {"seconds": self.seconds()}, "trained": self._trained}
        try:
            with self._g.trainers.all_or_none():
                about["metrics"] = self._report.settle()
            path = checkpoint.save(self._folder, position.steps, self._g, settings=self._settings, about=about,
                                   keep=options.keep, best=position.best_steps, learner=self._learner,
                                   loader=self._loader)
        except ResourceError as error:
            if leaving or options.on_checkpoint_error == "stop":
                raise
            log.warning("%s; training goes on without it", error)
            return None
        self._report.checkpoint({"path": str(path), "epoch": position.epoch, "steps": position.steps})
        return path

    def _begin_report(self, begin: Callable[[Any], None], given: Any) -> None:
        with self._g.trainers.all_or_none():
            begin(given)
            if self._config.checkpoint.resume is not None and self._g.trainers.rank == 0:
                with snapshot.disk_problems_named(self._folder):
                    self._config.write(self._folder.parent)     # only now: a job that is refused changes nothing
