"""What programs call: make a task and its network, train, and use what was learnt.

The commands do the same, with a model by name.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mpignn.config import METRICS, Config
from mpignn.errors import ConfigError, DataError, os_errors
from mpignn.graph.types import EType
from mpignn.loader.base import DistDataLoader
from mpignn.models import is_own
from mpignn.nn import make_model, own
from mpignn.nn.embedding import DistEmbedding
from mpignn.storage import claim
from mpignn.store.graph import DistGraph
from mpignn.tables.endings import table_of
from mpignn.train import prediction_tables, predictions, tensorboard
from mpignn.train.callback import Callback
from mpignn.train.embeddings import Embeddings, make_embeddings
from mpignn.train.loop import Loop
from mpignn.train.network import Inputs, Network
from mpignn.train.report import Report, RunReport
from mpignn.train.step import Learner
from mpignn.train.survey import check_asked
from mpignn.train.tasks.base import Labelled, Task
from mpignn.train.tasks.edge import EdgeClassification, EdgeRegression
from mpignn.train.tasks.goal import Goal, check_model
from mpignn.train.tasks.link import LinkPrediction
from mpignn.train.tasks.node import NodeClassification, NodeMultilabel, NodeRegression
from mpignn.train.top_links import TopLinks
from mpignn.unique import unique

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
        ConfigError: On all trainers: the named model cannot tell the types of the graph apart, or cannot be made as the
            settings say.
    """
    precision, widths = config.train.precision, task.goal.columns
    embeddings = make_embeddings(g, config, widths, _PARAMETERS[precision])
    inputs = Inputs(g.schema, task.goal.features, widths, DTYPES[precision], embeddings)
    columns = task.model_columns(config.model.hidden)
    with g.trainers.all_or_none():
        if model is None:
            own.know(config.model)
            check_model(config, g.schema, task.goal)
            model = make_model(config.model, g.schema, inputs.columns, columns, config.num_layers, task.goal.on_edges)
        head = task.make_head(columns)
        parts = [part for part in (model, head) if part is not None]
        if is_own(config.model.model) and not any(list(part.parameters()) for part in parts) and not embeddings:
            raise ConfigError(f"model {config.model.model} learns nothing here: neither it nor anything else has "
                              "parameters; give --embed all")
    return Network(inputs, model, head).to(config.world.device, _PARAMETERS[precision])


def make_learner(g: DistGraph, network: Network, config: Config) -> Learner:
    """A network with its optimizers, as the settings name them.  Collective over the trainers."""
    embeddings = [part for part in network.inputs.embeddings.values() if isinstance(part, DistEmbedding)]
    return Learner(network, config.train, g.trainers,
                   Embeddings(embeddings, config, g.trainers.size) if embeddings else None)


def fit(g: DistGraph, network: Network | None, task: Task, config: Config,
        loader: DistDataLoader[Any] | None = None, callbacks: Sequence[Callback] = ()) -> dict[str, float | None]:
    """Train, validate and test, with checkpoints and ``metrics.jsonl`` in the run folder.

    Collective over the trainers.  Afterwards the network has the parameters that were the best on val, or
    the last ones where nothing chooses.

    Args:
        g: The graph.
        network: As `make_network` made it; None moves the data only.
        task: What is learnt.
        config: Settings of the run, equal on all trainers.
        loader: Batches to learn from instead of those of the task, of the same kind.
        callbacks: Told, in their order, of what happens; each may end training.  They may differ between trainers.

    Returns:
        ``val_<metric>`` and ``test_<metric>`` of the chosen parameters for each metric of the task; None where there is
        no such split, or where it is undefined.

    Raises:
        ConfigError: On all trainers: no run folder, one that holds another run, or one that is another job's.
        TrainingError: On all trainers: a loss, the parameters or a metric are not finite; nothing of that is kept.
        Stopped: On all trainers: one of them was asked to stop; a checkpoint is written.
        ConfigError, DataError: On all trainers: there is no checkpoint to go on from, or it is not of this run.
        ResourceError: On all trainers: the disk is full.
    """
    with ExitStack() as stack:
        with g.trainers.all_or_none():
            if g.trainers.rank == 0:
                stack.enter_context(_own_folder(config))
                if config.train.tensorboard:
                    tensorboard.check_installed()
        if network is not None and isinstance(task, Labelled):
            task.check_labels(g)        # one that was made with a goal of another graph has not seen them
        assert config.train.run_dir is not None, "the first rank has looked"
        return _fit(g, network, task, config, Path(config.train.run_dir), loader, callbacks)


def _fit(g: DistGraph, network: Network | None, task: Task, config: Config, run_dir: Path,
         loader: DistDataLoader[Any] | None, callbacks: Sequence[Callback]) -> dict[str, float | None]:
    """What `fit` does in a run folder that is the job's."""
    learner = None if network is None else make_learner(g, network, config)
    settings = config.train
    report = RunReport(run_dir, task.metrics, callbacks, settings.progress, settings.tensorboard) \
        if g.trainers.rank == 0 else Report(callbacks)
    try:
        found = Loop(g, learner, task, config, report, run_dir, loader).run()
    finally:
        report.close()
    if learner is not None:
        learner.restore()
    return found


def infer(g: DistGraph, network: Network, task: Task, out: str | Path, split: str | None = None,
          fanouts: Sequence[int] | None = None, top_k: int | None = None,
          sources: Sequence[str | int] | None = None, nodes: Sequence[str | int] | None = None) -> None:
    """Write what a network says of all nodes, of the edges of a split, or of the best new links.

    Collective over the trainers.  What the file holds, and errors: see `mpignn.train.predictions.write` and, of tables,
    `mpignn.train.prediction_tables.write`.

    Args:
        g: The graph.
        network: Without ``fanouts`` its model has ``num_layers`` and ``forward_layer``, as `mpignn.nn.Stack` has them.
        task: What was learnt.
        out: The file; one of that name is replaced.  Its ending says what it is: ``.h5`` with all rows by original id;
            or a table under the ids and names that users gave, ``.csv``, ``.tsv``, ``.parquet``, ``.csv.gz``.
        split: The edges' split, where the task is about edges; None: test, if there is one.
        fanouts: Go by so many sampled neighbors, input layer first; None: by all, layer after layer.
        top_k: Where the task is about links: for each source so many destinations that score highest and that no edge
            joins it to yet, as a table; None: the edges of the split.
        sources: Which nodes these are, as users call them; None: all.
        nodes: Where the task is about nodes: those of which a table is written, in this order, as users call them; with
            ``fanouts`` no others are computed.  None: all.

    Raises:
        ConfigError: On all trainers: what is asked for does not go together; or as told there.
        DataError: On all trainers: no node is called as one of these; or as told there.
    """
    with g.trainers.all_or_none():
        kind = table_of(Path(out))
        check_asked(task.goal, split, g.splits, top_k, sources is not None, kind is not None, nodes is not None)
    top = None if top_k is None else TopLinks(top_k, _sources(g, task.goal, sources))
    chosen = None if nodes is None else _found(g, [task.goal.node_type], nodes, "nodes")[task.goal.node_type]
    predictions.check_out(g, Path(out))
    was_training = network.training
    network.eval()
    try:
        if chosen is not None and fanouts is not None:
            assert kind is not None, "nodes are chosen for a table"
            drawn = task.drawn_rows(g, network, fanouts)
            prediction_tables.write(g, task, network, drawn, split or "test", Path(out), kind, chosen=chosen)
            return
        rows = task.all_rows(g, network, fanouts)
        if kind is None:
            predictions.write(g, task, network, rows, split or "test", Path(out))
        else:
            prediction_tables.write(g, task, network, rows, split or "test", Path(out), kind, top, chosen)
    finally:
        network.train(was_training)


def _sources(g: DistGraph, goal: Goal, names: Sequence[str | int] | None) -> dict[EType, np.ndarray]:
    """Original ids of the sources that users call so, by edge type.  Collective over the trainers."""
    if names is None:
        return {etype: np.arange(g.num_nodes(etype[0])) for etype in goal.etypes}
    found = _found(g, list(dict.fromkeys(etype[0] for etype in goal.etypes)), names, "sources")
    return {etype: unique(found[etype[0]][found[etype[0]] >= 0]) for etype in goal.etypes}


def _found(g: DistGraph, ntypes: Sequence[str], names: Sequence[str | int], what: str) -> dict[str, np.ndarray]:
    """Original ids of the nodes that users call so, by type, -1 where it has none.  Collective over the trainers."""
    def find() -> dict[str, np.ndarray]:
        found = {ntype: g.names.find(names, ntype, g.num_nodes(ntype)) for ntype in ntypes}
        missing = np.flatnonzero(np.all([ids < 0 for ids in found.values()], axis=0))
        if missing.size:
            raise DataError(f"{what}: no node of type {' or '.join(ntypes)} is called {names[missing[0]]!r}, number "
                            f"{missing[0] + 1} of these {len(names)}: leave such names out, {missing.size} in all")
        return found

    return g.trainers.by_first(find)


@contextmanager
def _own_folder(config: Config) -> Iterator[None]:
    """Make the run folder, and claim it while it is written; raises what is wrong with it."""
    if config.train.run_dir is None:
        raise ConfigError("a run needs a folder: give run_dir=...")
    path = Path(config.train.run_dir)
    with os_errors(ConfigError, f"{path}: cannot make the run folder"):
        path.mkdir(parents=True, exist_ok=True)
    with claim.holding(path):
        if (path / METRICS).exists() and config.checkpoint.resume is None:
            raise ConfigError(f"{path} holds the metrics of another run: go on with it by resume, or give another "
                              "run_dir")
        yield
