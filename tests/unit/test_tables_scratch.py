"""Tables that do not fit memory, and tables that several ranks read, become the same graph."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.errors import DataError
from mpignn.large.scratch import Scratch
from mpignn.tables.build import build
from mpignn.tables.toml import read_description
from threads_group import on_threads

EDGES = ["", 'reverse = "back"\n', "reverse = true\n", "drop_duplicates = true\n", "drop_self_loops = true\n",
         'labels = "w"\nsplit = "0.5/0.2/0.3"\n', 'split = "0.5/0.2/0.3"\n', 'split = "part"\n']


def write(rows, path):
    if path.suffix == ".parquet":
        pq.write_table(rows, path, row_group_size=7)
    else:
        csv.write_csv(rows, str(path))


@st.composite
def tables(draw):
    """What makes a folder of tables: seed, format, number of nodes and of edges, what is asked of edges."""
    return (draw(st.integers(0, 999)), draw(st.sampled_from([".csv", ".parquet"])), draw(st.integers(1, 30)),
            draw(st.integers(0, 60)), draw(st.sampled_from(EDGES)), draw(st.booleans()))


def make(folder, seed, ending, num_nodes, num_edges, edges, has_ids):
    """A folder of tables of two types of nodes and two of edges; returns its description."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    of_node = pa.array([None if rng.random() < 0.1 else float(x) for x in rng.normal(0, 9, num_nodes)], pa.float64())
    kinds = pa.array(rng.choice(["u", "v", "w"], num_nodes))
    parts = pa.array(rng.choice(["train", "val", ""], num_nodes))
    papers = pa.table({"id": [f"p{i}" for i in range(num_nodes)], "x": of_node, "k": kinds, "y": kinds, "part": parts})
    write(papers if has_ids else papers.drop_columns(["id"]), folder / f"papers{ending}")
    write(pa.table({"age": rng.integers(0, 99, 5)}), folder / f"people{ending}")

    def ends(count, named):
        numbers = rng.integers(0, count, num_edges).tolist()
        return [f"p{number}" for number in numbers] if named else numbers

    write(pa.table({"src": ends(num_nodes, has_ids), "dst": ends(num_nodes, has_ids),
                    "w": rng.integers(0, 3, num_edges) / 2,
                    "part": pa.array(rng.choice(["train", "val", ""], num_edges).astype(str))}),
          folder / f"cites{ending}")
    write(pa.table({"src": ends(7, False), "dst": ends(num_nodes, has_ids)}), folder / f"wrote{ending}")
    (folder / "graph.toml").write_text(
        f'[nodes.paper]\nfiles = "papers{ending}"\n' + ('id = "id"\n' if has_ids else "")
        + 'features = [{column = "x", as = "standard", fill = "mean"}, {column = "k", as = "onehot"}]\n'
        + f'labels = "y"\nsplit = "part"\n[nodes.person]\nfiles = "people{ending}"\ndata = {{age = "age"}}\n'
        + f'[edges."paper:cites:paper"]\nfiles = "cites{ending}"\nsrc = "src"\ndst = "dst"\nweights = "w"\n{edges}'
        + f'[edges."person:wrote:paper"]\nfiles = "wrote{ending}"\nsrc = "src"\ndst = "dst"\n'
        'on_unknown = "drop"\nreverse = "by"\n')
    return read_description(folder / "graph.toml")


def arrays_of(data):
    """All arrays of a graph by name, whole."""
    found = {}
    for etype, csc in data.csc.items():
        found |= {(etype, "indptr"): csc.indptr, (etype, "indices"): csc.indices}
        if csc.edge_ids is not None:
            found[etype, "ids"] = csc.edge_ids
    for named in (data.node_data, data.edge_data, data.splits):
        found |= {(key, name): array for key, of in named.items() for name, array in of.items()}
    return {name: np.asarray(array) for name, array in found.items()}


def assert_same(one, other):
    assert (one.num_nodes, one.class_names, one.tables) == (other.num_nodes, other.class_names, other.tables)
    assert arrays_of(one).keys() == arrays_of(other).keys()
    for name, array in arrays_of(one).items():
        found = arrays_of(other)[name]
        assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes(), name


def build_together(description, folder, size, memory):
    """The graph as the first of so many ranks has it, each of so much memory."""
    def of_rank(group):
        if group.rank == 0:
            (folder / f"scratch-{size}").mkdir()
        group.barrier()
        made = build(description, scratch=Scratch(folder / f"scratch-{size}", folder / "out", group, memory, "none"))
        group.barrier()
        return made

    return on_threads(size, of_rank)[0]


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from([1, 300, 3000, 1 << 30]), st.integers(1, 3))
def test_neither_memory_nor_ranks_change_a_bit(tmp_path_factory, what, memory, size):
    folder = tmp_path_factory.mktemp("tables")
    description = make(folder, *what[:-1], what[-1] and size == 1)
    assert_same(build(description), build_together(description, folder, size, memory))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_error_is_that_of_one_process(tmp_path, size):
    description = make(tmp_path, 1, ".csv", 20, 40, "", False)
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
