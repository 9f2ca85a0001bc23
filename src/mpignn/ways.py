"""The ways by which rows of other nodes may come: one record each, for the setting and for opening them.

No class is imported here: `mpignn.mpi.transport` makes the ways that the nodes of a job take.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class WayRecord:
    """What a job must know of a way before it opens one.

    Attributes:
        name: As the setting ``access`` has it.
        text: How rows come, as the help says it.
        made_by: ``module:class``, a `mpignn.mpi.ways.Way`.
        one_sided: Whether it uses MPI's one-sided calls.  Arrays of the trainers do without them in a job in which some
            node takes a way that does.
    """

    name: str
    text: str
    made_by: str
    one_sided: bool = False


WAYS = {way.name: way for way in (
    WayRecord("rma", "one-sided reads", "mpignn.mpi.rma_way:RmaWay", one_sided=True),
    WayRecord("rma-runs", "one-sided reads, one for each run of rows", "mpignn.mpi.rma_runs_way:RmaRunsWay",
              one_sided=True),
    WayRecord("owner", "packed and sent by their server", "mpignn.mpi.owner_way:OwnerWay"))}
