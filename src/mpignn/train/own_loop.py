"""The checkpoints of a training loop of one's own, and stopping it where all trainers stand at the same step."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpignn import stop
from mpignn.arguments import whole_number
from mpignn.storage import claim, snapshot
from mpignn.store.graph import DistGraph
from mpignn.train import checkpoint
from mpignn.train.checkpoint import Loaded, Stateful
from mpignn.train.state import plain

log = logging.getLogger(__name__)


class Checkpoints:
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
        steps: Optimiser steps done, those before the checkpoint that was gone on from among them.
    """

    def __init__(self, folder: str | Path, g: DistGraph, *, every: int = 0, keep: int | None = 2,
                 settings: Mapping[str, Any] | None = None, **objects: Stateful) -> None:
        """Not collective.

        Args:
            folder: Where checkpoints are, and no others.
            g: The graph; its persistent tensors, embeddings and what their optimisers keep of each row among them, are
                kept with all their rows.
            every: Steps between checkpoints; 0: only when asked to stop.
            keep: How many checkpoints to keep; None: all.
            settings: What the results depend on: a checkpoint of other settings is refused.  Numbers, texts, and
                sequences and dicts of these.
            objects: What has a ``state_dict``, by names of one's own: model, optimisers, the loader of the seeds.

        Raises:
            ConfigError: Embeddings that have no name are in no checkpoint; or settings that a file cannot hold.
        """
        checkpoint.check_names(objects)
        self.steps = 0
        self._folder, self._g, self._every = Path(folder), g, whole_number(every, "every")
        self._keep = None if keep is None else whole_number(keep, "keep", 1)
        self._is_claimed = False
        self._settings = plain(settings or {}, "settings")
        self._objects: dict[str, Any] = objects
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
        trainers = self._g.trainers
        self._claim()
        if trainers.rank == 0:
            snapshot.remove_leftovers(self._folder)
        if not trainers.bcast(trainers.rank == 0 and bool(snapshot.found_in(self._folder))):
            return None
        found = checkpoint.load(self._folder, self._g, settings=self._settings, **self._objects)
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
        if self._every and self.steps % self._every == 0:
            self._leave(self.save())
        else:
            self.check()

    def check(self) -> None:
        """Stop if asked to, where no step was made, as in an evaluation.  Collective over the trainers.

        Raises:
            Stopped, ResourceError: As `step`.
        """
        self._leave(None)

    def save(self, about: Mapping[str, Any] | None = None) -> Path:
        """Write a checkpoint now; returns its folder.  Collective over the trainers.

        Args:
            about: What else to remember, as JSON can; `resume` returns it.

        Raises:
            ConfigError, ResourceError: As `mpignn.checkpoint.save`.
        """
        self._claim()
        return checkpoint.save(self._folder, self.steps, self._g, settings=self._settings, about=about,
                               keep=self._keep, **self._objects)

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

    def _leave(self, path: Path | None) -> None:
        """Stop if asked to, with a checkpoint that has just been written, or one that is written now."""
        if stop.asked(self._g.trainers):
            raise stop.stopped(f"asked to stop after {self.steps} steps; {path or self.save()} has all of them: start "
                               "again to go on")
