"""Opening a graph for a whole job: read its metadata, make room, let the servers load it, show it to all.

A graph that is open is closed by all ranks together; a rank that only serves does so while it waits for that.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpignn import stop
from mpignn.comm.sharded import ArraySpec
from mpignn.comm.transport import Transport
from mpignn.config import Config
from mpignn.errors import ConfigError, MpignnError, Stopped, paths_named
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.types import Count, etype_key
from mpignn.job.memory_plan import MemoryPlan, make_plan, plan_inference
from mpignn.job.node_splits import share_splits
from mpignn.log import phase
from mpignn.roles import Topology
from mpignn.shown import Shown
from mpignn.storage.read import GraphFile
from mpignn.storage.stage import folder_meant
from mpignn.storage.stage import stage as stage_parts
from mpignn.storage.stage import staged as staged_parts
from mpignn.storage.user_names import UserNames
from mpignn.store.cut import HALO, Placement, parts_of, place
from mpignn.store.graph import DistGraph
from mpignn.store.halo import copy_halo
from mpignn.store.published import PublishedGraph

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

logger = logging.getLogger(__name__)

Check = Callable[["Opened"], object]
Plan = Callable[["Opened"], MemoryPlan]


@dataclass(frozen=True)
class Opened:
    """What every rank needs to know of a graph before its rows are there.

    Attributes:
        path: Path of the graph.
        graph_id: Hash of all that its files hold.
        source_id: Hash of the graph in original ids, the same in every cut.
        placement: Its arrays, and where the servers have them.
        splits: How many ids there are in each split, by node type or edge type key, and by name.
        overlap: How many of these are in more than one split, by type.
        names: What users call nodes and classes.
    """

    path: Path
    graph_id: str
    source_id: str
    placement: Placement
    splits: dict[str, dict[str, Count]]
    overlap: Mapping[str, int]
    names: UserNames

    def plan_data(self, config: Config | None = None) -> MemoryPlan:
        """What a job takes that holds this graph, with tensors as configured; None: as by default."""
        return make_plan(self.placement, {}, config or Config(), self._num_split_ids, model=False)

    def plan_training(self, config: Config, model: bool = True) -> MemoryPlan:
        """What a job takes that trains on this graph as configured.

        Args:
            config: Settings.
            model: Whether a model is trained, and not only its data moved.
        """
        seeds = {key: self.splits[key]["train"].size for key in self._targets(config)}
        ranked = max((self.splits[key][split].size for key in seeds for split in ("val", "test")
                      if split in self.splits[key]), default=0)
        return make_plan(self.placement, seeds, config, self._num_split_ids, model and not config.train.data_path_only,
                         ranked=ranked)

    def _targets(self, config: Config) -> list[str]:
        """The node types, or edge type keys, whose training split the configured task learns from."""
        schema, task = self.placement.book.schema, config.task
        if task.task.startswith("node"):
            keys = schema.ntypes if task.target_ntype is None else [schema.ntype(task.target_ntype)]
        else:
            keys = [etype_key(e) for e in (
                schema.etypes if task.target_etype is None else [schema.etype(task.target_etype)])]
        return [key for key in keys if "train" in self.splits.get(key, ())]

    def plan_inference(self, config: Config, ntype: str | None = None, outputs: int | None = None,
                       fanouts: Sequence[int] | None = None, top_k: int | None = None) -> MemoryPlan:
        """What a job takes that computes the rows of all nodes; arguments are those of `memory_plan.plan_inference`."""
        return plan_inference(self.placement, config, ntype, outputs, self._num_split_ids, fanouts, top_k)

    @property
    def _num_split_ids(self) -> int:
        return sum(ids.size for names in self.splits.values() for ids in names.values())


def open_graph(world: "World", path: str | Path, replicate: str = "none", replicate_nodes: int = 1,
               check: Check | None = None, plan: Plan = Opened.plan_data, stage: str | Path | None = None) -> DistGraph:
    """Publish a graph of the job.  Collective over the world.

    Several graphs may be open at a time.  A graph is a context manager; where the ``with`` block ends, and in
    ``close``, all ranks meet, and servers serve until the trainers have come.

    Args:
        world: The job.
        path: A partitioned graph: its folder, or graph.h5 in it.
        replicate, replicate_nodes: What is copied to every node, or every so many nodes, as in `mpignn.config`.
        check: Told of the metadata on the first rank, before anything is loaded; raises what is wrong with it.
        plan: Says on the first rank how much memory the job takes with this graph.
        stage: A folder on each node's own disk.  Servers copy the part files that they read there, and read them there
            if an earlier job has.

    Raises:
        ConfigError: On all ranks: part files cannot be copied there.
        DataError: On all ranks: a file is missing, damaged, or of another graph.
        ResourceError: On all ranks: too little memory.
        Stopped: On all ranks: one of them was asked to stop meanwhile.
    """
    with phase("open graph"):
        opened, memory = _open(world, Path(path), replicate, replicate_nodes, check, plan)
    _check_memory(world, memory)
    specs = opened.placement.specs(world.node_id)
    staged = {} if stage is None else _stage(world, opened, specs, folder_meant(stage))
    splits = share_splits(world, opened.path, opened.splits)
    transport = _transport(world, specs)
    try:
        world.all.agree(_load(world, transport, opened.path, staged))
        stop.check(world.all, "while the graph was being read")
    except MpignnError:
        transport.free()
        raise
    with phase("publish graph"):
        transport.publish()
    graph = PublishedGraph(opened.placement.book, opened.placement.infos, transport)
    if opened.placement.replicate == HALO:
        try:
            with phase("copy the halo"), world.all.all_or_none():       # where ranks that only serve wait, and serve
                if world.trainers is not None:
                    copy_halo(graph, world.trainers.rank == 0)
        except MpignnError:
            transport.free()
            raise
    return DistGraph(graph, world.topology, world.trainers, splits, world, opened.source_id, opened.names)


class GraphServer(Shown):
    """A graph on a rank that only serves, in a script of one's own that gives servers a branch of their own.

    As in

        if world.is_trainer:
            with mpignn.open_graph(world, path) as g: ...
        else:
            mpignn.GraphServer(world, path).serve()
    """

    def __init__(self, world: "World", path: str | Path, replicate: str = "none", replicate_nodes: int = 1,
                 stage: str | Path | None = None) -> None:
        """Load this server's share into memory that all ranks of the node map, and publish it.

        Collective over the world, together with `open_graph` on the trainers; arguments and errors are those of it.

        Raises:
            ConfigError: This rank trains, too: then it takes the graph from `open_graph`, and serves while it waits.
        """
        if world.is_trainer:
            raise ConfigError(f"rank {world.rank} is a trainer and cannot only serve: use open_graph there")
        self._graph = open_graph(world, path, replicate, replicate_nodes, stage=stage)

    def serve(self) -> None:
        """Serve until the trainers have closed the graph.  Collective over the world, with `DistGraph.close` there."""
        self._graph.close()


def _check_memory(world: "World", plan: MemoryPlan) -> None:
    """Refuse a job that does not fit, with the numbers.  Collective over the world."""
    from mpignn.machine import private_memory
    from mpignn.mpi.segment import check_memory
    told = "; ".join(" ".join(line.split()) for line in plan.lines())
    check_memory(world, plan.to_come(world.rank, private_memory()), "the job", f": {told}")


def _open(world: "World", path: Path, replicate: str, width: int, check: Check | None,
          plan: Plan) -> tuple[Opened, MemoryPlan]:
    """Read the graph's metadata on the first rank, and tell all.  Collective over the world."""
    def read() -> tuple[Opened, MemoryPlan]:
        with paths_named():
            opened = read_graph(path, world.topology, replicate, width)
            if check is not None:
                check(opened)
            return opened, plan(opened)

    opened, memory = world.all.by_first(read)
    if world.rank == 0:
        book = opened.placement.book
        logger.info("graph %s: %d nodes, %d edges, %d partition(s), id %s", path, book.num_nodes(), book.num_edges(),
                    book.num_partitions(), opened.graph_id)
        *details, largest, _ = memory.lines()
        for line in details:
            logger.debug("memory plan: %s", line)
        logger.info("memory plan: %s", " ".join(largest.split()))
    return opened, memory


def read_graph(path: Path, topology: Topology, replicate: str, width: int) -> Opened:
    """The metadata of a graph, placed in a job.  Not collective.

    Raises:
        DataError: A file is missing, damaged, or of another graph.
    """
    with GraphFile(path) as file:
        splits = {key: {split: Count(file.split_size(key, split)) for split in file.splits(key)}
                  for key in (*file.schema.ntypes, *(":".join(e) for e in file.schema.etypes))}
        halos = {ntype: of["halo"] for ntype, of in file.report["nodes"].items()}
        placement = place(file.book, file.served, topology, file.edge_start, replicate, width, halos)
        return Opened(path, file.graph_id, file.source_id, placement, splits, file.report["overlap"],
                      file.user_names)


def _transport(world: "World", specs: list[ArraySpec]) -> Transport:
    if world.size == 1:
        from mpignn.comm.local import LocalTransport
        return LocalTransport(specs)
    from mpignn.mpi.transport import MpiTransport
    with phase("allocate the segment"):
        return MpiTransport(world, specs)


def _stage(world: "World", opened: Opened, specs: Sequence[ArraySpec], folder: Path) -> dict[int, Path]:
    """Copy the part files that the servers of each node read, unless they are there.  Collective over the world.

    Returns:
        Where this node has them, by number.

    Raises:
        MpignnError: On all ranks.
    """
    problem, parts = None, list[int]()
    if world.server_index is not None:
        first, last = world.topology.servers_of(world.node_id)
        # A copy of the structure is a piece of every part file, for which it does not copy all of them.
        own = [spec for spec in specs if opened.placement.replicate != "topology"
               or not ArrayKey.parse(spec.name).is_structure]
        parts = sorted(set().union(*(parts_of(own, opened.placement.book, server) for server in range(first, last))))
        try:
            with phase("copy part files"), paths_named():
                stage_parts(opened.path, folder, parts[world.server_index - first::last - first])
        except Stopped:
            pass        # all will find out
        except MpignnError as error:
            problem = error
    world.all.agree(problem)
    stop.check(world.all, "while part files were being copied")
    return staged_parts(folder, opened.graph_id, parts)


def _load(world: "World", transport: Transport, path: Path, staged: Mapping[int, Path]) -> MpignnError | None:
    """Read what this rank serves; returns what is wrong with it, to be agreed on."""
    if world.server_index is None:
        return None
    from mpignn.job import server
    from mpignn.mpi.host import usable_cores
    first, last = world.topology.servers_of(world.node_id)
    try:
        with paths_named():
            server.load(transport, path, world.server_index, max(1, len(usable_cores()) // (last - first)), staged)
    except Stopped:
        return None         # all will find out
    except MpignnError as error:
        return error
    return None
