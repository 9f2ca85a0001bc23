"""The transport suite as a program of its own, for launchers that start ranks elsewhere with a bare environment."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS), str(TESTS / "mpi")]

if __name__ == "__main__":
    from test_paths import check_all

    from mpignn.mpi.world import initialize

    world = initialize()
    assert world.topology.num_nodes == int(sys.argv[1]), world.topology
    for access in "rma", "owner":
        check_all(world, access=access)
    checked = world.world.allgather(world.node_id)
    if world.rank == 0:
        print("checked on nodes", checked)
