"""A job in which all trainers, and no servers, share an error: ``agreeing_job.py STAMP HOW ARGUMENTS``.

HOW is where they agree on it: in ``main`` of `mpignn.run`; ``inside`` the graph of a program that begins by
`mpignn.initialize`, or ``outside`` of it, before servers and trainers open it together; or in a phase of a command.
``group`` is a program that has made torch's default process group itself.  STAMP is a file that gets the time.
"""

import sys
import time
from pathlib import Path

from phases import on_entering

import mpignn
from mpignn.errors import DataError

STAMP = Path(sys.argv[1])


def fail(trainers) -> None:
    """Raise what the last trainer has found, on all of them."""
    is_last = trainers.rank == trainers.size - 1
    if is_last:
        STAMP.write_text(repr(time.time()))
    trainers.agree(DataError("injected: mend the data") if is_last else None)


def own_program(how: str, graph: str) -> None:
    world = mpignn.initialize(servers_per_node=1)
    if how == "outside" and world.is_trainer:
        fail(world.trainers)
    with mpignn.open_graph(world, graph) as g:
        if world.is_trainer:
            fail(g.trainers)


def own_group(graph: str, run_dir: str) -> None:
    import torch.distributed as dist
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    STAMP.write_text(repr(time.time()))
    mpignn.run(lambda g, world: None, graph=graph, run_dir=run_dir, servers_per_node=1)


def command(where: str, words: list[str]) -> int:
    """A command of which the trainers fail in a phase of theirs."""
    def fail_if_a_trainer() -> None:
        from mpignn.job.job import Job
        world = Job.of_process.world
        if world.is_trainer:
            fail(world.trainers)

    on_entering(where, fail_if_a_trainer)
    from mpignn.cli import main
    return main(words)


if __name__ == "__main__":
    kind, *rest = sys.argv[2:]
    if kind == "main":
        mpignn.run(lambda g, world: fail(g.trainers), graph=rest[0], run_dir=rest[1], servers_per_node=1)
    elif kind == "group":
        own_group(*rest)
    elif kind in ("inside", "outside"):
        own_program(kind, rest[0])
    else:
        sys.exit(command(kind, rest))
