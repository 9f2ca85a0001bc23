"""The trainer role: compiled kernels and torch made ready, then the work of the job."""

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpignn import say, stop
from mpignn.config import Config
from mpignn.errors import MpignnError
from mpignn.job.work import Work
from mpignn.kernels import dropout, segment, sparse
from mpignn.log import phase
from mpignn.models import find_model
from mpignn.mpi.host import asked_threads
from mpignn.mpi.process_group import init_process_group
from mpignn.mpi.world import World
from mpignn.nn.reused_memory import keep_freed
from mpignn.sampling.warm import warming
from mpignn.store.graph import DistGraph, published_graph
from mpignn.train import gpus

log = logging.getLogger(__name__)


def warm(config: Config, graphs: Sequence[DistGraph], own_program: bool) -> None:
    """Compile the kernels of a run, or load them from the cache, unless asked to stop meanwhile.  Not collective.

    One rank of a node comes first: many that find the cache empty would all compile.

    Args:
        config: Settings of the run.
        graphs: What it reads.
        own_program: Whether a program of the user's runs, which may choose edges by any data that there is.
    """
    torch.set_num_threads(1)
    dtype = np.float64 if config.train.precision == "fp64" else np.float32
    half = np.uint16        # bfloat16, as kernels see it
    chosen_by = None if own_program else {name for name in (config.sampling.edge_mask,) if name is not None}
    wanted: list[tuple[Any, ...]] = [*((call,) for call in warming([published_graph(g) for g in graphs], chosen_by)),
              (segment.warm, dtype), (dropout.warm, dtype)]
    if config.train.precision == "bf16":
        wanted += [(segment.warm, half), (dropout.warm, half)]
    wanted += [(importlib.import_module(f"mpignn.kernels.{name}").warm, dtype)
               for name in find_model(config.model.model).kernels]
    if config.embedding.embed != "off":
        wanted.append((sparse.warm, config.embedding.embed_optimizer, dtype))
    with phase("compile kernels"):
        for compiled, *arguments in wanted:
            if stop.wish() is None:
                compiled(*arguments)


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
