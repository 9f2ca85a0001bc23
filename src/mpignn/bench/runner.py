"""Running a benchmark, whoever it takes, and telling what it has found."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpignn.bench import machine
from mpignn.bench.benchmarks import Asked, Benchmark
from mpignn.bench.figures import Figure, table, to_dict
from mpignn.bench.graphs import graph_to_read
from mpignn.config import Config
from mpignn.errors import ConfigError, ResourceError, os_errors
from mpignn.graph.array_key import ArrayKey
from mpignn.job.job import Job
from mpignn.job.launch import launch
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened
from mpignn.job.work import Work
from mpignn.json_text import to_json
from mpignn.storage.atomic import check_file, new_file
from mpignn.store.graph import DistGraph

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported


@dataclass
class _OnGraph(Work):
    """A benchmark of the trainers.

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
        name, infos = self.config.graph.features, opened.placement.infos
        ntypes = opened.placement.book.schema.ntypes
        if self.benchmark.reads_features and not any(ArrayKey.node_data(t, name).path in infos for t in ntypes):
            raise ConfigError(f"bench {self.benchmark.name} reads node data {name!r}, and {opened.path} has none of "
                              "that name: choose other data by --features, or another graph")

    def plan(self, opened: Opened) -> MemoryPlan:
        return opened.plan_data(self.config)

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        self.figures = importlib.import_module(f"mpignn.bench.{self.benchmark.name}").measure(graphs[0], self.asked)


def run(benchmark: Benchmark, asked: Asked) -> tuple[int, dict[str, Any]]:
    """Run a benchmark, and write what was found to the file that was asked for.  Collective over the job.

    Returns:
        The exit code, and where that is 0 the result, as JSON has it.

    Raises:
        MpignnError: On all ranks.
    """
    with Job.start(asked.config, asked.given) as job:
        world = job.world
        world.all.by_first(lambda: None if asked.out is None else check_file(asked.out))
        servers = len(world.topology.server_ranks)
        with graph_to_read(world.all, asked.graph, asked.nodes, servers) as graph:
            work = _OnGraph(_on(asked.config, graph), asked.given, benchmark, asked)
            code = launch(work)
            figures = world.all.bcast(work.figures, world.topology.trainer_ranks[0])
        if code:
            return code, {}
        result = _result(benchmark, asked, figures, world)
        world.all.by_first(lambda: _write(asked.out, result))
        return 0, result


def _write(out: Path | None, result: dict[str, Any]) -> None:
    if out is not None:
        with os_errors(ResourceError, str(out)), new_file(out) as file:
            file.write_text(to_json(result, 1) + "\n", encoding="utf-8")


def _on(config: Config, graph: str) -> Config:
    return replace(config, graph=replace(config.graph, graph=graph))


def _result(benchmark: Benchmark, asked: Asked, figures: Sequence[Figure], world: "World") -> dict[str, Any]:
    from mpignn.mpi.world import describe_mpi
    told = [" ".join(line.split()) for line in describe_mpi(world)]
    settings = {name: value for section in vars(asked.config).values() for name, value in vars(section).items()
                if name in benchmark.settings}
    return {"benchmark": benchmark.name, **machine.describe(), "mpi": told[0].removeprefix("MPI "),
            "ranks": told[1].removeprefix("ranks "),
            "graph": asked.graph or f"synthetic, {asked.nodes} nodes", "settings": settings,
            "repeats": asked.repeats, "figures": to_dict(figures)}


def lines(result: dict[str, Any]) -> list[str]:
    """A result in words, its figures as a table.  Not collective."""
    here = result["machine"]
    settings = ", ".join(f"{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
                         for name, value in result["settings"].items())
    return [f"$ {result['command']}",
            f"machine   {here['usable_cores']} of {here['cores']} cores of {here['processor']}, "
            f"{here['memory_bytes'] / 2**30:.0f} GiB",
            f"versions  {', '.join(f'{name} {version}' for name, version in result['versions'].items())}",
            f"MPI       {result['mpi']}", f"ranks     {result['ranks']}",
            f"graph     {result['graph']}", f"settings  {settings}, {result['repeats']} repeats", "",
            *table(result["figures"])]
