"""Whenever `partition` is killed, no graph is there that is not whole, and the next command loses a stage at most."""

import random
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from mpignn.storage.check import check
from mpirun import kill, launcher, missing, processes, python, run, start, wait_for

PARTITION = ["-m", "mpignn", "partition"]
OPTIONS = ["--parts", "3", "--method", "random", "--memory", "60K", "--out-edges"]
LONGER = ["--parts", "3", "--memory", "100K"]       # METIS cuts


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[Path]:
    """Edges as arrays, which go through files where memory is short; and as a table."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    (folder / "arrays").mkdir()
    src, dst = rng.integers(0, 4000, (2, 60_000))
    for name, array in {"src": src, "dst": dst, "features": rng.random((4000, 8))}.items():
        np.save(folder / "arrays" / f"{name}.npy", array)
    lines = "\n".join(f"p{a},p{b}" for a, b in zip(src[:20_000], dst, strict=False))
    (folder / "edges.csv").write_text(f"src,dst\n{lines}\n")
    return [folder / "arrays", folder / "edges.csv"]


def killed_at(command: list[str], out: Path, delay: float) -> None:
    """Kill all processes of a command after some seconds; if the graph is there, it must be whole."""
    token = uuid.uuid4().hex
    job = start([*command, str(out)], token, fresh=False)
    time.sleep(delay)
    while left := processes(token):
        kill(left)
    job.communicate(timeout=30)
    assert not out.exists() or check(out) == [], f"killed after {delay:.3f} s"


# What is killed sooner has written nothing yet, and what is killed later has ended.
@pytest.mark.long
@pytest.mark.parametrize("block", range(5))
def test_no_graph_is_there_in_part(sources, tmp_path, block):
    for number, source in enumerate(sources):
        words = [*PARTITION, str(source)]
        began = time.monotonic()
        done = run([python(), *words, str(tmp_path / f"whole{number}"), *OPTIONS], 120)
        seconds = time.monotonic() - began
        assert done.returncode == 0 and check(tmp_path / f"whole{number}") == [], str(done)
        rng = random.Random(10 * block + number)
        for kill_number in range(5):
            out = tmp_path / f"{number}-{kill_number}"
            killed_at([python(), *words, *OPTIONS], out, rng.uniform(0.1, 1.1) * seconds)


@pytest.mark.long
@pytest.mark.parametrize("mpi", ["mpich", "openmpi"])
def test_no_graph_is_there_in_part_after_a_job_of_three(sources, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    rng = random.Random(mpi)
    for number in range(4):
        killed_at([*launcher(3, mpi), python(mpi), *PARTITION, str(sources[0]), *OPTIONS], tmp_path / f"{number}",
                  rng.uniform(0.3, 4))


@pytest.fixture(scope="module")
def whole(sources, tmp_path_factory):
    """The graph of the table by a command that nobody killed."""
    out = tmp_path_factory.mktemp("whole") / "g"
    done = run([python(), *PARTITION, str(sources[1]), str(out), *LONGER], 120)
    assert done.returncode == 0, str(done)
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("ranks", "mpi"), [(1, "mpich"), (2, "openmpi"), *(
    pytest.param(ranks, mpi, marks=pytest.mark.long) for ranks, mpi in [(1, "openmpi"), (3, "mpich"), (2, "openmpi")])])
def test_a_command_behind_killed_ones_takes_up_what_they_have_read(sources, whole, tmp_path, ranks, mpi):
    """As soon as something is kept, by another number of ranks, and at any moment of what comes then."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    out, rng = tmp_path / "g", random.Random(ranks)
    together = [*launcher(ranks, mpi), python(mpi)] if ranks > 1 else [python()]
    token = uuid.uuid4().hex
    job = start([*together, *PARTITION, str(sources[1]), str(out), *LONGER], token, fresh=False)
    wait_for(lambda: (tmp_path / ".g.read").exists() or job.poll() is not None, 120, job)
    while left := processes(token):
        kill(left)
    job.communicate(timeout=30)
    for _ in range(5 if ranks == 3 else 1):
        assert (tmp_path / ".g.read").exists() or out.exists()
        if not out.exists():
            killed_at([*together, *PARTITION, str(sources[1]), *LONGER], out, rng.uniform(0.2, 2))
    if not out.exists():
        done = run([python(), *PARTITION, str(sources[1]), str(out), *LONGER], 120)
        assert done.returncode == 0 and f"{tmp_path / '.g.read'}: taken up" in done.stderr, str(done)
        assert all(path.name.startswith(".g.partial-") for path in tmp_path.iterdir() if path != out)
    assert bytes_of(out) == bytes_of(whole)


def test_what_a_killed_command_left_is_named(sources, tmp_path):
    (tmp_path / ".graph.partial-01234567").mkdir()
    done = run([python(), *PARTITION, str(sources[1]), str(tmp_path / "graph"), *OPTIONS], 120)
    assert done.returncode == 0 and f"{tmp_path / '.graph.partial-01234567'} is left" in done.stderr, str(done)
