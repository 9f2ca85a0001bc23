"""The scripts in jobs/ and tests/testbed/, as far as they can be checked without a cluster."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpignn.batch import WAITING, requeue
from mpignn.options import load_config
from mpignn.schedulers import SLURM

ROOT = Path(__file__).parents[2]
BATCH = sorted((ROOT / "jobs").glob("*.sbatch"))
SCRIPTS = [*BATCH, *sorted((ROOT / "jobs").glob("*.sh")), *sorted((ROOT / "tests" / "testbed").glob("*.sh"))]
CONFIGS = [*sorted((ROOT / "jobs" / "configs").glob("*.toml")), *sorted((ROOT / "data").glob("*/job.toml"))]

TELL = "#!{python}\nimport sys\nprint(*sys.argv[1:])\n"


def names(paths):
    return [path.name for path in paths]


def test_there_are_scripts_and_configurations():
    assert names(BATCH) == ["partition.sbatch", "train.sbatch"] and len(SCRIPTS) == 10 and CONFIGS


@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_a_script_parses_and_may_be_executed(script):
    assert os.access(script, os.X_OK)
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", BATCH, ids=names(BATCH))
def test_slurm_reads_all_options_of_a_job_script(script):
    # Slurm stops looking for options at the first command.
    lines = script.read_text().splitlines()
    command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    options = [n for n, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert options and max(options) < command


@pytest.mark.parametrize("path", CONFIGS, ids=names(CONFIGS))
def test_a_configuration_is_one_that_train_takes(path):
    config = load_config(path, {})
    assert load_config(path, {"epochs": "1"}).train.epochs == 1
    assert config.to_toml() != load_config(None, {}).to_toml()


@pytest.mark.parametrize(("arguments", "started"), [
    ([], "-np 3 {python} -m mpignn train"),
    (["5", "graph", "--epochs", "2"], "-np 5 {python} -m mpignn train graph --epochs 2"),
])
def test_local_script_starts_so_many_ranks(arguments, started, tmp_path):
    tell = tmp_path / "tell"
    tell.write_text(TELL.format(python=sys.executable))
    tell.chmod(0o755)
    done = subprocess.run([ROOT / "jobs" / "local.sh", *arguments], text=True, capture_output=True, check=True,
                          env={**os.environ, "LAUNCHER": str(tell), "PYTHON": sys.executable})
    assert done.stdout.strip() == started.format(python=sys.executable)


def test_partition_script_passes_its_variables_on(tmp_path):
    tell = tmp_path / "tell"
    tell.write_text(TELL.format(python=sys.executable))
    tell.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(tell), "SRC": "data/products.npz", "PARTS": "8"}
    done = subprocess.run([ROOT / "jobs" / "partition.sbatch", "--seed", "1"], text=True, capture_output=True,
                          check=True, cwd=tmp_path, env=environment)
    assert done.stdout.strip() == ("-m mpignn partition data/products.npz graphs/products-8 --parts 8 --method metis "
                                   "--seed 1")


def test_partition_script_starts_as_many_ranks_as_there_are_tasks(tmp_path):
    tell = tmp_path / "tell"
    tell.write_text(TELL.format(python=sys.executable))
    tell.chmod(0o755)
    environment = {**os.environ, "PYTHON": "python9", "LAUNCHER": str(tell), "SRC": "huge.h5", "SLURM_NTASKS": "3"}
    done = subprocess.run([ROOT / "jobs" / "partition.sbatch"], text=True, capture_output=True, check=True,
                          cwd=tmp_path, env=environment)
    assert done.stdout.strip() == "python9 -m mpignn partition huge.h5 graphs/huge-2 --parts 2 --method metis"


def test_the_job_script_waits_as_the_printed_ones_do():
    end = WAITING.partition(") &\n")[2] + requeue(SLURM, run=True) + 'exit "$code"\n'
    assert (ROOT / "jobs" / "train.sbatch").read_text().endswith(end)


@pytest.mark.parametrize("scontrol", [True, False], ids=["scontrol", "no-scontrol"])
def test_a_job_script_passes_a_signal_on_and_requeues(scontrol, tmp_path):
    """With stand-ins for Slurm and the launcher, which leaves with 75 at the signal."""
    launcher = (f"#!{sys.executable}\nimport pathlib, signal, sys, time\n"
                "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))\n"
                f"pathlib.Path({str(tmp_path / 'started')!r}).touch()\ntime.sleep(50)\n")
    requeuing = f"echo $@ > {tmp_path}/requeued" if scontrol else "echo no such program >&2; exit 127"
    for name, text in (("scontrol", f"#!/usr/bin/env bash\n{requeuing}\n"),
                       ("sleep", "#!/usr/bin/env bash\n"), ("mpirun", launcher)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
    job = subprocess.Popen([ROOT / "jobs" / "train.sbatch"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x",
        "LAUNCHER": "mpirun"})
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    _, told = job.communicate(timeout=60)
    if scontrol:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n" and "login node" not in told
    else:       # dependent jobs shall not take that for an end
        assert job.returncode == 75 and "scontrol requeue 7 " in told and "RUN_DIR='runs/x-7' sbatch" in told
