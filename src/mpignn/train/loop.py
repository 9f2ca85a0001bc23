"""The training loop: the same steps on every trainer, losses and counts summed over all."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mpignn import stop
from mpignn.config import AUTO, CHECKPOINTS, Config, going_on
from mpignn.errors import ResourceError, Stopped, TrainingError
from mpignn.loader.base import DistDataLoader
from mpignn.log import beat, phase
from mpignn.machine import private_memory
from mpignn.storage import snapshot
from mpignn.store.graph import DistGraph
from mpignn.train import passes
from mpignn.train.checkpoint_series import CheckpointSeries
from mpignn.train.class_counts import ClassCounts
from mpignn.train.evaluation import evaluate
from mpignn.train.report import Report
from mpignn.train.step import Learner
from mpignn.train.tasks.base import Task
from mpignn.train.trained_model import describe

log = logging.getLogger(__name__)

_COUNTS = ("seeds", "edges", "rows")
_TIMES = ("seconds", "sample_s", "fetch_s", "compute_s", "sync_s")
_RUNNING = ("loss_sum", "seeds_seen")       # go on where they were, so that the last bit is the same

Values = dict[str, float | None]            # metrics by name, None: undefined


def no_sums() -> dict[str, float]:
    """`Position.sums` at the beginning of a pass."""
    return dict.fromkeys((*_COUNTS, *_TIMES, *_RUNNING), 0)


@dataclass
class Position:
    """Where a run stands, and by what its next decisions are made; equal on all trainers, but for times.

    Attributes:
        epoch: The pass that is under way or comes next.
        steps: Optimizer steps done, of all passes.
        best: The best value of the task's first metric on the split val; None before the first.
        best_epoch: After which that was.
        worse: Validations since then.
        best_steps: `steps` when `best` was found.
        kept: Value and `steps` of each of the best validations, best first: their checkpoints are kept.
        values: All metrics of val then; those of the last validation while there is no best one.
        sums: What the pass under way has summed over the trainers before it was interrupted, by name of the sum.
        seconds: Seconds of the run, before it was interrupted.
        last_epoch: The pass with which a callback ended training; None: none has.
    """

    epoch: int
    steps: int
    best: float | None
    best_epoch: int
    worse: int
    best_steps: int | None
    kept: list[tuple[float, int]]
    values: Values
    sums: dict[str, float]
    seconds: float
    last_epoch: int | None


class Loop:
    """Trains, validates, tests; the parameters that are best by the task's first metric on val are tested.

    Where that metric is undefined, as ROC-AUC where val has one class, it chooses nothing: the last ones are.
    """

    def __init__(self, g: DistGraph, learner: Learner | None, task: Task, config: Config, report: Report, run_dir: Path,
                 loader: DistDataLoader[Any] | None = None) -> None:
        """Not collective.

        Args:
            g: The graph; splits val and test may be missing.
            learner: Learns; None moves the data only.
            task: What is learnt.
            config: Settings of the run.
            report: Told of all that happens; its callbacks may end training.
            run_dir: Where checkpoints go.
            loader: Batches to learn from, as `Task.loader` describes them; None: those of the task.
        """
        self._g, self._learner, self._task, self._config, self._report = g, learner, task, config, report
        if loader is None:
            sampler = task.sampler(config.sampling.fanouts, None if learner is None else learner.network)
            loader = task.loader(g, config, "train", sampler, config.train.seed, shuffle=True)
        self._loader, self._folder = loader, run_dir / CHECKPOINTS
        self._splits = [split for split in ("val", "test") if learner is not None and task.seeds(g, split)]
        self._trained = None if learner is None else describe(g, task.goal, learner.network).about()
        self._kept = None if learner is None else self._series(learner)
        # The state of the run.  A checkpoint has all of it, and what the learner and the loader hold.
        self._position = Position(
            epoch=0, steps=0, best=None, best_epoch=-1, worse=0, best_steps=None, kept=[], values={},
            sums=no_sums(), seconds=0.0, last_epoch=None)
        # What this job, and of that this trainer, adds to it until the next checkpoint.
        self._began = time.perf_counter()
        self._sums: Callable[[], dict[str, float]] = no_sums        # of the pass under way

    def run(self) -> Values:
        """Begin, or go on from a checkpoint, as the settings say, until no pass is left.  Collective over the trainers.

        Returns:
            ``val_<metric>`` and ``test_<metric>`` of the chosen parameters for each metric of the task; None where
            there is no such split or no learner, or where it is undefined.

        Raises:
            TrainingError: On all trainers: a loss, the parameters or a metric are not finite; nothing of that is kept.
            Stopped: On all trainers: one of them was asked to stop; a checkpoint is written, if a step was made.
            ConfigError, DataError: On all trainers: there is no checkpoint to go on from, or it is not of this run.
            ResourceError: On all trainers: the disk is full.
        """
        settings, report = self._config.train, self._report
        no_val, no_test = (dict.fromkeys([f"{split}_{name}" for name in self._task.metrics])
                           for split in ("val", "test"))
        self._begin()
        position = self._position

        def tell_end(test: Values, finished: bool) -> None:
            report.stop({**no_val, **position.values, **test, "epochs": position.epoch, "seconds": self._seconds(),
                         "finished": finished})

        try:
            while not self._is_over():
                epoch = position.epoch
                with phase(f"epoch {epoch}", steady=True):
                    event = self._epoch()
                values, is_kept, validating = no_val, False, time.perf_counter()
                due = settings.eval_every and (epoch + 1) % settings.eval_every == 0
                if self._learner is not None and "val" in self._splits and (
                        due or epoch in (settings.epochs - 1, position.last_epoch)):
                    values, is_kept = self._validate(self._learner)
                event["validate_s"] = time.perf_counter() - validating
                position.epoch, position.sums, self._sums = epoch + 1, no_sums(), no_sums
                with self._stopping():
                    report.epoch({"epoch": epoch, **values, **event})
                self._after_epoch(is_kept)
            test = self._test(self._learner) if self._learner is not None and "test" in self._splits else no_test
        except Stopped:
            tell_end(no_test, finished=False)
            raise
        except TrainingError as error:
            report.diverged({"epoch": position.epoch, "steps": position.steps, "problem": str(error)})
            raise
        tell_end(test, finished=True)
        self._g.trainers.agree(report.problem)
        return no_val | position.values | test

    def _begin(self) -> None:
        """Begin, or go on from a checkpoint, unless a trainer was asked to stop.  Collective over the trainers."""
        asked, found = self._config.checkpoint.resume, None
        if self._kept is not None and asked is not None:
            own = asked == AUTO or (Path(asked) / CHECKPOINTS).is_dir()
            found = self._kept.resume(None if asked == AUTO else self._folder if own else Path(asked))
        if found is None:
            self._begin_report(lambda: self._report.begin(asked is not None))
        else:
            about = found.about["position"]
            self._position = Position(**{**about, "kept": [(value, steps) for value, steps in about["kept"]]})
            self._begin_report(lambda: self._report.go_on(found.about["metrics"]))
        if self._kept is not None and found is not None:
            self._kept.forget_after(found.step)
            self._kept.best = [steps for _, steps in self._position.kept]
            log.info("going on from %s: epoch %d, after %d steps in all", found.path, self._position.epoch,
                     self._position.steps)
        stop.check(self._g.trainers, "before a step was made")
        epochs, length = self._config.train.epochs, len(self._loader)
        self._report.plan(epochs, length, self._position.steps)
        if self._learner is not None:
            self._learner.plan(epochs * length)

    def _begin_report(self, begin: Callable[[], None]) -> None:
        with self._g.trainers.all_or_none():
            begin()
            if self._config.checkpoint.resume is not None and self._g.trainers.rank == 0:
                with snapshot.disk_problems_named(self._folder):
                    self._config.write(self._folder.parent)     # only now: a job that is refused changes nothing

    def _epoch(self) -> dict[str, Any]:
        """One pass, or the rest of it; returns the epoch's event but for its validation."""
        g, learner, loader, report, position = self._g, self._learner, self._loader, self._report, self._position
        epoch, before = position.epoch, position.sums
        loader.set_epoch(epoch)
        if learner is not None:
            learner.reset_clock()
        loss_sum, seeds_seen = before["loss_sum"], before["seeds_seen"]
        load_s, moved_before = 0.0, g.stats()
        began = step_began = time.perf_counter()

        def sums() -> dict[str, float]:
            stats = loader.stats
            return {"loss_sum": loss_sum, "seeds_seen": seeds_seen, "seconds": time.perf_counter() - began,
                    "sample_s": stats.sample_s, "fetch_s": stats.fetch_s,
                    "compute_s": learner.compute_s if learner else 0.0, "sync_s": learner.sync_s if learner else 0.0,
                    "seeds": stats.seeds, "edges": stats.edges, "rows": stats.rows}

        self._sums = sums
        step = loader.state_dict()["step"]
        for batch in loader if position.last_epoch is None else ():     # what is left of one that was ended: no steps
            load_s += time.perf_counter() - step_began
            loss, flags = None, [0.0, 0.0]
            if learner is not None:
                part, *flags, done = learner.step(self._task, batch, loader.scale, self._flags())
                if done:
                    position.last_epoch = epoch
                loss_sum, seeds_seen = loss_sum + part, seeds_seen + loader.global_size
                loss = part / loader.global_size
                if not math.isfinite(loss):
                    raise TrainingError(f"the loss is {loss} at epoch {epoch}, step {step}: lower --lr, or look for "
                                        "features that are not finite")
            del batch       # its memory serves the next one
            now = time.perf_counter()
            position.steps += 1
            with self._stopping():
                report.step({"epoch": epoch, "step": step, "loss": loss, "seconds": now - step_began})
            beat(f"step {step}")
            self._after_step(*flags)
            if position.last_epoch is not None:
                break
            step, step_began = step + 1, time.perf_counter()
        if learner is not None:
            learner.check()
        waiting = time.perf_counter()
        mine, moved = sums(), g.stats().since(moved_before)
        told = passes.tell(g.trainers, {**mine, "load_s": load_s, "wait_s": moved.wait_s,
                                        "memory_bytes": private_memory()}, moved, report.done)
        if told.flags:
            position.last_epoch = epoch
        mine |= {"seconds": time.perf_counter() - began, "sync_s": mine["sync_s"] + time.perf_counter() - waiting}
        self._sums = lambda: mine
        total = {name: before[name] + mine[name] for name in _TIMES}
        return {
            "loss": loss_sum / seeds_seen if seeds_seen else None, **total,
            **{name: int(before[name] + sum(told.trainers[name])) for name in _COUNTS},
            "seeds_per_trainer": told.trainers["seeds"], "trainers": told.trainers, "moved": told.moved,
        }

    def _validate(self, learner: Learner) -> tuple[Values, bool]:
        """Measure val after a pass; returns the metrics, and whether the parameters are to be kept."""
        g, task, config, position = self._g, self._task, self._config, self._position
        first = f"val_{task.metrics[0]}"
        with self._stopping():
            values = evaluate(g, learner.network, task, config, "val")
            value = values[first]
            sign = -1 if task.new_metrics()[0].more_is_better else 1
            is_best = value is not None and (position.best is None or sign * value < sign * position.best)
            self._report.eval({"split": "val", "epoch": position.epoch, **values, "is_best": is_best})
        if value is None and not position.values and g.trainers.rank == 0:
            log.warning("%s is undefined: the seeds of val have no two classes, or no label at all; it chooses no "
                        "parameters, so the last ones are kept%s", first,
                        "" if config.train.patience is None else ", and --patience ends nothing")
        if is_best:
            position.best, position.best_epoch, position.worse = value, position.epoch, 0
            position.best_steps, position.values = position.steps, values
            learner.keep()
        elif value is not None:
            position.worse += 1
        elif position.best is None:
            position.values = values
        return values, value is not None and self._is_kept(value, sign)

    def _is_kept(self, value: float, sign: int) -> bool:
        """Whether a checkpoint of the parameters is to be kept: ``sign`` times the value is among the least."""
        position = self._position
        best = sorted([*position.kept, (value, position.steps)], key=lambda found: sign * found[0])
        position.kept = best[:self._config.checkpoint.keep_best]
        if self._kept is not None:
            self._kept.best = [steps for _, steps in position.kept]
        return (value, position.steps) in position.kept

    def _test(self, learner: Learner) -> Values:
        """The metrics of test by the best parameters."""
        position, undo = self._position, learner.restore()
        with self._stopping(undo):
            counts = ClassCounts(self._task.goal)
            values = evaluate(self._g, learner.network, self._task, self._config, "test", counts=counts)
            self._report.classes(counts.total("test", self._g.trainers))
            of_epoch = position.epoch - 1 if position.best is None else position.best_epoch
            self._report.eval({"split": "test", "epoch": of_epoch, **values})
        return values

    def _is_over(self) -> bool:
        """Whether no pass is left."""
        settings, position = self._config.train, self._position
        return position.epoch >= settings.epochs or (
            settings.patience is not None and position.worse >= settings.patience) or (
            position.last_epoch is not None and position.epoch > position.last_epoch)

    def _flags(self) -> list[float]:
        """What this trainer tells the others at a step: two flags for `_after_step`, and whether a callback is done."""
        problem, may_go_on = self._report.problem, self._config.checkpoint.on_checkpoint_error == "continue"
        is_trouble = problem is not None and not (may_go_on and isinstance(problem, ResourceError))
        return [float(stop.vote()), float(is_trouble), float(self._report.done)]

    def _after_step(self, votes: float, troubles: float) -> None:
        """Stop if a trainer was asked to, and write a checkpoint if one is due, by the sums of all trainers' flags."""
        if self._kept is None:
            stop.check(self._g.trainers)
            return
        if troubles:
            self._g.trainers.agree(self._report.problem)
        self._kept.after_step(self._position.steps, self._about, votes)

    def _after_epoch(self, is_kept: bool) -> None:
        """End training if a callback is done, and write a checkpoint if one is due, now that the next pass comes."""
        position = self._position
        if self._g.trainers.all_sum(np.array([self._report.done], np.int64))[0]:
            position.last_epoch = position.epoch - 1
        if self._kept is None:
            stop.check(self._g.trainers)
        else:
            self._kept.after_epoch(position.epoch, position.steps, self._about, is_best=is_kept,
                                   is_last=self._is_over())

    def _stopping(self, undo: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Leave with a checkpoint where what happens inside is stopped, if anything learns."""
        return nullcontext() if self._kept is None else self._kept.stopping(self._position.steps, self._about, undo)

    def _series(self, learner: Learner) -> CheckpointSeries:
        """The checkpoints of the run, in a folder that is claimed with it."""
        g, options = self._g, self._config.checkpoint

        def written(path: Path) -> None:
            position = self._position
            self._report.checkpoint({"path": str(path), "epoch": position.epoch, "steps": position.steps})

        return CheckpointSeries(
            self._folder, g, {"learner": learner, "loader": self._loader},
            self._config.what_counts(g.trainers.size) | self._task.goal.targets, every=options.checkpoint_steps,
            keep=options.keep, to_go_on=f"go on with {going_on(self._folder.parent)}", claims=False,
            every_epochs=options.checkpoint_every, on_error=options.on_checkpoint_error,
            always_best=options.keep_best > 1, written=written)

    def _about(self) -> dict[str, Any]:
        """What a checkpoint tells of the run.  Collective over the trainers.

        Raises:
            TrainingError: On all trainers: the parameters are not finite.
            ResourceError: On all trainers: what was told of the run cannot be written.
        """
        position = self._interrupted()
        if self._learner is not None:
            self._learner.check()
        about = {"position": asdict(position) | {"seconds": self._seconds()}, "trained": self._trained}
        with self._g.trainers.all_or_none():
            about["metrics"] = self._report.settle()
        return about

    def _interrupted(self) -> Position:
        """The position with what the pass under way has summed until now.  Collective over the trainers."""
        mine, before = self._sums(), self._position.sums
        counts = self._g.trainers.all_sum(np.array([mine[name] for name in _COUNTS], np.int64))
        added = mine | dict(zip(_COUNTS, counts.tolist(), strict=True))
        return replace(self._position, sums={name: added[name] if name in _RUNNING else before[name] + added[name]
                                             for name in before})

    def _seconds(self) -> float:
        """What the run has taken, without the time between two jobs of it."""
        return self._position.seconds + time.perf_counter() - self._began
