"""Bad input ends with one clear error, the right exit code, and nothing half-written."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import MPIS, missing, mpirun, python, run, shared_files

WITHIN_S = 5
PART = "part-00001.h5"


def expect(done, code: int, *parts: str, mpi: str = "mpich") -> None:
    """One error line with ``parts``, the exit code, in time: the launcher's own start is not ours to hasten."""
    text = done.stdout + done.stderr
    assert done.returncode == code, str(done)
    assert text.count("mpignn: error:") == 1, str(done)
    assert "Traceback" not in text, str(done)
    for part in parts:
        assert part in text, str(done)
    assert done.seconds < WITHIN_S + start_up_s(mpi), str(done)


@cache
def start_up_s(mpi: str) -> float:
    """Seconds of a job that starts MPI and does nothing."""
    return mpirun(["-c", "from mpi4py import MPI"], 3, mpi).seconds


def train(graph, folder: Path, *words: str, mpi: str = "mpich", np_: int = 3):
    before = shared_files()
    done = mpirun(["-m", "mpignn", "train", str(graph), "--run-dir", str(folder / "run"), *words], np_, mpi)
    assert shared_files() <= before
    assert not (folder / "run").exists()
    return done


def mpignn(*words):
    return run([python(), "-m", "mpignn", *map(str, words)])


@pytest.mark.parametrize(("words", "parts"), [
    (["--fanouts", "5,5", "--layers", "3"], ["2 entries", "3 layers"]),
    (["--model", "sega"], ["--model", "not one of: sage"]),
    (["--hiden", "3"], ["unknown option --hiden", "did you mean --hidden?"]),
    (["--servers-per-node", "3"], ["none is left to train"]),
    (["--servers-per-node", "4"], ["4", "3 ranks"]),
    (["--features", "feature"], ["feature", "features"]),
    (["--config", "none.toml"], ["none.toml", "No such file"]),
], ids=["fanouts", "model", "flag", "no trainer", "servers", "features", "config"])
def test_usage(graphs, tmp_path, words, parts):
    expect(train(graphs["metis4"], tmp_path, *words), 3 if words[0] == "--features" else 2, *parts)


def test_a_run_folder_is_not_overwritten(graphs, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("precious")
    done = mpirun(["-m", "mpignn", "train", str(graphs["metis4"]), "--run-dir", str(tmp_path / "run")], 3)
    expect(done, 2, "holds the metrics of another run", "--run-dir")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "precious"


@pytest.fixture
def copy(graphs, tmp_path) -> Path:
    """A graph to be spoilt."""
    shutil.copytree(graphs["metis4"], tmp_path / "graph")
    return tmp_path / "graph"


def flip(path: Path, dataset: str, element: int) -> None:
    """Change one byte of a dataset, on disk."""
    with h5py.File(path) as file:
        at = file[dataset].id.get_offset() + element * file[dataset].dtype.itemsize
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def spoil_missing(graph):
    shutil.rmtree(graph)


def spoil_part(graph):
    (graph / PART).unlink()


def spoil_foreign(graph, source):
    partition_graph(source, graph.parent / "other", 4, method="random", seed=5)
    shutil.copy(graph.parent / "other" / PART, graph / PART)


def spoil_truncated(graph):
    size = (graph / PART).stat().st_size
    os.truncate(graph / PART, size * 2 // 3)


def spoil_indices(graph):
    with h5py.File(graph / PART) as file:
        (etype,) = file["edge"]
    flip(graph / PART, f"edge/{etype}/indices", 17)


def spoil_features(graph):
    with h5py.File(graph / PART) as file:
        (ntype,) = file["node"]
    flip(graph / PART, f"node/{ntype}/data/features", 555)


def spoil_text(graph):
    (graph / "graph.h5").write_text("this is no HDF5")


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_part, spoil_truncated, spoil_indices, spoil_features,
                                   spoil_text])
def test_damaged_graphs(copy, tmp_path, spoil):
    spoil(copy)
    expect(train(copy, tmp_path), 3, str(tmp_path))
    if copy.exists():
        done = mpignn("check", copy)
        assert done.returncode == 3, str(done)


def test_a_part_of_another_graph(copy, source, tmp_path):
    spoil_foreign(copy, source)
    expect(train(copy, tmp_path), 3, PART)
    assert mpignn("check", copy).returncode == 3


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_indices])
def test_damaged_graphs_with_open_mpi(copy, tmp_path, spoil):
    if missing("openmpi"):
        pytest.skip(missing("openmpi"))
    spoil(copy)
    expect(train(copy, tmp_path, mpi="openmpi"), 3, str(tmp_path), mpi="openmpi")


def test_a_graph_that_the_models_cannot_take(tmp_path):
    np.savez(tmp_path / "source.npz", **{
        "num_nodes/a": 3, "num_nodes/b": 2, "edge/a:to:b/src": [0, 1, 2], "edge/a:to:b/dst": [1, 0, 0],
        "node/a/features": np.ones((3, 2), np.float32), "node/a/labels": [0, 1, 0], "split/a/train": [0, 1]})
    partition_graph(tmp_path / "source.npz", tmp_path / "graph", 2, method="range")
    expect(train(tmp_path / "graph", tmp_path, "--model", "mlp"), 2, "2 node types", "merge them")


def test_a_bundled_graph_leaves_nothing_when_a_name_is_wrong(tmp_path):
    expect(train("wordnet", tmp_path, "--features", "nope"), 3, "nope", "features, labels")


def test_too_little_memory(graphs, tmp_path):
    """The limit is set on the host's answer, since a test cannot shrink the machine."""
    job = tmp_path / "job.py"
    job.write_text("import sys\nimport mpignn.mpi.host as host\n"
                   "host.available_memory = lambda: (1000, 'a test')\n"
                   "from mpignn.cli import main\nsys.exit(main(sys.argv[1:]))\n")
    done = mpirun([str(job), "train", str(graphs["metis4"]), "--run-dir", str(tmp_path / "run")], 3)
    expect(done, 4, "needs", "a test")
    assert not (tmp_path / "run").exists()


# Preprocessing.

def spoilt_source(source: Path, folder: Path, name: str, change) -> Path:
    shutil.copytree(source, folder / "source")
    array = np.load(folder / "source" / f"{name}.npy")
    change(array)
    np.save(folder / "source" / f"{name}.npy", array)
    return folder / "source"


def test_ids_out_of_range(source, tmp_path):
    def change(indices):
        indices[123] = 999_999
    bad = spoilt_source(source, tmp_path, "indices", change)
    expect(mpignn("partition", bad, tmp_path / "out", "--parts", 2), 3, "999999")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_features_that_are_not_numbers(source, tmp_path):
    def change(features):
        features[77, 3] = np.nan
    bad = spoilt_source(source, tmp_path, "features", change)
    expect(mpignn("partition", bad, tmp_path / "out", "--parts", 2), 3, "77")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_probabilities_that_are_not_numbers(tmp_path):
    np.savez(tmp_path / "source.npz", **{
        "num_nodes/a": 3, "edge/a:to:a/src": [0, 1, 2], "edge/a:to:a/dst": [1, 2, 0],
        "edge/a:to:a/data/prob": np.array([0.5, np.nan, 1.0])})
    expect(mpignn("partition", tmp_path / "source.npz", tmp_path / "out", "--parts", 2), 3, "prob", "1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.npz"]


def test_out_that_exists(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    expect(mpignn("partition", source, tmp_path / "out", "--parts", 2), 2, "exists")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize(("words", "code"), [(["--parts", "0"], 2), (["--parts", "x"], 2),
                                             (["--parts", "2", "--method", "metsi"], 2)])
def test_partition_arguments(source, tmp_path, words, code):
    expect(mpignn("partition", source, tmp_path / "out", *words), code)
    assert not any(tmp_path.iterdir())


def test_a_source_that_is_none(tmp_path):
    expect(mpignn("partition", tmp_path / "none", tmp_path / "out", "--parts", 2), 3, "none")


def test_one_process_commands_refuse_mpirun(source, tmp_path):
    done = mpirun(["-m", "mpignn", "synth", str(tmp_path / "out"), "--nodes", "10"], 2)
    expect(done, 2, "without mpirun")


@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize(("words", "code", "told"), [
    (["partition", "{source}", "out", "--parts", "0"], 2, "parts is 0"),
    (["partition", "{graph}", "out", "--method", "random"], 2, "have no effect where partitions are kept"),
    (["partition", "{graph}", "out", "--put", "node/_N/labels"], 2, "expected NAME=FILE"),
    (["partition", "{long}", "out", "--parts", "2"], 3, "File name too long"),
    (["partition", "{source}", "{long}", "--parts", "2"], 3, "File name too long"),
    (["partition", "{source}", "out", "--parts", "2", "--method", "{long}"], 3, "File name too long"),
    (["partition", "{source}", "out", "--parts", "2", "--put", "labels={long}.npy"], 3, "File name too long"),
    (["partition", "{source}", "out", "--parts", "2", "--method", "metsi"], 2, "mpignn: error: method 'metsi'"),
    (["check", "{long}"], 3, "File name too long")])
def test_what_all_ranks_refuse_is_told_once(graphs, source, tmp_path, words, code, told, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    said = [word.format(source=source, graph=graphs["one"], long="a" * 300) for word in words]
    expect(mpirun(["-m", "mpignn", *said], 2, mpi, cwd=tmp_path), code, told)
    assert not any(tmp_path.iterdir())


def test_what_may_not_be_read_is_not_called_damaged(graphs, tmp_path):
    as_others = []
    if os.geteuid() == 0:       # root may read all, unless it gives that up
        as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        if shutil.which("setpriv") is None or subprocess.run([*as_others, "true"]).returncode:
            pytest.skip("no setpriv here that takes rights from root")
    shutil.copytree(graphs["metis4"], tmp_path / "graph")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "nodes.csv").write_text("id,label\n1,a\n")
    (tmp_path / "tables" / "edges.csv").write_text("src,dst\n1,1\n")
    for path in (tmp_path / "graph" / PART, tmp_path / "tables" / "nodes.csv"):
        path.chmod(0)
        done = run([*as_others, python(), "-m", "mpignn", "partition", str(path.parent), "out", "--parts", "2"],
                   cwd=tmp_path, fresh=True)
        expect(done, 3, f"{path}: cannot be read: Permission denied")
        assert "damaged" not in done.stderr and not (tmp_path / "out").exists(), str(done)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder]).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_full_while_partitioning(source, small_disk):
    (small_disk / "filler").write_bytes(bytes(1_700_000))
    expect(mpignn("partition", source, small_disk / "out", "--parts", 2), 4, "free")
    assert [p.name for p in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("np_", [1, 3])
def test_gpus_where_there_are_none(graphs, tmp_path, np_):
    import torch
    if torch.cuda.device_count():
        pytest.skip("here are GPUs")
    words = ["-m", "mpignn", "train", str(graphs["metis4"]), "--device", "cuda", "--run-dir", str(tmp_path / "run")]
    done = run([python(), *words]) if np_ == 1 else mpirun(words, np_)
    text = done.stdout + done.stderr        # how long torch takes to import is not ours to hasten
    assert done.returncode == 2 and text.count("mpignn: error:") == 1 and "Traceback" not in text, str(done)
    assert "trainer 0 sees no GPU" in text and "--device cpu" in text, str(done)
    assert not (tmp_path / "run").exists()
