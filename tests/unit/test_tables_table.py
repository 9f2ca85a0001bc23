"""Tables of all formats, whole and malformed."""

import gzip
import json
import os
import random

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from mpignn.errors import DataError
from mpignn.tables.table import Table

ROWS = {"id": ["a", "b, c", "d\ne", "007", None], "year": [1, None, 3, -4, 5], "score": [0.5, 1.0, None, 2.0, 3.0]}
PLAIN = pa.table(ROWS)


def write_csv(table, path, delimiter=","):
    csv.write_csv(table, str(path), csv.WriteOptions(delimiter=delimiter, quoting_style="needed"))


def write_packed(table, path):
    write_csv(table, path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


def write_zstd(table, path):
    write_csv(table, path.with_suffix(""))
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(path.with_suffix("").read_bytes())


def write_json(table, path):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))


def write_stream(table, path):
    with ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS = {
    ".csv": write_csv, ".csv.gz": write_packed, ".csv.zst": write_zstd,
    ".tsv": lambda table, path: write_csv(table, path, "\t"),
    ".parquet": lambda table, path: pq.write_table(table, path, row_group_size=2),
    ".pq": pq.write_table, ".jsonl": write_json, ".ndjson": write_json,
    ".feather": lambda table, path: feather.write_feather(table, str(path)),
    ".arrow": write_stream,
    ".ipc": lambda table, path: feather.write_feather(table, str(path), compression="uncompressed", chunksize=2),
}


def rows_of(table, columns=None, types=None):
    """All rows, by column, and the row that each block says that it begins with."""
    columns = table.names if columns is None else columns
    found = {name: [] for name in columns}
    for block in table.batches(columns, types):
        assert block.first_row == len(found[columns[0]])
        assert set(block.columns) == set(columns)
        for name, array in block.columns.items():
            assert len(array) == block.num_rows
            assert array.type == (types or {}).get(name, table.types[name])
            found[name] += array.to_pylist()
    return found


def complaint(path, **options):
    with pytest.raises(DataError) as caught:
        rows_of(Table.open([path], **options))
    return str(caught.value)


@pytest.mark.parametrize("ending", WRITERS)
def test_rows_come_back_from_every_format(ending, tmp_path):
    path = tmp_path / f"papers{ending}"
    WRITERS[ending](PLAIN, path)
    table = Table.open([path], as_text=["id"])
    assert table.names == ("id", "year", "score")
    assert rows_of(table) == ROWS
    assert dict(table.types) == {"id": pa.string(), "year": pa.int64(), "score": pa.float64()}
    assert rows_of(table, ["score", "id"]) == {name: ROWS[name] for name in ("score", "id")}
    assert [table.values(row, ["year", "id"]) for row in range(5)] == list(zip(ROWS["year"], ROWS["id"], strict=True))


@pytest.mark.parametrize("ending", WRITERS)
def test_the_files_of_a_folder_are_one_table(ending, tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for name, part in (("2", PLAIN.slice(3)), ("1", PLAIN.slice(0, 3))):
        WRITERS[ending](part, tmp_path / f"{name}{ending}")
        (tmp_path / f"{name}{ending}").rename(folder / f"{name}{ending}")
    table = Table.open([folder], as_text=["id"])
    assert rows_of(table) == ROWS
    assert [path.name for path in table.paths] == [f"1{ending}", f"2{ending}"]
    assert table.where(3).startswith(str(folder / f"2{ending}"))
    assert table.where(3).endswith("line 2" if ".csv" in ending or ending == ".tsv" else
                                   "line 1" if "json" in ending else "row 1")


@pytest.mark.parametrize("text, expected", [
    (b"\xef\xbb\xbfid,y\na,1\n", {"id": ["a"], "y": [1]}),
    (b"id,y\r\na,1\r\n\r\nb,2", {"id": ["a", "b"], "y": [1, 2]}),
    (b'id,y\n"a ""b"", c",1\n', {"id": ['a "b", c'], "y": [1]}),
    (b'id,y\nNA,NA\n"NA",nan\n"",3\n', {"id": [None, "NA", None], "y": [None, None, 3]}),
    (b"id,y\n", {"id": [], "y": []}),
    (b"id,y", {"id": [], "y": []}),
], ids=["BOM", "CRLF", "quotes", "missing", "header", "header without an end"])
def test_what_programs_write_is_read(text, expected, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    assert rows_of(Table.open([path])) == expected


@pytest.mark.parametrize("text, says", [
    (b"id,y\na,1\n\nb,2,3\n", "line 4: 3 values, expected 2: b,2,3"),
    (b'id,y\n"a\nb",1\nc\n', "line 4: 1 value, expected 2: c"),
    (b'id,y\na,1\n"b,2\nc,3\n', "line 3: a value begins with a quote that is never closed"),
    (b"id,y\na,1\n\xe9,2\n", "line 3: not UTF-8; convert the file, such as with `iconv"),
    (b"\xe9,y\na,2\n", "line 1: not UTF-8"),
    ("id,y\na,1\n".encode("utf-16"), "is UTF-16"),
    (b"", "is empty"),
    (b"id,y,id\n1,2,3\n", "two columns are called 'id'"),
])
def test_a_malformed_text_is_told_with_its_line(text, says, tmp_path):
    (tmp_path / "a.csv").write_bytes(text)
    assert f"{tmp_path}/a.csv" in complaint(tmp_path / "a.csv")
    assert says in complaint(tmp_path / "a.csv")


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".parquet", ".feather", ".arrow", ".ipc"])
@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_truncated_file_is_refused(ending, kept, tmp_path):
    path = tmp_path / f"a{ending}"
    WRITERS[ending](PLAIN, path)
    path.write_bytes(path.read_bytes()[:kept])
    assert str(path) in complaint(path)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(ending, tmp_path, capfd):
    path, rng = tmp_path / f"a{ending}", random.Random(ending)
    WRITERS[ending](pa.concat_tables([PLAIN] * 20), path)
    whole, refused = path.read_bytes(), 0
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3, 10])):
            damaged[rng.randrange(len(damaged))] = rng.choice([0, 10, 34, 44, 255, rng.randrange(256)])
        path.write_bytes(damaged[:rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            rows_of(Table.open([path], as_text=["id"]))
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            refused += 1
    assert refused > 10
    assert capfd.readouterr() == ("", "")


def test_rows_that_are_too_long_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("id,y\n" + "a" * 5_000_000 + ",1\n")
    assert "a row is longer than 2 MiB" in complaint(tmp_path / "a.csv")


def test_a_large_file_that_is_truncated_is_refused(tmp_path):
    path, rng = tmp_path / "a.csv.gz", random.Random(0)
    path.write_bytes(gzip.compress(b"y\n" + b"".join(b"%d\n" % rng.randrange(10**9) for _ in range(600_000)))[:-9])
    assert "cannot be read: Truncated compressed stream" in complaint(path)


@pytest.mark.parametrize("late, kind, value", [("3.5", pa.float64(), 1.0), ("n/a", pa.int64(), 1),
                                               ("words", pa.string(), "1")])
def test_the_type_of_a_column_holds_its_last_row_too(late, kind, value, tmp_path):
    path, num_rows = tmp_path / "a.csv", 1_500_000      # more than Arrow looks at
    path.write_text("id,y\n" + "abcd,1\n" * num_rows + f"abcd,{late}\n")
    table = Table.open([path])
    assert table.types["y"] == pa.int64()
    last = list(table.batches(["y"]))[-1]
    assert table.types["y"] == kind and last.columns["y"][0].as_py() == value
    assert last.columns["y"][-1].as_py() == {"3.5": 3.5, "n/a": None, "words": "words"}[late]
    if late == "words":
        with pytest.raises(DataError, match=f"line {num_rows + 2}: y is 'words', expected double"):
            list(table.batches(["y"], {"y": pa.float64()}))


def test_values_stay_as_written_on_request(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,y\n007,007\n+1,+1\n18446744073709551615,18446744073709551615\n")
    assert rows_of(Table.open([path], as_text=["id"]), ["id"]) == {"id": ["007", "+1", "18446744073709551615"]}


EDGES = "# from SNAP\n%% of them\n 1  2\n\n3\t4 \r\n5 6"


@pytest.mark.parametrize("ending", [".txt", ".el", ".edges"])
def test_lists_of_edges_have_comments_and_blanks(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_text(EDGES)
    table = Table.open([path])
    assert rows_of(table) == {"src": [1, 3, 5], "dst": [2, 4, 6]}
    assert [table.where(row) for row in range(3)] == [f"{path}, line {line}" for line in (3, 5, 6)]
    assert rows_of(Table.open([path], header=["a", "b"], as_text=["a"])) == {"a": ["1", "3", "5"], "b": [2, 4, 6]}
    path.write_text(EDGES + " 7")
    assert "line 6: 3 values, expected 2" in complaint(path)
    path.write_text("a b 0.5\nb a 1")
    assert rows_of(Table.open([path])) == {"src": ["a", "b"], "dst": ["b", "a"], "value": [0.5, 1.0]}
    path.write_text("1 2")
    assert rows_of(Table.open([path])) == {"src": [1], "dst": [2]}
    path.write_text("# nothing")
    assert "no edges in it" in complaint(path)


def test_a_path_is_a_file_or_a_folder_of_tables(tmp_path):
    assert "No such file" in complaint(tmp_path / "none.csv")
    assert "an empty folder" in complaint(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "neither a file nor a folder" in complaint(tmp_path / "pipe.csv")
    (tmp_path / "pipe.csv").unlink()
    (tmp_path / "a.docx").touch()
    assert "a.docx: not a table" in complaint(tmp_path / "a.docx")
    assert "a.docx: not a table" in complaint(tmp_path)
    (tmp_path / "a.docx").unlink()
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "b.tsv").write_text("id\n1\n")
    assert "of one format" in complaint(tmp_path)
    (tmp_path / "b.tsv").rename(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text("id,year\n1,2\n")
    assert "b.csv: the files of a table have the same columns, but year" in complaint(tmp_path)
    (tmp_path / "b.csv").unlink()
    (tmp_path / "b").mkdir()
    assert "b: not a file" in complaint(tmp_path)


def test_a_missing_column_names_the_nearest(tmp_path):
    (tmp_path / "a.csv").write_text("Paper_ID,year\n1,2\n")
    for options in ({"columns": ["paper_id"]}, {"as_text": ["paper_id"]}):
        says = complaint(tmp_path / "a.csv", **options)
        assert "no column 'paper_id' (did you mean 'Paper_ID'?); there are 'Paper_ID', 'year'" in says


@pytest.mark.parametrize("text, says", [
    ('{"id": 1}\n\n{"id": "a"}\n', "line 3: id is a text, but a number in line 1"),
    ('{"id": 1}\n{"id": 2\n', "line 2: not JSON: Expecting ',' delimiter"), ("[1]\n", "line 1: not an object"),
    ('{"id": 1, "id": 2}\n', "line 1: id stands in it twice"), ("", "is empty"),
    ('{"id": "a"}\n{"id": "\xe9"}\n', "line 2: not UTF-8")])
def test_malformed_json_lines_are_refused(text, says, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(text.encode("latin1"))
    assert f"{tmp_path}/a.jsonl" in complaint(tmp_path / "a.jsonl")
    assert says in complaint(tmp_path / "a.jsonl")


def test_numbers_of_json_lines_can_be_wanted_as_texts_and_the_other_way(tmp_path):
    (tmp_path / "a.jsonl").write_text('\ufeff{"a": 5, "b": "7", "c": true}\n')
    table = Table.open([tmp_path / "a.jsonl"])
    assert rows_of(table, types={"a": pa.string(), "b": pa.int64()}) == {"a": ["5"], "b": [7], "c": [True]}


def test_types_of_json_lines_hold_all_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 18446744073709551615, "y": 1}\n' * 250_000 + '{"id": 1, "y": 1.5}\n')
    table = Table.open([path], as_text=["id"])
    found = rows_of(table)
    assert found["id"][0] == 2**64 - 1 and found["y"][-1] == 1.5


def test_other_types_of_the_same_column_are_joined_or_refused(tmp_path):
    for name, kind in (("a", pa.int32()), ("b", pa.int64())):
        pq.write_table(pa.table({"id": pa.array([1], kind)}), tmp_path / f"{name}.parquet")
    assert rows_of(Table.open([tmp_path])) == {"id": [1, 1]}
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "b.parquet")
    assert "id is string, but int32 in" in complaint(tmp_path)


def test_packed_columns_are_unpacked(tmp_path):
    pq.write_table(pa.table({"id": pa.array(["a", "b", "a"]).dictionary_encode()}), tmp_path / "a.parquet")
    assert rows_of(Table.open([tmp_path / "a.parquet"])) == {"id": ["a", "b", "a"]}


def test_a_value_that_is_not_of_the_wanted_type_is_told_with_its_row(tmp_path):
    pq.write_table(pa.table({"y": ["1", "2", "x"]}), tmp_path / "a.parquet", row_group_size=1)
    table = Table.open([tmp_path / "a.parquet"])
    with pytest.raises(DataError, match=r"a\.parquet, row 3: y is 'x', expected int64"):
        list(table.batches(["y"], {"y": pa.int64()}))
