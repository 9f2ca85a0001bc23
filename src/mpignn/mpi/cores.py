"""Which cores the ranks of a job may run on, how many threads each computes with, and what is wrong with that.

Shapes: R ranks.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mpignn.mpi.host import core_share
from mpignn.roles import Topology

_SHOWN = 4      # kinds of machines in the lines about a job


@dataclass(frozen=True)
class Cores:
    """Which cores the ranks may run on.

    Attributes:
        hosts: (R,) Number of each rank's machine.
        masks: (R,) The cores of each.
        topology: Node and role of every rank.
    """

    hosts: Sequence[int]
    masks: Sequence[frozenset[int]]
    topology: Topology

    def among_all(self, rank: int) -> float:
        """Cores for ``rank`` if all ranks of its machine are busy."""
        return self._share(rank, range(len(self.hosts)))

    def among_trainers(self, rank: int) -> float:
        """Cores for ``rank`` if only the trainers of its machine are busy."""
        return self._share(rank, self.topology.trainer_ranks)

    def _share(self, rank: int, busy: Sequence[int]) -> float:
        beside = [r for r in busy if self.hosts[r] == self.hosts[rank]]
        return core_share([self.masks[r] for r in beside], beside.index(rank))


@dataclass(frozen=True)
class Machine:
    """The ranks of one machine, and their cores.

    Attributes:
        name: Its name.
        cores: How many cores it has.
        ranks: Its ranks.
        trains: Whether each of them trains.
        masks: The cores of each.
        threads: Threads that each computes with.
    """

    name: str
    cores: int
    ranks: Sequence[int]
    trains: Sequence[bool]
    masks: Sequence[frozenset[int]]
    threads: Sequence[int]


def lines(machines: Sequence[Machine]) -> list[str]:
    """What each rank got, a line for all machines alike.  Not collective."""
    alike = defaultdict(list)
    for machine in machines:
        alike[_ranks_told(machine, machine.ranks[0])].append(machine)
    found = []
    for same in list(alike.values())[:_SHOWN]:
        others = "" if len(same) == 1 else f" and {len(same) - 1} machine(s) alike"
        found.append(f"{same[0].name}{others}: {_ranks_told(same[0], 0)}")
    return found + ([f"and {len(alike) - _SHOWN} other kinds of machines"] if len(alike) > _SHOWN else [])


def _ranks_told(machine: Machine, base: int) -> str:
    """The ranks by what they got, numbered from a base."""
    groups: dict[tuple[bool, int, str], list[int]] = defaultdict(list)
    for rank, trains, mask, threads in zip(machine.ranks, machine.trains, machine.masks, machine.threads, strict=True):
        groups[trains, threads, spans(sorted(mask))].append(rank - base)
    return "; ".join(_told(ranks, trains, threads, cores) for (trains, threads, cores), ranks in groups.items())


def _told(ranks: Sequence[int], trains: bool, threads: int, cores: str) -> str:
    several, verb = len(ranks) > 1, "train" if trains else "serve"
    who = f"ranks {spans(ranks)} {verb}" if several else f"rank {ranks[0]} {verb}s"
    computes = f" with {threads} thread(s){' each' if several else ''}" if trains else ""
    return f"{who}{computes} on cores {cores}"


def spans(numbers: Sequence[int]) -> str:
    """Ascending numbers as people write them: ``0-3,8``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in found)


def problem(machine: Machine, launcher: str | None) -> str | None:
    """What slows trainers of a machine down, with the option that mends it; None: nothing.  Not collective.

    Args:
        machine: The machine.
        launcher: What started the ranks, as `launcher.Launched` names it; None: nothing did.
    """
    trainers = [index for index, trains in enumerate(machine.trains) if trains]
    masks, threads = [machine.masks[index] for index in trainers], [machine.threads[index] for index in trainers]
    usable = frozenset[int]().union(*masks)
    if len(trainers) > len(usable):
        told = f"{len(trainers)} trainers share {len(usable)} core(s) of {machine.name}"
        if machine.cores < len(trainers):
            return f"{told}, which has no more: start fewer ranks there"
        return f"{told}, which has {machine.cores}: ask for more of them, and {_bind(launcher, 1)}"
    shared = [machine.ranks[place] for index, place in enumerate(trainers) if core_share(masks, index) < 1 - 1e-9]
    if shared:
        return (f"ranks {spans(shared)} share cores of {machine.name}, and others there are free: "
                f"{_bind(launcher, max(threads))}")
    for place, mask, count in zip(trainers, masks, threads, strict=True):
        if count > len(mask):
            bind = f"{_bind(launcher, count)}, or " if count <= machine.cores else ""
            return (f"rank {machine.ranks[place]} computes with {count} threads on {len(mask)} core(s) of "
                    f"{machine.name}: {bind}set OMP_NUM_THREADS={len(mask)}")
    if sum(threads) > len(usable):
        return (f"{len(trainers)} trainers compute with {sum(threads)} threads on {len(usable)} core(s) of "
                f"{machine.name}: set OMP_NUM_THREADS={len(usable) // len(trainers)}")
    return None


def _bind(launcher: str | None, cores: int) -> str:
    """How a launcher is told to bind ranks to so many cores each."""
    name = launcher or ""
    if "Open MPI" in name:
        return f"start ranks by `mpirun --map-by slot:PE={cores} --bind-to core`"
    if "MPICH" in name:
        return (f"start ranks by `mpirun -bind-to core:{cores}`, or by `srun --cpu-bind=cores --cpus-per-task={cores}` "
                "under Slurm")
    if "srun" in name:
        return f"start ranks by `srun --cpu-bind=cores --cpus-per-task={cores}`"
    return f"give each rank {cores} core(s) of its own"
