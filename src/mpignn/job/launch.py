"""A run of a job, from its settings to the exit code: folder, graphs, and work of the trainers while servers serve."""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from mpignn import imports, log, stop, watchdog
from mpignn.config import HANG
from mpignn.errors import ConfigError, DataError, MpignnError, ResourceError, paths_named
from mpignn.job import own_model
from mpignn.job.job import Job
from mpignn.job.record import JobRecord
from mpignn.job.run_folder import RunFolder
from mpignn.job.work import Work
from mpignn.kernels import compiled
from mpignn.progress import counted, display
from mpignn.storage import claim
from mpignn.store.graph import DistGraph

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

logger = logging.getLogger(__name__)

_REFUSED = (ConfigError.exit_code, DataError.exit_code, ResourceError.exit_code)


def launch(work: Work) -> int:
    """Do some work as a job; returns the exit code, the same on all ranks.  Collective over the job.

    An error that not all ranks share is printed with rank, role and phase, and aborts the job.

    Raises:
        MpignnError: On all ranks: before the trainers began.
    """
    with Job.start(work.config, work.given, work.is_own_program) as job:
        job.watch(work.config)
        own_model.share(job.world, work.config)     # before anything is made or read
        folder = _choose_folder(job, work)
        with folder.held(), _cleared(job, folder):
            code = int(max(job.world.all.allgather(_run(job, folder, work))))
            if code in _REFUSED and job.world.rank == 0:
                folder.discard()        # nothing, where the run has begun
            return code


@contextmanager
def _cleared(job: Job, folder: RunFolder) -> Iterator[None]:
    """Remove, when all is done or nothing more can be, what only this job needed.  Not collective."""
    try:
        yield
    finally:
        if job.world.rank == 0:
            folder.clear()


def _choose_folder(job: Job, work: Work) -> RunFolder:
    """Choose the run folder and find the graphs, on the first rank for all.  Collective over the world."""
    world = job.world
    claim.belong_to(world.all.bcast(claim.belong_to()))
    if world.rank == 0:
        topology = world.topology
        logger.info("%d rank(s) on %d node(s): %d serve, %d train", world.size, len(topology.nodes),
                    len(topology.server_ranks), len(topology.trainer_ranks))

    def choose() -> RunFolder:
        with log.phase("open graph"), paths_named():
            return RunFolder(work.config, work.graphs, len(world.topology.server_ranks), work.tables,
                             work.may_lack_folder, work.keeps_folder)

    folder = world.all.by_first(choose)
    watchdog.leave_word_in(None if folder.kept is None else folder.kept / HANG)
    compiled.place() if folder.kept is None else compiled.may_keep_in(folder.kept / "kernels")
    return folder


def _run(job: Job, folder: RunFolder, work: Work) -> int:
    """Open the graphs, and work or serve; returns the exit code of this rank.  Collective over the world."""
    world, record = job.world, JobRecord(work)
    with ExitStack() as opened:
        try:
            graphs = opened.enter_context(job.open(folder.graphs, work.config, work.check, record.plan))
            if display.of_command:      # from here on the trainers are what is waited for
                display.show(work.config.train.progress if world.trainer_index == 0 else "none")
            line = record.line(world)
            world.all.by_first(lambda: folder.fill(work.config, job.access, line))
            trainer = _import_trainer(world)
            _warm(world, trainer, work, graphs)
            gc.freeze()     # what is there by now stays: the collector need not go through it again and again
            stop.check(world.all, "before training began")
        except MpignnError:
            if world.rank == 0:
                folder.discard()
            raise
        return 0 if trainer is None else trainer.work_on(graphs, world, work, folder.kept)


def _import_trainer(world: "World") -> ModuleType | None:
    """What trainers do; None on a rank that only serves, which needs no torch.

    Imported only now: a damaged graph is told of without that wait.
    """
    if world.trainers is None:
        return None
    return imports.with_torch("mpignn.job.trainer")


def _warm(world: "World", trainer: ModuleType | None, work: Work, graphs: Sequence[DistGraph]) -> None:
    """Make the trainers' kernels ready.  Collective over the host.

    What is kept, all of them load at once.  What is not, each compiles some of, and loads the rest when it is there:
    many that find nothing kept would all compile the same.
    """
    host, mine = world.host, world.trainer_index
    trainers = [index for index in host.allgather(mine) if index is not None]
    calls = [] if trainer is None else trainer.kernel_calls(work.config, graphs, work.is_own_program)
    with log.phase("load kernels"):
        missing = host.allgather([number for number, call in enumerate(calls) if not compiled.load(call)])
    wanted = sorted(set().union(*missing))
    dealt = {number: trainers[_whose(place, len(trainers))] for place, number in enumerate(wanted)}
    if wanted and mine == trainers[0]:
        logger.info("compiling %d groups of kernels that no job has used here; `mpignn warmup` does so beforehand",
                    len(wanted))
    with counted("compile kernels", len(wanted) if calls else 0) as advance:
        for own in (True, False) if wanted else ():
            for number, whose in dealt.items():
                if calls and (whose == mine) == own and stop.wish() is None:
                    calls[number]()
                    advance(1)
            if own:
                host.barrier()


def _whose(place: int, trainers: int) -> int:
    """Which trainer compiles: the first of them only the first, which takes as long as the rest."""
    return 0 if place == 0 or trainers == 1 else 1 + (place - 1) % (trainers - 1)
