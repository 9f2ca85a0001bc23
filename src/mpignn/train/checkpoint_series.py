"""The checkpoints of a training loop: when one is due, going on from one, and leaving with one where all trainers stop.

`CheckpointSeries` decides all of that.  The built-in loop uses it itself, loops of one's own use `Checkpoints`.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpignn import stop
from mpignn.arguments import whole_number
from mpignn.errors import ResourceError, Stopped
from mpignn.shown import Shown
from mpignn.storage import claim, snapshot
from mpignn.store.graph import DistGraph
from mpignn.train import checkpoint
from mpignn.train.checkpoint import Loaded, Stateful
from mpignn.train.packing import plain

log = logging.getLogger(__name__)

_SELDOM_S = 60.0        # between checkpoints of passes, unless the user says how many passes

About = Callable[[], Mapping[str, Any]]     # what else a checkpoint remembers, asked for on all trainers


class CheckpointSeries:
    """The checkpoints of one loop in one folder.  The loop counts its steps, and says what else to remember.

    Attributes:
        best: Steps of checkpoints to keep beside the newest ones.
    """

    def __init__(self, folder: Path, g: DistGraph, objects: Mapping[str, Stateful], settings: Mapping[str, Any], *,
                 every: int, keep: int | None, to_go_on: str, claims: bool, every_epochs: int | None = 0,
                 on_error: str = "stop", always_best: bool = False,
                 written: Callable[[Path], None] | None = None) -> None:
        """Not collective.

        Args:
            folder: Where checkpoints are, and no others.
            g: The graph, with its persistent tensors.
            objects: What has a ``state_dict``, by name.
            settings: What the results depend on: a checkpoint of other settings is refused.
            every: Steps between checkpoints; 0: none is due after a step.
            keep: How many checkpoints to keep; None: all.
            to_go_on: What to do to go on with the loop, for messages.
            claims: Whether to claim the folder for this job before it is read or written; else one around it is.
            every_epochs: Passes between checkpoints; 0: none is due after a pass; None: by the clock.
            always_best: Whether a checkpoint is due after a pass whose parameters are to be kept, whatever the clock.
            on_error: ``continue`` where a checkpoint that was due and cannot be written is left out.
            written: Told of each checkpoint, on all trainers.
        """
        self.best: Sequence[int] = ()
        self._folder, self._g, self._settings = folder, g, settings
        self._objects: dict[str, Any] = dict(objects)
        self._every, self._every_epochs, self._keep = every, every_epochs, keep
        self._to_go_on, self._on_error, self._written = to_go_on, on_error, written
        self._is_claimed, self._always_best = not claims, always_best
        self._saved_at = time.perf_counter()

    def resume(self, path: Path | None = None) -> Loaded | None:
        """Go on from a checkpoint.  Collective over the trainers.

        Args:
            path: A checkpoint, or a folder of them, of which the newest whole one is taken; None: the loop's own
                folder, which may have none.

        Returns:
            What it told; None where the loop begins.

        Raises:
            ConfigError, DataError: As `mpignn.checkpoint.load`.
            ConfigError: On all trainers: the folder is another job's.
        """
        trainers = self._g.trainers
        self._claim()
        if trainers.rank == 0:
            snapshot.remove_leftovers(self._folder)
        if path is None and not trainers.bcast(trainers.rank == 0 and bool(snapshot.found_in(self._folder))):
            return None
        return checkpoint.load(path or self._folder, self._g, settings=self._settings, **self._objects)

    def forget_after(self, step: int) -> None:
        """Remove checkpoints of later steps: damaged, or one before them was asked for.  What they hold comes again.

        Collective over the trainers.
        """
        if self._g.trainers.rank == 0:
            for later, path in snapshot.found_in(self._folder):
                if later > step:
                    snapshot.remove(path)

    def after_step(self, steps: int, about: About, votes: float | None = None) -> None:
        """Leave if a trainer was asked to stop, and write a checkpoint if one is due.  Collective over the trainers.

        Args:
            steps: Optimizer steps done.
            about: What else to remember.
            votes: The sum of all trainers' `stop.vote`; None: it is summed now.

        Raises:
            Stopped: On all trainers: a checkpoint is written.
            ResourceError: On all trainers: the disk is full or cannot be written.
        """
        if stop.asked(self._g.trainers) if votes is None else stop.heard(votes):
            self.leave(steps, about)
        elif self._every and steps % self._every == 0:
            self._save_due(steps, about)

    def after_epoch(self, epochs: int, steps: int, about: About, *, is_best: bool, is_last: bool) -> None:
        """Write a checkpoint if one is due after a pass.  Collective over the trainers.

        Args:
            epochs: Passes done.
            steps: Optimizer steps done.
            about: What else to remember.
            is_best: Whether the parameters are to be kept, as among the best so far.
            is_last: Whether no pass is left.

        Raises:
            Stopped, ResourceError: As `after_step`.
        """
        if self._every_epochs != 0 and (is_last or self._is_due(epochs, is_best)):
            self._save_due(steps, about)

    def save(self, steps: int, about: About) -> Path:
        """Write a checkpoint now; returns its folder.  Collective over the trainers.

        Raises:
            ConfigError, ResourceError: As `mpignn.checkpoint.save`.
        """
        self._claim()
        self._saved_at = time.perf_counter()
        path = checkpoint.save(self._folder, steps, self._g, settings=self._settings, about=about(), keep=self._keep,
                               best=self.best, **self._objects)
        if self._written is not None:
            self._written(path)
        return path

    def leave(self, steps: int, about: About) -> None:
        """Write a checkpoint and raise `Stopped`, on all trainers.  Collective over the trainers."""
        self._stop(steps, self.save(steps, about))

    @contextmanager
    def stopping(self, steps: int, about: About, undo: Callable[[], None] | None = None) -> Iterator[None]:
        """Leave with a checkpoint where what happens inside is stopped.  Collective over the trainers.

        Args:
            steps: Optimizer steps done.
            about: What else to remember.
            undo: Brings the objects to where the loop shall go on.

        Raises:
            Stopped, ResourceError: As `after_step`.
        """
        try:
            yield
        except Stopped:
            if undo is not None:
                undo()
            self.leave(steps, about)

    def _claim(self) -> None:
        """Have the folder for this job, if it has it not yet.  Collective over the trainers."""
        if self._is_claimed:
            return
        with self._g.trainers.all_or_none():
            if self._g.trainers.rank == 0:
                with snapshot.disk_problems_named(self._folder):
                    self._folder.mkdir(parents=True, exist_ok=True)
                claim.take(self._folder)
        self._is_claimed = True

    def _is_due(self, epochs: int, is_best: bool) -> bool:
        if self._always_best and is_best:
            return True
        if self._every_epochs is not None:
            return is_best or epochs % self._every_epochs == 0
        # A pass over a small graph is shorter than what the disk takes.  The clock of one decides for all.
        return bool(self._g.trainers.bcast(time.perf_counter() - self._saved_at >= _SELDOM_S))

    def _save_due(self, steps: int, about: About) -> None:
        """Write a checkpoint that is due; if a trainer was asked to stop meanwhile, it is the last."""
        try:
            path = self.save(steps, about)
        except ResourceError as error:
            if self._on_error != "continue":
                raise
            log.warning("%s; training goes on without it", error)
            return
        if stop.asked(self._g.trainers):
            self._stop(steps, path)

    def _stop(self, steps: int, path: Path) -> None:
        raise stop.stopped(f"asked to stop after {steps} steps; {path} has all of them: {self._to_go_on}")


class Checkpoints(Shown):
    """Keeps a loop of one's own.

        kept = mpignn.Checkpoints("checkpoints", g, model=model, optimizer=optimizer, loader=loader)
        kept.resume()
        for epoch in range(loader.state_dict()["epoch"], 10):
            loader.set_epoch(epoch)
            for input_nodes, output_nodes, blocks in loader:
                ...
                kept.step()

    SIGUSR1, SIGTERM and the end of a time limit are wishes to stop from its making on; ``mpignn.stop.listen()`` at the
    top of a program makes them so earlier.  `step` and `check` then write a checkpoint and raise `Stopped` on all
    trainers; the job that `mpignn.run` or `mpignn.initialize` has started ends with exit code 75.

    Attributes:
        steps: Optimizer steps done, those before the checkpoint that was gone on from among them.
    """

    SHOWN = ("steps",)

    def __init__(self, folder: str | Path, g: DistGraph, *, every: int = 0, keep: int | None = 2,
                 settings: Mapping[str, Any] | None = None, **objects: Stateful) -> None:
        """Not collective.

        Args:
            folder: Where checkpoints are, and no others.
            g: The graph; its persistent tensors, embeddings and what their optimizers keep of each row among them, are
                kept with all their rows.
            every: Steps between checkpoints; 0: only when asked to stop.
            keep: How many checkpoints to keep; None: all.
            settings: What the results depend on: a checkpoint of other settings is refused.  Numbers, texts, and
                sequences and dicts of these.
            objects: What has a ``state_dict``, by names of one's own: model, optimizers, the loader of the seeds.

        Raises:
            ConfigError: Embeddings that have no name are in no checkpoint; or settings that a file cannot hold.
        """
        checkpoint.check_names(objects)
        self.steps, self._trainers = 0, g.trainers
        self._series = CheckpointSeries(Path(folder), g, objects, plain(settings or {}, "settings"),
                                        every=whole_number(every, "every"), claims=True,
                                        keep=None if keep is None else whole_number(keep, "keep", 1),
                                        to_go_on="start again to go on")
        stop.listen()

    def resume(self) -> Loaded | None:
        """Go on from the newest whole checkpoint, if there is any.  Collective over the trainers.

        From now on, or from the first checkpoint on, the folder is this job's until the program ends.

        Returns:
            What it told; None where the loop begins.

        Raises:
            ConfigError, DataError: As `mpignn.checkpoint.load`.
            ConfigError: On all trainers: the folder is another job's.
        """
        found = self._series.resume()
        if found is not None:
            self.steps = found.step
            log.info("going on from %s, after %d steps", found.path, self.steps)
        return found

    def step(self) -> None:
        """Say that a step was made.  Writes a checkpoint if one is due.  Collective over the trainers.

        Raises:
            Stopped: On all trainers: one of them was asked to stop; a checkpoint is written.
            ResourceError: On all trainers: the disk is full or cannot be written.
        """
        self.steps += 1
        self._series.after_step(self.steps, dict)

    def check(self) -> None:
        """Stop if asked to, where no step was made, as in an evaluation.  Collective over the trainers.

        Raises:
            Stopped, ResourceError: As `step`.
        """
        if stop.asked(self._trainers):
            self._series.leave(self.steps, dict)

    def save(self, about: Mapping[str, Any] | None = None) -> Path:
        """Write a checkpoint now; returns its folder.  Collective over the trainers.

        Args:
            about: What else to remember, as JSON can; `resume` returns it.

        Raises:
            ConfigError, ResourceError: As `mpignn.checkpoint.save`.
        """
        return self._series.save(self.steps, lambda: about or {})
