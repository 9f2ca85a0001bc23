"""One job as one of its processes holds it: what every command that starts MPI and every own program goes through."""

import atexit
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mpignn import imports, log, watchdog
from mpignn.config import CPU, Config, WorldConfig
from mpignn.errors import ConfigError, MpignnError
from mpignn.job import ending
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened, open_graph
from mpignn.kernels import threads
from mpignn.mpi.access import OWNER
from mpignn.roles import Role
from mpignn.store.graph import DistGraph
from mpignn.version import version

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

logger = logging.getLogger(__name__)

WORLD_FIELDS = frozenset(WorldConfig.__dataclass_fields__)


class Job:
    """The job that this process belongs to.  There is one in a process, however many runs it does one after the other.

    Attributes:
        world: Ranks, roles and ways to rows of other nodes.
        config: What it was started with; the section ``world`` of it holds for all of its runs.
        access: What was measured to choose the ways to rows of other nodes; None: nothing was.
        given: Settings that a program of one's own gave to the job.
        given_to_run: Settings that it gave to the run under way, or the last one.
    """

    of_process: ClassVar["Job | None"] = None

    def __init__(self, config: Config) -> None:
        """Start MPI and deal the roles.  Collective over the job.

        Raises:
            ConfigError: On all ranks: settings or versions differ between ranks, or roles cannot be dealt.
        """
        with log.phase("start MPI"):
            from mpignn.mpi.world import initialize
        self.config = config
        self.access: dict[str, Any] | None = None
        self.given: dict[str, Any] = {}
        self.given_to_run: dict[str, Any] = {}
        with log.phase("meet the other ranks"):
            self.world = world = initialize(config.world.servers_per_node, config.world.ranks_per_node,
                                            config.world.server_nodes)
        atexit.register(ending.leave, world)
        log.set_up(config.train.log, _who(world), world.rank == 0 or world.trainer_index == 0)
        _check_alike(world, config)
        threads.set_num_threads(world.num_threads)
        # torch's threads spin where they wait for each other, which starves them where something else wants a core:
        # epochs of 1.5 s took 2.6 to 2.9 s asleep and 4.2 to 5.1 s spinning.  Read when torch is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        self._choose_access()
        self._choose_device()

    @classmethod
    def get(cls, config: Config, given: Collection[str]) -> "Job":
        """The job of this process, made if there is none.  Collective over the job when it is made.

        Args:
            config: Its settings.
            given: Names of the settings that were asked for, and are no defaults.

        Raises:
            ConfigError: It runs already, with another value of a setting that is given; or as for a new one.
        """
        if cls.of_process is None:
            cls.of_process = cls(config)
            return cls.of_process
        for name in WORLD_FIELDS & set(given):
            has, wants = getattr(cls.of_process.config.world, name), getattr(config.world, name)
            if has != wants:
                raise ConfigError(f"the job runs already, with {name} = {has}: it cannot be started again with "
                                  f"{name} = {wants}")
        return cls.of_process

    @classmethod
    @contextmanager
    def start(cls, config: Config, given: Collection[str] = (), own_program: bool = False) -> Iterator["Job"]:
        """`get` it for a block; if anything but an agreed error leaves the block on a rank, the whole job ends.

        Args:
            config, given: As for `get`.
            own_program: Whether the user's program runs inside; alone in its process, it gets its errors as they are.

        Raises:
            MpignnError: On all ranks.

        Collective over the job.
        """
        job = None
        try:
            job = cls.get(config, given)
            yield job
        except BaseException as error:
            world = None if job is None else job.world
            alone = world is not None and world.size == 1
            told_by_caller = ending.is_agreed(error) or isinstance(error, MpignnError) and (world is None or alone)
            if told_by_caller or alone and (own_program or isinstance(error, KeyboardInterrupt)):
                raise
            ending.abort(world, error)

    def watch(self, config: Config) -> None:
        """Let each rank watch itself; one that gives up takes those of its machine with it.

        Args:
            config: How long nothing may happen.

        Collective over the host.
        """
        host = self.world.host
        here = host.allgather(watchdog.identity(os.getpid()))
        watchdog.start(config.checkpoint.hang_timeout, [peer for rank, peer in enumerate(here) if rank != host.rank])

    @contextmanager
    def open(self, paths: Sequence[Path], config: Config, check: Callable[[Opened], object] | None = None,
             plan: Callable[[Opened], MemoryPlan] = Opened.plan_data) -> Iterator[list[DistGraph]]:
        """Graphs of a run, open for a block.  Collective over the world.

        Args:
            paths: The partitioned graphs.
            config: What is copied to the nodes, and from where it is read.
            check, plan: As for `open_graph`, and each told of every graph.

        Raises:
            MpignnError: As `open_graph` does.
        """
        copies = config.world.replicate, config.world.replicate_nodes
        with ExitStack() as graphs:
            yield [graphs.enter_context(open_graph(self.world, path, *copies, check, plan, config.world.stage))
                   for path in paths]

    def _choose_access(self) -> None:
        """Choose the ways to rows of other nodes.  Collective over the world."""
        world, asked = self.world, self.config.world.access
        if len(world.topology.nodes) == 1:       # only the trainers' tensors use MPI then
            self.world = replace(world, access=OWNER) if asked == OWNER else world
            return
        from mpignn.mpi.probe import choose_access
        with log.phase("measure access"):
            self.world, access = choose_access(world, asked)
        if world.rank == 0:
            logger.info("%s", access.line())
        self.access = access.to_dict()

    def _choose_device(self) -> None:
        """Deal a GPU to each trainer, if GPUs are asked for.  Collective over the world."""
        world = self.world
        if self.config.world.device == CPU:
            return
        with world.all.all_or_none():
            if world.trainers is not None:
                gpus = imports.with_torch("mpignn.train.gpus")
                own = gpus.deal(world.trainers.allgather(gpus.visible()))[world.trainers.rank]
        if world.trainers is not None:
            self.world = replace(world, device=gpus.use(own))


def _check_alike(world: "World", config: Config) -> None:
    """Raise on all ranks if settings or versions differ between them.  Collective over the world."""
    mine = [f"mpignn {version()}", *config.to_toml().splitlines()]
    theirs = world.all.bcast(mine)
    with world.all.all_or_none():
        if mine != theirs:
            here = sorted(set(mine) - set(theirs)) + sorted(set(theirs) - set(mine))
            raise ConfigError(f"settings are not those of rank 0: {'; '.join(here)}: start all ranks alike")


def _who(world: "World") -> str:
    if world.role == Role.SERVER:
        return f"server {world.server_index}/{len(world.topology.server_ranks)} [world {world.rank}]"
    return f"trainer {world.trainer_index}/{len(world.topology.trainer_ranks)} [world {world.rank}]"
