"""Tables that do not fit memory, and tables that several ranks read, become the same graph."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn import progress
from mpignn.comm.group import LocalGroup
from mpignn.errors import DataError
from mpignn.large.scratch import Scratch
from mpignn.tables.build import build
from mpignn.tables.toml import read_description
from random_tables import EDGES, write_tables
from threads_group import on_threads


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Several blocks in each group of rows of a Parquet file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mpignn.tables.parquet._BLOCK_BYTES", 64)
        yield


@st.composite
def tables(draw):
    """What `write_tables` makes a folder of."""
    return (draw(st.integers(0, 999)), draw(st.sampled_from([".csv", ".parquet"])), draw(st.integers(1, 30)),
            draw(st.integers(0, 60)), draw(st.sampled_from(EDGES)), draw(st.sampled_from(["texts", "numbers", "none"])))


def arrays_of(data):
    """All arrays of a graph by name, whole."""
    found = {}
    for etype, csc in data.csc.items():
        found |= {(etype, "indptr"): csc.indptr, (etype, "indices"): csc.indices}
        if csc.edge_ids is not None:
            found[etype, "ids"] = csc.edge_ids
    for named in (data.node_data, data.edge_data, data.splits):
        found |= {(key, name): array for key, of in named.items() for name, array in of.items()}
    for ntype, users in data.user_ids.items():
        found[ntype, "user ids"] = users.values
        if users.bounds is not None:
            found[ntype, "bounds"] = users.bounds
    return {name: np.asarray(array) for name, array in found.items()}


def assert_same(one, other):
    assert (one.num_nodes, one.class_names, one.tables) == (other.num_nodes, other.class_names, other.tables)
    assert arrays_of(one).keys() == arrays_of(other).keys()
    for name, array in arrays_of(one).items():
        found = arrays_of(other)[name]
        assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes(), name


def test_each_pass_over_a_table_tells_how_far_it_is(tmp_path, monkeypatch):
    description = read_description(write_tables(tmp_path, 1, ".csv", 9, 9, 'split = "0.5/0.2/0.3"\n', "texts"))
    advance, told = progress.Count.advance, []
    monkeypatch.setattr(progress.Count, "advance", lambda *words: (advance(*words), told.append(progress.text())))
    (tmp_path / "scratch").mkdir()
    build(description, scratch=Scratch(tmp_path / "scratch", tmp_path / "out", LocalGroup(), 300))
    for stage in ("tell types of papers.csv", "read ids of papers.csv", "learn of papers.csv",
                  "read data of papers.csv", "read ends of cites.csv", "read data of cites.csv",
                  "read ends of topics.csv"):
        assert any(re.match(rf"{stage}: [\d,]+ of [\d,]+ bytes \(100 %\), .* a second, 0:00:00 left", line)
                   for line in told), told


def build_together(description, folder, size, memory):
    """The graph as the first of so many ranks has it, each of so much memory."""
    def of_rank(group):
        if group.rank == 0:
            (folder / f"scratch-{size}").mkdir()
        group.barrier()
        made = build(description, scratch=Scratch(folder / f"scratch-{size}", folder / "out", group, memory))
        group.barrier()
        return made

    return on_threads(size, of_rank)[0]


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from([1, 300, 3000, 1 << 30]), st.integers(1, 3))
def test_neither_memory_nor_ranks_change_a_bit(tmp_path_factory, what, memory, size):
    folder = tmp_path_factory.mktemp("tables")
    description = read_description(write_tables(folder, *what))
    assert_same(build(description), build_together(description, folder, size, memory))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_error_is_that_of_one_process(tmp_path, size):
    description = read_description(write_tables(tmp_path, 1, ".csv", 20, 40, "", "none"))
    rows = (tmp_path / "cites.csv").read_text().splitlines()
    rows[33] = '99,1,0.5,""'
    (tmp_path / "cites.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"cites\.csv, line 34: src is '99', which is no node of type paper: mend"):
        build_together(description, tmp_path, size, 300)
    (tmp_path / "again").mkdir()
    rows[33] = '9,1,,""'
    (tmp_path / "cites.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"cites\.csv, line 34: w is missing"):
        build_together(description, tmp_path / "again", size, 300)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name, row, text, says", [
    ("cites", 33, '1,1,0.5,"never"', "cites.csv, line 34: part is 'never', expected train, val, test"),
    ("topics", 31, '"t1","t2","",1,"train"', "topics.csv, line 32: how is missing"),
    ("topics", 31, '"t1","t2","at",1,"train"', "topics.csv, line 32: how has more than 3 values by this line")])
def test_an_error_of_splits_or_relations_is_that_of_one_process(tmp_path, size, name, row, text, says, monkeypatch):
    monkeypatch.setattr("mpignn.tables.relations.MOST_RELATIONS", 3)
    description = read_description(write_tables(tmp_path, 1, ".csv", 20, 40, 'split = "part"\n', "none"))
    rows = (tmp_path / f"{name}.csv").read_text().splitlines()
    rows[row] = text
    (tmp_path / f"{name}.csv").write_text("\n".join(rows))
    with pytest.raises(DataError) as alone:
        build(description)
    with pytest.raises(DataError) as together:
        build_together(description, tmp_path, size, 300)
    assert says in str(alone.value) and str(alone.value) in str(together.value)
