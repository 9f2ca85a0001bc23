"""Runs that jobs have left on disk: which one is meant, whether it can be gone on with, and with what.

Not collective: the first rank looks for all.
"""

import re
from contextlib import suppress
from pathlib import Path

from mpignn.config import AUTO, CHECKPOINTS, TRAINED
from mpignn.errors import ConfigError, DataError
from mpignn.storage import snapshot
from mpignn.storage.schema import GRAPH_FILE


def run_name(graph: str | Path) -> str:
    """What runs on a graph are called: the last piece of its path, which may be that of its main file."""
    path = Path(graph)
    if path.name == GRAPH_FILE:
        path = path.parent
    return path.name if path.name not in ("", "..") else path.resolve().name or "graph"


def run_of(path: Path) -> Path:
    """The run folder that is meant by ``--resume PATH``: the path itself, or where the checkpoint of that path is.

    Raises:
        DataError: It is neither.
    """
    if (path / CHECKPOINTS).is_dir():
        return path
    if is_checkpoint(path):
        return path.parent.parent
    raise DataError(f"{path}: neither a run folder with checkpoints nor a checkpoint in one")


def check_version(run: Path) -> None:
    """Raise if a run was made by a version of the program whose checkpoints, and settings, are others.

    Not collective.

    Raises:
        OtherFormat: It was; the message names the version.
    """
    for folder in (run / TRAINED, run / CHECKPOINTS):
        for _, path in snapshot.found_in(folder)[-1:]:
            try:
                snapshot.read_manifest(path)
            except DataError as error:
                if isinstance(error, snapshot.OtherFormat):
                    raise               # damage is told of by who reads it


def is_checkpoint(path: Path) -> bool:
    """Whether a path is that of a checkpoint in a run folder."""
    return path.is_dir() and path.parent.name == CHECKPOINTS and snapshot.is_name(path.name)


def global_batch(run: Path) -> dict[str, int]:
    """The setting ``global_batch_size`` with which a run has gone so far; nothing if it has no sound checkpoint."""
    for _, path in reversed(snapshot.found_in(run / CHECKPOINTS)):
        with suppress(DataError):       # whoever goes on from it tells of that
            said = snapshot.read_manifest(path).about["settings"]
            return {name: said[name] for name in ("global_batch_size",) if name in said}
    return {}


def newest_run(name: str, runs: Path = Path("runs")) -> Path | None:
    """The newest run of a name that has a checkpoint, among those that jobs named themselves."""
    form, found = re.compile(re.escape(name) + r"-(\d{8}-\d{6})(?:-(\d+))?"), []
    for path in runs.iterdir() if runs.is_dir() else ():
        match = form.fullmatch(path.name)
        if match is not None and snapshot.found_in(path / CHECKPOINTS):
            found.append((match[1], int(match[2] or 0), path))
    return max(found)[-1] if found else None


def resumed_run(resume: str | None, run_dir: str | None, graph: str) -> Path | None:
    """The folder of the run that settings ask to go on with; None where a run begins.  Not collective.

    Raises:
        DataError: There is no such run.
        ConfigError: Another folder is asked for at the same time.
    """
    if resume is None:
        return None
    if resume == AUTO:
        run = newest_run(run_name(graph)) if run_dir is None else Path(run_dir)
        return run if run is not None and snapshot.found_in(run / CHECKPOINTS) else None
    run = run_of(Path(resume))
    if run_dir is not None and Path(run_dir).resolve() != run.resolve():
        raise ConfigError(f"--resume {resume} goes on in {run}, but --run-dir is {run_dir}: leave one of the two out")
    return run
