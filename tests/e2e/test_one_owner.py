"""A run folder has one job at a time, whatever becomes of it."""

import json
import os
import re
import signal
import sys
import uuid
from pathlib import Path

import pytest

from mpignn.errors import ConfigError
from mpignn.storage import claim
from mpirun import MPIS, kill, launcher, missing, mpirun, processes, python, rank_of, run, start, stood_for, wait_for

MANY = ["--fanouts", "3,3,3", "--hidden", "8", "--global-batch-size", "48", "--epochs", "100000", "--lr", "0.01",
        "--checkpoint-steps", "20"]


def words(graph: Path, folder: Path, np: int, mpi: str, *more: str) -> list[str]:
    return [*(launcher(np, mpi) if np > 1 else ()), python(mpi), "-m", "mpignn", "train", str(graph), *MANY,
            "--run-dir", str(folder / "run"), *more]


def lines(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl; fails where one is broken or told twice."""
    found = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    places = [(event["epoch"], event["step"]) for event in found if event["event"] == "step"]
    assert places == [(step // 50, step % 50) for step in range(len(places))]
    return found


class Job:
    """A job under way, which is gone with the ``with`` block."""

    def __init__(self, command: list[str]):
        self.token = uuid.uuid4().hex
        self.process = start(command, self.token, fresh=False)

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *exc) -> None:
        kill(processes(self.token))
        self.process.communicate()

    def ranks(self) -> list[int]:
        """What stands for them."""
        return [pid for pid in processes(self.token) if rank_of(pid) is not None] or [self.process.pid]

    def wait_for_steps(self, folder: Path, count: int) -> None:
        metrics = folder / "run" / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b'"event": "step"') >= count, 150,
                 self.process)

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=150)
        return self.process.returncode, output


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_the_second_job_is_refused_and_the_first_one_goes_on(graphs, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    command = words(graphs["metis4"], tmp_path, 3, mpi, "--resume", "auto")
    with Job(command) as first:
        first.wait_for_steps(tmp_path, 30)
        done = run(command)
        assert done.returncode == 2 and "Traceback" not in done.stderr, str(done)
        (error,) = re.findall("mpignn: error: .*", done.stderr)
        told = re.search(r"run is in use by another job: process (\d+) on \S+, since \d", error)
        assert told and int(told[1]) in processes(first.token), error
        first.wait_for_steps(tmp_path, len(lines(tmp_path)) + 5)
        kill(first.ranks())             # as a node that fails: nothing is given back
        first.end()
    before = len(lines(tmp_path))
    with Job(command) as second:        # on the same host it goes on at once
        second.wait_for_steps(tmp_path, before + 5)
        os.kill(second.ranks()[-1], signal.SIGUSR1)
        code, output = second.end()
        assert code == 75 and "going on from" in output and "waiting up to" not in output, output
    lines(tmp_path)
    (left,) = (tmp_path / "run").glob(".claim-*")
    assert json.loads(left.read_text())["beats"] == "released"


def test_of_two_that_start_at_once_one_wins(graphs, tmp_path):
    command = words(graphs["metis4"], tmp_path, 2, "mpich", "--epochs", "1")
    with Job(command) as first, Job(command) as second:
        ends = sorted([first.end(), second.end()])
    assert [code for code, _ in ends] == [0, 2], ends
    assert "is in use by another job" in ends[1][1] or "holds the metrics of another run" in ends[1][1], ends[1][1]
    assert [event["event"] for event in lines(tmp_path)] == ["step"] * 50 + ["epoch", "classes", "final"]


def test_a_job_that_was_suspended_and_given_up_writes_no_more(graphs, tmp_path, monkeypatch):
    run_dir = tmp_path / "run"
    with Job(words(graphs["metis4"], tmp_path, 3, "mpich")) as job:
        job.wait_for_steps(tmp_path, 30)
        ranks = [stood_for(pid, job.token) for pid in job.ranks()]
        for pid in ranks:
            os.kill(pid, signal.SIGSTOP)
        for name, value in (("LAPSE_S", 1.0), ("_LOOK_S", 0.1), ("_boot", lambda: "another host"), ("_held", {})):
            monkeypatch.setattr(claim, name, value)
        claim.take(run_dir)
        before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.suffix != ".nbi" and path.is_file()}
        for pid in ranks:
            os.kill(pid, signal.SIGCONT)
        code, output = job.end()
    assert code == 2 and "Traceback" not in output, output
    assert len(re.findall("mpignn: error: .*run is not this job's any more", output)) == 1, output
    assert {path: path.read_bytes() for path in before} == before
    claim.check(run_dir)
    claim.release_all(5)


OWN_LOOP = """
import sys
import mpignn as mg
def main(g, world):
    kept = mg.Checkpoints(sys.argv[2], g, every=5)
    kept.resume()
    while kept.steps < 10:
        kept.step()
    if world.trainer_index == 0:
        assert "fail" not in sys.argv
mg.run(main, sys.argv[1])
"""


def test_checkpoints_of_a_loop_of_ones_own_are_one_jobs(graphs, tmp_path):
    kept, command = tmp_path / "kept", [sys.executable, "-c", OWN_LOOP, str(graphs["one"]), str(tmp_path / "kept")]
    done = run([*command, "fail"], cwd=tmp_path)
    assert done.returncode == 1 and "AssertionError" in done.stderr, str(done)
    mine = claim.take(kept)                     # as another job of this host
    done = run(command, cwd=tmp_path)
    assert done.returncode == 2 and f"kept is in use by another job: process {os.getpid()} on" in done.stderr, str(done)
    mine.release()
    assert run(command, cwd=tmp_path).returncode == 0
    claim.take(kept).release()


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_job_that_is_aborted_gives_back_what_it_has(graphs, tmp_path, mpi):
    """The rank that fails does so for all: the run folder was claimed by another one."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    done = mpirun(["-c", OWN_LOOP, str(graphs["one"]), str(tmp_path / "kept"), "fail"], 2, mpi, cwd=tmp_path)
    assert done.returncode != 0 and "AssertionError" in done.stderr, str(done)
    claims = [*tmp_path.glob("kept/.claim-*"), *tmp_path.glob("runs/*/.claim-*")]
    assert [json.loads(path.read_text())["beats"] for path in claims] == ["released"] * 2


def test_an_evaluation_has_its_folder_for_itself(graphs, tmp_path):
    done = run(words(graphs["one"], tmp_path, 1, "mpich", "--epochs", "1"))
    assert done.returncode == 0, str(done)
    command = [python(), "-m", "mpignn", "eval", str(tmp_path / "run")]
    (tmp_path / "run" / "eval").mkdir()
    mine = claim.take(tmp_path / "run" / "eval")
    done = run(command)
    assert done.returncode == 2 and "eval is in use by another job" in done.stderr, str(done)
    assert [path.name for path in (tmp_path / "run" / "eval").iterdir()] == [mine.path.name]
    mine.release()
    assert run(command).returncode == 0
    with pytest.raises(ConfigError, match="not this job's any more"):
        mine.check()
