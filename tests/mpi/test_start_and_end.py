"""How a job starts, what it says where it cannot, and that nothing is left of one that ends badly."""

import os
import signal
import sys
import time
import uuid

import pytest

from mpirun import MPIS, kill, launcher, missing, mpirun, processes, python, run, shared_files, start

INITIALIZE = "from mpignn.mpi.world import initialize; world = initialize(); "


@pytest.fixture(params=MPIS)
def mpi(request):
    only = request.config.getoption("--mpi")
    reason = f"--mpi {only}" if only not in (None, request.param) else missing(request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


def test_plain_python_is_a_world_of_one(mpi):
    job = run([python(mpi), "-c", INITIALIZE + "print(world.role, world.num_threads > 0); world.finish()"], timeout=60,
              fresh=True)
    assert job.returncode == 0, job
    assert "SERVER|TRAINER: 3> True" in job.stdout or "SERVER|TRAINER True" in job.stdout, job


def test_too_few_ranks_is_the_same_error_on_all(mpi):
    job = mpirun(["-c", "from mpignn.mpi.world import initialize; initialize(3)"], 2, mpi, timeout=60)
    assert job.returncode != 0 and not job.timed_out, job
    assert job.stderr.count("servers-per-node is 3, but node 0 has 2 ranks") == 2, job


def test_ranks_that_disagree_are_told_so(mpi):
    program = "import os; from mpignn.mpi.world import initialize; initialize(int(os.environ.get('PMI_RANK') or " \
              "os.environ['OMPI_COMM_WORLD_RANK']))"
    job = mpirun(["-c", program], 2, mpi, timeout=60)
    assert job.returncode != 0 and not job.timed_out, job
    assert job.stderr.count("not the same on all ranks: rank 0: (0, None, None), rank 1: (1, None, None)") == 2, job


@pytest.mark.parametrize("mpirun_of, library_of, says", [
    ("mpich", "openmpi", "MPICH's mpirun (or srun --mpi=pmi2) started 2 ranks"),
    ("openmpi", "mpich", "Open MPI's mpirun started 2 ranks")])
def test_a_launcher_of_the_other_kind_is_named(mpirun_of, library_of, says):
    reason = missing("mpich") or missing("openmpi")
    if reason is not None:
        pytest.skip(reason)
    job = run([*launcher(2, mpirun_of), python(library_of), "-c", INITIALIZE], timeout=60)
    assert job.returncode != 0 and not job.timed_out, job
    assert f"ConfigError: {says}" in job.stderr, job


def test_srun_without_its_mpi_plugin_is_named():
    job = run([sys.executable, "-c", INITIALIZE], env={"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, timeout=60)
    assert "ConfigError: srun started 4 ranks, but each of them sees itself alone" in job.stderr, job


def test_without_an_mpi_library_the_remedy_is_named():
    job = run([sys.executable, "-c", INITIALIZE], env={"MPI4PY_LIBMPI": "/nowhere/libmpi.so"}, timeout=60)
    assert "ConfigError: no MPI library can be loaded" in job.stderr and "mpignn[mpich]" in job.stderr, job


def test_abort_ends_the_job_at_once(mpi):
    program = INITIALIZE + "import time; print('up', flush=True); world.rank == 1 and world.abort(1); world.finish()"
    job = mpirun(["-c", program], 3, mpi, timeout=60)
    assert job.returncode != 0 and not job.timed_out, job
    assert job.seconds < 30, job        # it started within that, too


HOLD = INITIALIZE + """
from mpignn.mpi.transport import MpiTransport
from mpignn.comm.sharded import array_spec
import os, time
spec = array_spec('x', 'f4', 1000, [0, *[1000 * (s + 1) for s in range(len(world.topology.server_ranks))]])
transport = MpiTransport(world, [spec])
if world.server_index is not None:
    transport.shard('x')[:] = 1
transport.publish()
pids = world.all.allgather(os.getpid())
if world.rank == 0:
    print('pids', *pids, flush=True)
if world.rank == 2:
    time.sleep(100)
world.finish()
"""


def test_after_a_kill_nothing_is_left(mpi):
    before, token = shared_files(), uuid.uuid4().hex
    job = start([*launcher(3, mpi), python(mpi), "-c", HOLD], token)
    try:
        told = next(line for line in job.stdout if line.startswith("pids"))
        os.kill(int(told.split()[2]), signal.SIGKILL)
        began = time.monotonic()
        while processes(token) and time.monotonic() - began < 30:
            time.sleep(0.05)
        seconds = time.monotonic() - began
        assert not processes(token)
        assert job.wait(10) != 0
        assert seconds < 5
        assert not shared_files() - before
    finally:
        kill(processes(token))
        job.stdout.close()
        job.wait()
