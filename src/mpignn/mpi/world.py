"""Who this process is: rank, node, role, and the groups it belongs to."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from mpignn.errors import ConfigError, MpignnError
from mpignn.mpi import library
from mpignn.mpi.cores import Cores
from mpignn.mpi.host import asked_threads, usable_cores
from mpignn.mpi.library import MPI
from mpignn.mpi.sync import MpiGroup, cut, meet
from mpignn.roles import Role, Topology, assign_roles, group_nodes

_NAP_IDLE_S = 10e-3         # a server that nobody reads from through MPI
_NAP_SHARED_S = 100e-6      # a server that others read from, on a core that it shares
_NAP_TRAINER_S = 1e-3


@dataclass(frozen=True)
class World:
    """The job as one rank sees it.

    Attributes:
        rank, size: Rank and size of the world.
        topology: Node and role of every rank.
        all: All ranks.
        host: The ranks of this machine, whatever nodes they simulate.
        node: The ranks that share memory with this one.
        servers: The graph servers, None on a rank that does not serve.
        trainers: The trainers, None on a rank that does not train.
        parting: All ranks, for `leave` alone.
        num_threads: Threads that this rank computes with: OMP_NUM_THREADS, or its share of the cores.
        serving_nap_s: Longest nap of a server between two looks at MPI; 0 never naps.
        access: How this rank gets rows of other nodes, ``rma`` or ``owner``; or one of these for each node.
        device: Where this trainer computes, as torch names it: ``cpu``, or ``cuda:1``.
    """

    rank: int
    size: int
    topology: Topology
    all: MpiGroup
    host: MpiGroup
    node: MpiGroup
    servers: MpiGroup | None
    trainers: MpiGroup | None
    parting: MPI.Intracomm
    num_threads: int
    serving_nap_s: float
    access: str | tuple[str, ...] = "rma"
    device: str = "cpu"

    @property
    def role(self) -> Role:
        return self.topology.roles[self.rank]

    @property
    def is_server(self) -> bool:
        return Role.SERVER in self.role

    @property
    def is_trainer(self) -> bool:
        return Role.TRAINER in self.role

    @property
    def node_id(self) -> int:
        return self.topology.node_of_rank[self.rank]

    @property
    def server_index(self) -> int | None:
        """Number of this server among all servers; None on a rank that does not serve."""
        return self.topology.server_ranks.index(self.rank) if Role.SERVER in self.role else None

    @property
    def trainer_index(self) -> int | None:
        """Number of this trainer among all trainers; None on a rank that does not train."""
        return self.topology.trainer_ranks.index(self.rank) if Role.TRAINER in self.role else None

    @property
    def groups(self) -> list[MpiGroup]:
        """All that this rank belongs to."""
        return [group for group in (self.all, self.host, self.node, self.servers, self.trainers) if group is not None]

    def never_block(self) -> None:
        """Let no collective spin from now on, so that ranks in them can serve.  All ranks of the world call it."""
        for group in self.groups:
            group.blocks = False

    def finish(self) -> None:
        """Return when all ranks are here, so that nobody reads anybody's memory any more.  Collective over the world.

        A rank that only serves calls it at once: what it does in there is serving, that is, to make progress for
        those who read its memory.

        Raises:
            CommError: A rank has left the program and will not come.
        """
        nap = _NAP_TRAINER_S if Role.TRAINER in self.role else self.serving_nap_s
        meet(self.all.comm, nap)

    def leave(self, code: int = 0) -> None:
        """Return when all ranks are at the end of the program.  Collective over the world.

        Args:
            code: Code of the error that ends it on this rank, which all know who are told of it; 0: none.

        Where others wait for this one elsewhere, one of them hears of it and ends the job.
        """
        if not MPI.Is_finalized():
            meet(self.parting, _NAP_IDLE_S, leaving=code)

    def end(self) -> None:
        """Give MPI back.  Collective over the job."""
        if not MPI.Is_finalized():
            MPI.Finalize()

    def abort(self, code: int = 1) -> None:
        """End the whole job at once, because of something that the other ranks do not know.  Not collective."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):     # one that fails may be why the job ends
                stream.flush()
        MPI.COMM_WORLD.Abort(code)


def initialize(servers_per_node: int | None = None, ranks_per_node: int | None = None,
               server_nodes: int | None = None) -> World:
    """Start MPI, find the nodes, give every rank its role.  Collective over the job.

    Args:
        servers_per_node: Dedicated servers on each node; None and 0 as in `roles.assign_roles`.
        ranks_per_node: Ranks of a simulated node, see `roles.group_nodes`; None takes the machines as nodes.
        server_nodes: How many nodes serve, None for all, as in `roles.assign_roles`.

    Raises:
        ConfigError: On all ranks: roles that cannot be dealt, arguments that differ between ranks, a launcher of
            another kind than the MPI library.
    """
    library.start()
    comm = MPI.COMM_WORLD.Dup()
    host = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    asked = (servers_per_node, ranks_per_node, server_nodes)
    facts = MpiGroup(comm, blocks=False).allgather((host.bcast(comm.rank), usable_cores(), asked))
    hosts, masks = [fact[0] for fact in facts], [fact[1] for fact in facts]
    try:
        if len({fact[2] for fact in facts}) > 1:
            raise ConfigError("servers-per-node, ranks-per-node or server-nodes are not the same on all ranks: "
                              + ", ".join(f"rank {rank}: {fact[2]}" for rank, fact in enumerate(facts)))
        nodes = group_nodes(hosts, ranks_per_node)
        topology = Topology(nodes, assign_roles(nodes, servers_per_node, server_nodes))
    except MpignnError as error:        # every rank has the same facts, hence the same error
        error.on_all()
        raise

    cores = Cores(hosts, masks, topology)
    # The libraries' blocking collectives are the fastest between machines, if every rank has its core.  On one
    # machine they gain 0.3 ms at best, and lose a time slice, 4 to 16 ms, whenever anything else wants a core.
    blocks = len(set(hosts)) > 1 and all(cores.among_trainers(rank) >= 1 for rank in topology.trainer_ranks)
    spins = len(topology.nodes) > 1 and cores.among_all(comm.rank) >= 1
    trains = Role.TRAINER in topology.roles[comm.rank]
    share = cores.among_trainers(comm.rank) if trains and not spins else cores.among_all(comm.rank)
    node = comm.Split(topology.node_of_rank[comm.rank], key=comm.rank)
    return World(
        rank=comm.rank, size=comm.size, topology=topology,
        all=MpiGroup(comm, blocks, "all ranks"), host=MpiGroup(cut(host), blocks, "the ranks of this machine"),
        node=MpiGroup(cut(node), blocks, "the ranks of this node"),
        servers=_group_of(comm, topology.server_ranks, blocks, "the servers"),
        trainers=_group_of(comm, topology.trainer_ranks, blocks, "the trainers"), parting=comm.Dup(),
        num_threads=asked_threads() or max(1, int(share)),
        serving_nap_s=_NAP_IDLE_S if len(topology.nodes) == 1 else 0 if spins else _NAP_SHARED_S)


def _group_of(comm: MPI.Intracomm, ranks: Sequence[int], blocks: bool, name: str) -> MpiGroup | None:
    """A group of some ranks, in their order; None on the others.  Collective over ``comm``."""
    belongs = comm.rank in ranks
    own = comm.Split(0 if belongs else MPI.UNDEFINED, key=ranks.index(comm.rank) if belongs else 0)
    return MpiGroup(cut(own), blocks, name) if belongs else None


def describe_mpi(world: World) -> list[str]:
    """What a bug report should say about MPI, a line each.  Not collective."""
    levels = {MPI.THREAD_SINGLE: "single", MPI.THREAD_FUNNELED: "funneled", MPI.THREAD_SERIALIZED: "serialized",
              MPI.THREAD_MULTIPLE: "multiple"}
    version = MPI.Get_library_version().replace("\0", "").strip().splitlines()[0]
    topology = world.topology
    return [f"MPI         {version}, standard {'.'.join(map(str, MPI.Get_version()))}, "
            f"thread level {levels[MPI.Query_thread()]}",
            f"ranks       {world.size} on {len(topology.nodes)} node(s): {len(topology.server_ranks)} serve, "
            f"{len(topology.trainer_ranks)} train, {world.num_threads} thread(s) each"]
