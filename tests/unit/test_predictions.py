"""A file of predictions that several write at a time is the file that one writes."""

import h5py
import numpy as np
import pytest

from mpignn.storage import blocks, predictions
from mpignn.storage.predictions import Dataset, RowWriter, begin, complete

DATA = {"node/n/logits": np.random.default_rng(0).standard_normal((1000, 7)).astype(np.float32),
        "node/n/prediction": np.arange(1000), "edge/n:to:n/score": np.empty(0, np.float32)}


def write(path, cuts):
    datasets = {name: Dataset(rows.shape, rows.dtype) for name, rows in DATA.items()}
    places = begin(path, path, datasets, {"task": "none"})
    pieces = []
    for lo, hi in cuts:
        writer = RowWriter(path, datasets, places)
        for name, rows in DATA.items():
            writer.write(name, lo, rows[lo:hi]) if len(rows) else None
        writer.close()
        pieces += writer.pieces
    complete(path, datasets, pieces)
    return path.read_bytes()


@pytest.fixture(params=[64 << 20, 500])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("small_blocks")
def test_equal_rows_give_equal_bytes_with_checksums_that_readers_verify(tmp_path):
    alone = write(tmp_path / "alone.h5", [(0, 1000)])
    assert write(tmp_path / "shared.h5", [(700, 1000), (0, 13), (13, 700)]) == alone
    with h5py.File(tmp_path / "shared.h5") as file:
        assert file.attrs["task"] == "none"
        for name, rows in DATA.items():
            found = np.empty_like(rows)
            blocks.read_rows(blocks.stored(file, str(tmp_path / "shared.h5"), name), 0, len(rows), found)
            assert np.array_equal(found, rows)


def test_rows_that_nobody_wrote_are_noticed(tmp_path):
    with pytest.raises(AssertionError, match="row 13 is missing"):
        write(tmp_path / "file.h5", [(0, 13), (14, 1000)])


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(predictions.ResourceError, match="where all trainers see it"), \
            predictions.problems_named(tmp_path / "out.h5"):
        RowWriter(tmp_path / "none.h5", {}, {})
