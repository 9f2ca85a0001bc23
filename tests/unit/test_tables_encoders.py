"""Numbers made of columns of each type: means and deviations, what fills gaps, and what cannot be made."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest

from mpignn.errors import DataError
from mpignn.tables import encoders
from mpignn.tables.build import build
from mpignn.tables.toml import read_description


def _of(folder, columns, more, name="nodes.csv", **options):
    """The data of the nodes of a table with these columns, and with other words in the TOML."""
    table = pa.table(columns)
    (parquet.write_table if name.endswith(".parquet") else csv.write_csv)(table, folder / name)
    (folder / "edges.csv").write_text("s,d\n0,1\n")
    (folder / "graph.toml").write_text(f'[nodes.paper]\nfiles = "{name}"\n{more}\n[edges."paper:cites:paper"]\n'
                                       'files = "edges.csv"\nsrc = "s"\ndst = "d"')
    return build(read_description(folder / "graph.toml"), **options).node_data["paper"]


def _features(folder, columns, more, **options):
    """The only feature."""
    return _of(folder, columns, more, **options)["features"][:, 0]


def test_a_first_row_that_is_far_or_missing_does_not_change_the_deviation(tmp_path):
    more = 'split = "s"\nfeatures = {column = "x", as = "standard", fill = "mean"}'
    x = [None, 1700000000, 1700000001, 1700000002]
    found = _features(tmp_path, {"x": x, "s": ["train"] * 4}, more)
    assert np.allclose(found, [0, -1.5**0.5, 0, 1.5**0.5], atol=1e-6)
    found = _features(tmp_path, {"x": [1e18, *x[1:]], "s": ["test", "train", "train", "train"]}, more)
    assert np.allclose(found[1:], [-1.5**0.5, 0, 1.5**0.5], atol=1e-6)


@pytest.mark.parametrize("rows", [6, 100_003])
def test_equal_numbers_have_the_deviation_one(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("mpignn.tables.delimited._BLOCK_BYTES", 1 << 17)
    nodes = {"x": [0.3, *[1.1] * rows], "s": ["test", *["train"] * rows]}
    found = _features(tmp_path, nodes, 'split = "s"\nfeatures = {column = "x", as = "standard"}')
    assert np.allclose(found, [-0.8, *[0] * rows], atol=1e-6)


def test_moments_of_blocks_are_those_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.delimited._BLOCK_BYTES", 64)
    x = np.random.default_rng(0).normal(1e6, 3, 300) + np.repeat([0, 1e3, -50], 100)
    found = _features(tmp_path, {"x": x.tolist()}, 'features = {column = "x", as = "standard"}')
    assert np.allclose(found, (x - x.mean()) / x.std(), atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("x, told", [
    ([100, float("inf"), 3], "nodes.csv, line 3: x is not finite"),
    ([1e300, 1, 2], "some are too large to be squared"),
])
def test_what_has_no_deviation_is_told(tmp_path, x, told):
    with pytest.raises(DataError, match=told):
        _features(tmp_path, {"x": x}, 'features = {column = "x", as = "standard"}')


def test_whole_numbers_are_kept_or_refused(tmp_path):
    x = [16777217, 2**40 + 1, 0]
    assert _features(tmp_path, {"x": x}, 'features = "x"', keep_dtype=True).tolist() == x
    with pytest.raises(DataError, match="nodes.csv, line 2: x is 16777217, which float32 does not hold: .*--keep-dty"):
        _features(tmp_path, {"x": x}, 'features = "x"')
    with pytest.raises(DataError, match=f"nodes.csv, line 4: x is {2**53 + 1}, which float64 does not hold"):
        _features(tmp_path, {"x": [0, -2**63, 2**53 + 1]}, 'features = "x"', keep_dtype=True)


@pytest.mark.parametrize("kind, value, fill, dtype", [
    (pa.uint8(), 7, -1, np.int16), (pa.uint8(), 7, 1000, np.uint16), (pa.int64(), 7, -1, np.int64),
    (pa.bool_(), True, -1, np.int64), (pa.bool_(), True, 0, np.bool_), (pa.float32(), 7, -1, np.float32),
    (pa.int64(), 7, 0.5, np.float64),
])
def test_what_is_filled_in_is_what_is_written(tmp_path, kind, value, fill, dtype):
    more = f'data = {{x = {{column = "x", fill = {fill}}}}}'
    found = _of(tmp_path, {"x": pa.array([value, None], kind)}, more, "nodes.parquet")["x"]
    assert found.tolist() == [value, fill] and found.dtype == dtype


@pytest.mark.parametrize("x, column, told", [
    (pa.array([1, None], pa.int64()), f"fill = {10**30}", "holds numbers of type int64, and cannot be filled with 1"),
    (pa.array([1, None], pa.int64()), "fill = 1e30", r"cannot be filled with 1e\+30"),
    (pa.array([1, None], pa.int64()), f"fill = {10**400}", "cannot be filled with 1000"),
    (pa.array([1, None], pa.float64()), "fill = nan", "cannot be filled with nan"),
    (pa.array([1, None], pa.uint8()), 'as = "code", fill = -1', "holds uint8, and cannot be filled with -1"),
    (pa.array([[], None], pa.list_(pa.int64())), "fill = 0", "nodes.parquet, row 1: x holds lists without entries"),
    (pa.array([{"u": 1}, {"u": 2}]), 'as = "onehot"', "holds values of type struct.*, which are not told apart"),
    (pa.array([{"u": 1}, {"u": 2}]), 'as = "code"', "holds values of type struct.*, which are not told apart"),
])
def test_what_cannot_be_made_of_a_type_is_told(tmp_path, x, column, told):
    with pytest.raises(DataError, match=told):
        _of(tmp_path, {"x": x}, f'features = {{column = "x", {column}}}', "nodes.parquet")


def test_no_columns_are_made_of_very_many_values(tmp_path):
    columns = {"x": [f"title {i}" for i in range(1500)]}
    with pytest.raises(DataError, match=r'x has 1500 values up to here.*at most 1000.*as = "code"'):
        _features(tmp_path, columns, 'features = {column = "x", as = "onehot"}')
    assert _features(tmp_path, columns, 'features = {column = "x", as = "code"}').max() == 1499


def test_times_of_nanoseconds_are_told_apart_by_microseconds(tmp_path):
    moments = np.array(["2020-01-02T03:04:05.000007", "2020-01-01", "2020-01-02T03:04:05.000007"], "datetime64[ns]")
    more = 'features = {column = "x", as = "code"}'
    assert _of(tmp_path, {"x": pa.array(moments)}, more, "n.parquet")["features"][:, 0].tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"n.parquet, row 2: x is 1577836800000000001 ns after 1970, .*: round them"):
        _of(tmp_path, {"x": pa.array(moments + np.array([0, 1, 0], "timedelta64[ns]"))}, more, "n.parquet")


def test_of_lists_no_more_blocks_are_read_than_tell_their_length(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.parquet._BLOCK_BYTES", 64)
    looks, look = [], encoders._Numbers.look

    def counting(self, *words):
        looks.append(self)
        look(self, *words)

    monkeypatch.setattr(encoders._Numbers, "look", counting)
    rows = [None] * 20 + [[float(i), 0.5] for i in range(300)]
    lists = {"x": pa.array(rows, pa.list_(pa.float32()))}
    found = _of(tmp_path, lists, 'features = {column = "x", fill = 7}', "nodes.parquet")["features"]
    assert np.array_equal(found, [row or [7, 7] for row in rows])
    assert 1 < len(looks) < 25      # blocks are of a few rows
