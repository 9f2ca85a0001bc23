"""Each rank reads a share of the rows of a table, and all together what one process reads."""

import gzip
import json
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.errors import DataError
from mpignn.tables.table import Table
from threads_group import on_threads

CELLS = st.sampled_from(["", "a", "7", "-2.5", "true", "2020-01-01", '"b, c"', '"d\ne"', '"f""\n""\ng"', "h\"i",
                         '"\n\n"', "NA", '"7"', "é"])
NUMBERS = st.sampled_from(["", "1", "23", "-4", "5.5"])


def texts(ending, rows, end, last, gaps):
    """The text of a table of two columns in the style of a format."""
    delimiter = "," if ending == ".csv" else "\t"
    cells = [delimiter.join(row).replace(",", delimiter) if ending != ".edges" else " ".join(
        cell.replace("\n", "").replace(" ", "").replace('"', "") or "x" for cell in row) for row in rows]
    lines = ([] if ending == ".edges" else [f"one{delimiter}two"]) + cells
    lines = [line for number, line in enumerate(lines) for line in ([line, ""] if number % 3 in gaps else [line])]
    return end.join(lines) + (end if last or len(lines) < 2 else "")


def read(table):
    """Rows and where they stand, the first of each block, and the types."""
    found = {name: [] for name in table.names}
    begins, rows = [], []
    for block in table.batches():
        assert block.num_rows
        begins.append(block.first_row)
        rows += range(block.first_row, block.first_row + block.num_rows)
        for name, array in block.columns.items():
            found[name] += array.to_pylist()
    return found, rows, [table.where(row) for row in rows], dict(table.types)


@contextmanager
def stage(name, total, unit):
    """One of which all must be told, and no more."""
    done = [0]

    def advance(count):
        assert count >= 0
        done[0] += count

    yield advance
    assert done[0] == total, name


def assert_all_read_what_one_reads(paths, size):
    one, rows, places, types = read(Table.open(paths, stage=stage))
    together = on_threads(size, lambda group: read(Table.open(paths, group=group, stage=stage)))
    for name, values in one.items():
        assert [value for of, *_ in together for value in of[name]] == values
    assert [row for _, of, _, _ in together for row in of] == rows
    assert [place for _, _, of, _ in together for place in of] == places
    assert all(of == types for *_, of in together)


@settings(deadline=None)
@given(st.sampled_from([".csv", ".tsv", ".edges"]), st.lists(st.tuples(CELLS, NUMBERS), min_size=1, max_size=12),
       st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sets(st.integers(0, 2)), st.integers(1, 5))
def test_texts_are_cut_at_rows(tmp_path_factory, ending, rows, end, last, gaps, size):
    path = tmp_path_factory.mktemp("texts") / f"a{ending}"
    path.write_bytes(texts(ending, rows, end, last, gaps).encode())
    assert_all_read_what_one_reads([path], size)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": st.sampled_from(["", "{", "}", "}\n{", '"} {', "é"]),
                                       "b": st.lists(st.fixed_dictionaries({"c": st.integers(0, 9)}), max_size=2)}),
                min_size=1, max_size=12),
       st.sampled_from(["\n", "\r\n", "\n\n", " \n \t"]), st.sampled_from([None, 0, 1]), st.booleans(),
       st.integers(1, 5))
def test_json_lines_are_cut_between_objects(tmp_path_factory, rows, end, indent, last, size):
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    text = end.join(json.dumps(row, indent=indent, ensure_ascii=False) for row in rows) + (end if last else "")
    path.write_bytes(text.encode())
    assert_all_read_what_one_reads([path], size)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet", ".feather", ".cr.csv"])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_files_of_all_formats_are_shared(ending, size, tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.parquet._BLOCK_BYTES", 64)
    rng = np.random.default_rng(size)
    for number in range(4):
        rows = pa.table({"id": [f"n{number}-{i}" for i in range(int(rng.integers(0, 40)) * (number != 1))]})
        rows = rows.append_column("x", pa.array(rng.integers(0, 9, rows.num_rows)))
        path = tmp_path / f"{number}{ending}"
        match ending:
            case ".parquet":
                pq.write_table(rows, path, row_group_size=5)
            case ".feather":
                feather.write_feather(rows, str(path), chunksize=3)
            case ".jsonl" | ".jsonl.gz":
                rows = rows if rows.num_rows else pa.table({"id": ["m"], "x": [0]})
                path.write_text("".join(f'{{"id": "{row["id"]}", "x": {row["x"]}}}\n' for row in rows.to_pylist()))
            case _:
                csv.write_csv(rows, str(path))
        if ending.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
        if ending == ".cr.csv":
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    assert_all_read_what_one_reads([tmp_path], size)


@pytest.mark.parametrize("late, kind", [("3.5", pa.float64()), ("n/a", pa.int64()), ("words", pa.string())])
def test_the_type_of_a_column_holds_the_rows_of_all_ranks(late, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.delimited._BLOCK_BYTES", 64)
    path = tmp_path / "a.csv"
    path.write_text("id,y,z\n" + "abcd,1,\n" * 50 + f"abcd,{late},\n" + "abcd,1,2\n" * 3)
    assert_all_read_what_one_reads([path], 3)
    tables = on_threads(3, lambda group: read(Table.open([path], group=group)))
    assert [of["y"] for *_, of in tables] == [kind] * 3
    assert [of["z"] for *_, of in tables] == [pa.int64()] * 3


def test_a_bad_value_is_told_with_its_line_by_the_rank_that_reads_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,y\n" + "a,1\n" * 30 + "b,x\n" + "a,1\n" * 20)

    def complaint(group):
        try:
            list(Table.open([path], group=group).batches(["y"], {"y": pa.int64()}))
        except DataError as error:
            return str(error)
        return None

    found = [text for text in on_threads(4, complaint) if text]
    assert found == [f"{path}, line 32: y is 'x', expected int64"]
