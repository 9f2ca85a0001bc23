"""A file of predictions that several write at a time is the file that one writes."""

import h5py
import numpy as np
import pytest

from mpignn.errors import ResourceError
from mpignn.storage import arrays
from mpignn.storage.array_writers import RowWriter, make_file, write_crcs
from mpignn.storage.arrays import ArrayType
from mpignn.train.predictions import problems_named

DATA = {"node/n/logits": np.random.default_rng(0).standard_normal((1000, 7)).astype(np.float32),
        "node/n/prediction": np.arange(1000), "edge/n:to:n/score": np.empty(0, np.float32)}


def write(path, cuts):
    made = make_file(path, {name: ArrayType(rows.shape, rows.dtype) for name, rows in DATA.items()}, {"task": "none"})
    pieces = []
    for lo, hi in cuts:
        writer = RowWriter(path, made)
        for name, rows in DATA.items():
            writer.write(name, lo, rows[lo:hi]) if len(rows) else None
        writer.close()
        pieces += writer.pieces
    write_crcs(path, made, pieces)
    return path.read_bytes()


@pytest.fixture(params=[64 << 20, 500])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("small_blocks")
def test_equal_rows_give_equal_bytes_with_checksums_that_readers_verify(tmp_path):
    alone = write(tmp_path / "alone.h5", [(0, 1000)])
    assert write(tmp_path / "shared.h5", [(700, 1000), (0, 13), (13, 700)]) == alone
    with h5py.File(tmp_path / "shared.h5") as file:
        assert file.attrs["task"] == "none"
        for name, rows in DATA.items():
            found = np.empty_like(rows)
            arrays.read_rows(arrays.stored_array(file, str(tmp_path / "shared.h5"), name), 0, len(rows), found)
            assert np.array_equal(found, rows)


def test_rows_that_nobody_wrote_are_noticed(tmp_path):
    with pytest.raises(AssertionError, match="row 13 is missing"):
        write(tmp_path / "file.h5", [(0, 13), (14, 1000)])


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ResourceError, match="where all trainers see it"), problems_named(tmp_path / "out.h5"):
        RowWriter(tmp_path / "none.h5", {})
