"""Which way to the rows of other nodes to take, given what was measured.

Shapes: M nodes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from mpignn.roles import BOTH, Topology

AUTO, RMA, OWNER = "auto", "rma", "owner"

BULK, SMALL = (2_500, 400), (100, 16)       # rows and their bytes: features of a batch, ends of adjacency rows
_SMALL_PER_BULK = 4     # a batch of two hops: two structure requests a hop for every one of features
_LEAD = 1.25    # by which owners must be faster: a read that needs nobody at the other end is the better thing to have


@dataclass(frozen=True)
class Measured:
    """Median seconds of a request from one node to another, while all trainers ask; infinite where rows came wrong.

    Attributes:
        origin, target: The nodes.
        rma_s, owner_s: Time of a large request by each way.
        rma_small_s, owner_small_s: Time of a small one.
    """

    origin: int
    target: int
    rma_s: float
    owner_s: float
    rma_small_s: float
    owner_small_s: float


@dataclass(frozen=True)
class Access:
    """How rows of other nodes come, and why.

    Attributes:
        asked: ``auto`` or a name of `mpignn.ways.WAYS`.
        ways: (M, M) the way from each node to each: ``rma`` or ``owner``.
        passive_get: Whether a one-sided read ends while its target computes; None: not tried, or never answered.
        measured: What the choice rests on.
    """

    asked: str
    ways: tuple[tuple[str, ...], ...]
    passive_get: bool | None = None
    measured: tuple[Measured, ...] = ()

    def line(self) -> str:
        """The choice and its reason in one line."""
        pairs = Counter(self.ways[i][j] for i in range(len(self.ways)) for j in range(len(self.ways)) if i != j)
        text = f"access {self.asked}: rows of other nodes come by " + " or ".join(
            f"{way} ({count} of {pairs.total()} pairs of nodes)" for way, count in pairs.most_common())
        if not self.measured:
            return text

        def typical(name: str) -> float:
            return float(median(getattr(m, name) for m in self.measured))

        size = BULK[0] * BULK[1] / 1e6
        return (f"{text}; {BULK[0]} rows of {BULK[1]} bytes: rma {size / typical('rma_s'):.0f} MB/s, owner "
                f"{size / typical('owner_s'):.0f} MB/s; {SMALL[0]} of {SMALL[1]}: rma "
                f"{typical('rma_small_s') * 1e3:.2f} ms, owner {typical('owner_small_s') * 1e3:.2f} ms; a Get "
                + {True: "ends while its target computes", False: "waits until its target enters MPI",
                   None: "was not answered"}[self.passive_get])

    def to_dict(self) -> dict[str, Any]:
        """For a file: plain lists and numbers."""
        return {"asked": self.asked, "paths": [list(row) for row in self.ways], "passive_get": self.passive_get,
                "bulk": {"rows": BULK[0], "row_bytes": BULK[1]}, "small": {"rows": SMALL[0], "row_bytes": SMALL[1]},
                "measured": [asdict(m) for m in self.measured]}


def choose(topology: Topology, passive_get: bool | None, measured: Sequence[Measured]) -> tuple[tuple[str, ...], ...]:
    """(M, M) the way from each node to each.  Not collective.

    Args:
        topology: Node and role of every rank.
        passive_get: As in `Access`; None is taken for RMA that does not work.
        measured: Some pairs of nodes.
    """
    nodes = topology.nodes
    if passive_get is None:
        return ((OWNER,) * len(nodes),) * len(nodes)
    usual = faster(measured)
    needs_owner = {node for rank, node in enumerate(topology.node_of_rank)
                   if topology.roles[rank] == BOTH and not passive_get}
    return (tuple(OWNER if node in needs_owner else usual for node in nodes),) * len(nodes)


def faster(measured: Sequence[Measured]) -> str:
    """The way that takes less for a batch of each pair; by one-sided reads, where it is a near thing.

    All pairs get the same way: on a cluster they are alike, and what a single one measures is noisy.
    """
    rma = sum(m.rma_s + _SMALL_PER_BULK * m.rma_small_s for m in measured)
    owner = sum(m.owner_s + _SMALL_PER_BULK * m.owner_small_s for m in measured)
    return OWNER if _LEAD * owner < rma else RMA
