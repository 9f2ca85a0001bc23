"""Running a benchmark, whoever it takes, and telling what it has found."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpignn import imports
from mpignn.bench import machine
from mpignn.bench.benchmarks import Asked, Benchmark, Where
from mpignn.bench.figures import Figure, table, to_dict
from mpignn.bench.graphs import graph_to_read
from mpignn.bench.jobs import library
from mpignn.comm.group import Group, LocalGroup
from mpignn.config import WorldConfig
from mpignn.errors import ConfigError, ResourceError, os_errors
from mpignn.graph.array_key import ArrayKey
from mpignn.job.job import Job
from mpignn.job.launch import launch
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened
from mpignn.job.work import Training, Work
from mpignn.json_text import to_json
from mpignn.storage.atomic import check_file, new_file
from mpignn.store.graph import DistGraph

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported


@dataclass
class _OnGraph(Work):
    """A benchmark of the trainers on a graph.

    Attributes:
        benchmark: Which.
        asked: What it shall do.
        figures: What a trainer has found; empty before.
    """

    benchmark: Benchmark
    asked: Asked
    figures: Sequence[Figure] = field(default=())

    @property
    def keeps_folder(self) -> bool:
        return False

    def check(self, opened: Opened) -> None:
        if self.benchmark.trains:
            self._training.check(opened)
        name, infos = self.config.graph.features, opened.placement.infos
        ntypes = opened.placement.book.schema.ntypes
        if self.benchmark.reads_features and not any(ArrayKey.node_data(t, name).path in infos for t in ntypes):
            raise ConfigError(f"bench {self.benchmark.name} reads node data {name!r}, and {opened.path} has none of "
                              "that name: choose other data by --features, or another graph")

    def plan(self, opened: Opened) -> MemoryPlan:
        return self._training.plan(opened) if self.benchmark.trains else opened.plan_data(self.config)

    @property
    def _training(self) -> Training:
        return Training(self.config, self.given)

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        self.figures = _module(self.benchmark).measure(graphs[0], self.asked)


def run(benchmark: Benchmark, asked: Asked) -> tuple[int, dict[str, Any]]:
    """Run a benchmark, and write what was found to the file that was asked for.  Collective over the job.

    Returns:
        The exit code, and where that is 0 the result, as JSON has it.

    Raises:
        MpignnError: On all ranks.
    """
    if benchmark.where is Where.ALONE:
        alone = LocalGroup()
        _check(asked.out)
        with graph_to_read(alone, asked.graph, asked.nodes, 1) as graph:
            found = _module(benchmark).measure(graph, asked)
        return 0, _told(benchmark, asked, found, {"mpi": library()}, alone)
    with Job.start(asked.config, asked.given) as job:
        job.world.all.by_first(lambda: _check(asked.out))
        code, figures = _on_ranks(benchmark, asked, job)
        return code, _told(benchmark, asked, figures, _mpi(job.world), job.world.all) if code == 0 else {}


def _on_ranks(benchmark: Benchmark, asked: Asked, job: Job) -> tuple[int, Sequence[Figure]]:
    """The exit code, and what was found, in a job.  Collective over the job."""
    world, figures = job.world, tuple[Figure, ...]()
    if benchmark.where is Where.TRAINERS:
        if world.trainers is not None:
            imports.with_torch("mpignn.job.trainer").start(world, asked.config)
            figures = _module(benchmark).measure(world.trainers, asked)
        return 0, world.all.bcast(figures, world.topology.trainer_ranks[0])
    parts = None if benchmark.reads_source else len(world.topology.server_ranks)
    with graph_to_read(world.all, asked.graph, asked.nodes, parts) as graph:
        if benchmark.where is Where.RANKS:
            return 0, _module(benchmark).measure(job, graph, asked)
        work = _OnGraph(replace(asked.config, graph=replace(asked.config.graph, graph=graph)), asked.given, benchmark,
                        asked)
        code = launch(work)
        return code, world.all.bcast(work.figures, world.topology.trainer_ranks[0])


def _module(benchmark: Benchmark) -> Any:
    """What measures; may import torch."""
    return importlib.import_module(f"mpignn.bench.{benchmark.name}")


def _check(out: Path | None) -> None:
    if out is not None:
        check_file(out)


def _mpi(world: "World") -> dict[str, str]:
    """The MPI library, and what the ranks are."""
    from mpignn.mpi.world import describe_mpi
    library, ranks = (" ".join(line.split()) for line in describe_mpi(world))
    return {"mpi": library.removeprefix("MPI "), "ranks": ranks.removeprefix("ranks ")}


def _told(benchmark: Benchmark, asked: Asked, figures: Sequence[Figure], mpi: dict[str, str],
          group: Group) -> dict[str, Any]:
    """The result, written where that was asked for.  Collective over the group."""
    shown = {*benchmark.settings} - {*WorldConfig.__dataclass_fields__} | asked.given & {*benchmark.settings}
    settings = {name: value for section in vars(asked.config).values() for name, value in vars(section).items()
                if name in shown and value is not None}
    graph = {} if benchmark.where is Where.TRAINERS else {"graph": asked.graph or f"synthetic, {asked.nodes} nodes"}
    result = {"benchmark": benchmark.name, **machine.describe(), **mpi, **graph,
              "settings": settings | {name: getattr(asked, name) for name in benchmark.takes},
              "repeats": asked.repeats, "figures": to_dict(figures)}

    def write() -> None:
        if asked.out is not None:
            with os_errors(ResourceError, str(asked.out)), new_file(asked.out) as file:
                file.write_text(to_json(result, 1) + "\n", encoding="utf-8")

    group.by_first(write)
    return result


def lines(result: dict[str, Any]) -> list[str]:
    """A result in words, its figures as a table.  Not collective."""
    here = result["machine"]
    about = {
        "machine": f"{here['usable_cores']} of {here['cores']} cores of {here['processor']}, "
                   f"{here['memory_bytes'] / 2**30:.0f} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "MPI": result["mpi"], "ranks": result.get("ranks"), "graph": result.get("graph"),
        "settings": ", ".join([*(f"{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
                                 for name, value in result["settings"].items()), f"{result['repeats']} repeats"])}
    return [f"$ {result['command']}", *(f"{name:9s} {text}" for name, text in about.items() if text), "",
            *table(result["figures"])]
