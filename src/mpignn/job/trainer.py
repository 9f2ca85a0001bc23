"""The trainer role: compiled kernels and torch made ready, then the work of the job."""

import importlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mpignn import say
from mpignn.config import Config
from mpignn.errors import MpignnError
from mpignn.job.work import Work
from mpignn.kernels import common, dropout, fence, segment, sparse, spread
from mpignn.log import phase
from mpignn.models import find_model
from mpignn.mpi.host import asked_threads
from mpignn.mpi.process_group import init_process_group
from mpignn.mpi.world import World
from mpignn.nn.reused_memory import keep_freed
from mpignn.samplers import USUAL
from mpignn.sampling.warm import index_dtypes, warming
from mpignn.store.cache import fill
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.published import PublishedGraph
from mpignn.train import gpus

log = logging.getLogger(__name__)


def kernel_calls(config: Config, graphs: Sequence[DistGraph], own_program: bool) -> list[Callable[[], object]]:
    """Calls of all kernels of a run.  No two of them call the same kernel; the first takes longest to compile.

    Args:
        config: Settings of the run.
        graphs: What it reads.
        own_program: Whether a program of the user's runs, which may choose edges by any data that there is.

    Not collective.
    """
    torch.set_num_threads(1)
    published = [published_graph(g) for g in graphs]
    chosen_by = None if own_program else {
        name for name in (config.sampling.edge_mask, config.sampling.edge_time) if name is not None}
    only_nodes = not own_program and config.task.task.startswith("node") and config.sampling.sampler == USUAL
    dtype = np.float64 if config.train.precision == "fp64" else np.float32
    half = [np.uint16] if config.train.precision == "bf16" else []       # bfloat16, as kernels see it
    calls: list[Callable[[], object]] = [
        *warming(published, chosen_by, only_nodes),
        *(partial(kernels.warm, each) for each in (dtype, *half) for kernels in (segment, dropout)),
        *(partial(importlib.import_module(f"mpignn.kernels.{name}").warm, dtype)
          for name in {*find_model(config.model.model).kernels, *["edges"][:config.graph.edge_weight is not None]})]
    if own_program or any(_learns_rows(config, g) for g in published):
        calls.append(partial(sparse.warm, config.embedding.embed_optimizer,
                             np.uint16 if config.embedding.embed_precision == "bf16" else dtype))
    if config.loader.cache is not None:
        calls += [partial(spread.warm, index_dtypes(published)), fence.warm, common.warm]
    return calls


def _learns_rows(config: Config, graph: PublishedGraph) -> bool:
    """Whether some type of node gets rows that are learnt."""
    infos = {ntype: graph.data_of(ntype).get(config.graph.features) for ntype in graph.book.ntypes}
    return bool(config.embedding_columns({ntype: 0 if info is None else info.width for ntype, info in infos.items()}))


def start(world: World, config: Config) -> None:
    """Make torch ready: threads, its default process group, its generator.  Collective over the trainers."""
    keep_freed()
    torch.set_num_threads(world.num_threads)
    log.info("each trainer computes with %d thread(s)%s", world.num_threads,
             " (OMP_NUM_THREADS)" if asked_threads() else "")
    init_process_group(world)
    torch.manual_seed(config.train.seed)


def work_on(graphs: Sequence[DistGraph], world: World, work: Work, run_dir: Path | None) -> int:
    """Do a job's work; returns the exit code of this trainer.  Collective over the trainers.

    An error that all trainers share is told once and becomes the exit code that the servers learn.

    Args:
        graphs: Those that it reads.
        world: The job.
        work: What it is for.
        run_dir: Its run folder; None: it has none, see `Work.may_lack_folder`.
    """
    try:
        with phase("set up training"):
            start(world, work.config)
        if work.fills_cache:
            with phase("fill the cache"):
                for g in graphs:
                    fill(g, work.config)
        # A user's program need not tell how far it is.
        with phase("main", idle=work.config.checkpoint.hang_timeout is None), gpus.memory_told():
            work.do(graphs, world, run_dir)
        return 0
    except MpignnError as error:
        if not error.agreed:
            raise
        if world.trainer_index == 0:
            say.print_error(error)
        return error.exit_code
    except SystemExit as leaving:       # as all trainers may; one that does so alone is waited for in vain, and told of
        if isinstance(leaving.code, str):
            say.complain(leaving.code)
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
