"""The settings of a job: what is asked for, above what comes with a graph or a run."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from mpignn.config import CONFIG, Config
from mpignn.errors import ConfigError, DataError
from mpignn.job import runs
from mpignn.models import is_own
from mpignn.options import check_effects, load_config, settings_given
from mpignn.tasks import check_metrics

# They fit some ranks and nodes, and a run goes on, and is used, with any.
_OF_THE_LAUNCH = ("servers_per_node", "server_nodes", "ranks_per_node", "replicate_nodes", "stage")


def configure(path: str | Path | None, flags: dict[str, Any]) -> Config:
    """`load_config`, with the settings that come with a bundled data set below file and flags."""
    config = load_config(path, flags)
    name = config.graph.graph
    preset = Path(str(resources.files("mpignn"))) / "data" / name / "job.toml"
    return load_config(path, flags, preset) if Path(name).name == name and preset.is_file() else config


def configure_training(path: str | Path | None, flags: dict[str, Any]) -> Config:
    """The settings of a job that trains: below file and flags those of the run that it goes on with, or a preset's.

    The global batch is that of the run, too, however many trainers there are.  Which ranks serve is not: a run goes on
    with other ranks.

    Raises:
        DataError: There is no run to go on with, or another version of the program has made it.
        ConfigError: As `load_config`.
    """
    said = settings_given(path, flags, ("resume", "run_dir", "graph", "batch_size", "global_batch_size"))
    graph = said.get("graph", Config().graph.graph)
    run = runs.resumed_run(said.get("resume"), said.get("run_dir"), graph)
    if run is None:
        return configure(path, flags)
    if not (run / CONFIG).is_file():
        if "graph" not in said:
            raise DataError(f"{run} has no {CONFIG}, which says its graph and settings: put it back, or give them")
        return configure(path, flags)
    runs.check_version(run)
    flags = {**flags, "run_dir": str(run)}
    if not said.keys() & {"batch_size", "global_batch_size"}:       # on whatever number of trainers
        flags |= runs.global_batch(run)
    return of_run(run, path, flags)


def of_run(run: Path, path: str | Path | None, flags: dict[str, Any]) -> Config:
    """`load_config`, with the settings of a run below file and flags, but for those that fit the ranks it had."""
    return load_config(path, flags, run / CONFIG, _OF_THE_LAUNCH)


def graph_of_run(run: Path) -> Path:
    """The graph that a run has trained on, as its settings name it."""
    return Path(load_config(None, {}, run / CONFIG).graph.graph)


def check_moved(model: str, trained: str, run: Path) -> None:
    """Raise `ConfigError` unless a model is the one of a run, or a class of the user's own that lies elsewhere now.

    Args:
        model: The model of a job that uses the run.
        trained: The one that the run has trained.
        run: Folder of the run.
    """
    class_names = [name.rpartition(":")[2] for name in (model, trained) if is_own(name)]
    if model != trained and (len(class_names) < 2 or class_names[0] != class_names[1]):
        raise ConfigError(f"{run} has trained model {trained}: --model {model} is another one; leave it out, or tell "
                          "where the file of that class lies now")


def checked(config: Config, flags: Mapping[str, Any]) -> Config:
    """The settings of a training job, if they and the flags among them go together; raises `ConfigError` else."""
    check_metrics(config.task.task, config.task.metrics)
    check_effects(config, flags)
    return config
