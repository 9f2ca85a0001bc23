"""Jobs over several hosts, each with its own address, host name and shared memory."""

import json
import re
import sys
import uuid
from pathlib import Path

import pytest
from beds import run

from graphs import write_hetero_cuts
from mpirun import kill, processes, rank_of, start, wait_for
from recorded import DRAWING_JOB, JOB, drawn, recorded

WHERE = """
import socket
from mpi4py import MPI
world = MPI.COMM_WORLD
places = world.gather((world.rank, socket.gethostname(), world.Split_type(MPI.COMM_TYPE_SHARED).size))
if world.rank == 0:
    print(places)
"""
OPTIONS = ["--fanouts", "5,5", "--hidden", "16", "--global-batch-size", "200", "--epochs", "2", "--precision", "fp64",
           "--seed", "3"]


def results(run_dir):
    """Loss of each step, and the test accuracy."""
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "final"
    return [event["loss"] for event in events if event["event"] == "step"], events[-1]["test_acc"]


@pytest.fixture(scope="module")
def graph(source, tmp_path_factory):
    """The source in three partitions."""
    folder = tmp_path_factory.mktemp("graph") / "parts"
    done = run([sys.executable, "-m", "mpignn", "partition", source, folder, "--parts", "3"], 60)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(graph, tmp_path_factory):
    """What one process draws in each step, its losses and test accuracy."""
    folder = tmp_path_factory.mktemp("alone")
    done = run([sys.executable, JOB, folder, "train", graph, *OPTIONS, "--run-dir", folder / "run"], 90)
    assert done.returncode == 0, done.stderr
    return drawn(recorded(folder)), *results(folder / "run")


@pytest.mark.timeout(60)
def test_mpi_takes_each_host_for_a_node(hosts, mpi):
    done = run([*mpi.over_hosts(hosts, 4), mpi.python, "-c", WHERE], 50, env=mpi.environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(0, 'h1', 2), (1, 'h1', 2), (2, 'h2', 2), (3, 'h2', 2)]"


@pytest.mark.by_turns
@pytest.mark.timeout(200)
@pytest.mark.parametrize("roles", [[], ["--servers-per-node", "0", "--replicate", "none"]],
                         ids=["servers", "no-servers"])
def test_training_over_two_hosts_is_that_of_one_process(hosts, mpi, graph, alone, roles, tmp_path):
    is_that_of_one_process(hosts, mpi, 4, graph, alone, roles, tmp_path)


# On three hosts: both ways to rows of other nodes; servers on other hosts than some trainers, or than all of them
# but one; a copy of the structure on every host; copies of everything, one on a group of two hosts and one on the rest.
@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("options", ["--access owner --replicate none", "--access rma --replicate none",
                                     "--access auto --server-nodes 2 --replicate none",
                                     "--access owner --server-nodes 1 --replicate none",
                                     "--access rma --server-nodes 1 --replicate none",
                                     "--access rma --replicate topology", "--access owner --replicate topology",
                                     "--access rma --replicate all --replicate-nodes 2",
                                     "--access owner --replicate all --replicate-nodes 2"])
def test_training_over_three_hosts_is_that_of_one_process(hosts, mpi, graph, alone, options, tmp_path):
    is_that_of_one_process(hosts, mpi, 6, graph, alone, options.split(), tmp_path)


def is_that_of_one_process(hosts, mpi, ranks, graph, alone, options, tmp_path):
    """Train on some ranks; draws, losses and accuracy must be those of `alone`."""
    done = run([*mpi.over_hosts(hosts, ranks), *mpi.forked_on(hosts, ranks // 2), JOB, tmp_path, "train", graph,
                *OPTIONS, *options, "--run-dir", tmp_path / "run"], 120, env=mpi.environment())
    assert done.returncode == 0, done.stderr
    expected_draws, expected, expected_accuracy = alone
    assert drawn(recorded(tmp_path)) == expected_draws and len(expected_draws) == 20
    losses, accuracy = results(tmp_path / "run")
    assert len(expected) == 10 and expected[-1] < expected[0]
    assert losses == pytest.approx(expected, rel=1e-9) and accuracy == expected_accuracy


@pytest.mark.by_turns
@pytest.mark.timeout(240)
def test_two_hosts_draw_in_every_way_what_one_process_draws(hosts, mpi, tmp_path):
    write_hetero_cuts(tmp_path)

    def draw(name, cut, launcher, **told):
        (tmp_path / name).mkdir()
        done = run([*launcher, DRAWING_JOB, tmp_path / name, tmp_path / cut, json.dumps(told)], 100,
                   env=mpi.environment())
        assert done.returncode == 0, done.stderr
        return drawn(recorded(tmp_path / name))

    alone = draw("alone", "one", mpi.forked(), threads=1, prefetch=1)
    assert len(alone) == 110
    over_hosts = [*mpi.over_hosts(hosts, 4), *mpi.forked_on(hosts, 2)]
    assert draw("hosts", "random8", over_hosts, threads=2, prefetch=3, replicate="none") == alone


ROWS_JOB = Path(__file__).parents[1] / "mpi" / "hosts_job.py"


@pytest.mark.timeout(420)
@pytest.mark.parametrize("number", [2, pytest.param(3, marks=pytest.mark.long)])
def test_rows_between_hosts_are_those_within_one(hosts, mpi, number):
    job = run([*mpi.over_hosts(hosts, 2 * number), *mpi.forked_on(hosts, number), ROWS_JOB, number], 400,
              env=mpi.environment())
    assert job.returncode == 0, job
    assert f"checked on nodes {[rank // 2 for rank in range(2 * number)]}" in job.stdout, job


def ranks_in(folder: Path) -> list[int]:
    """The ranks of a job that works in a folder; a remote shell hands down no environment to know them by."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if bytes(folder) in path.read_bytes() and rank_of(int(path.parent.name)) is not None:
                found.append(int(path.parent.name))
        except OSError:     # it has ended
            continue
    return found


@pytest.mark.timeout(180)
def test_ranks_end_by_themselves_when_the_link_goes_down(hosts, mpi, graph, tmp_path):
    """No MPI call tells of it; the launcher may not end either."""
    words = [*mpi.over_hosts(hosts, 4), *mpi.forked_on(hosts, 2), "-m", "mpignn", "train", graph, *OPTIONS[:-4],
             "--epochs", "100000", "--eval-every", "0", "--hang-timeout", "3", "--run-dir", tmp_path / "run"]
    token = uuid.uuid4().hex
    job = start([str(word) for word in words], token, mpi.environment())
    try:
        metrics = tmp_path / "run" / "metrics.jsonl"
        wait_for(lambda: job.poll() is not None or metrics.exists() and metrics.stat().st_size > 1000, 60, job)
        began = len(ranks_in(tmp_path))
        run([hosts / "link", "h2", "down"], 5)
        wait_for(lambda: not ranks_in(tmp_path), 60, job)
    finally:
        run([hosts / "link", "h2", "up"], 5)
        kill([*ranks_in(tmp_path), *processes(token)])
        output, _ = job.communicate()
    assert began == 4, output
    assert re.search(r"nothing has happened for \d+ s in phase '.*, waiting for .*: given up", output), output
