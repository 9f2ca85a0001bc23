"""The run folder, and what a user sees while it fills.

One rank writes: the first trainer.  All others hold a `Report` that writes nothing, so that the loop need not ask.
"""

import logging
import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from mpignn import say
from mpignn.config import CLASSES, EVALUATION, METRICS, TENSORBOARD, going_on
from mpignn.errors import DataError, MpignnError, ResourceError, os_errors
from mpignn.json_text import to_json
from mpignn.progress import Count, display
from mpignn.storage import claim
from mpignn.train.callback import Callback, Event
from mpignn.train.tensorboard import Curves

log = logging.getLogger(__name__)

_COLUMNS = (("seconds", 8), ("seeds/s", 9), ("edges/s", 9), ("sample", 7), ("fetch", 7), ("compute", 7), ("sync", 7))
_WORDS = {"val_acc": "validation accuracy", "test_acc": "test accuracy"}


class Report(Callback):
    """Told of all that happens in a run, and passes it on; this one keeps nothing.

    Attributes:
        problem: Why something that was told is not on the disk yet.
    """

    problem: MpignnError | None = None

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        """Not collective.

        Args:
            callbacks: Told after this one, in their order.
        """
        self._callbacks = tuple(callbacks)

    @property
    def done(self) -> bool:         # type: ignore[override]  # set by users on callbacks of theirs, not here
        """Whether a callback wants training to end."""
        return any(callback.done for callback in self._callbacks)

    def begin(self, anew: bool) -> None:
        """Begin; ``anew`` in the place of a run that came to nothing."""

    def go_on(self, metrics: dict[str, int]) -> None:
        """Go on where `settle` returned ``metrics``; what was told since is forgotten.

        Raises:
            DataError: The metrics are not those of that run.
        """

    def settle(self) -> dict[str, int] | None:
        """Return when all that was told is on the disk, and say how much that is.

        Raises:
            ResourceError: It cannot be written.
            ConfigError: The run folder is another job's by now.
        """

    def plan(self, epochs: int, steps: int, done: int) -> None:
        """The run has so many passes and steps in each, and so many steps are done."""

    def step(self, event: Event) -> None:
        self._pass_on("step", event)

    def eval(self, event: Event) -> None:
        self._pass_on("eval", event)

    def epoch(self, event: Event) -> None:
        self._pass_on("epoch", event)

    def checkpoint(self, event: Event) -> None:
        self._pass_on("checkpoint", event)

    def stop(self, event: Event) -> None:
        self._pass_on("stop", event)

    def diverged(self, event: Event) -> None:
        """Numbers are no longer finite, and the run ends: ``epoch``, ``steps`` that were done, ``problem``."""

    def classes(self, event: Event | None) -> None:
        """How often each class was taken for each, as `ClassCounts.total` says it."""

    def close(self) -> None:
        """No more is to come."""

    def _pass_on(self, kind: str, event: Event) -> None:
        for callback in self._callbacks:
            getattr(callback, kind)(event)


class RunReport(Report):
    """Writes metrics.jsonl, and shows progress and a table line for each epoch."""

    def __init__(self, run_dir: Path, metrics: Sequence[str], callbacks: Sequence[Callback] = (),
                 progress: str = "auto", tensorboard: bool = False) -> None:
        """Not collective.

        Args:
            run_dir: Where to write.
            tensorboard: Whether to write event files for TensorBoard, too.
            metrics: Names of what is measured, the most important one first.
            callbacks: Told after this one, in their order.
            progress: How it is shown, as `mpignn.progress.Display` takes it.
        """
        super().__init__(callbacks)
        self._run_dir = run_dir
        self._metrics = tuple(metrics)
        measured = [f"val_{name}" for name in metrics]
        self._columns = (("epoch", 5), ("loss", 8), *((name, max(8, len(name))) for name in measured), *_COLUMNS)
        self._path = run_dir / METRICS
        self._handle: int | None = None
        self._size, self._crc = 0, 0        # of all lines
        self._unwritten = b""
        self._how, self._shown = progress, ExitStack()
        self._steps = Count(0)
        self._tensorboard, self._curves = tensorboard, list[Curves]()
        self._done = 0
        self._totals: dict[str, float] = {}
        self._read: Counter[str] = Counter()        # rows of features in passes, by where they were read

    def begin(self, anew: bool) -> None:
        kind = os.O_TRUNC if anew else os.O_EXCL
        with self._problems_named():
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | kind, 0o666)

    def go_on(self, metrics: dict[str, int]) -> None:
        self._size, self._crc = metrics["bytes"], metrics["crc32"]
        found = b""
        if self._path.is_file():
            with self._path.open("rb") as file:
                found = file.read(self._size)
        if len(found) != self._size or zlib.crc32(found) != self._crc:
            raise DataError(f"{self._path} does not begin with the {self._size} bytes that the run had written at its "
                            "checkpoint: put it back, or begin a new run in another --run-dir")
        with self._problems_named():
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            os.ftruncate(self._handle, self._size)
            os.lseek(self._handle, 0, os.SEEK_END)

    def settle(self) -> dict[str, int]:
        self._flush()
        if self.problem is not None:
            raise self.problem
        with self._problems_named():
            os.fsync(self._opened())
        self._draw(lambda curves: curves.settle())
        return {"bytes": self._size, "crc32": self._crc}

    def plan(self, epochs: int, steps: int, done: int) -> None:
        say.tell(" ".join(name.rjust(width) for name, width in self._columns))
        self._steps = Count(epochs * steps, done, "step")
        self._steps.begin()
        self._shown.callback(self._steps.end)
        self._shown.enter_context(display.showing(self._how))
        self._done = done
        if self._tensorboard:
            self._curves = [Curves(self._run_dir / TENSORBOARD, done)]

    def step(self, event: Event) -> None:
        self._write("step", event)
        self._done += 1
        self._draw(lambda curves: curves.step(self._done, event))
        loss = event.get("loss")
        self._steps.advance(facts="" if loss is None else f"loss {loss:.4f}")
        super().step(event)

    def epoch(self, event: Event) -> None:
        self._write("epoch", event)
        self._draw(lambda curves: curves.epoch(self._done, event))
        seconds = event["seconds"] or 1e-9
        for key in ("seconds", "seeds", "edges", "sample_s", "fetch_s", "compute_s", "sync_s"):
            self._totals[key] = self._totals.get(key, 0) + event[key]
        for moved in event.get("moved", ()):
            if moved["kind"] == "feature":
                self._read[moved["target"]] += moved["rows"]
        cells = [f"{event['epoch']}", _number(event["loss"], ".4f"),
                 *(_number(event[f"val_{name}"], ".4f") for name in self._metrics),
                 f"{event['seconds']:.2f}", _rate(event["seeds"] / seconds), _rate(event["edges"] / seconds),
                 *(f"{event[k]:.2f}" for k in ("sample_s", "fetch_s", "compute_s", "sync_s"))]
        say.tell(" ".join(cell.rjust(width) for cell, (_, width) in zip(cells, self._columns, strict=True)))
        super().epoch(event)

    def stop(self, event: Event) -> None:
        told = {key: value for key, value in event.items() if key != "finished"}
        if event["finished"]:
            self._draw(lambda curves: curves.end(self._done, told))
            self._tell_end(told)
        else:
            self._write("stopped", told)
        super().stop(event)

    def diverged(self, event: Event) -> None:
        self._write("diverged", event)

    def classes(self, event: Event | None) -> None:
        if event is not None:
            self._write("classes", event)

    def close(self) -> None:
        self._shown.close()
        self._draw(lambda curves: curves.close())
        if self._handle is not None:
            self._flush()
            os.close(self._handle)
            self._handle = None

    def _tell_end(self, event: Event) -> None:
        self._write("final", event)
        total = self._totals
        if total.get("seconds"):
            seconds = total["seconds"]
            parts = ", ".join(f"{name} {100 * total[key] / seconds:.0f} %" for name, key in (
                ("sampling", "sample_s"), ("fetching", "fetch_s"), ("computing", "compute_s"), ("gradients", "sync_s")))
            say.tell(f"\nspeed: {_rate(total['seeds'] / seconds)} seeds/s, {_rate(total['edges'] / seconds)}"
                      f" edges/s; time of the first trainer: {parts}")
        copied, away = self._read["cache"], self._read["cache"] + self._read["remote"]
        if copied:
            say.tell(f"cache: {100 * copied / away:.1f} % of {away:,} rows that other nodes hold")
        measured = [f"{split}_{name}" for name in self._metrics for split in ("val", "test")]
        values = ", ".join(f"{_WORDS.get(key, key)} {_number(event[key], '.4f')}" for key in measured)
        say.tell(f"{values} after {event['epochs']} epochs, {event['seconds']:.1f} s; run folder {self._run_dir}")

    def _draw(self, draw: Callable[[Curves], None]) -> None:
        """Let curves go on, if there are any; without them the run goes on, too."""
        try:
            for curves in self._curves:
                draw(curves)
        except ResourceError as error:
            log.warning("%s: the run goes on without them", error)
            self._curves = []

    def _write(self, kind: str, event: Event) -> None:
        line = (to_json({"event": kind, **event}) + "\n").encode()
        self._size, self._crc = self._size + len(line), zlib.crc32(line, self._crc)
        self._unwritten += line
        self._flush()

    def _opened(self) -> int:
        assert self._handle is not None, "the run has begun"
        return self._handle

    def _flush(self) -> None:
        """Write what waits; what the disk does not take waits on."""
        try:
            with self._problems_named():
                while self._unwritten:
                    self._unwritten = self._unwritten[os.write(self._opened(), self._unwritten):]
            self.problem = None
        except MpignnError as error:
            if self.problem is None:
                log.warning("%s", error)
            self.problem = error

    def _problems_named(self) -> AbstractContextManager[None]:
        """For a write: raises why it cannot or must not be."""
        claim.check(self._run_dir)
        return os_errors(ResourceError, f"{self._path}: cannot be written",
                         f": free some space, and go on with {going_on(self._run_dir)}")


def report_evaluation(out: Path | None, values: Mapping[str, float | None],
                      classes: Sequence[Event] = ()) -> None:
    """Write the metrics of a trained network to ``out/eval.json``, and show them.  Not collective.

    Args:
        out: A folder; None: they are only shown.
        values: By ``<split>_<metric>``.
        classes: What `ClassCounts.total` says of each split; goes to ``out/classes.json``.

    Raises:
        ResourceError: The file cannot be written.
        ConfigError: The folder is another job's by now.
    """
    where = "eval.json is not written"
    if out is not None:
        path = out / EVALUATION
        claim.check(out)
        with os_errors(ResourceError, str(path)):
            path.write_text(to_json(values, 1) + "\n", encoding="utf-8")
        with os_errors(ResourceError, str(out / CLASSES)):
            (out / CLASSES).write_text(to_json(list(classes)) + "\n", encoding="utf-8")
        where = f"written to {path}"
    told = ", ".join(f"{_WORDS.get(key, key)} {_number(value, '.4f')}" for key, value in values.items())
    say.tell(f"{told}; {where}")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _rate(per_second: float) -> str:
    return f"{per_second:.3g}" if per_second < 1000 else f"{per_second / 1e6:.2f}M" if per_second >= 1e6 \
        else f"{per_second / 1e3:.1f}k"
