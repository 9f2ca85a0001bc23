"""A training job from start to end: ranks, roles, the published graph, and leaving in order.

Role and transport are chosen here, once, and handed down.
"""

import importlib
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpignn import kernels, log
from mpignn.config import METRICS, Config
from mpignn.dist.graph import DistGraph
from mpignn.dist.service import GraphService, Placement, place
from mpignn.errors import ConfigError, MpignnError, ResourceError
from mpignn.graph.book import RangePartitionBook
from mpignn.roles import Role, Topology
from mpignn.storage.read import GraphFile
from mpignn.train.task import NodeClassification, node_classification
from mpignn.transport.api import ArraySpec, Transport

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Opened:
    """What every rank needs to know before the rows are there."""

    path: Path
    run_dir: Path
    graph_id: str
    placement: Placement
    splits: dict[str, dict[str, np.ndarray]]
    task: NodeClassification

    @property
    def book(self) -> RangePartitionBook:
        return self.placement.book


def run_training(config: Config) -> int:
    """Run a job; returns the exit code, the same on all ranks.  Collective over COMM_WORLD.

    An error that not all ranks share is printed with rank, role and phase, and aborts the job.
    """
    world = None
    try:
        from mpignn.mpi.world import initialize  # MPI starts when it is imported
        world = initialize(config.world.servers_per_node, config.world.ranks_per_node, config.world.server_nodes)
        log.set_up(config.train.log, _who(world), world.rank == 0 or world.trainer_index == 0)
        return _run(world, config)
    except MpignnError as error:
        if world is None or error.agreed or world.size == 1:
            raise
        _abort(world)
    except BaseException:
        _abort(world)
    raise AssertionError("unreachable: the job was aborted")


def _run(world, config: Config) -> int:
    """Publish the graph, serve or train, and leave together; returns the exit code of all."""
    with log.phase("open graph"):
        opened = _open(world, config)
    _tell(world, opened, config)
    transport = _transport(world, opened.placement.specs(world.node_id))
    world.world.agree(_load(world, transport, opened.path))
    world.world.agree(_make_run_dir(opened.run_dir, config) if world.rank == 0 else None)
    trainer = None
    if world.trainers is not None:
        with log.phase("import torch"):         # only now: a damaged graph is told of without that wait
            trainer = importlib.import_module("mpignn.trainer")
    _warm(world, trainer, config, opened.placement)
    with log.phase("publish graph"):
        transport.publish()
    code = 0
    if trainer is not None:
        service = GraphService(opened.book, opened.placement.infos, transport)
        g = DistGraph(service, world.topology, world.trainers, opened.splits)
        code = _train(trainer, world, g, opened.task, config, opened.run_dir)
    with log.phase("serve" if trainer is None else "leave"):
        world.finish()
        transport.free()
    return max(world.world.allgather(code))


def _tell(world, opened: _Opened, config: Config) -> None:
    """Log what is about to happen, on the first rank."""
    if world.rank != 0:
        return
    topology, book = world.topology, opened.book
    logger.info("%d rank(s) on %d node(s): %d serve, %d train", world.size, topology.num_nodes,
                len(topology.server_ranks), len(topology.trainer_ranks))
    logger.info("graph %s: %d nodes, %d edges, %d partition(s), id %s", opened.path, book.num_nodes(), book.num_edges(),
                book.num_partitions(), opened.graph_id)
    seeds = len(opened.splits[opened.task.ntype]["train"])
    batch = config.global_batch_size(len(topology.trainer_ranks))
    logger.info("%s of %d layer(s), %d training nodes in global batches of %d, fanouts per hop: %s (%d for the seeds)",
                config.model.model, config.num_layers, seeds, batch,
                ",".join(map(str, reversed(config.sampling.fanouts))), config.sampling.fanouts[-1])
    logger.info("run folder %s; its config.toml has all settings", opened.run_dir)


def _train(trainer, world, g: DistGraph, task: NodeClassification, config: Config, run_dir: Path) -> int:
    """Train; an error that all trainers share is told once and becomes the exit code that the servers learn."""
    try:
        trainer.train(world, g, task, config, run_dir)
        return 0
    except MpignnError as error:
        if not error.agreed:
            raise
        if world.trainer_index == 0:
            print_error(error)
        return error.exit_code


def _load(world, transport: Transport, path: Path) -> MpignnError | None:
    """Read what this rank serves; returns what is wrong with it, to be agreed on."""
    if world.server_index is None:
        return None
    from mpignn import server
    from mpignn.mpi.host import usable_cores
    first, last = world.topology.servers_of(world.node_id)
    try:        # the trainers wait meanwhile, and leave their cores to the servers
        server.load(transport, path, world.server_index, max(1, len(usable_cores()) // (last - first)))
    except MpignnError as error:
        return error
    return None


def _warm(world, trainer, config: Config, placement: Placement) -> None:
    """Make the trainers' kernels ready, on one rank of each node before the others.  Collective over the node."""
    first = world.topology.trainers_of(world.node_id)[0]
    dtypes = {info.dtype for name, info in placement.infos.items() if name.endswith("/indices")}
    if trainer is not None and world.trainer_index == first:
        trainer.warm(config, dtypes)
    world.node.barrier()
    if trainer is not None and world.trainer_index != first:
        trainer.warm(config, dtypes)


def _open(world, config: Config) -> _Opened:
    """Find and read the graph's metadata on the first rank, and tell all.  Collective over the world."""
    problem, opened = None, None
    if world.rank == 0:
        try:
            opened = _open_here(config, world.topology)
        except MpignnError as error:
            problem = error
    world.world.barrier()
    world.world.agree(problem)
    opened = world.world.bcast(opened)
    kernels.cache_in(opened.run_dir / "kernels")
    return opened


def _open_here(config: Config, topology: Topology) -> _Opened:
    from mpignn.storage.datasets import bundled_names
    name = config.graph.graph
    run_dir = Path(config.train.run_dir) if config.train.run_dir else _new_run_dir(Path(name).stem)
    if (run_dir / METRICS).exists():
        raise ConfigError(f"{run_dir} holds the metrics of another run: give another --run-dir, or remove it")
    path = Path(name)
    if name in bundled_names():
        path = run_dir / "graph"
        _partition_bundled(name, path, len(topology.server_ranks))
    with GraphFile(path) as file:
        splits = {key: {split: file.split(key, split) for split in file.splits(key)}
                  for key in (*file.schema.ntypes, *(":".join(e) for e in file.schema.etypes))}
        task = node_classification(config.graph.features, config.graph.labels, file.schema, file.infos, splits)
        placement = place(file.book, file.infos, topology, file.edge_start, config.world.replicate,
                          config.world.replicate_nodes)
        return _Opened(path, run_dir, file.graph_id, placement, splits, task)


def _partition_bundled(name: str, out: Path, num_servers: int) -> None:
    from mpignn.storage.datasets import load_bundled
    from mpignn.storage.write import partition_graph
    logger.info("partitioning the bundled data set %s for %d servers", name, num_servers)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{out.parent}: cannot make the run folder: {error.strerror}") from error
    partition_graph(load_bundled(name), out, num_servers)


def _make_run_dir(path: Path, config: Config) -> MpignnError | None:
    """Make the run folder with its config.toml, now that the graph is good; returns what is wrong, if anything."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    except OSError as error:
        return ResourceError(f"{path}: cannot write the run folder: {error.strerror}")
    return None


def _new_run_dir(name: str) -> Path:
    base = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    tries = (Path("runs") / (base + (f"-{n}" if n else "")) for n in range(1000))
    return next(path for path in tries if not path.exists())


def _transport(world, specs: list[ArraySpec]) -> Transport:
    if world.size == 1:
        from mpignn.transport.local import LocalTransport
        return LocalTransport(specs)
    from mpignn.mpi.transport import MpiTransport
    with log.phase("allocate the segment"):
        return MpiTransport(world, specs)


def _who(world) -> str:
    if world.role == Role.SERVER:
        return f"server {world.server_index}/{len(world.topology.server_ranks)} [world {world.rank}]"
    return f"trainer {world.trainer_index}/{len(world.topology.trainer_ranks)} [world {world.rank}]"


def print_error(error: MpignnError) -> None:
    """One line on stderr."""
    print(f"mpignn: error: {error}", file=sys.stderr, flush=True)


def _abort(world) -> None:
    """Print the current exception with rank, role and phase, and end the whole job.  Does not return."""
    text = traceback.format_exc()
    print(f"mpignn: {log.who()} failed in phase {log.current_phase()!r}:\n{text}", file=sys.stderr, flush=True)
    if world is not None:
        world.abort(1)
    os._exit(1)
