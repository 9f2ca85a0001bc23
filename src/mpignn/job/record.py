"""What a job tells of itself for the run folder: its command, versions, machines, roles, graphs and memory plan."""

import logging
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpignn import launcher, machine
from mpignn.graph.types import etype_key
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened
from mpignn.job.work import Work
from mpignn.roles import Role
from mpignn.version import version

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

log = logging.getLogger(__name__)

_PACKAGES = ("mpignn", "torch", "numpy", "mpi4py", "h5py", "numba")


class JobRecord:
    """Remembers what is planned for each graph of a job, and tells it with the rest."""

    def __init__(self, work: Work) -> None:
        """Not collective."""
        self._work = work
        self._opened: list[tuple[Opened, MemoryPlan]] = []
        self._began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def plan(self, opened: Opened) -> MemoryPlan:
        """`Work.plan`, remembered.  On the first rank."""
        found = self._work.plan(opened)
        self._opened.append((opened, found))
        return found

    def line(self, world: "World") -> dict[str, Any]:
        """The line of the job in jobs.jsonl; graphs and plans are in that of the first rank.  Collective over the job.
        """
        from mpignn.mpi.cores import spans
        from mpignn.mpi.host import usable_cores
        from mpignn.mpi.world import describe_mpi
        first = world.host.bcast(world.rank)        # tells machines apart that have the same name
        facts = world.all.allgather((first, world.num_threads, world.device, usable_cores(),
                                     machine.describe() if world.rank == first else None))
        firsts = [rank for rank, fact in enumerate(facts) if fact[-1] is not None]
        launched = launcher.launched()
        line = {
            "began": self._began, "command": [_program(), *sys.argv[1:]],
            "launcher": None if launched is None else launched.launcher, "batch_job": launcher.batch_job() or None,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
            "platform": platform.platform(), "mpi": describe_mpi(world)[0].removeprefix("MPI").strip(),
            "machines": [facts[rank][-1] for rank in firsts],
            "machine_of_rank": [firsts.index(fact[0]) for fact in facts],
            "node_of_rank": list(world.topology.node_of_rank),
            "serves": [Role.SERVER in role for role in world.topology.roles],
            "trains": [Role.TRAINER in role for role in world.topology.roles],
            "threads": [fact[1] for fact in facts], "cores": [spans(sorted(fact[3])) for fact in facts],
            "device": [fact[2] for fact in facts],
            "graphs": [_graph(opened, plan) for opened, plan in self._opened],
        }
        if world.rank == 0:
            _tell_cores(line, [fact[3] for fact in facts])
        return line


def _tell_cores(line: Mapping[str, Any], masks: Sequence[frozenset[int]]) -> None:
    """Log what each rank got of its machine's cores, and what is wrong with that.  Not collective."""
    from mpignn.mpi.cores import Machine, lines, problem
    machines = []
    for number, found in enumerate(line["machines"]):
        ranks = [rank for rank, machine in enumerate(line["machine_of_rank"]) if machine == number]
        trains, threads = ([line[name][rank] for rank in ranks] for name in ("trains", "threads"))
        machines.append(Machine(found["name"], found["cores"], ranks, trains, [masks[rank] for rank in ranks], threads))
    for text in lines(machines):
        log.info("%s", text)
    problems = [told for machine in machines if (told := problem(machine, line["launcher"]))]
    if problems:
        others = f" (and {len(problems) - 1} more machine(s) have such a problem)" if len(problems) > 1 else ""
        log.warning("%s%s", problems[0], others)


def _program() -> str:
    """What was started, as a user types it."""
    name = Path(sys.argv[0]).name
    return "mpignn" if name in ("__main__.py", "mpignn") else name


def _graph(opened: Opened, plan: MemoryPlan) -> dict[str, Any]:
    book = opened.placement.book
    return {"path": str(opened.path), "graph_id": opened.graph_id, "source_id": opened.source_id,
            "partitions": book.num_partitions(), "replicate": opened.placement.replicate,
            "nodes": {ntype: book.num_nodes(ntype) for ntype in book.ntypes},
            "edges": {etype_key(etype): book.num_edges(etype) for etype in book.canonical_etypes},
            "plan": {"ranks": _alike(plan.ranks), "nodes": _alike(plan.nodes)}}


def _alike(planned: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """Bytes by kind, those that are equal once, with the numbers of whom they are planned for."""
    found: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for number, kinds in enumerate(planned):
        found.setdefault(tuple(kinds.items()), []).append(number)
    return [{"of": numbers, "bytes": dict(kinds)} for kinds, numbers in found.items()]
