"""What a program does with a task: make it and its network, train, and use what was learnt.

The command line does the same, with a model by name.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mpignn.config import METRICS, Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import ConfigError
from mpignn.loader.base import DistDataLoader
from mpignn.nn import make_model
from mpignn.train import predict
from mpignn.train.callback import Callback
from mpignn.train.edge_task import EdgeClassification, EdgeRegression
from mpignn.train.goal import Goal, check_model
from mpignn.train.learner import Learner
from mpignn.train.learnt_rows import LearntRows, make_embeddings
from mpignn.train.link_task import LinkPrediction
from mpignn.train.loop import learn
from mpignn.train.network import Inputs, Network
from mpignn.train.node_task import NodeClassification, NodeMultilabel, NodeRegression
from mpignn.train.report import Report, RunReport
from mpignn.train.task import Task

DTYPES = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16}      # of rows
_PARAMETERS = {**DTYPES, "bf16": torch.float32}
_TASKS = {kind.kind: kind for kind in (NodeClassification, NodeMultilabel, NodeRegression, EdgeClassification,
                                       EdgeRegression, LinkPrediction)}


def make_task(g: DistGraph, config: Config, goal: Goal | None = None) -> Task:
    """The task that the settings name; arguments and errors are those of `Task`.  Collective over the trainers."""
    return _TASKS[config.task.task](g, config, goal)


def make_network(g: DistGraph, task: Task, config: Config, model: nn.Module | None = None) -> Network:
    """All that learns: inputs, a model, and what the task reads off it.  Collective over the trainers.

    Args:
        g: The graph.
        task: What is learnt.
        config: Settings of the run: ``precision``, ``embed`` and what goes with them.
        model: Called as ``model(blocks, x)``, with the first block's source rows, as `mpignn.nn.Stack` is; its output
            has ``task.model_columns(config.model.hidden)`` columns.  For layer-wise inference it needs ``num_layers``
            and ``forward_layer``, as a `Stack` has them.  None: the one that the settings name, with parameters from
            torch's generator.

    Raises:
        DataError: The named model cannot tell the types of the graph apart.
        ConfigError: It cannot be made as the settings say.
    """
    precision, widths = config.train.precision, task.goal.columns
    embeddings = make_embeddings(g, config, widths, _PARAMETERS[precision])
    inputs = Inputs(g.schema, task.goal.features, widths, DTYPES[precision], embeddings)
    columns = task.model_columns(config.model.hidden)
    if model is None:
        check_model(config, g.schema)
        model = make_model(config.model, g.schema, inputs.columns, columns, config.num_layers)
    task.source_info = getattr(model, "needs_source_info", False)
    return Network(inputs, model, task.make_head(columns)).to(config.world.device, _PARAMETERS[precision])


def fit(g: DistGraph, network: Network | None, task: Task, config: Config,
        loader: DistDataLoader | None = None, callbacks: Sequence[Callback] = ()) -> dict[str, float | None]:
    """Train, validate and test, with checkpoints and ``metrics.jsonl`` in the run folder.

    Collective over the trainers.  Afterwards the network has the parameters that were the best on val.

    Args:
        g: The graph.
        network: As `make_network` made it; None moves the data only.
        task: What is learnt.
        config: Settings of the run, equal on all trainers.
        loader: Batches to learn from instead of those of the task, of the same kind.
        callbacks: Told, in their order, of what happens; each may end training.  They may differ between trainers.

    Returns:
        ``val_<metric>``, the best, and ``test_<metric>`` for each metric of the task; None where there is no such
        split.

    Raises:
        ConfigError: On all trainers: no run folder, or one that holds another run.
        TrainingError: The loss is not finite.
        Stopped: On all trainers: one of them was asked to stop; a checkpoint is written.
        ConfigError, DataError: On all trainers: there is no checkpoint to go on from, or it is not of this run.
        ResourceError: On all trainers: the disk is full.
    """
    first = g.trainers.rank == 0
    g.trainers.agree(_folder_problem(config) if first else None)
    run_dir, learner = Path(config.train.run_dir), None
    if network is not None:
        embeddings = list(network.inputs.embeddings.values())
        learner = Learner(network, config.train, g.trainers,
                          LearntRows(embeddings, config, g.trainers.size) if embeddings else None)
    report = RunReport(run_dir, task.metrics, callbacks) if first else Report(callbacks)
    try:
        found = learn(g, learner, task, config, report, run_dir, loader)
    finally:
        report.close()
    if learner is not None:
        learner.restore()
    return found


def infer(g: DistGraph, network: Network, task: Task, out: str | Path, split: str = "test",
          fanouts: Sequence[int] | None = None) -> None:
    """Write what a network says of all nodes, or of the edges of a split, in original ids.

    Collective over the trainers.  What the file holds, and errors: see `mpignn.train.predict.write`.

    Args:
        g: The graph.
        network: Without ``fanouts`` its model has ``num_layers`` and ``forward_layer``, as `mpignn.nn.Stack` has them.
        task: What was learnt.
        out: The file; one of that name is replaced.
        split: Of the edges, where the task is about edges.
        fanouts: Go by so many sampled neighbours, input layer first; None: by all, layer after layer.
    """
    was_training = network.training
    network.eval()
    try:
        predict.write(g, task, network, task.all_rows(g, network, fanouts), split, Path(out))
    finally:
        network.train(was_training)


def _folder_problem(config: Config) -> ConfigError | None:
    """Make the run folder; returns what is wrong with it, if anything."""
    if config.train.run_dir is None:
        return ConfigError("a run needs a folder: give run_dir=...")
    path = Path(config.train.run_dir)
    if (path / METRICS).exists() and config.checkpoint.resume is None:
        return ConfigError(f"{path} holds the metrics of another run: go on with it by resume, or give another run_dir")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return ConfigError(f"{path}: cannot make the run folder: {error.strerror}")
    return None
