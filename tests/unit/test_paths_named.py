"""What the system says of paths, and Ctrl-C while a file is written, reach the user as what they are."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphs import random_graph
from mpignn.cli import main
from mpignn.errors import ConfigError, DataError, ResourceError, paths_named
from mpignn.storage import sink
from mpignn.storage.write import partition_graph

LONG = "a" * 300


@pytest.mark.parametrize(("number", "family"), [(errno.EACCES, DataError), (errno.ENAMETOOLONG, DataError),
                                                (errno.ENOTDIR, DataError), (errno.ENOSPC, ResourceError)])
def test_an_error_of_a_path_names_it(number, family):
    with pytest.raises(family, match=f"some/path: {os.strerror(number)}"), paths_named():
        raise OSError(number, os.strerror(number), "some/path")
    with pytest.raises(OSError, match="no path"), paths_named():
        raise OSError("no path")


@pytest.mark.parametrize("words", [
    ["partition", LONG, "out", "--parts", "2"], ["partition", "wordnet", LONG, "--parts", "2"], ["check", LONG],
    ["info", LONG], ["train", LONG], ["train", "--resume", LONG], ["eval", LONG], ["infer", LONG, "--out", "x.h5"],
    ["synth", LONG, "--nodes", "10"], ["data", "umls", "--from", LONG], ["check", "file/x"], ["eval", "file/x"],
    ["partition", "pipes", "out", "--parts", "2"], ["partition", "file/x", "out", "--parts", "2"]],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"))
def test_a_path_that_cannot_be_ends_in_one_line(words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "src.npy")
    before = sorted(tmp_path.iterdir())
    assert main(words) in (2, 3, 4)
    told = capfd.readouterr().err
    assert told.count("mpignn: error:") == len(told.strip().splitlines()) == 1, told
    assert sorted(tmp_path.iterdir()) == before


def test_far_more_parts_than_nodes_and_seeds_that_metis_cannot_take_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="parts is 100000, but the graph has 40 nodes"):
        partition_graph(random_graph(), tmp_path / "g", 100_000, "random")
    with pytest.raises(ConfigError, match="METIS takes those below"):
        partition_graph(random_graph(), tmp_path / "g", 2, "metis", seed=1 << 31)


@pytest.fixture
def hurry() -> Iterator[None]:
    """What waits for ever is ended."""
    def give_up(*_):
        raise AssertionError("nothing has come of it")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(kind: str, path: Path) -> None:
    """Make what is no file to read, or far too large a one."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 1 << 40)


# Names of the file in the place of which something else is, and the command that reads it.
READERS = {
    "config": ("x", ["train", "g", "--config", "x"]), "plan": ("x", ["info", "g", "--plan", "--config", "x"]),
    "slurm": ("x", ["slurm", "train", "g", "--config", "x"]), "of a run": ("run/config.toml", ["eval", "run"]),
    "of one to go on": ("run/config.toml", ["train", "--resume", "run"]), "infer": ("x", ["infer", "x", "--out", "y"]),
    "manifest": ("run/checkpoints/step-000000001/manifest.json", ["train", "--resume", "run"]),
    "method": ("x", ["partition", "source.npz", "out", "--parts", "2", "--method", "x"]),
    "source": ("x", ["partition", "x", "out", "--parts", "2"]), "graph": ("x", ["info", "x"]),
    "array": ("source/features.npy", ["partition", "source", "out", "--parts", "2"]),
    "main file": ("graph/graph.h5", ["check", "graph"]), "package": ("x", ["data", "umls", "--from", "x"]),
    "wheel": ("x", ["data", "cora", "--from", "x"]), "list": ("x", ["data", "debian", "--from", "x"]),
}


@pytest.mark.parametrize(("kind", "reader"), [
    (kind, reader) for kind in ("pipe", "folder", "device", "huge") for reader in READERS])
def test_what_is_no_file_is_told_of_and_not_read(kind, reader, tmp_path, monkeypatch, capfd, hurry):
    monkeypatch.chdir(tmp_path)
    for name in ("run/checkpoints/step-000000001", "graph", "source"):
        Path(name).mkdir(parents=True)
    ring = {"src": np.arange(4), "dst": np.roll(np.arange(4), 1)}
    np.savez("source.npz", **ring)
    for name, ids in ring.items():
        np.save(f"source/{name}.npy", ids)
    place, words = READERS[reader]
    put(kind, tmp_path / place)
    before = sorted(tmp_path.rglob("*"))
    assert main(words) in (2, 3)
    told = capfd.readouterr().err
    assert told.count("mpignn: error:") == len(told.strip().splitlines()) == 1 or reader == "main file", told
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("text", [b"0\n1\n0\n" + b"9" * 30, b"0\n1\n0\n\xff\xfe"], ids=["many digits", "no text"])
def test_a_file_of_partitions_that_holds_something_else_is_refused(text, tmp_path):
    (tmp_path / "parts").write_bytes(text)
    with pytest.raises(DataError, match="parts.*: expected the number of a partition"):
        partition_graph(random_graph(num_nodes=4), tmp_path / "g", 2, tmp_path / "parts")


@pytest.mark.parametrize("when", ["written", "closed"])
def test_an_interrupt_while_hdf5_writes_is_one(when, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), sink.writing(tmp_path / "x.h5") as file:
        if when == "written":
            monkeypatch.setattr(sink._Sink, "write", interrupt)
        file["a"] = np.zeros(10)
        file.flush()
        monkeypatch.setattr(sink._Sink, "write", interrupt)


def test_an_interrupt_that_hdf5_has_hidden_behind_two_errors_is_one(tmp_path):
    with pytest.raises(KeyboardInterrupt), sink.writing(tmp_path / "x.h5"):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            try:
                raise SystemError("flush returned a result with an exception set")
            except SystemError as error:
                raise OSError("cannot flush") from error
