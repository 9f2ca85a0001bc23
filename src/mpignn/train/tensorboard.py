"""Curves of a run for TensorBoard: the numbers of ``metrics.jsonl`` as scalars in event files."""

import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpignn.errors import ConfigError, ResourceError, os_errors
from mpignn.train.callback import Event

_TIMES = ("sample_s", "fetch_s", "compute_s", "sync_s", "validate_s")


def check_installed() -> None:
    """Raise `ConfigError` unless event files can be written.  Not collective."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("--tensorboard needs the package tensorboard: pip install 'mpignn[tensorboard]', or leave "
                          "it out: `mpignn report` shows the same curves")


class Curves:
    """Writes scalars, by number of the step."""

    def __init__(self, folder: Path, steps: int) -> None:
        """Not collective.

        Args:
            folder: Where event files go; those of earlier jobs of the run stay.
            steps: How many the run has made.  What earlier files tell of later ones is no longer shown.

        Raises:
            ConfigError: The package is not installed.
            ResourceError: They cannot be written.
        """
        check_installed()
        from tensorboard.compat.proto.event_pb2 import Event as Written
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        self._folder = folder
        with os_errors(ResourceError, f"{folder}: event files cannot be written"):
            self._writer = EventFileWriter(str(folder))
        # TensorBoard leaves out what older files tell of this step and later ones.
        started = SessionLog(status=SessionLog.START)
        self._writer.add_event(Written(wall_time=time.time(), step=steps + 1 if steps else 0, session_log=started))

    def step(self, number: int, event: Event) -> None:
        """A step was made, the number of which counts from 1.  Not collective."""
        self._write(number, {"step/loss": event.get("loss"), "step/seconds": event.get("seconds")})

    def epoch(self, number: int, event: Event) -> None:
        """A pass has ended with a step.  Not collective."""
        seconds = event["seconds"] or 1e-9
        values = {"epoch/loss": event["loss"], "rate/seeds_per_s": event["seeds"] / seconds,
                  "rate/edges_per_s": event["edges"] / seconds, "time/seconds": event["seconds"],
                  **{f"time/{name}": event.get(name) for name in _TIMES}}
        values |= {f"val/{name.removeprefix('val_')}": value for name, value in event.items() if name[:4] == "val_"}
        self._write(number, values)

    def end(self, number: int, event: Event) -> None:
        """The best parameters were tested.  Not collective."""
        self._write(number, {f"test/{name.removeprefix('test_')}": value for name, value in event.items()
                             if name[:5] == "test_"})

    def settle(self) -> None:
        """Return when all is on the disk.  Not collective.

        Raises:
            ResourceError: It cannot be written.
        """
        with os_errors(ResourceError, f"{self._folder}: event files cannot be written"):
            self._writer.flush()

    def close(self) -> None:
        """No more is to come.  Not collective."""
        with os_errors(ResourceError, f"{self._folder}: event files cannot be written"):
            self._writer.close()

    def _write(self, number: int, values: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Written
        from tensorboard.compat.proto.summary_pb2 import Summary
        told = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if value is not None]
        if told:
            with os_errors(ResourceError, f"{self._folder}: event files cannot be written"):
                self._writer.add_event(Written(wall_time=time.time(), step=number, summary=Summary(value=told)))
