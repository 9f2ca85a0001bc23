"""The run folder, and what a user sees while it fills.

One rank writes: the first trainer.  All others hold a `Report` that does nothing, so that the loop need not ask.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mpignn.config import METRICS
from mpignn.errors import ResourceError

_COLUMNS = (("seconds", 8), ("seeds/s", 9), ("edges/s", 9), ("sample", 7), ("fetch", 7), ("compute", 7), ("sync", 7))
_WORDS = {"val_acc": "validation accuracy", "test_acc": "test accuracy"}


class Report:
    """What is told of a run; this one tells nothing."""

    def plan(self, epochs: int, steps: int) -> None:
        """The pass that follows has so many steps."""

    def step(self, **event: Any) -> None:
        """A step is done."""

    def epoch(self, **event: Any) -> None:
        """An epoch is done and, where it was due, validated."""

    def final(self, **event: Any) -> None:
        """The run is done."""

    def close(self) -> None:
        """No more is to come."""


class RunReport(Report):
    """Writes metrics.jsonl, a progress bar where there is a terminal, and a table line for each epoch."""

    def __init__(self, run_dir: Path, metrics: Sequence[str]):
        """Not collective.

        Args:
            run_dir: Where to write.
            metrics: Names of what is measured, the most important one first.
        """
        self._run_dir = run_dir
        self._metrics = tuple(metrics)
        measured = [f"val_{name}" for name in metrics]
        self._columns = (("epoch", 5), ("loss", 8), *((name, max(8, len(name))) for name in measured), *_COLUMNS)
        self._file = open(run_dir / METRICS, "x", encoding="utf-8")     # noqa: SIM115 (open for the whole run)
        self._console = Console(highlight=False)
        self._progress: Progress | None = None
        self._bar = None
        self._started = self._shown = 0.0
        self._last_epoch = -1
        self._totals: dict[str, float] = {}

    def plan(self, epochs: int, steps: int) -> None:
        self._last_epoch = epochs - 1
        self._console.print(" ".join(name.rjust(width) for name, width in self._columns), soft_wrap=True)
        if self._console.is_terminal:
            self._progress = Progress(TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
                                      TimeRemainingColumn(), console=self._console, transient=True, auto_refresh=False)
            self._progress.start()
            self._bar = self._progress.add_task("training", total=epochs * steps)
            self._started = self._shown = time.monotonic()

    def step(self, **event: Any) -> None:
        self._write("step", event)
        if self._progress is not None:
            self._progress.advance(self._bar)
            # A launcher may hand us a terminal and write what we say to a file: spare it.
            now = time.monotonic()
            if now - self._shown > max(1, 0.02 * (now - self._started)):
                self._shown = now
                self._progress.refresh()

    def epoch(self, **event: Any) -> None:
        self._write("epoch", event)
        seconds = event["seconds"] or 1e-9
        for key in ("seconds", "seeds", "edges", "sample_s", "fetch_s", "compute_s", "sync_s"):
            self._totals[key] = self._totals.get(key, 0) + event[key]
        cells = [f"{event['epoch']}", _number(event["loss"], ".4f"),
                 *(_number(event[f"val_{name}"], ".4f") for name in self._metrics),
                 f"{event['seconds']:.2f}", _rate(event["seeds"] / seconds), _rate(event["edges"] / seconds),
                 *(f"{event[k]:.2f}" for k in ("sample_s", "fetch_s", "compute_s", "sync_s"))]
        self._console.print(" ".join(cell.rjust(width) for cell, (_, width) in zip(cells, self._columns, strict=True)),
                            soft_wrap=True)
        if event["epoch"] == self._last_epoch:
            self._stop_bar()

    def final(self, **event: Any) -> None:
        self._write("final", event)
        total = self._totals
        if total.get("seconds"):
            seconds = total["seconds"]
            parts = ", ".join(f"{name} {100 * total[key] / seconds:.0f} %" for name, key in (
                ("sampling", "sample_s"), ("fetching", "fetch_s"), ("computing", "compute_s"), ("gradients", "sync_s")))
            self._console.print(f"\nspeed: {_rate(total['seeds'] / seconds)} seeds/s, {_rate(total['edges'] / seconds)}"
                                f" edges/s; time of the first trainer: {parts}", soft_wrap=True)
        measured = [f"{split}_{name}" for name in self._metrics for split in ("val", "test")]
        values = ", ".join(f"{_WORDS.get(key, key)} {_number(event[key], '.4f')}" for key in measured)
        self._console.print(f"{values} after {event['epochs']} epochs, {event['seconds']:.1f} s; run folder "
                            f"{self._run_dir}", soft_wrap=True)

    def close(self) -> None:
        self._stop_bar()
        self._file.close()

    def _stop_bar(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _write(self, kind: str, event: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps({"event": kind, **event}) + "\n")
            self._file.flush()
        except OSError as error:
            raise ResourceError(f"{self._run_dir / METRICS}: {error.strerror}: free some space and start again, "
                                "in a new run folder") from error


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _rate(per_second: float) -> str:
    return f"{per_second:.3g}" if per_second < 1000 else f"{per_second / 1e6:.2f}M" if per_second >= 1e6 \
        else f"{per_second / 1e3:.1f}k"
