"""Tables that are written are read back by others, whatever stands in them, and have equal bytes each time."""

import csv
import gzip
import io
import re
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from mpignn.errors import ConfigError
from mpignn.graph.user_ids import UserIds
from mpignn.tables import write_rows
from mpignn.tables.columns import Coded
from mpignn.tables.delimited import MISSING
from mpignn.tables.endings import TABLES, table_of
from mpignn.tables.table import Table
from mpignn.tables.write_rows import TableWriter

TEXTS = ["plain", "", "a,b", 'say "no"', "two\nlines", "tab\there", "Größe 𝄞", "cr\rhere", " blank ", "1e5"]
NUMBERS = np.array([0, -1, 1 << 62, 5, 6, 7, 8, 9, 10, 11])
LARGE = np.full(10, (1 << 64) - 1, np.uint64)
SHARES = np.linspace(0, 1, 10, dtype=np.float32)
CODES = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 2])
NAMES = ("red", "", 'b"lue')


def columns(lo, hi):
    return {"id": UserIds.of_texts(TEXTS[lo:hi]), "of, whom": UserIds(LARGE[lo:hi]), "number": NUMBERS[lo:hi],
            "class": Coded(CODES[lo:hi], NAMES), "share": SHARES[lo:hi]}


def write(path, cuts=((0, 4), (4, 4), (4, 10))):
    with TableWriter(path, TABLES["".join(path.suffixes)]) as writer:
        for lo, hi in cuts:
            writer.append(columns(lo, hi))
    return path.read_bytes()


def expected():
    names = [NAMES[code] for code in CODES]
    return {"id": TEXTS, "of, whom": LARGE.tolist(), "number": NUMBERS.tolist(), "class": names,
            "share": SHARES.tolist()}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".tsv.gz"])
def test_lines_are_those_that_other_programs_read(tmp_path, ending):
    raw = write(tmp_path / f"a{ending}")
    text = (gzip.decompress(raw) if ending.endswith("gz") else raw).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "tsv" in ending else ",")
    assert header == list(expected())
    found = dict(zip(header, zip(*rows, strict=True), strict=True))
    assert list(found["id"]) == TEXTS and list(found["class"]) == expected()["class"]
    assert list(map(int, found["number"])) == NUMBERS.tolist() and list(map(int, found["of, whom"])) == LARGE.tolist()
    assert np.array_equal(np.array(found["share"], np.float32), SHARES)     # all digits that a float32 has
    assert text.startswith('id,"of, whom"' if "csv" in ending else "id\tof, whom") and "\nplain" in text


@pytest.mark.parametrize("ending", TABLES)
def test_ids_that_look_as_if_they_were_missing_are_read_back(tmp_path, ending):
    ids = [text for text in MISSING if text] + ["plain", "NAME", "nah", " NA"]
    with TableWriter(tmp_path / f"a{ending}", TABLES[ending]) as writer:
        writer.append({"id": UserIds.of_texts(ids), "n": np.arange(len(ids))})
    (block,) = Table.open([tmp_path / f"a{ending}"], as_text=["id"]).batches(["id"])
    assert block.columns["id"].to_pylist() == ids


@pytest.mark.parametrize("group_bytes", [1 << 25, 1])
def test_parquet_is_read_back_with_its_types(tmp_path, monkeypatch, group_bytes):
    monkeypatch.setattr(write_rows, "_GROUP_BYTES", group_bytes)
    write(tmp_path / "a.parquet")
    found = parquet.read_table(tmp_path / "a.parquet")
    assert found.to_pydict() == expected()
    assert [str(kind) for kind in found.schema.types] == ["string", "uint64", "int64", "string", "float"]
    assert parquet.ParquetFile(tmp_path / "a.parquet").num_row_groups == (1 if group_bytes > 1 else 2)


@pytest.mark.parametrize("ending", TABLES)
def test_equal_rows_give_equal_bytes(tmp_path, ending):
    assert write(tmp_path / f"a{ending}") == write(tmp_path / f"b{ending}")


@pytest.mark.parametrize("ending", TABLES)
def test_a_table_without_rows_has_names_of_columns(tmp_path, ending):
    raw = write(tmp_path / f"a{ending}", [(0, 0)])
    if ending == ".parquet":
        assert parquet.read_table(tmp_path / "a.parquet").column_names == list(expected())
    else:
        text = (gzip.decompress(raw) if ending.endswith("gz") else raw).decode()
        assert text.count("\n") == 1 and "number" in text


class Full(io.RawIOBase):
    """A file on a disk that takes no more than some bytes."""

    left = 6

    def writable(self):
        return True

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return len(data)


@pytest.mark.parametrize("ending", TABLES)
def test_a_full_disk_is_one_error(monkeypatch, ending, capfd):
    monkeypatch.setattr(Path, "open", lambda path, mode: Full())
    with pytest.raises(OSError, match="No space left"):
        write(Path(f"a{ending}"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("name", "kind"), [
    ("a.h5", None), ("a.HDF5", None), ("a.csv", TABLES[".csv"]), ("b.a.TSV", TABLES[".tsv"]),
    ("a.csv.gz", TABLES[".csv.gz"]), ("a.parquet", TABLES[".parquet"])])
def test_the_ending_says_what_is_written(name, kind):
    assert table_of(Path("some.csv") / name) == kind


@pytest.mark.parametrize("name", ["a", "csv", "a.gz", "a.parquet.gz", "a.xlsx", "a.csv.zst"])
def test_another_ending_is_refused_with_those_that_there_are(name):
    with pytest.raises(ConfigError, match=re.escape(f"{name}: the ending") + ".*: .h5, .hdf5, .csv, .tsv, .csv.gz"):
        table_of(Path(name))
