"""Tests of rows, tensors and graphs as one program, for launchers that start ranks with a bare environment."""

import faulthandler
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS), str(TESTS / "mpi")]

if __name__ == "__main__":
    faulthandler.dump_traceback_later(300)      # where each rank hangs, before the test ends it
    import test_properties
    import test_shared_tensor
    import test_trainer_rows
    from test_ways import check_all

    import writable_suite
    from mpignn.mpi.library import MPI
    from mpignn.mpi.world import initialize

    library = MPI.get_vendor()[0]
    world = initialize()
    assert len(world.topology.nodes) == int(sys.argv[1]), world.topology
    everyone = initialize(servers_per_node=0)       # all train: twice as many trainers
    for way in "rma", "owner":
        check_all(world, access=way)
        if (library, way) != ("Open MPI", "rma"):       # such arrays are not used between machines, see the transport
            for check in writable_suite.CHECKS:
                test_trainer_rows.test_writable_array(world, way, check)
        for job in world, everyone:
            test_shared_tensor.test_additions_of_all_trainers_to_the_same_rows_are_exact(job, way)
        test_shared_tensor.test_flush_alone_brings_writes_to_their_owner(world, way)
        for servers in None, 0:
            test_properties.test_tensors(world, servers, way)
            test_properties.test_graphs(world, servers, way)
        world.all.barrier()
        if world.rank == 0:
            print("by", way, flush=True)
    checked = world.all.allgather(world.node_id)
    if world.rank == 0:
        print("checked on nodes", checked)
