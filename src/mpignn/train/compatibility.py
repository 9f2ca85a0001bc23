"""Whether a job may go on with a run, looked at before anything is loaded and again where a checkpoint is read.

No torch here, as in `mpignn.train.tasks.goal`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpignn.errors import ConfigError, DataError
from mpignn.storage import snapshot


def check_graph(path: Path, there: str, here: str) -> None:
    """Raise `ConfigError` if a checkpoint is of another graph, by the ``source_id`` of both."""
    if there != here:
        raise ConfigError(f"{path} is of another graph: {there} there, {here} here")


def check_same(path: Path, parts: list[str]) -> None:
    """Raise `ConfigError` if there are `differences` between a checkpoint and a job."""
    if parts:
        raise ConfigError(f"{path} is of another run: {'; '.join(parts)}; give what is there, or begin a run of its "
                          "own, without --resume")


def differences(kind: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What is not the same there and here, each with both values; ``kind`` is put before the names."""
    def shown(values: Mapping[str, Any], name: str) -> str:
        return str(values[name]) if name in values else "nothing"
    return [f"{kind}{name}: {shown(there, name)} there, {shown(here, name)} here"
            for name in sorted({*there, *here}) if there.get(name, differences) != here.get(name, differences)]


def check_run(path: Path, settings: Mapping[str, Any], source_id: str) -> None:
    """Raise what keeps a job from going on from a checkpoint, as far as that says of itself.  Not collective.

    Args:
        path: The checkpoint; a damaged one is left to who reads it, since one before it may do.
        settings: What the results of the job depend on.
        source_id: Hash of its graph in original ids.

    Raises:
        ConfigError: It is of another graph, or of other settings; the difference is shown.
        OtherFormat: It is of another version of the program.
    """
    try:
        said = snapshot.read_manifest(path).about
    except snapshot.OtherFormat:
        raise
    except DataError:
        return
    check_graph(path, said["graph"], source_id)
    here = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    check_same(path, differences("", said["settings"], here))
