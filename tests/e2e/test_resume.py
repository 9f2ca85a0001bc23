"""A run that is stopped or dies goes on as if nothing had happened, on whatever ranks."""

import json
import os
import random
import re
import shlex
import signal
import time
import uuid
from pathlib import Path

import pytest

from mpignn.storage import snapshot
from mpirun import (
    MPIS,
    kill,
    launcher,
    missing,
    mpirun,
    processes,
    python,
    rank_of,
    read_only,
    run,
    start,
    stood_for,
    wait_for,
)
from older import OLD, as_of

EPOCHS, STEPS = 8, 20
STOPPED = 75
SETTINGS = ["--fanouts", "3,4,5", "--hidden", "16", "--dropout", "0.5", "--global-batch-size", str(2400 // STEPS),
            "--epochs", str(EPOCHS), "--lr", "0.01", "--eval-every", "3", "--embed", "all", "--embed-dim", "4"]


def command(graph: Path, folder: Path, *more: str) -> list[str]:
    return ["-m", "mpignn", "train", str(graph), *SETTINGS, "--run-dir", str(folder / "run"), *more]


def events(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def results(folder: Path) -> dict:
    """All that a run has learnt, by event and place; fails where an event is told twice or is missing."""
    told = {}
    for event in events(folder):
        place = event["event"], event.get("epoch"), event.get("step")
        assert place not in told, f"{place} is told twice"
        told[place] = {key: event[key] for key in ("loss", "val_acc", "test_acc", "seeds", "edges") if key in event}
    steps = [place[1:] for place in told if place[0] == "step"]
    assert steps == [(epoch, step) for epoch in range(EPOCHS) for step in range(STEPS)]
    assert [place[1] for place in told if place[0] == "epoch"] == list(range(EPOCHS))
    assert list(told)[-1][0] == "final"
    return told


def agree(found: dict, expected: dict, rel: float) -> None:
    """What two runs have learnt is the same; with ``rel`` 0, on the same ranks, to the last bit."""
    assert found.keys() == expected.keys()
    for place in expected:
        got, wanted = ({key: value for key, value in told[place].items() if value is not None and (
            rel == 0 or key != "edges")} for told in (found, expected))     # trainers that meet draw the same edges
        assert got == (wanted if rel == 0 else pytest.approx(wanted, rel=rel)), place


def undisturbed(graph: Path, folder: Path, np: int, *more: str) -> dict:
    words = command(graph, folder, *more)
    done = mpirun(words, np, timeout=240) if np > 1 else run([python(), *words], timeout=240)
    assert done.returncode == 0, str(done)
    return results(folder)


@pytest.fixture(scope="module")
def on_three(graphs, tmp_path_factory):
    """What three ranks learn in single precision."""
    return undisturbed(graphs["metis4"], tmp_path_factory.mktemp("three"), 3)


@pytest.fixture(scope="module")
def alone(graphs, tmp_path_factory):
    """What one process learns in double precision."""
    return undisturbed(graphs["one"], tmp_path_factory.mktemp("alone"), 1, "--precision", "fp64")


class Job:
    """A job under way, which is gone with the ``with`` block.  See `start` of what is not fresh."""

    def __init__(self, arguments: list[str], np: int, mpi: str, folder: Path, fresh: bool = False):
        if missing(mpi):
            pytest.skip(missing(mpi))
        self.folder, self.token, self.np = folder, uuid.uuid4().hex, np
        words = [*launcher(np, mpi), python(mpi)] if np > 1 else [python(mpi)]
        self.process = start([*words, *arguments], self.token, fresh=fresh)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        kill(processes(self.token))
        self.process.wait()

    def wait_for_steps(self, count: int) -> None:
        metrics = self.folder / "run" / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b'"event": "step"') >= count, 150,
                 self.process)

    def ranks(self) -> list[int]:
        """Processes of the ranks that have started, by rank."""
        if self.np == 1:
            return [self.process.pid]
        found = {rank_of(pid): pid for pid in processes(self.token)}
        return [found[str(rank)] for rank in range(self.np) if str(rank) in found]

    def end(self, seconds: float = 150) -> tuple[int, str]:
        """Exit code and output."""
        output, _ = self.process.communicate(timeout=seconds)
        wait_for(lambda: not processes(self.token), 5, self.process)
        return self.process.returncode, output


def stopped(graph: Path, folder: Path, np: int, mpi: str, steps: int, how, *more: str) -> int:
    """Begin or go on with a run, and stop it after some steps; returns how many it has done."""
    with Job(command(graph, folder, "--resume", "auto", *more), np, mpi, folder) as job:
        job.wait_for_steps(steps)
        how(job)
        code, output = job.end()
        assert code == STOPPED and "Traceback" not in output, f"exit code {code}\n{output}"
        assert output.count("mpignn: stopped: asked to stop after") == 1, output
    done = [event for event in events(folder) if event["event"] == "step"]
    newest = max((folder / "run" / "checkpoints").iterdir())
    assert newest.name == f"step-{len(done):09d}"       # no step that was done is done again
    return len(done)


def usr1_to(rank: int):
    return lambda job: os.kill(job.ranks()[rank], signal.SIGUSR1)


def usr1_to_all(job):
    for _ in range(5):
        for pid in job.ranks():
            os.kill(pid, signal.SIGUSR1)


def to_launcher(number: int):
    return lambda job: job.process.send_signal(number)


def test_a_run_that_is_stopped_twice_learns_the_same_to_the_last_bit(graphs, on_three, tmp_path):
    first = stopped(graphs["metis4"], tmp_path, 3, "mpich", 10, usr1_to(2))
    second = stopped(graphs["metis4"], tmp_path, 3, "mpich", first + 15, usr1_to_all)
    assert 10 <= first < second < EPOCHS * STEPS
    done = mpirun(command(graphs["metis4"], tmp_path, "--resume"), 3)
    assert done.returncode == 0, str(done)
    agree(results(tmp_path), on_three, 0)


def test_a_run_that_only_moves_data_stops_within_a_pass(graphs, tmp_path):
    words = ["-m", "mpignn", "train", str(graphs["metis4"]), "--run-dir", str(tmp_path / "run"), "--data-path-only",
             "--global-batch-size", "1", "--epochs", str(EPOCHS)]
    with Job(words, 3, "mpich", tmp_path) as job:
        job.wait_for_steps(20)
        usr1_to(2)(job)
        code, output = job.end()
    assert code == STOPPED and "Traceback" not in output and output.count("mpignn: stopped: asked to stop") == 1, output
    assert sum(event["event"] == "step" for event in events(tmp_path)) % 2400 != 0


SHAPES = [("mpich", 4, "random4", ("--ranks-per-node", "2", "--replicate", "none")),
          ("openmpi", 3, "metis4", ("--servers-per-node", "0")),
          ("mpich", 1, "one", ()), ("openmpi", 5, "metis4", ("--servers-per-node", "2", "--access", "owner")),
          ("mpich", 2, "metis4", ("--servers-per-node", "1", "--prefetch", "3"))]


def test_other_ranks_servers_and_partitions_go_on_with_a_run(graphs, alone, tmp_path):
    ways = [usr1_to(1), to_launcher(signal.SIGUSR1)]
    steps = 0
    for (mpi, np, graph, more), how in zip(SHAPES, ways, strict=False):
        steps = stopped(graphs[graph], tmp_path, np, mpi, steps + 20, how, "--precision", "fp64", *more)
    done = mpirun(command(graphs["random4"], tmp_path, "--resume", "auto", "--precision", "fp64"), 3)
    assert done.returncode == 0, str(done)
    agree(results(tmp_path), alone, 1e-9)


@pytest.mark.parametrize("mpi", ["mpich", pytest.param("openmpi", marks=pytest.mark.long)])
def test_a_server_that_is_signalled_serves_on_and_a_rank_that_starts_stops_at_its_first_chance(graphs, tmp_path, mpi):
    with Job(command(graphs["one"], tmp_path), 2, mpi, tmp_path, fresh=True) as job:
        wait_for(lambda: len(job.ranks()) == 2, 30, job.process)
        time.sleep(0.5)                 # Python itself knows no better in its first moments
        os.kill(job.ranks()[0], signal.SIGUSR1)
        os.kill(job.ranks()[1], signal.SIGUSR1)
        code, output = job.end()
    assert code == STOPPED and output.count("mpignn: stopped: asked to stop") == 1, output
    with Job(command(graphs["one"], tmp_path, "--resume"), 2, mpi, tmp_path) as job:
        job.wait_for_steps(5)
        os.kill(job.ranks()[0], signal.SIGUSR1)
        code, output = job.end()
    assert code == 0 and "stopped" not in output, output
    results(tmp_path)


def test_a_time_limit_stops_a_run(graphs, tmp_path):
    done = run([python(), *command(graphs["one"], tmp_path, "--epochs", "100000", "--time-limit", "2")])
    assert done.returncode == STOPPED, str(done)
    assert done.stderr.count("mpignn: stopped: asked to stop") == 1, str(done)      # it may still have been starting


# Where a rank of three is asked to stop, rank 0 being the server; steps that are done then; what is said.
EARLY = [(0, "load graph", 0, "while the graph was being read"), (0, "publish graph", 0, "before training began"),
         (1, "compile kernels", 0, "before training began"), (2, "set up training", 0, "before a step was made")]
LATE = [(rank, phase, steps, f"after {steps} steps") for rank, phase, steps in (
    (1, "write checkpoint", STEPS), (2, "evaluate val", 3 * STEPS), (1, "evaluate test", EPOCHS * STEPS))]


def stopped_in(graph: Path, folder: Path, rank: int, phase: str, steps: int, said: str) -> None:
    """Begin or go on with a run in which a rank is asked to stop as it enters a phase."""
    script = str(Path(__file__).with_name("stopping_job.py"))
    words = command(graph, folder, "--resume", "auto", "--checkpoint-every", "1")[2:]
    done = mpirun([script, str(rank), phase, *words], 3)
    assert done.returncode == STOPPED and "Traceback" not in done.stderr, str(done)
    assert done.stderr.count("mpignn: stopped: asked to stop") == 1 and said in done.stderr, str(done)
    newest = max((path.name for path in (folder / "run" / "checkpoints").glob("step-*")), default=None)
    assert newest == (f"step-{steps:09d}" if steps else None)


def test_a_run_that_is_asked_to_stop_before_it_learns_leaves_at_once(graphs, tmp_path):
    for where in EARLY:
        stopped_in(graphs["metis4"], tmp_path, *where)


def test_whatever_a_run_does_when_it_is_asked_to_stop_it_goes_on_the_same(graphs, on_three, tmp_path):
    for where in LATE:
        stopped_in(graphs["metis4"], tmp_path, *where)
    done = mpirun(command(graphs["metis4"], tmp_path, "--resume"), 3)
    assert done.returncode == 0, str(done)
    agree(results(tmp_path), on_three, 0)


def test_sigterm_stops_a_run_under_the_launcher_of_mpich(graphs, tmp_path):
    """Every rank gets it.  That of Open MPI kills its ranks."""
    stopped(graphs["metis4"], tmp_path, 3, "mpich", 10, to_launcher(signal.SIGTERM), "--epochs", "100000")


def test_what_is_of_another_run_is_refused_with_the_difference_before_anything_is_loaded(graphs, tmp_path):
    assert run([python(), *command(graphs["one"], tmp_path, "--epochs", "1")]).returncode == 0
    kept = [tmp_path / "run" / name for name in ("metrics.jsonl", "config.toml")]
    before = [path.read_bytes() for path in kept]
    for more, code, text in (("wordnet", 2, "is of another graph"),
                             (["--lr", "0.02"], 2, "lr: 0.01 there, 0.02 here"),
                             (["--global-batch-size", "47"], 2, f"global_batch_size: {2400 // STEPS} there, 47 here"),
                             (["--resume", str(tmp_path / "none")], 3, "neither a run folder with checkpoints nor")):
        graph, more = (more, []) if more == "wordnet" else (graphs["one"], more)
        done = run([python(), *command(graph, tmp_path, "--resume", *more)])
        assert done.returncode == code and text in done.stderr and "Traceback" not in done.stderr, str(done)
        assert "loaded and verified" not in done.stderr, str(done)
        assert not list((tmp_path / "run").glob("bundled-graph*"))
        assert [path.read_bytes() for path in kept] == before


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_run_of_another_version_is_refused_in_one_line(graphs, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    assert run([python(), *command(graphs["one"], tmp_path, "--epochs", "1")]).returncode == 0
    for name in ("checkpoints", "trained"):
        for _, path in snapshot.found_in(tmp_path / "run" / name):
            as_of(path, OLD, "mpignn 0.0.9")
    for words in (["train", "--resume"], ["eval"], ["infer", "--out", str(tmp_path / "pred.h5")]):
        done = mpirun(["-m", "mpignn", *words, str(tmp_path / "run")], 3, mpi)
        assert done.returncode == 3 and "written by mpignn 0.0.9; this is mpignn" in done.stderr, str(done)
        assert "Traceback" not in done.stderr and done.stderr.count("mpignn: error") == 1, str(done)


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_run_goes_on_by_its_name_alone_on_other_ranks(graphs, tmp_path, mpi):
    """Its global batch is that of the trainers that began it; who serves is another matter."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    shared = ["--fanouts", "2", "--hidden", "4", "--batch-size", "100", "--run-dir", str(tmp_path / "run")]
    of_three = ["--servers-per-node", "1", "--epochs", "1"]
    begun = mpirun(["-m", "mpignn", "train", str(graphs["one"]), *shared, *of_three], 3, mpi)
    assert begun.returncode == 0, str(begun)
    done = run([python(mpi), "-m", "mpignn", "train", "--resume", str(tmp_path / "run"), "--epochs", "2"])
    assert done.returncode == 0 and "global batches of 200" in done.stderr, str(done)
    steps = [event["epoch"] for event in events(tmp_path) if event["event"] == "step"]
    assert steps == [0] * 12 + [1] * 12


def test_a_run_is_measured_by_one_rank_though_some_served_in_it(graphs, tmp_path):
    words = ["--fanouts", "2", "--hidden", "4", "--epochs", "1", "--servers-per-node", "1", "--run-dir",
             str(tmp_path / "run")]
    begun = mpirun(["-m", "mpignn", "train", str(graphs["one"]), *words], 2)
    assert begun.returncode == 0, str(begun)
    done = run([python(), "-m", "mpignn", "eval", str(tmp_path / "run")])
    assert done.returncode == 0, str(done)


def test_the_line_that_a_stopped_run_hints_at_goes_on_with_its_own_settings(graphs, tmp_path):
    run_dir = tmp_path / "my runs" / "it's one"
    (tmp_path / "job.toml").write_text(f"[train]\nrun_dir = {json.dumps(str(run_dir))}\nlr = 0.01\n")
    begun = ["-m", "mpignn", "train", str(graphs["one"]), *SETTINGS[:-4], "--config", str(tmp_path / "job.toml")]
    with Job(begun, 1, "mpich", tmp_path) as job:
        metrics = run_dir / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b'"event": "step"') >= 10, 150, job.process)
        usr1_to(0)(job)
        code, output = job.end()
    hint = re.search("go on with `mpignn (train --resume .*)`\n", output)
    assert code == STOPPED and hint, output
    line, config = [python(), "-m", "mpignn", *shlex.split(hint[1])], (run_dir / "config.toml").read_bytes()
    done = run([*line, "--lr", "0.02"])
    assert done.returncode == 2 and "lr: 0.01 there, 0.02 here" in done.stderr, str(done)
    assert (run_dir / "config.toml").read_bytes() == config
    same = ["--eval-fanouts", "3,4,5", "--layers", "3", "--metrics", "acc", "--target-ntype", "_N", "--tensor-bytes",
            "8"]
    done = run([*line, *same, "--epochs", "3"], cwd=tmp_path)
    assert done.returncode == 0 and "going on from" in done.stderr, str(done)
    told = [json.loads(text) for text in metrics.read_text().splitlines()]
    assert [(event["epoch"], event["step"]) for event in told if event["event"] == "step"] == [
        (epoch, step) for epoch in range(3) for step in range(STEPS)]
    assert not (tmp_path / "runs").exists()


def test_short_passes_write_a_checkpoint_each_only_where_asked(graphs, tmp_path):
    for more, epochs in (([], [3]), (["--checkpoint-every", "1", "--keep", "9"], [1, 2, 3])):
        done = run([python(), *command(graphs["one"], tmp_path / str(len(epochs)), "--epochs", "3", *more)])
        assert done.returncode == 0, str(done)
        folder = tmp_path / str(len(epochs)) / "run" / "checkpoints"
        assert sorted(path.name for path in folder.iterdir()) == [f"step-{STEPS * epoch:09d}" for epoch in epochs]


def test_checkpoints_of_the_best_validations_are_kept(graphs, tmp_path):
    """Those of a run that was stopped between them are those of one that was not."""
    for folder, parts in (("whole", [5]), ("parts", [2, 5])):
        for epochs in parts:
            more = ["--epochs", str(epochs), "--eval-every", "1", "--keep-best", "2", "--keep", "1", "--resume", "auto"]
            done = run([python(), *command(graphs["one"], tmp_path / folder, *more)])
            assert done.returncode == 0, str(done)
    run_dir = tmp_path / "whole" / "run"
    events = [json.loads(text) for text in (run_dir / "metrics.jsonl").read_text().splitlines()]
    values = [event["val_acc"] for event in events if event["event"] == "epoch"]
    best = sorted(range(5), key=lambda epoch: (-values[epoch], epoch))[:2]
    expected = sorted({f"step-{STEPS * (epoch + 1):09d}" for epoch in (*best, 4)})
    for folder in "whole", "parts":
        found = (tmp_path / folder / "run" / "checkpoints").iterdir()
        assert sorted(path.name for path in found) == expected, (folder, values)


def die(job: Job, chance: random.Random) -> None:
    """Kill a random rank at a random moment, every other time while a checkpoint is being written."""
    if chance.random() < 0.5:
        folder = job.folder / "run" / "checkpoints"
        end = time.monotonic() + chance.uniform(0.1, 1)
        while time.monotonic() < end or not any(".partial-" in path.name for path in folder.glob(".*")):
            if job.process.poll() is not None:
                return
            time.sleep(0.001)
    else:
        time.sleep(chance.uniform(0, 1.5))
    ranks = job.ranks()
    if ranks:
        kill([chance.choice(ranks)])


def survive(graphs, folder: Path, chance: random.Random, deaths: int, shapes, *more: str) -> dict:
    """A run in which ranks die some times, each time gone on with in another shape; returns what it has learnt."""
    checkpoints = folder / "run" / "checkpoints"
    for death in range(deaths + 1):
        mpi, np, graph, options = chance.choice(shapes)
        whole = sorted(path.name for path in checkpoints.glob("step-*"))
        arguments = command(graphs[graph], folder, "--resume", "auto", "--checkpoint-steps", "3", *more, *options)
        with Job(arguments, np, mpi, folder) as job:
            if death < deaths:
                done = int(whole[-1][5:]) if whole else 0
                job.wait_for_steps(min(done + 1, EPOCHS * STEPS - 1))
                die(job, chance)
            code, output = job.end()
        assert code == 0 or death < deaths, output
        begun = set(re.findall(r"going on from (\S+):", output))
        if whole and (begun or code == 0):      # where the newest checkpoint was, which was whole; or it died before
            assert begun == {str(checkpoints / whole[-1])}, output
        assert "damaged" not in output and "mpignn: error" not in output, output
        if code == 0:
            break
    return results(folder)


@pytest.mark.long
@pytest.mark.parametrize("case", range(50))
def test_a_run_whose_ranks_die_a_hundred_times_learns_the_same(graphs, on_three, alone, tmp_path, case):
    """Two deaths in each case; every other one goes on with three ranks each time, to the last bit."""
    chance = random.Random(case)
    if case % 2:
        shapes = [(mpi, 3, "metis4", ()) for mpi in MPIS]
        agree(survive(graphs, tmp_path, chance, 2, shapes), on_three, 0)
    else:
        agree(survive(graphs, tmp_path, chance, 2, SHAPES, "--precision", "fp64"), alone, 1e-9)


@pytest.mark.parametrize(("choice", "code"), [("continue", 0), pytest.param("stop", 4, marks=pytest.mark.long)])
def test_a_disk_that_takes_no_more_costs_no_checkpoint(graphs, tmp_path, choice, code):
    """From the fourth epoch on no file may grow beyond 200 KB: the metrics can go on, checkpoints cannot."""
    script = str(Path(__file__).with_name("full_disk_job.py"))
    every = ["--checkpoint-every", "2"]
    words = command(graphs["metis4"], tmp_path, *every, "--on-checkpoint-error", choice)[2:]
    done = mpirun([script, "-1", "epoch 3", str(200 << 10), *words], 3)
    assert done.returncode == code and "Traceback" not in done.stderr, str(done)
    assert "no checkpoint can be written: File too large" in done.stderr, str(done)
    folder = tmp_path / "run" / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {f"step-{2 * STEPS:09d}", f"step-{3 * STEPS:09d}"}
    done = mpirun(command(graphs["metis4"], tmp_path, "--resume", *every), 3)
    assert done.returncode == 0 and f"going on from {folder / f'step-{3 * STEPS:09d}'}" in done.stderr, str(done)
    results(tmp_path)


@pytest.mark.parametrize(("choice", "code"), [("continue", 0), pytest.param("stop", 4, marks=pytest.mark.long)])
def test_a_folder_that_cannot_be_written_costs_no_checkpoint(graphs, tmp_path, choice, code):
    """A run goes on where the folder of its checkpoints is mounted read-only."""
    words = command(graphs["metis4"], tmp_path, "--checkpoint-every", "1", "--on-checkpoint-error", choice)
    assert mpirun([*words, "--epochs", "2"], 3, timeout=240).returncode == 0
    folder = tmp_path / "run" / "checkpoints"
    before = {path: path.read_bytes() for path in folder.glob("*/*")}
    assert {path.parent.name for path in before} == {f"step-{STEPS:09d}", f"step-{2 * STEPS:09d}"}
    done = run([*read_only(folder), *launcher(3), python(), *words, "--resume"], timeout=240)
    assert done.returncode == code and "Traceback" not in done.stderr, str(done)
    assert "no checkpoint can be written: Read-only file system" in done.stderr, str(done)
    assert {path: path.read_bytes() for path in folder.glob("*/*")} == before
    if code == 0:
        results(tmp_path)


@pytest.mark.parametrize(("mpi", "rank"), [("mpich", 2), pytest.param("openmpi", 0, marks=pytest.mark.long)])
def test_ranks_that_wait_for_a_silent_one_end_the_job(graphs, tmp_path, mpi, rank):
    more = ["--epochs", "100000", "--eval-every", "0", "--hang-timeout", "3", "--access", "owner", "--ranks-per-node",
            "2", "--replicate", "none"]
    with Job(command(graphs["metis4"], tmp_path, *more), 4, mpi, tmp_path) as job:
        job.wait_for_steps(5)
        os.kill(stood_for(job.ranks()[rank], job.token), signal.SIGSTOP)
        code, output = job.end()
    assert code != 0 and "given up (--hang-timeout)" in output, output
    assert re.search(r"nothing has happened for \d+ s in phase 'epoch .*, waiting for", output), output
    assert "Thread" in output and "train/loop.py" in output, output     # where it waits
    words = [json.loads(line) for line in (tmp_path / "run" / "hang.jsonl").read_text().splitlines()]
    assert 1 <= len({word["who"] for word in words}) == len(words) <= 3
    assert any("epoch" in word["phase"] and word["waits_for"] and "mpignn" in str(word["stacks"]) for word in words)
    assert run([python(), "-m", "mpignn", "report", str(tmp_path / "run")]).returncode == 0
    assert "This run hung after" in (tmp_path / "run" / "report.html").read_text()


def test_a_run_that_is_under_way_can_be_measured(graphs, tmp_path):
    more = ["--epochs", "100000", "--eval-every", "1000", "--checkpoint-steps", "20"]
    measure = [python(), "-m", "mpignn", "eval", str(tmp_path / "run")]
    done = run(measure)
    assert done.returncode == 2 and "no run folder" in done.stderr, str(done)
    with Job(command(graphs["one"], tmp_path, *more), 1, "mpich", tmp_path) as job:
        job.wait_for_steps(30)
        done = run(measure)
        assert done.returncode == 0 and "has not ended: these are its latest parameters" in done.stderr, str(done)
        assert job.process.poll() is None
    values = json.loads((tmp_path / "run" / "eval" / "eval.json").read_text())
    assert values.keys() == {"val_acc", "test_acc"} and values["val_acc"] > 1.5 / 7


@pytest.mark.parametrize("mpi", ["mpich", pytest.param("openmpi", marks=pytest.mark.long)])
def test_of_a_run_that_was_stopped_the_best_parameters_so_far_are_used(graphs, tmp_path, mpi):
    stopped(graphs["metis4"], tmp_path, 3, mpi, 4 * STEPS, usr1_to(1), "--epochs", "100000", "--eval-every", "1",
            "--lr", "0.1")
    told = {event["epoch"]: event["val_acc"] for event in events(tmp_path) if event["event"] == "epoch"}
    best = max(told, key=lambda epoch: (told[epoch], -epoch))
    done = mpirun(["-m", "mpignn", "eval", str(tmp_path / "run"), "--sampled"], 3, mpi)
    assert done.returncode == 0, str(done)
    assert f"its best parameters so far, of epoch {best}, after {STEPS * (best + 1)} of " in done.stderr, str(done)
    assert json.loads((tmp_path / "run" / "eval" / "eval.json").read_text())["val_acc"] == told[best]
    done = run([python(), "-m", "mpignn", "infer", str(tmp_path / "run"), "--out", str(tmp_path / "pred.h5")])
    assert done.returncode == 0 and f"of epoch {best}" in done.stderr and (tmp_path / "pred.h5").exists(), str(done)
