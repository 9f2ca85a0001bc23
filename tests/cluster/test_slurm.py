"""Job scripts on a real Slurm of two nodes: chains, arrays, jobs that are stopped and go on, ways to start ranks."""

import json
import platform
import re
import shlex
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from beds import ROOT

from fork_server import TOKEN
from mpirun import processes, shared_files


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

    def submit(self, *words, **variables) -> list[str]:
        """Numbers of the jobs that `mpignn slurm` hands over."""
        told = self.run(self.python, "-m", "mpignn", "slurm", "--submit", *words, **variables)
        return re.findall(r": job (\d+)$", told, re.MULTILINE)

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
SETTINGS = ["--fanouts", "3,3", "--hidden", "8", "--global-batch-size", "50", "--eval-every", "0"]
TRAIN = [*SETTINGS, "--epochs", str(EPOCHS)]

# A job that goes on for a while: what it learns is what any job learns.
SLOW = """
import runpy, sys, time
from mpignn.train.optimizer import Adam
step = Adam.step
Adam.step = lambda *args, **more: time.sleep({seconds}) or step(*args, **more)
sys.argv = ["mpignn", *sys.argv[3:]]
runpy.run_module("mpignn", run_name="__main__")
"""


@pytest.fixture(scope="module")
def forked(mpi, tmp_path_factory) -> str:
    """An interpreter for the scripts, whose processes are forked; see `forks`."""
    return interpreter(tmp_path_factory.mktemp("forked"), mpi)


def interpreter(folder: Path, mpi, *program) -> str:
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {shlex.join([*mpi.forked(), *map(str, program)])} "$@"\n')
    path.chmod(0o755)
    return str(path)


def slow_interpreter(folder: Path, mpi, seconds: float) -> str:
    (folder / "slow.py").write_text(SLOW.format(seconds=seconds))
    return interpreter(folder, mpi, folder / "slow.py")


@pytest.fixture(scope="module")
def trained(slurm, mpi, forked, source, tmp_path_factory) -> Path:
    """A folder in which a chain of jobs has made ``graphs/small``, ``run``, its predictions and report."""
    cluster = Slurm(slurm, mpi, tmp_path_factory.mktemp("trained"))
    jobs = cluster.submit("--nodes", "2", "--python", forked, "chain", source, "graphs/small", "--parts", "3", *TRAIN,
                          "--run-dir", "run", "--out", "nodes.csv")
    assert len(jobs) == 4
    for job in jobs:
        cluster.wait_for(job, "COMPLETED", 120)
        assert cluster.state(job)[1] == "0:0"
    return cluster.folder


@pytest.mark.timeout(400)
def test_a_chain_goes_from_a_graph_to_a_report(trained):
    events = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "final" and events[-1]["epochs"] == EPOCHS
    # Two nodes of a server and a trainer each.
    assert [len(event["seeds_per_trainer"]) for event in events if event["event"] == "epoch"] == [2] * EPOCHS
    assert len((trained / "nodes.csv").read_text().splitlines()) == 1 + 3000
    assert "<html" in (trained / "run" / "report.html").read_text()


@pytest.mark.by_turns
@pytest.mark.timeout(90)
def test_a_chain_ends_with_the_job_that_fails(mpi, cluster, forked):
    """The exit code of the program is that of the job, and those that wait for it are gone."""
    first, *others = cluster.submit("--python", forked, "chain", "nothing", "graphs/small", "--parts", "2")
    for job in others:
        cluster.wait_for(job, "CANCELLED", 60)
    assert cluster.state(first) == ("FAILED", "3:0") and "nothing" in cluster.logs()


def losses(run_dir: Path) -> list[tuple[int, int, float]]:
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(event["epoch"], event["step"], event["loss"]) for event in events if event["event"] == "step"]


def wait_for_steps(cluster: Slurm, run: Path, number: int) -> None:
    metrics, end = run / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count('"event": "step"') > number):
        assert time.monotonic() < end, cluster.logs()
        time.sleep(0.05)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["script", pytest.param("mpirun", marks=pytest.mark.long)])
def test_a_job_that_is_signalled_is_requeued_and_goes_on(how, mpi, cluster, trained, forked, tmp_path):
    """One that `mpignn slurm` has made, by srun where that starts its ranks; and that in jobs/, by mpirun."""
    graph = str(trained / "graphs" / "small")
    if how == "mpirun":
        job = cluster.run("sbatch", "--parsable", ROOT / "jobs" / "train.sbatch", *TRAIN, GRAPH=graph, RUN_DIR="run",
                          PYTHON=forked)
    else:
        launcher = "srun" if mpi.name == "mpich" else "auto"
        (job,) = cluster.submit("--nodes", "2", "--launcher", launcher, "--python", forked, "train", graph, *TRAIN,
                                "--run-dir", "run")
    wait_for_steps(cluster, tmp_path / "run", 10)
    cluster.run("scancel", "-b", "-s", "USR1", job)
    cluster.wait_for_line("going on from", 120)
    cluster.wait_for(job, "COMPLETED", 180)
    assert cluster.logs().count("mpignn: stopped: asked to stop after") == 1
    found = losses(tmp_path / "run")
    assert len(found) == EPOCHS * 18 and found == losses(trained / "run")


@pytest.mark.timeout(150)
def test_srun_starts_the_ranks_of_open_mpi_by_pmix(mpi, cluster, trained, forked, tmp_path):
    """One on each node: see the README of the test beds."""
    if mpi.name != "openmpi":
        pytest.skip("MPICH is started by pmi2")
    if not Path(f"/usr/lib/{platform.machine()}-linux-gnu/pmix2/lib/libpmix.so").exists():
        pytest.skip("Slurm has no PMIx here")
    (job,) = cluster.submit("--nodes", "2", "--ntasks-per-node", "1", "--launcher", "srun", "--mpi", "pmix",
                            "--python", forked, "train", trained / "graphs" / "small", *SETTINGS, "--epochs", "1",
                            "--run-dir", "run")
    cluster.wait_for(job, "COMPLETED", 120)
    found = losses(tmp_path / "run")
    assert len(found) == 18 and found == losses(trained / "run")[:18]
    assert "2 rank(s) on 2 node(s)" in cluster.logs()


@pytest.mark.by_turns
@pytest.mark.timeout(900)
@pytest.mark.parametrize("end", ["scancel", pytest.param("limit", marks=pytest.mark.long)])
def test_a_job_ends(end, mpi, cluster, trained, tmp_path):
    """By scancel, which leaves nothing; at its time limit, which comes again and again until all is learnt."""
    slow, token, before = slow_interpreter(tmp_path, mpi, 0.5), uuid.uuid4().hex, shared_files()
    (job,) = cluster.submit("--nodes", "2", "--time", "1", "--warning", "15", "--python", slow, "train",
                            trained / "graphs" / "small", *TRAIN, "--run-dir", "run", **{TOKEN: token})
    if end == "limit":
        cluster.wait_for(job, "COMPLETED", 800)
        assert cluster.logs().count("mpignn: stopped: asked to stop after") >= 1
        assert losses(tmp_path / "run") == losses(trained / "run")
        return
    wait_for_steps(cluster, tmp_path / "run", 1)
    assert processes(token)
    cluster.run("scancel", job)
    cluster.wait_for(job, "CANCELLED", 30)
    limit = time.monotonic() + 30
    while left := processes(token):
        assert time.monotonic() < limit, f"still there: {left}\n{cluster.logs()}"
        time.sleep(0.2)
    assert shared_files() <= before


@pytest.mark.by_turns
@pytest.mark.timeout(450)
def test_an_array_runs_each_setting_in_a_folder_of_its_own(mpi, cluster, trained, forked, tmp_path):
    """By a script as it is printed, with names that a shell and Slurm could misread, and what is passed on to Slurm."""
    (tmp_path / "my graph").symlink_to(trained / "graphs" / "small")
    text = cluster.run(cluster.python, "-m", "mpignn", "slurm", "--job-name", "a $job", "--begin", "now",
                       "--sbatch=--comment=none", "--python", forked, "sweep", "my graph", *SETTINGS, "--epochs", "1",
                       "--grid", "hidden=4 8", "--grid", "lr=0.01 0.001")
    (tmp_path / "sweep.sbatch").write_text(text + "\n")
    job = cluster.run("sbatch", "--parsable", "sweep.sbatch")
    for task in "1234":
        cluster.wait_for(f"{job}_{task}", "COMPLETED", 200)
    runs = sorted((tmp_path / "runs" / f"a $job-{job}").iterdir())
    assert [run.name for run in runs] == list("1234")
    cluster.run(cluster.python, "-m", "mpignn", "report", *runs, "--out", "all.json")
    found = json.loads((tmp_path / "all.json").read_text())
    assert {name: len({str(value) for value in values}) for name, values in found["differing"].items()
            if name in ("hidden", "lr")} == {"hidden": 2, "lr": 2}
