"""Jobs that copy part files to their nodes' own disks, and read them there."""

import json
import shutil

import pytest

from mpirun import MPIS, missing, mpirun

JOB = ("--fanouts", "3,3", "--hidden", "4", "--epochs", "1", "--global-batch-size", "1200", "--seed", "3")


def train(graph, folder, name, mpi, np_=4, *more):
    done = mpirun(["-m", "mpignn", "train", str(graph), *JOB, "--run-dir", name, *more], np_, mpi, cwd=folder)
    return done, (folder / name / "metrics.jsonl")


def losses(metrics):
    events = map(json.loads, metrics.read_text().splitlines())
    found = [event["loss"] for event in events if event["event"] == "step"]
    assert found
    return found


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_later_job_reads_what_an_earlier_one_has_copied(graphs, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    graph, local = tmp_path / "graph", tmp_path / "local"
    shutil.copytree(graphs["metis4"], graph)
    plain, reference = train(graph, tmp_path, "plain", mpi)
    assert plain.returncode == 0, str(plain)
    first, copied = train(graph, tmp_path, "first", mpi, 4, "--ranks-per-node", "2", "--stage", str(local))
    assert first.returncode == 0 and "copied 2 part file(s)" in first.stderr + first.stdout, str(first)
    copies = sorted(path for path in local.rglob("*") if path.is_file())
    assert [path.name for path in copies] == [f"part-{part:05d}.h5" for part in range(4)]
    for path in copies:
        assert path.read_bytes() == (graph / path.name).read_bytes()
        (graph / path.name).write_bytes(bytes(path.stat().st_size))     # nobody reads them any more
    again, read = train(graph, tmp_path, "again", mpi, 4, "--servers-per-node", "2", "--stage", str(local))
    assert again.returncode == 0 and "copied" not in again.stderr + again.stdout, str(again)
    for metrics in copied, read:
        assert losses(metrics) == pytest.approx(losses(reference), rel=1e-4)
    for words, code, told in ((("--stage", str(graph / "graph.h5")), 2, "graph.h5: cannot copy part files there"),
                              (("--stage", str(tmp_path / "new")), 3, "part-00000.h5: expected CRC-32"),
                              ((), 3, "part-00000.h5: not an HDF5 file")):
        done, _ = train(graph, tmp_path, f"bad{code}", mpi, 3, *words)
        assert done.returncode == code and told in done.stderr, str(done)
        assert done.stderr.count("mpignn: error:") == 1, str(done)
