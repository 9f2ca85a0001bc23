"""The job scripts on a real Slurm of two nodes."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from beds import ROOT

# In the place of the interpreter: tells how it was started and, in a job's first run, ends once every rank got USR1.
STAND_IN = """\
#!{python}
import os, signal, sys, time
from mpi4py import MPI
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(True))
world = MPI.COMM_WORLD
nodes = world.allreduce(int(world.Split_type(MPI.COMM_TYPE_SHARED).rank == 0))
if world.rank == 0:
    print("started", world.size, nodes, *sys.argv[1:], flush=True)
end = time.monotonic() + 40
first = "SLURM_RESTART_COUNT" not in os.environ
while first and not world.allreduce(int(bool(told)), op=MPI.MIN) and time.monotonic() < end:
    time.sleep(0.05)
sys.exit(75 if told else 0)
"""


class Slurm:
    """The clients of a bed, run in the environment of one MPI."""

    def __init__(self, state: Path, mpi, folder: Path):
        self.folder = folder
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


@pytest.mark.timeout(240)
def test_partition_then_train(cluster, source, tmp_path):
    partition = cluster.run("sbatch", "--parsable", ROOT / "jobs" / "partition.sbatch", "--seed", "1",
                            SRC=str(source), OUT="graphs/small", PARTS="3")
    train = cluster.run("sbatch", "--parsable", f"--dependency=afterok:{partition}", "--kill-on-invalid-dep=yes",
                        ROOT / "jobs" / "train.sbatch", "--fanouts", "5,5", "--hidden", "16", "--epochs", "2",
                        GRAPH="graphs/small", RUN_DIR="run")
    cluster.wait_for(partition, "COMPLETED", 60)
    cluster.wait_for(train, "COMPLETED", 120)
    assert cluster.state(train)[1] == "0:0"
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "final" and events[-1]["epochs"] == 2
    # Two nodes of a server and a trainer each.
    assert [len(event["seeds_per_trainer"]) for event in events if event["event"] == "epoch"] == [2, 2]


@pytest.mark.timeout(150)
def test_usr1_reaches_every_rank_and_75_means_again(cluster, mpi, tmp_path):
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(STAND_IN.format(python=mpi.python))
    stand_in.chmod(0o755)
    job = cluster.run("sbatch", "--parsable", ROOT / "jobs" / "train.sbatch", "--epochs", "7", PYTHON=str(stand_in),
                      CONFIG="job.toml", RUN_DIR="run")
    words = "-m mpignn train wordnet --config=job.toml --run-dir"
    cluster.wait_for_line(f"started 4 2 {words} run --epochs 7\n", 30)
    cluster.run("scancel", "--batch", "--signal=USR1", job)
    cluster.wait_for_line(f"started 4 2 {words} run-1 --epochs 7\n", 60)
    cluster.wait_for(job, "COMPLETED", 30)
    assert cluster.state(job)[1] == "0:0"


@pytest.mark.timeout(90)
def test_the_exit_code_of_the_program_is_that_of_the_job(cluster):
    job = cluster.run("sbatch", "--parsable", ROOT / "jobs" / "train.sbatch", "--fanout", "5,5", RUN_DIR="run")
    cluster.wait_for(job, "FAILED", 60)
    assert cluster.state(job)[1] == "2:0" and "--fanouts" in cluster.logs()
