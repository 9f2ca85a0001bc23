"""What a run has left in its folder.

Folders of older versions hold less, and those of a run that is under way, or was killed, end anywhere.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpignn.config import CLASSES, CONFIG, EVALUATION, HANG, JOBS, METRICS
from mpignn.errors import ConfigError, DataError, os_errors
from mpignn.files import almost_named

_EVAL = "eval"      # the folder of `mpignn eval`
Event = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run, as its folder tells it.

    Attributes:
        path: The folder.
        settings: Those in effect, by name; empty where they are not there.
        jobs: What each job of the run told of itself, in their order; none of older versions.
        events: Lines of metrics.jsonl by their kind: ``step``, ``epoch``, ``final``, ``classes``, ``stopped``,
            ``diverged``.
        evaluation: What `mpignn eval` measured last, by ``<split>_<metric>``; empty: nothing.
        evaluated_classes: How often it took each class for each, of each split.
        hang: What each rank was doing that gave up since nothing happened any more, as `mpignn.watchdog` says it.
        is_cut_off: Whether the last line of metrics.jsonl is not whole.
    """

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    jobs: list[Event] = field(default_factory=list)
    events: dict[str, list[Event]] = field(default_factory=dict)
    evaluation: dict[str, float | None] = field(default_factory=dict)
    evaluated_classes: list[Event] = field(default_factory=list)
    hang: list[Event] = field(default_factory=list)
    is_cut_off: bool = False

    def all(self, kind: str) -> list[Event]:
        """The events of a kind, in their order."""
        return self.events.get(kind, [])

    def last(self, kind: str) -> Event | None:
        """The last event of a kind; None: there is none."""
        return next(reversed(self.all(kind)), None)


def read_run(path: Path) -> Run:
    """Read the folder of a run.  Not collective.

    Raises:
        ConfigError: It is none.
        DataError: A file in it is damaged; names file and line.
    """
    if not path.is_dir():
        raise ConfigError(f"{path}: " + ("not a folder" if path.exists() else f"no such folder{almost_named(path)}")
                          + ": name the folder of a run, such as those that train makes in runs/")
    if not (path / CONFIG).is_file() and not (path / METRICS).is_file():
        raise ConfigError(f"{path} is no run folder: it has neither {CONFIG} nor {METRICS}")
    lines, is_cut_off = _lines(path / METRICS)
    events: dict[str, list[Event]] = {}
    for line in lines:
        events.setdefault(line["event"], []).append(line)
    settings = _read(path / CONFIG, lambda text: tomllib.loads(text), {})
    flat = {name: value for table in settings.values() if isinstance(table, dict) for name, value in table.items()}
    return Run(path, flat, _lines(path / JOBS, "began")[0], events, _read(path / _EVAL / EVALUATION, json.loads, {}),
               _read(path / _EVAL / CLASSES, json.loads, []), _lines(path / HANG, "who")[0], is_cut_off)


def _read(path: Path, parse: Callable[[str], Any], otherwise: Any) -> Any:
    """What a file holds, or something else where there is no such file."""
    if not path.is_file():
        return otherwise
    with os_errors(ConfigError, str(path)):
        raw = path.read_bytes()
    try:
        found = parse(raw.decode())
    except ValueError as error:     # of all three: bytes, JSON, TOML
        raise DataError(f"{path}: {error}: put it back as it was, or remove it") from error
    if not isinstance(found, type(otherwise)):
        raise DataError(f"{path}: holds no {'table' if isinstance(otherwise, dict) else 'list'}: remove it")
    return found


def _lines(path: Path, needs: str = "event") -> tuple[list[Event], bool]:
    """The objects of a file of JSON lines, and whether the last line is not whole; of no file none."""
    if not path.is_file():
        return [], False
    with os_errors(ConfigError, str(path)):
        raw = path.read_bytes()
    *whole, rest = raw.split(b"\n")
    found = []
    for number, line in enumerate(whole, 1):
        try:
            event = json.loads(line)
            if not isinstance(event, dict) or needs not in event:
                raise ValueError(f"no object with the field {needs}")
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}: put the file back as it was, or remove that line") from error
        found.append(event)
    return found, bool(rest)
