"""A cut that a stopped `partition` has made is taken up by the next one that would make the same, and by no other."""

from dataclasses import replace

import numpy as np
import pytest

from graphs import random_hetero_graph
from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.storage import write
from mpignn.storage.write import partition_graph

DATA = random_hetero_graph(3, 60, 240)
OPTIONS = {"num_parts": 3, "method": "metis", "seed": 1}
LEFT = ".g.assigned.npz"


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A folder where a command was stopped behind its cut; and how often graphs have been cut since."""
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            partition_graph(DATA, tmp_path / "g", **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == [LEFT]
    cuts = []
    assign = write.assign
    monkeypatch.setattr(write, "assign", lambda *words: cuts.append(words) or assign(*words))
    return tmp_path, cuts


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_command_takes_it_up_and_makes_the_same_bytes(stopped, caplog):
    folder, cuts = stopped
    partition_graph(DATA, folder / "g", **OPTIONS)
    assert not cuts and f"{folder / LEFT}: taken up" in caplog.text
    partition_graph(DATA, folder / "other", **OPTIONS)
    assert len(cuts) == 1 and files(folder / "g") == files(folder / "other")
    assert sorted(path.name for path in folder.iterdir()) == ["g", "other"]


def other_edge():
    etype, csc = next((etype, csc) for etype, csc in DATA.csc.items() if csc.num_edges)
    indices = np.array(csc.indices)
    indices[0] = (indices[0] + 1) % DATA.num_nodes[etype[0]]
    return replace(DATA, csc=dict(DATA.csc) | {etype: CSC(csc.indptr, indices, csc.edge_ids)})


@pytest.mark.parametrize(("data", "options"), [
    (DATA, {"num_parts": 2}), (DATA, {"seed": 2}), (DATA, {"method": "ldg"}), (DATA, {"balance": ["edges"]}),
    (other_edge(), {})], ids=["parts", "seed", "method", "balance", "edge"])
def test_a_command_that_makes_something_else_does_not(stopped, data, options):
    folder, cuts = stopped
    partition_graph(data, folder / "g", **OPTIONS | options)
    assert len(cuts) == 1 and [path.name for path in folder.iterdir()] == ["g"]


def test_what_is_damaged_is_made_again(stopped):
    folder, cuts = stopped
    (folder / LEFT).write_bytes((folder / LEFT).read_bytes()[:-200])
    partition_graph(DATA, folder / "g", **OPTIONS)
    assert len(cuts) == 1 and [path.name for path in folder.iterdir()] == ["g"]


def test_nothing_is_left_by_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise DataError("as it may be")

    monkeypatch.setattr(write, "_write", fail)
    with pytest.raises(DataError, match="as it may be"):
        partition_graph(DATA, tmp_path / "g", **OPTIONS)
    assert not list(tmp_path.iterdir())
