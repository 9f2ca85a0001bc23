"""What a job is for: the trainings, evaluations and inferences of the command line.

Each says what it reads, whether it and the graph go together, and how much memory it takes, before anything is loaded
and without torch; trainers then do it.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mpignn.config import CHECKPOINTS, CONFIG, METRICS, TRAINED, Config
from mpignn.errors import ConfigError, DataError
from mpignn.job import runs
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened
from mpignn.job.run_folder import NewTables
from mpignn.job.settings import graph_of_run
from mpignn.models import find_model
from mpignn.options import check_taken
from mpignn.storage import snapshot
from mpignn.storage.atomic import check_file
from mpignn.storage.forms.tables import files_like
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import GRAPH_FILE, part_file
from mpignn.storage.stage import folder_meant, staged
from mpignn.store.graph import DistGraph
from mpignn.tables.endings import table_of
from mpignn.train import survey, tensorboard
from mpignn.train.compatibility import check_run
from mpignn.train.tasks.goal import Goal, check_model, check_times, find_goal
from mpignn.train.tasks.reverse import check_exclude
from mpignn.train.trained_model import TrainedModel, check_graph, check_labels, check_new_nodes, read_trained

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

log = logging.getLogger(__name__)


@dataclass
class Work(ABC):
    """What a job is for.

    Attributes:
        config: Settings of the run.
        given: Names of the settings that were asked for, which must have an effect.
    """

    config: Config
    given: Collection[str]

    @property
    def graphs(self) -> Sequence[str]:
        """The graphs that it reads: partitioned ones, or names of bundled data sets."""
        return [self.config.graph.graph]

    @property
    def tables(self) -> NewTables | None:
        """What becomes of graphs that are tables; None: they are none."""
        return None

    @property
    def is_own_program(self) -> bool:
        """Whether it is the user's program, which may draw edges as it likes and need not tell how far it is."""
        return False

    @property
    def fills_cache(self) -> bool:
        """Whether its batches read a node's copies of rows of other nodes."""
        return True

    @property
    def keeps_folder(self) -> bool:
        """Whether it has a run folder at all."""
        return True

    @property
    def may_lack_folder(self) -> bool:
        """Whether it can be done although the run folder cannot be written: what it is for goes elsewhere."""
        return False

    @abstractmethod
    def check(self, opened: Opened) -> None:
        """Look at a graph's metadata, before anything of it is loaded.  On the first rank.

        Raises:
            ConfigError, DataError: It and this work do not go together.
        """

    @abstractmethod
    def plan(self, opened: Opened) -> MemoryPlan:
        """How much memory the job takes with a graph.  On the first rank, after `check`."""

    @abstractmethod
    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        """Do it, with torch ready.  Collective over the trainers.

        Args:
            run_dir: The run folder; None: there is none, see `keeps_folder` and `may_lack_folder`.
        """


@dataclass
class Training(Work):
    """The built-in training."""

    def check(self, opened: Opened) -> None:
        book, config = opened.placement.book, self.config
        goal = find_goal(config, book.schema, opened.placement.infos, opened.splits,
                         opened.names.classes)
        check_taken(config, self.given)
        if config.train.tensorboard:
            tensorboard.check_installed()
        check_model(config, book.schema, goal)
        check_exclude(config.task, book, goal.etypes)
        check_times(config, book.schema, opened.placement.infos, goal)
        survey.check_given(config, book.schema, goal, self.given, opened.splits)
        self._check_resumed(goal, opened)
        _tell(config, goal, opened)

    def plan(self, opened: Opened) -> MemoryPlan:
        return opened.plan_training(self.config)

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        from mpignn.train import commands
        assert run_dir is not None, "a run is kept"
        commands.train(graphs[0], self.config, run_dir)

    def _check_resumed(self, goal: Goal, opened: Opened) -> None:
        """Raise if the run that the job is to go on with is not of its graph and settings."""
        config, asked = self.config, self.config.checkpoint.resume
        run = runs.resumed_run(asked, config.train.run_dir, config.graph.graph)
        if asked is None or run is None or config.train.data_path_only:     # which has no checkpoints
            return
        newest = [path for _, path in snapshot.found_in(run / CHECKPOINTS)[-1:]]
        settings = config.what_counts(len(opened.placement.topology.trainer_ranks)) | goal.targets
        for path in [Path(asked)] if runs.is_checkpoint(Path(asked)) else newest:
            check_run(path, settings, opened.source_id)


@dataclass
class DryRun(Training):
    """The first steps of a training, of which nothing is kept."""

    @property
    def keeps_folder(self) -> bool:
        return False

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        from mpignn.train import commands
        commands.dry_run(graphs[0], self.config)


@dataclass
class _OnRun(Work):
    """Using what a run has learnt.

    Attributes:
        run: Folder of the run.
        sampled: By sampled neighbors, not by all.
        on_unknown: Where the graph is tables, as `mpignn.storage.write.partition_graph` takes it.
    """

    run: Path
    sampled: bool
    on_unknown: str | None

    @property
    def fills_cache(self) -> bool:
        return False        # the copies are of what training batches read

    @property
    def may_lack_folder(self) -> bool:
        return True

    @property
    def tables(self) -> NewTables:
        return NewTables(self._trained_on, self.on_unknown)

    @cached_property
    def trained(self) -> TrainedModel:
        """What the run has learnt; read from its folder."""
        return read_trained(self.run)

    def check(self, opened: Opened) -> None:
        model, placement = self.config.model.model, opened.placement
        if not self.sampled and not find_model(model).layerwise:
            raise ConfigError(f"model {model} has no forward_layer, so it cannot be computed layer after layer with "
                              "all neighbors: give --sampled, or give the class forward_layer and num_layers, as "
                              "mpignn.nn.Stack has them")
        check_graph(self.trained, placement.book.schema, placement.infos, opened.source_id)
        if self.config.sampling.edge_time is not None and not self.sampled:
            raise ConfigError("edges are chosen by time (edge-time), so rows depend on who is asked about, and are not "
                              "computed layer after layer: give --sampled")
        check_times(self.config, placement.book.schema, placement.infos, self.trained.goal)
        self.check_use(opened)
        _tell(self.config, self.trained.goal, opened)

    def _trained_on(self, tables: Path) -> Path:
        """The graph of the run, which new tables become like, if the network can be used on them."""
        check_new_nodes(self.trained, "new tables may have any")
        graph = graph_of_run(self.run)
        try:
            with GraphFile(graph) as file:
                source_id = file.source_id
        except DataError as error:
            raise DataError(f"{self.run} was trained on {graph}, which says what new tables become: {error}; put it "
                            "there, or start this where the training was started; or make a graph by `mpignn "
                            f"partition {tables} OUT --parts 1 --like` and where {graph.name} is now, and give OUT in "
                            f"the place of {tables}") from error
        if source_id != self.trained.source_id:
            raise DataError(f"{graph} is another graph than {self.run} was trained on, so it does not say what new "
                            "tables become: make it again of the tables that it was made of, or train anew")
        return graph

    @abstractmethod
    def check_use(self, opened: Opened) -> None:
        """Raise if the network and the graph go together, and not for this use of them.  On the first rank."""

    def plan(self, opened: Opened) -> MemoryPlan:
        return self._plan(opened)

    def _plan(self, opened: Opened, top_k: int | None = None) -> MemoryPlan:
        goal, fanouts = self.trained.goal, self.config.eval_fanouts if self.sampled else None
        return opened.plan_inference(self.config, goal.ntype, goal.outputs, fanouts, top_k)


@dataclass
class Evaluation(_OnRun):
    """Measuring what a run has learnt.  The run folder of the job is where the result goes, if it is kept."""

    def check_use(self, opened: Opened) -> None:
        check_labels(self.trained, opened.placement.infos, opened.splits, ("val", "test"),
                     opened.names.classes)

    def plan(self, opened: Opened) -> MemoryPlan:
        return opened.plan_training(self.config) if self.sampled else super().plan(opened)

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        from mpignn.train import commands
        commands.evaluate_run(graphs[0], self.config, self.run, run_dir, self.sampled)


@dataclass
class Inference(_OnRun):
    """Writing what a run's network says of all nodes, or of the edges of a split.

    Attributes:
        out: File to write.
        split: The edges' split, where the task is about edges; None: test, if there is one.
        top_k: How many new links of each source are wanted; None: none, but the edges of the split.
        sources: File with what the sources are called, one a line; None: all nodes that can be.
        nodes: File with what the nodes to predict are called, likewise; None: all.
    """

    out: Path
    split: str | None
    top_k: int | None = None
    sources: Path | None = None
    nodes: Path | None = None

    def _trained_on(self, tables: Path) -> Path:
        graph = super()._trained_on(tables)
        with GraphFile(graph) as file:
            read, record = [file.path, *file.part_paths], file.tables
        check_file(self.out, read + ([] if record is None else files_like(tables, record, graph)))
        return graph

    def check_use(self, opened: Opened) -> None:
        survey.check_asked(self.trained.goal, self.split, opened.splits, self.top_k, self.sources is not None,
                           nodes=self.nodes is not None, is_table=table_of(self.out) is not None)
        if self.config.sampling.edge_time is not None and self.trained.goal.ntype is None:
            raise ConfigError("edges are chosen by time (edge-time), and infer scores edges by one row of each node, "
                              "which has no time: only eval --sampled can use this run")
        check_file(self.out, self._inputs(opened) if self.out.exists() else ())

    def _inputs(self, opened: Opened) -> list[Path]:
        """What `out` may not replace.  Other files beside these are of the user, such as what an earlier job wrote."""
        graph = opened.path if opened.path.is_dir() else opened.path.parent
        parts, stage = range(opened.placement.book.num_partitions()), self.config.world.stage
        copies = {} if stage is None else staged(folder_meant(stage), opened.graph_id, parts)
        learnt = [file for folder in (TRAINED, CHECKPOINTS) for file in (self.run / folder).glob("*/*")]
        named = [file for file in (self.sources, self.nodes) if file is not None]
        return [self.run / CONFIG, self.run / METRICS, *learnt, *named,
                graph / GRAPH_FILE, *(graph / part_file(part) for part in parts), *copies.values()]

    def plan(self, opened: Opened) -> MemoryPlan:
        if self.top_k is None:
            return self._plan(opened)
        book = opened.placement.book        # no source has more links than there are destinations
        return self._plan(opened, min(self.top_k, max(book.num_nodes(etype[2]) for etype in self.trained.goal.etypes)))

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        from mpignn.train import commands
        commands.infer(graphs[0], self.config, self.run, self.out, self.split, self.sampled, self.top_k, self.sources,
                       self.nodes)


def _tell(config: Config, goal: Goal, opened: Opened) -> None:
    """Log what a job is about to read, and what it leaves although it may be meant."""
    infos, splits = opened.placement.infos, opened.splits
    for line in survey.reads(config, goal, infos, splits, opened.overlap):
        log.info("%s", line)
    for line in survey.doubts(config, goal, opened.placement.book.schema, infos, splits):
        log.warning("%s", line)
