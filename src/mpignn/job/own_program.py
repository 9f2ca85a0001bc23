"""A program of the user's own as a job: its training loop in `run`, or a script that is a job from `initialize` on."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpignn import log, say, stop
from mpignn.config import Config
from mpignn.errors import ConfigError, MpignnError
from mpignn.job.ending import hook_exceptions
from mpignn.job.job import Job
from mpignn.job.launch import launch
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened
from mpignn.job.own_model import IMPORTS
from mpignn.job.settings import configure
from mpignn.job.work import Work
from mpignn.launcher import is_first
from mpignn.options import load_config
from mpignn.store.graph import DistGraph

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported


def run(main: Callable[..., None], graph: str | Path | Sequence[str | Path], **config: Any) -> None:
    """Run a training program of one's own: servers serve, and each trainer calls ``main(g, world)``.

    Started as ``mpirun -np N python script.py``, or without mpirun as one process that does both.  On the trainers,
    torch.distributed is ready for use, and torch's generator is seeded by ``seed``, equally on all.

    Args:
        main: Gets the `DistGraph` and the `World`; a tuple of graphs if several were asked for.
        graph: A partitioned graph, the name of a bundled data set, or a list of those.
        config: Settings by the names of `mpignn.config`, such as ``servers_per_node=2``.  ``time_limit`` is for a
            `Checkpoints` that ``main`` makes.

    Returns:
        When ``main`` has returned on all trainers.  A program may run several times, one after the other, each in a run
        folder of its own; what was set of the section ``world`` stays.

    Raises:
        SystemExit: An error that all ranks agree on was told once; the exit code is that of its class.  Or ``main``
            was left by it on a trainer; the exit code is the highest of all.

    Collective over the job.  Any other exception of ``main`` is raised as it is where the process is the only one;
    else it is printed by the rank that it leaves, and ends the whole job.
    """
    if log.current_phase() == IMPORTS:      # the others would wait for ever
        raise ConfigError("mpignn.run is called where a file is imported for --model: call it below "
                          "`if __name__ == '__main__':`")
    names = [graph] if isinstance(graph, str | os.PathLike) else list(graph)
    given = config | ({"graph": str(names[0])} if names else {})
    work = None
    try:
        work = _OwnProgram(_settings(_given_to_job() | given), given, main, [str(name) for name in names],
                           isinstance(graph, str | os.PathLike))
        stop.limit(work.config.checkpoint.time_limit)
        code = launch(work)
    except MpignnError as error:
        if work is not None and work.has_begun and not error.agreed:
            raise
        if is_first():
            say.print_error(error)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        say.complain(f"interrupted: {log.who()} in phase {log.current_phase()!r}")
        raise SystemExit(stop.INTERRUPTED) from None
    if code:
        raise SystemExit(code)


@dataclass
class _OwnProgram(Work):
    """What `run` was given.

    Attributes:
        main: The program.
        names: Its graphs.
        takes_one: Whether it takes one graph, not a tuple.
        has_begun: Whether it has been called.
    """

    given: dict[str, Any]       # with their values
    main: Callable[..., None]
    names: Sequence[str]
    takes_one: bool
    has_begun: bool = False

    @property
    def graphs(self) -> Sequence[str]:
        return self.names

    @property
    def is_own_program(self) -> bool:
        return True

    def check(self, opened: Opened) -> None:
        """Whatever the program makes of it."""

    def plan(self, opened: Opened) -> MemoryPlan:
        return opened.plan_data(self.config)

    def do(self, graphs: Sequence[DistGraph], world: "World", run_dir: Path | None) -> None:
        assert Job.of_process is not None and run_dir is not None
        Job.of_process.given_to_run = self.given | {"run_dir": str(run_dir)}
        self.has_begun = True
        self.main(graphs[0] if self.takes_one else tuple(graphs), world)


def settings(**changes: Any) -> Config:
    """The settings of this job, as `run` or `initialize` was given them, some of them replaced.  Not collective.

    In a program that `run` has started, ``run_dir`` is the folder of the run.

    Args:
        changes: By the names of `mpignn.config`, the same on all ranks.

    Raises:
        ConfigError: An unknown name, or a value that cannot be meant.
    """
    job = Job.of_process
    return _settings(_given_to_job() | ({} if job is None else job.given_to_run) | changes)


def _given_to_job() -> dict[str, Any]:
    return {} if Job.of_process is None else Job.of_process.given


def _settings(given: dict[str, Any]) -> Config:
    return configure(None, given) if "graph" in given else load_config(None, given)     # no preset of a graph


def initialize(**config: Any) -> "World":
    """The `World` of this job, started by the first call.  Collective over the job when first called.

    From then on an exception that leaves the program on one rank ends the whole job, since the others would wait for
    ever, whatever ``sys.excepthook`` is in place; one that all ranks agree on, such as `Stopped`, ends it in order,
    with its exit code.  A rank that leaves the program early is noticed by those who wait for it, and they end the job.

    Args:
        config: Settings by the names of `mpignn.config`; those of the section ``world`` count.

    Raises:
        ConfigError: The job runs already, with another value of a setting that is given; or, on all ranks, settings
            or versions differ between ranks, or roles cannot be dealt.
    """
    job = Job.get(load_config(None, config), config)
    job.given |= config
    hook_exceptions(job.world)
    return job.world
