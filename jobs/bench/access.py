"""How fast do rows of another node come: by RMA, packed by their owner, and by what `auto` chooses?

    jobs/bench/on-hosts.sh mpich|openmpi jobs/bench/access.py [--rows 2500] [--row-bytes 400] [--requests 40]
        [--rounds 5] [--ways rma rma-runs owner auto]

Two ranks on each of two nodes: one serves, one trains.  All trainers ask at the same time, each the
server of the next node, for rows drawn at random.  Every round goes through the ways in turn; a way is timed by
itself, warm.  MB/s are of rows delivered to one trainer, the slowest one.
"""

import argparse
import sys
import time

import numpy as np

from machine import header, spread
from mpignn.comm.sharded import array_spec
from mpignn.comm.transport import Request
from mpignn.mpi.probe import choose_access
from mpignn.mpi.transport import MpiTransport
from mpignn.mpi.world import World, describe_mpi, initialize
from mpignn.roles import Role
from mpignn.ways import WAYS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_500, help="rows of a request")
    parser.add_argument("--row-bytes", type=int, default=400)
    parser.add_argument("--table-rows", type=int, default=200_000, help="rows on each server")
    parser.add_argument("--requests", type=int, default=40, help="timed requests of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=["rma", "owner", "auto"], choices=[*WAYS, "auto"])
    parser.add_argument("--alone", action="store_true", help="only the first trainer asks")
    options = parser.parse_args()
    world = initialize()
    began = time.perf_counter()
    world, access = choose_access(world, "auto")
    took = time.perf_counter() - began
    say = print if world.rank == 0 else lambda *_: None
    say(header())
    say(f"$ mpirun -np {world.size} python {' '.join(sys.argv)}")
    say("\n".join(describe_mpi(world)))
    say(f"{len(world.topology.nodes)} nodes, nodes of the ranks {world.topology.node_of_rank}, servers "
        f"{world.topology.server_ranks}")
    say(f"auto took {took:.2f} s and says: {access.line()}")
    rates = {way: [] for way in options.ways}
    for _ in range(options.rounds):
        for way in rates:
            rates[way].append(_measure(world, world.access if way == "auto" else way, options))
    for way, found in rates.items():
        say(f"{way:8s} {options.rows} rows of {options.row_bytes} bytes: {spread(found)} MB/s")
    world.finish()


def _measure(world: World, access, options) -> float:
    """MB/s of the slowest trainer."""
    servers = len(world.topology.server_ranks)
    bounds = np.arange(servers + 1) * options.table_rows
    transport = MpiTransport(world, [array_spec("rows", np.uint8, options.row_bytes, bounds)], access)
    if world.server_index is not None:
        transport.shard("rows")[:] = world.server_index
    transport.publish()
    took = 0.0
    if Role.TRAINER in world.role and (world.trainer_index == 0 or not options.alone):
        array = transport.arrays["rows"]
        out = np.empty((options.rows, options.row_bytes), np.uint8)
        rng = np.random.default_rng(world.rank)
        first = world.topology.servers_of((world.node_id + 1) % len(world.topology.nodes))[0]
        for number in range(options.requests + 3):
            if number == 3:
                began = time.perf_counter()
            ids = rng.integers(bounds[first], bounds[first + 1], options.rows)
            transport.gather([Request(array, ids, out)]).wait()
            assert (out[:, 0] == first).all()
        took = time.perf_counter() - began
    world.finish()
    transport.free()
    return options.requests * options.rows * options.row_bytes / max(world.all.allgather(took)) / 1e6


if __name__ == "__main__":
    main()
