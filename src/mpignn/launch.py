"""A job from start to end: ranks, roles, the published graphs, and leaving in order.

Role and transport are chosen here and in `publish`, once, and handed down.
"""

import importlib
import json
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path

from mpignn import kernels, log, stop, watchdog
from mpignn.config import AUTO, CHECKPOINTS, CPU, METRICS, Config, WorldConfig, load_config
from mpignn.dist.graph import DistGraph
from mpignn.errors import ConfigError, DataError, MpignnError, ResourceError, Stopped
from mpignn.kernels import threads
from mpignn.mpi.access import OWNER
from mpignn.publish import MemoryPlan, Opened, Plan, open_graph
from mpignn.roles import Role
from mpignn.train.goal import check_model, find_goal
from mpignn.train.trained import check_graph, check_labels, read_trained

logger = logging.getLogger(__name__)

# Set by the launchers in every rank that they start: Open MPI, PMIx, MPICH and srun.
_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")

Work = Callable[[Sequence[DistGraph], object, Path], None]      # of the trainers: graphs, world, run folder

_given: dict = {}       # the settings that a program of one's own gave
_job: tuple[object, Config] | None = None       # the world of this process, and what it was started with
_access: dict | None = None         # what led to its ways to rows of other nodes


def run(main: Callable, graph: str | Path | Sequence[str | Path], **config) -> None:
    """Run a training program of one's own: servers serve, and each trainer calls ``main(g, world)``.

    Started as ``mpirun -np N python script.py``, or without mpirun as one process that does both.  On the trainers,
    torch.distributed is ready for use, and torch's generator is seeded by ``seed``, equally on all.

    Args:
        main: Gets the `DistGraph` and the `World`; a tuple of graphs if several were asked for.
        graph: A partitioned graph, the name of a bundled data set, or a list of those.
        config: Settings by the names of `mpignn.config`, such as ``servers_per_node=2``.  ``time_limit`` is for a
            `Checkpoints` that ``main`` makes.

    Returns:
        When ``main`` has returned on all trainers.

    Raises:
        SystemExit: An error that all ranks agree on was told once; the exit code is that of its class.

    Collective over the job.  Any other exception is printed by the rank that it leaves, and ends the whole job.
    """
    names = [graph] if isinstance(graph, str | os.PathLike) else list(graph)

    def work(graphs: Sequence[DistGraph], world, run_dir: Path) -> None:
        _given["run_dir"] = str(run_dir)
        main(graphs[0] if isinstance(graph, str | os.PathLike) else tuple(graphs), world)

    try:
        _given.update(config, **({"graph": str(names[0])} if names else {}))
        asked = settings()
        stop.limit(asked.checkpoint.time_limit)
        code = _launch(asked, config, [str(name) for name in names], work,
                       plan=lambda opened: opened.plan(asked, trains=False), own_program=True)
    except MpignnError as error:
        if is_first():
            print_error(error)
        raise SystemExit(error.exit_code) from error
    if code:
        raise SystemExit(code)


def settings(**changes) -> Config:
    """The settings of this job, as `run` or `initialize` was given them, some of them replaced.  Not collective.

    In a program that `run` has started, ``run_dir`` is the folder of the run.

    Args:
        changes: By the names of `mpignn.config`, the same on all ranks.

    Raises:
        ConfigError: An unknown name, or a value that cannot be meant.
    """
    given = _given | changes
    return configure(None, given) if "graph" in given else load_config(None, given)     # no preset of a graph


def run_training(config: Config) -> int:
    """Run the built-in training; returns the exit code, the same on all ranks.  Collective over the job.

    SIGUSR1, SIGTERM and the time limit are wishes to stop.  An error that not all ranks share is printed with rank,
    role and phase, and aborts the job.
    """
    stop.listen()
    stop.limit(config.checkpoint.time_limit)

    def check(opened: Opened) -> None:
        check_model(config, opened.placement.book.schema)
        find_goal(config, opened.placement.book.schema, opened.placement.infos, opened.splits)

    def work(graphs: Sequence[DistGraph], world, run_dir: Path) -> None:
        importlib.import_module("mpignn.trainer").train(graphs[0], config, run_dir)

    return _launch(config, _WORLD_FIELDS, [config.graph.graph], work, check, lambda opened: opened.plan(config))


def run_evaluation(config: Config, given: Collection[str], run: Path, sampled: bool) -> int:
    """Measure what a run has learnt; returns the exit code, the same on all ranks.  Collective over the job.

    Args:
        config: Settings of the run; its run folder is where the result goes.
        given: Names of the settings that were asked for now.
        run: Folder of the run.
        sampled: By sampled neighbours, not by all.
    """
    def work(graphs: Sequence[DistGraph], world, out: Path) -> None:
        importlib.import_module("mpignn.trainer").evaluate_run(graphs[0], config, run, out, sampled)

    return _launch_on_run(config, given, run, work, ("val", "test"), sampled)


def run_inference(config: Config, given: Collection[str], run: Path, out: Path, split: str, sampled: bool) -> int:
    """Write what a run's network says; returns the exit code, the same on all ranks.  Collective over the job.

    Args:
        config, given, run, sampled: As for `run_evaluation`.
        out: File to write.
        split: Of the edges, where the task is about edges.
    """
    def work(graphs: Sequence[DistGraph], world, _: Path) -> None:
        importlib.import_module("mpignn.trainer").infer(graphs[0], config, run, out, split, sampled)

    return _launch_on_run(config, given, run, work, (), sampled)


def _launch_on_run(config: Config, given: Collection[str], run: Path, work: Work,
                   measured: Sequence[str], sampled: bool) -> int:
    """Use a run's network on a graph that it fits, and that has labels and one of the splits if it is ``measured``."""
    def check(opened: Opened) -> None:
        found, placement = read_trained(run), opened.placement
        check_graph(found, placement.book.schema, placement.infos, opened.source_id)
        if measured:
            check_labels(found, placement.infos, opened.splits, measured)

    def plan(opened: Opened) -> MemoryPlan:
        goal = read_trained(run).goal
        if sampled and measured:
            return opened.plan(config)
        return opened.plan_inference(config, goal.ntype, goal.outputs, config.eval_fanouts if sampled else None)

    return _launch(config, given, [config.graph.graph], work, check, plan)


def initialize(**config):
    """The `World` of this job, started by the first call.  Collective over the job when first called.

    From then on an exception that leaves the program on one rank ends the whole job, since the others would wait for
    ever; but `Stopped`, which all trainers raise, ends it in order, with its exit code.

    Args:
        config: Settings by the names of `mpignn.config`; those of the section ``world`` count.

    Raises:
        ConfigError: The job runs already, with another value of a setting that is given; or, on all ranks, settings
            or versions differ between ranks, or roles cannot be dealt.
    """
    world = _start(load_config(None, config), config)
    _given.update(config)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda kind, error, trace: _uncaught(world, error)
    return world


def configure(path: str | Path | None, flags: dict) -> Config:
    """`load_config`, with the settings that come with a bundled data set below file and flags."""
    config = load_config(path, flags)
    name = config.graph.graph
    preset = Path(str(resources.files("mpignn"))) / "data" / name / "job.toml"
    return load_config(path, flags, preset) if Path(name).name == name and preset.is_file() else config


def is_first() -> bool:
    """Whether this is the first rank, as far as the launcher's variables tell; without any it is."""
    return next((int(os.environ[v]) for v in _RANK_VARIABLES if os.environ.get(v, "").isdigit()), 0) == 0


def version(package: str) -> str:
    """Of an installed package; ours may also be a source tree that is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def print_error(error: MpignnError) -> None:
    """One line on stderr."""
    kind = "stopped" if isinstance(error, Stopped) else "error"
    print(f"mpignn: {kind}: {error}", file=sys.stderr, flush=True)


_BUNDLED = "bundled-graph"      # in a run folder, the partitions of a bundled data set
_WORLD_FIELDS = frozenset(WorldConfig.__dataclass_fields__)


def _launch(config: Config, given: Collection[str], names: Sequence[str], work: Work,
            check: Callable[[Opened], None] | None = None, plan: Plan = Opened.plan, own_program: bool = False) -> int:
    """Start the job and run it; returns the exit code.

    Args:
        given: Names of the settings that were asked for, and are no defaults.
        names: Graphs.
        work: What the trainers do.
        check: Told of each graph's metadata on the first rank before anything is loaded.
        plan: Says how much memory the job takes with a graph.
        own_program: Whether ``work`` is the user's, and may draw edges as it likes.
    """
    world = None
    try:
        world = _start(config, given)
        _watch(world, config)
        return _run(world, config, names, work, check, plan, own_program)
    except MpignnError as error:
        if world is None or error.agreed or world.size == 1:
            raise
        _abort(world, error)
    except BaseException as error:
        _abort(world, error)
    raise AssertionError("unreachable: the job was aborted")


def _start(config: Config, given: Collection[str]):
    """The world of this process, made if there is none.  Collective over the job when it is made."""
    global _job
    if _job is not None:
        world, before = _job
        for name in _WORLD_FIELDS & set(given):
            has, wants = getattr(before.world, name), getattr(config.world, name)
            if has != wants:
                raise ConfigError(f"the job runs already, with {name} = {has}: it cannot be started again with "
                                  f"{name} = {wants}")
        return world
    from mpignn.mpi.world import initialize  # MPI starts when it is imported
    world = initialize(config.world.servers_per_node, config.world.ranks_per_node, config.world.server_nodes)
    log.set_up(config.train.log, _who(world), world.rank == 0 or world.trainer_index == 0)
    problem, mine = None, [f"mpignn {version('mpignn')}", *config.to_toml().splitlines()]
    theirs = world.world.bcast(mine)
    if mine != theirs:
        here = sorted(set(mine) - set(theirs)) + sorted(set(theirs) - set(mine))
        problem = ConfigError(f"settings are not those of rank 0: {'; '.join(here)}: start all ranks alike")
    world.world.agree(problem)
    threads.set_num_threads(world.num_threads)
    # torch's threads spin where they wait for each other, which starves them where something else wants a core: epochs
    # of 1.5 s took 2.6 to 2.9 s asleep and 4.2 to 5.1 s spinning.  Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    world = _choose_device(_choose_access(world, config), config)
    _job = world, config
    return world


def _watch(world, config: Config) -> None:
    """Let each rank watch itself; one that gives up takes those of its machine with it.  Collective over the host."""
    here = world.host.allgather(watchdog.identity(os.getpid()))
    peers = [peer for rank, peer in enumerate(here) if rank != world.host.rank]
    watchdog.Watchdog(config.checkpoint.hang_timeout, peers).start()


def _choose_access(world, config: Config):
    """The world with its ways to rows of other nodes.  Collective over the world."""
    global _access
    if world.topology.num_nodes == 1:       # only the trainers' tensors use MPI then
        return replace(world, paths=OWNER) if config.world.access == OWNER else world
    from mpignn.mpi.probe import choose_access
    with log.phase("measure access"):
        world, access = choose_access(world, config.world.access)
    if world.rank == 0:
        logger.info("%s", access.line())
    _access = access.to_dict()
    return world


def _choose_device(world, config: Config):
    """The world with a GPU for this trainer, if GPUs are asked for.  Collective over the world."""
    if config.world.device == CPU:
        return world
    problem = None
    if world.trainers is not None:
        with log.phase("import torch"):
            gpus = importlib.import_module("mpignn.train.gpus")
        try:
            own = gpus.deal(world.trainers.allgather(gpus.visible()))[world.trainers.rank]
        except ConfigError as error:
            problem = error
    world.world.agree(problem)
    return world if world.trainers is None else replace(world, device=gpus.use(own))


def _run(world, config: Config, names: Sequence[str], work: Work, check: Callable[[Opened], None] | None,
         plan: Plan, own_program: bool) -> int:
    """Publish the graphs, serve or work, and leave together; returns the exit code of all."""
    run_dir, paths = _prepare(world, config, names)
    with ExitStack() as graphs:
        copies = config.world.replicate, config.world.replicate_nodes
        try:
            opened = [graphs.enter_context(open_graph(world, path, *copies, check, plan)) for path in paths]
            world.world.agree(_fill_run_dir(run_dir, config) if world.rank == 0 else None)
            trainer = None
            if world.trainers is not None:
                with log.phase("import torch"):         # only now: a damaged graph is told of without that wait
                    trainer, gpus = map(importlib.import_module, ("mpignn.trainer", "mpignn.train.gpus"))
            _warm(world, trainer, config, opened, own_program)
            stop.check(world.world, "before training began")
        except MpignnError:
            if world.rank == 0:
                _discard(run_dir)
            raise
        code = 0
        if trainer is not None:
            with log.phase("set up training"):
                trainer.start(world, config)
            # A user's program need not tell how far it is.
            with log.phase("main", idle=config.checkpoint.hang_timeout is None), gpus.memory_told():
                code = _work(work, opened, world, run_dir)
    return max(world.world.allgather(code))


def _work(work: Work, graphs: Sequence[DistGraph], world, run_dir: Path) -> int:
    """Work; an error that all trainers share is told once and becomes the exit code that the servers learn."""
    try:
        work(graphs, world, run_dir)
        return 0
    except MpignnError as error:
        if not error.agreed:
            raise
        if world.trainer_index == 0:
            print_error(error)
        return error.exit_code


def _warm(world, trainer, config: Config, graphs: Sequence[DistGraph], own_program: bool) -> None:
    """Make the trainers' kernels ready, on one rank of each machine before the others.  Collective over the host."""
    first = min((t for t in world.host.allgather(world.trainer_index) if t is not None), default=None)
    if trainer is not None and world.trainer_index == first:
        trainer.warm(config, graphs, own_program)
    world.host.barrier()
    if trainer is not None and world.trainer_index != first:
        trainer.warm(config, graphs, own_program)


def _prepare(world, config: Config, names: Sequence[str]) -> tuple[Path, list[Path]]:
    """Choose the run folder and find the graphs, on the first rank for all.  Collective over the world."""
    problem, found = None, None
    if world.rank == 0:
        topology = world.topology
        logger.info("%d rank(s) on %d node(s): %d serve, %d train", world.size, topology.num_nodes,
                    len(topology.server_ranks), len(topology.trainer_ranks))
        try:
            with log.phase("open graph"):
                found = _prepare_here(config, names, len(topology.server_ranks))
        except MpignnError as error:
            problem = error
    world.world.barrier()
    world.world.agree(problem)
    run_dir, paths = world.world.bcast(found)
    kernels.cache_in(run_dir / "kernels")
    return run_dir, paths


def _prepare_here(config: Config, names: Sequence[str], num_servers: int) -> tuple[Path, list[Path]]:
    from mpignn.storage.datasets import bundled_names
    if not names:
        raise ConfigError("no graph is given")
    run_dir = _make_run_dir(config, Path(names[0]).stem)
    bundled, paths = bundled_names(), []
    for number, name in enumerate(names):
        paths.append(run_dir / f"{_BUNDLED}-{number}" if name in bundled else Path(name))
        if name in bundled:
            try:
                _partition_bundled(name, paths[-1], num_servers)
            except MpignnError:
                _discard(run_dir)
                raise
    return run_dir, paths


def _partition_bundled(name: str, out: Path, num_servers: int) -> None:
    from mpignn.storage.datasets import load_bundled
    from mpignn.storage.write import partition_graph
    logger.info("partitioning the bundled data set %s for %d servers", name, num_servers)
    partition_graph(load_bundled(name), out, num_servers)


def _make_run_dir(config: Config, name: str) -> Path:
    """The run folder, made here: of the run to go on with, the one asked for, or one that no other job has."""
    asked, resume = config.train.run_dir, config.checkpoint.resume
    if resume == AUTO and asked is None:
        asked = _newest_run(name)
    elif resume not in (None, AUTO):
        asked = str(_run_of(Path(resume), asked))
    base = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    tries = [Path(asked)] if asked else [base, *(base.with_name(f"{base.name}-{n}") for n in range(1, 1000))]
    for path in tries:
        try:
            path.mkdir(parents=True, exist_ok=asked is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise ResourceError(f"{path}: cannot make the run folder: {error.strerror}") from error
        if (path / METRICS).exists() and resume is None:
            raise ConfigError(f"{path} holds the metrics of another run: go on with it by --resume, give another "
                              "--run-dir, or remove it")
        _discard(path, keep=True)
        return path
    raise ConfigError(f"{tries[0]} is no folder: give another --run-dir")


def _newest_run(name: str) -> str | None:
    """The newest run folder of a graph that has a checkpoint, among those that jobs named themselves."""
    found = sorted(Path("runs").glob(f"{name}-*/{CHECKPOINTS}"), key=lambda path: path.parent.name)
    return str(found[-1].parent) if found else None


def _run_of(path: Path, asked: str | None) -> Path:
    """The run folder that a checkpoint or a run folder belongs to."""
    run = path.parent.parent if path.parent.name == CHECKPOINTS else path
    if not (run / CHECKPOINTS).is_dir():
        raise DataError(f"{path}: neither a run folder with checkpoints nor a checkpoint in one")
    if asked is not None and Path(asked).resolve() != run.resolve():
        raise ConfigError(f"--resume {path} goes on in {run}, but --run-dir is {asked}: leave one of the two out")
    return run


def _fill_run_dir(path: Path, config: Config) -> MpignnError | None:
    """Write config.toml, now that the graph is good; returns what is wrong, if anything."""
    try:
        if config.checkpoint.resume is None or not (path / "config.toml").exists():
            config.write(path)
        if _access is not None:
            (path / "access.json").write_text(json.dumps(_access, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        return ResourceError(f"{path}: cannot write the run folder: {error.strerror}")
    logger.info("run folder %s; its config.toml has all settings", path)
    return None


def _discard(run_dir: Path, keep: bool = False) -> None:
    """Remove the bundled graphs that a run cut for itself, and its folder if nothing else is in it."""
    for path in run_dir.glob(f"{_BUNDLED}-*"):
        shutil.rmtree(path)
    if not keep and not any(run_dir.iterdir()):
        run_dir.rmdir()


def _who(world) -> str:
    if world.role == Role.SERVER:
        return f"server {world.server_index}/{len(world.topology.server_ranks)} [world {world.rank}]"
    return f"trainer {world.trainer_index}/{len(world.topology.trainer_ranks)} [world {world.rank}]"


def _uncaught(world, error: BaseException) -> None:
    """End a program that an exception leaves."""
    if isinstance(error, Stopped):
        if world.trainer_index == 0:
            print_error(error)
        raise SystemExit(error.exit_code)
    if world.size == 1:
        sys.__excepthook__(type(error), error, error.__traceback__)
    else:
        _abort(world, error)


def _abort(world, error: BaseException) -> None:
    """Print an exception with rank, role and phase, and end the whole job.  Does not return."""
    where, code = f"{log.who()} failed in phase {log.current_phase()!r}", 1
    if isinstance(error, ResourceError):        # which line asked for the memory or disk that is not there says little
        print(f"mpignn: error: {where}: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    else:
        print(f"mpignn: {where}:\n{''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
    time.sleep(0.2)     # MPICH's launcher drops what it has not passed on when the job is aborted
    if world is not None:
        world.abort(code)
    os._exit(code)
