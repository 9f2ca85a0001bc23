"""The checkpoints of a training loop of one's own, and stopping it where all trainers stand at the same step."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpignn import stop
from mpignn.dist.graph import DistGraph
from mpignn.errors import Stopped
from mpignn.storage import snapshot
from mpignn.train import checkpoint
from mpignn.train.checkpoint import Loaded, Stateful

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
                 settings: Mapping[str, Any] | None = None, **objects: Stateful):
        """Not collective.

        Args:
            folder: Where checkpoints are, and no others.
            g: The graph; its persistent tensors, embeddings and what their optimisers keep of each row among them, are
                kept with all their rows.
            every: Steps between checkpoints; 0: only when asked to stop.
            keep: How many checkpoints to keep; None: all.
            settings: What the results depend on: a checkpoint of other settings is refused.
            objects: What has a ``state_dict``, by names of one's own: model, optimisers, the loader of the seeds.

        Raises:
            ConfigError: Embeddings that have no name are in no checkpoint.
        """
        checkpoint.check_names(objects)
        self.steps = 0
        self._folder, self._g, self._every, self._keep = Path(folder), g, every, keep
        self._settings, self._objects = settings, objects
        stop.listen()

    def resume(self) -> Loaded | None:
        """Go on from the newest whole checkpoint, if there is any.  Collective over the trainers.

        Returns:
            What it told; None where the loop begins.

        Raises:
            ConfigError, DataError: As `mpignn.checkpoint.load`.
        """
        trainers = self._g.trainers
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
        return checkpoint.save(self._folder, self.steps, self._g, settings=self._settings, about=about,
                               keep=self._keep, **self._objects)

    def _leave(self, path: Path | None) -> None:
        """Stop if asked to, with a checkpoint that has just been written, or one that is written now."""
        if stop.asked(self._g.trainers):
            raise Stopped(f"asked to stop after {self.steps} steps; {path or self.save()} has all of them: start again "
                          "to go on")
