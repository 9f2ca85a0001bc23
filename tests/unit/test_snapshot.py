"""Checkpoint files: what is written is what is read, whoever wrote it; and nothing damaged is ever believed."""

import json
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpignn.errors import DataError, ResourceError
from mpignn.storage import snapshot
from mpignn.storage.array_writers import RowWriter
from mpignn.storage.arrays import ArrayType

ABOUT = {"graph": "g", "settings": {"lr": 0.1}}


@pytest.fixture(scope="module", autouse=True)
def small_blocks(tmp_path_factory):
    """Blocks of 64 bytes, so that few rows make several of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mpignn.storage.arrays.BLOCK_BYTES", 64)
        yield


def content() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {"state/model/weight": rng.random((5, 3), np.float32), "state/adam/step": np.array([7]),
            "tensors/a": rng.random((40, 2)), "tensors/none": np.empty((0, 4), np.float32),
            "tensors/thin": np.empty((6, 0)), "tensors/flags": rng.random(100) < 0.5}


def write(folder: Path, step: int, arrays=None, writers: int = 1) -> Path:
    """A checkpoint whose blocks are dealt to some writers in turn."""
    arrays = content() if arrays is None else arrays
    out = folder / snapshot.name_of(step)
    with snapshot.new(out) as partial:
        manifest = snapshot.begin(partial, out, {name: ArrayType(a.shape, a.dtype) for name, a in arrays.items()})
        pieces = []
        for number in reversed(range(writers)):
            writer = RowWriter(partial / snapshot.STATE, manifest.arrays)
            for name, stored in manifest.arrays.items():
                for first, last in stored.blocks()[number::writers]:
                    writer.write(name, first, arrays[name][first:last])
            writer.close()
            pieces += writer.pieces
        snapshot.complete(partial, manifest, pieces, step, ABOUT)
    return out


def read(folder: Path) -> dict[str, np.ndarray]:
    """All that a checkpoint holds, verified as `load` does."""
    manifest = snapshot.read_manifest(folder)
    snapshot.check_rest(folder, manifest)
    assert manifest.about == ABOUT
    return {name: snapshot.verified_rows(array, 0, array.shape[0]) for name, array in manifest.arrays.items()}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == expected[name].dtype and np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("writers", [1, 2, 3, 7])
def test_what_is_written_is_read_and_the_bytes_do_not_tell_by_whom(writers, tmp_path):
    out = write(tmp_path / "some", 12, writers=writers)
    assert same(read(out), content())
    alone = write(tmp_path / "one", 12)
    for name in (snapshot.STATE, snapshot.MANIFEST):
        assert (out / name).read_bytes() == (alone / name).read_bytes()
    assert snapshot.found_in(out.parent) == [(12, out)]


def test_any_hdf5_tool_reads_the_arrays(tmp_path):
    out = write(tmp_path, 3)
    with h5py.File(out / snapshot.STATE) as file:
        assert same({name: file[name][()] for name in content()}, content())
    assert json.loads((out / snapshot.MANIFEST).read_text())["checkpoint"]["step"] == 3


@pytest.mark.parametrize("keys", [("a", "b/c"), ("a", "."), ("..",), ("", 0), ("ä %", "x")])
def test_any_keys_make_a_name(keys, tmp_path):
    arrays = {snapshot.array_name(*keys): np.arange(3), snapshot.array_name(*keys[:-1], "other"): np.arange(4)}
    assert same(read(write(tmp_path, 0, arrays)), arrays)


def mutate(folder: Path, rng: np.random.Generator) -> str:
    """Damage one file of a checkpoint in one way; returns what was done."""
    path = folder / rng.choice([snapshot.STATE, snapshot.MANIFEST])
    raw = bytearray(path.read_bytes())
    place = int(rng.integers(len(raw)))
    kind = rng.choice(["flip", "flip", "byte", "zero", "cut", "grow", "gone", "other"])
    if kind == "flip":
        raw[place] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        raw[place] = (raw[place] + int(rng.integers(1, 256))) % 256
    elif kind == "zero":
        raw[place] ^= 255
        raw[place:place + 16] = bytes(len(raw[place:place + 16]))
    elif kind == "cut":
        del raw[place:]
    elif kind == "grow":
        raw += b"\0"
    elif kind == "gone":
        path.unlink()
        return f"{path.name} removed"
    else:       # of another checkpoint of the same shape
        other = {name: (array + 1 if array.dtype != bool else ~array) for name, array in content().items()}
        shutil.copy(write(folder.parent / "other", 12, other) / path.name, path)
        return f"{path.name} of another checkpoint"
    path.write_bytes(raw)
    return f"{path.name}: {kind} at byte {place}"


def test_nothing_damaged_is_believed(tmp_path):
    sound = write(tmp_path, 12)
    rng = np.random.default_rng(1)
    caught = set()
    for number in range(400):
        folder = tmp_path / f"damaged-{number}" / sound.name
        shutil.copytree(sound, folder)
        what = mutate(folder, rng)
        if same_bytes(folder, sound):       # sixteen zeros where zeros were
            continue
        with pytest.raises(DataError) as found:
            read(folder)
            pytest.fail(f"not noticed: {what}")
        caught.add(str(found.value).partition(": ")[2].split(" ")[0])
        shutil.rmtree(folder.parent)
    assert len(caught) > 4      # by several of the checks


def same_bytes(a: Path, b: Path) -> bool:
    return all((a / name).is_file() and (a / name).read_bytes() == (b / name).read_bytes()
               for name in (snapshot.STATE, snapshot.MANIFEST))


def test_a_full_disk_leaves_what_was_there(tmp_path):
    before = write(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises((ResourceError, OSError)):
            write(tmp_path, 2, {"big": np.arange(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(read(before), content())
    assert [step for step, _ in snapshot.found_in(tmp_path)] == [1]
    snapshot.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [before]


def test_too_little_room_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(ResourceError, match="needs .* MB, but the disk has"):
        write(tmp_path, 1, {"huge": np.broadcast_to(np.float64(0), (1 << 50, 4))})
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_the_same_name_is_replaced(tmp_path):
    write(tmp_path, 4, {"a": np.arange(3)})
    arrays = {"b": np.arange(5)}
    assert same(read(write(tmp_path, 4, arrays)), arrays)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000004"]


def test_one_that_was_about_to_be_replaced_is_found_again(tmp_path):
    out = write(tmp_path, 4)
    out.rename(tmp_path / ".step-000000004.replaced-0123abcd")
    (tmp_path / ".step-000000004.partial-0123abcd").mkdir()
    snapshot.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000004"] and same(read(out), content())
