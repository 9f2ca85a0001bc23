"""The job scripts on a real Slurm of two nodes."""

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from beds import ROOT


class Slurm:
    """The clients of a bed, run in the environment of one MPI."""

    def __init__(self, state: Path, mpi, folder: Path):
        self.folder = folder
        self.python = mpi.python
        self.environment = mpi.environment(SLURM_CONF=str(state / "slurm.conf"))

    def run(self, *words, **variables) -> str:
        done = subprocess.run([str(word) for word in words], env={**self.environment, **variables}, cwd=self.folder,
                              text=True, capture_output=True, timeout=150)
        assert done.returncode == 0, f"{words[0]}: {done.stderr}\n{self.logs()}"
        return done.stdout.strip()

    def state(self, job: str) -> tuple[str, str]:
        """State and exit code of a job."""
        shown = self.run("scontrol", "show", "job", job)
        return tuple(re.search(rf"\b{key}=(\S+)", shown)[1] for key in ("JobState", "ExitCode"))

    def wait_for(self, job: str, state: str, seconds: int) -> None:
        end = time.monotonic() + seconds
        while self.state(job)[0] != state:
            assert time.monotonic() < end, f"job {job} is {self.state(job)}, not {state}\n{self.logs()}"
            time.sleep(0.3)

    def wait_for_line(self, text: str, seconds: int) -> None:
        end = time.monotonic() + seconds
        while text not in self.logs():
            assert time.monotonic() < end, f"no line {text!r} in:\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def cluster(slurm, mpi, tmp_path) -> Slurm:
    return Slurm(slurm, mpi, tmp_path)


EPOCHS = 10
TRAIN = [ROOT / "jobs" / "train.sbatch", "--fanouts", "3,3", "--hidden", "8", "--epochs", str(EPOCHS),
         "--global-batch-size", "50", "--eval-every", "0"]


@pytest.fixture(scope="module")
def forked(mpi, tmp_path_factory) -> str:
    """An interpreter for the scripts, whose processes are forked; see `forks`."""
    path = tmp_path_factory.mktemp("forked") / "python"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(mpi.forked())} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def trained(slurm, mpi, forked, source, tmp_path_factory) -> Path:
    """A folder in which a job has made ``graphs/small``, and another one, which waited for it, has trained ``run``."""
    cluster = Slurm(slurm, mpi, tmp_path_factory.mktemp("trained"))
    partition = cluster.run("sbatch", "--parsable", ROOT / "jobs" / "partition.sbatch", "--seed", "1",
                            SRC=str(source), OUT="graphs/small", PARTS="3", PYTHON=forked)
    train = cluster.run("sbatch", "--parsable", f"--dependency=afterok:{partition}", "--kill-on-invalid-dep=yes",
                        *TRAIN, GRAPH="graphs/small", RUN_DIR="run", PYTHON=forked)
    cluster.wait_for(partition, "COMPLETED", 60)
    cluster.wait_for(train, "COMPLETED", 180)
    assert cluster.state(train)[1] == "0:0"
    return cluster.folder


@pytest.mark.timeout(300)
def test_partition_then_train(trained):
    events = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "final" and events[-1]["epochs"] == EPOCHS
    # Two nodes of a server and a trainer each.
    assert [len(event["seeds_per_trainer"]) for event in events if event["event"] == "epoch"] == [2] * EPOCHS


@pytest.mark.timeout(90)
def test_the_exit_code_of_the_program_is_that_of_the_job(cluster):
    job = cluster.run("sbatch", "--parsable", ROOT / "jobs" / "train.sbatch", "--fanout", "5,5", RUN_DIR="run")
    cluster.wait_for(job, "FAILED", 60)
    assert cluster.state(job)[1] == "2:0" and "--fanouts" in cluster.logs()


def losses(run_dir: Path) -> list[tuple[int, int, float]]:
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(event["epoch"], event["step"], event["loss"]) for event in events if event["event"] == "step"]


@pytest.mark.timeout(600)
def test_a_job_that_is_signalled_is_requeued_and_goes_on(cluster, trained, forked, tmp_path):
    job = cluster.run("sbatch", "--parsable", *TRAIN, GRAPH=str(trained / "graphs" / "small"), RUN_DIR="run",
                      PYTHON=forked)
    metrics = tmp_path / "run" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count('"event": "step"') > 10):
        assert time.monotonic() < end, cluster.logs()
        time.sleep(0.05)
    cluster.run("scancel", "-b", "-s", "USR1", job)
    cluster.wait_for_line("going on from", 120)
    cluster.wait_for(job, "COMPLETED", 180)
    assert cluster.logs().count("mpignn: stopped: asked to stop after") == 1
    found = losses(tmp_path / "run")
    assert len(found) == EPOCHS * 18 and found == losses(trained / "run")


@pytest.mark.timeout(450)
def test_a_printed_script_runs_as_it_is(cluster, trained, forked, tmp_path):
    """Under either MPI, with names that a shell and Slurm could misread, and what is passed on to Slurm."""
    (tmp_path / "my graph").symlink_to(trained / "graphs" / "small")
    mpignn = (forked, "-m", "mpignn", "slurm", "--nodes", "2", "--job-name", "a $job", "--begin", "now",
              "--sbatch=--comment=none", "--python")
    text = cluster.run(*mpignn, cluster.python, "train", "my graph", "--fanouts", "5,5", "--hidden", "16", "--epochs",
                       "1")
    (tmp_path / "train.sbatch").write_text(text + "\n")
    job = cluster.run("sbatch", "--parsable", "train.sbatch")
    cluster.wait_for(job, "COMPLETED", 200)
    run = f"runs/a $job-{job}"
    events = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
    assert [len(event["seeds_per_trainer"]) for event in events if event["event"] == "epoch"] == [2]
    (tmp_path / "eval.sbatch").write_text(cluster.run(*mpignn, forked, "eval", run) + "\n")
    cluster.wait_for(cluster.run("sbatch", "--parsable", "eval.sbatch"), "COMPLETED", 200)
    assert (tmp_path / run / "eval" / "eval.json").exists()
