"""A file of predictions that finds no room: one error, nothing half-written, an earlier file as it was."""

import os
from pathlib import Path

import pytest

from mpignn.storage.synth import make_graph
from mpignn.storage.write import partition_graph
from mpirun import launcher, missing, mpirun, python, run

JOB = str(Path(__file__).with_name("full_disk_job.py"))
NODES, CLASSES = 40_000, 7
ROWS_BYTES = NODES * (4 * CLASSES + 8)      # float32 logits and an int64 prediction for each node: three blocks of both
PRECIOUS = "precious"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A graph, and a run on it."""
    folder = tmp_path_factory.mktemp("trained")
    make_graph(folder / "source", nodes=NODES, avg_degree=2, classes=CLASSES, block_size=200, feat_dim=4, signal=0.6,
               train=0.01, val=0.01)
    partition_graph(folder / "source", folder / "graph", 2, method="range")
    words = [python(), "-m", "mpignn", "train", str(folder / "graph"), "--run-dir", str(folder / "run"), "--epochs",
             "1", "--hidden", "4", "--fanouts", "2"]
    done = run(words)
    assert done.returncode == 0, str(done)
    return folder


def infer(folder, out):
    return ["infer", str(folder / "run"), str(folder / "graph"), "--out", str(out)]


def check_end(done, said):
    """One error, of a disk."""
    assert done.returncode == 4 and "Traceback" not in done.stderr, str(done)
    assert done.stderr.count("mpignn: error:") == 1 and said in done.stderr, str(done)


@pytest.mark.parametrize(("mpi", "rank"), [("mpich", 2), ("openmpi", 2), pytest.param("mpich", 1,
                                                                                      marks=pytest.mark.long)])
def test_one_trainer_that_finds_no_room_leaves_no_file(trained, tmp_path, mpi, rank):
    """Two trainers, 1 and 2 of three ranks; the first of them also makes the file."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    out = tmp_path / "pred.h5"
    out.write_text(PRECIOUS)
    words = [JOB, str(rank), "write predictions", str(ROWS_BYTES // 4), *infer(trained, out)]
    check_end(mpirun(words, 3, mpi), "pred.h5: cannot be written: File too large")
    assert [path.name for path in tmp_path.iterdir()] == ["pred.h5"] and out.read_text() == PRECIOUS
    done = mpirun(["-m", "mpignn", *infer(trained, out)], 3, mpi)
    assert done.returncode == 0 and out.stat().st_size > ROWS_BYTES, str(done)


IN_MEMORY = """
mount -t tmpfs -o size="$0" tmpfs "$DISK" && printf precious > "$DISK/pred.h5" && "$@"
code=$?; echo "left: $(ls -A "$DISK"): $(cat "$DISK/pred.h5")"; exit $code
"""


@pytest.mark.parametrize(("free", "said"), [
    (-ROWS_BYTES // 2, "MB free"), (os.sysconf("SC_PAGE_SIZE"), "cannot be written: No space left on device")],
    ids=["for half of the rows", "for the rows, but not for what HDF5 adds"])
def test_a_small_file_system_keeps_the_file_that_it_has(trained, tmp_path, free, said):
    """The room that is there is seen at the beginning, or missed in the middle."""
    if run(["unshare", "--mount", "--propagation", "private", "true"]).returncode:
        pytest.skip("no mount namespaces here")
    disk, page = tmp_path / "disk", os.sysconf("SC_PAGE_SIZE")
    disk.mkdir()
    size = (ROWS_BYTES + free) // page * page + 2 * page        # a page for the earlier file, and what was cut off
    done = run(["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_MEMORY, str(size), *launcher(3),
                python(), "-m", "mpignn", *infer(trained, disk / "pred.h5")], env={"DISK": str(disk)}, fresh=False)
    check_end(done, said)
    assert f"left: pred.h5: {PRECIOUS}\n" in done.stdout, str(done)
