"""Checkpoints on disk: a folder with an HDF5 file of arrays, which many ranks write at a time, and a manifest.

    step-000000123/
      state.h5         contiguous datasets, nothing else of interest; any HDF5 tool shows them
      manifest.json    what the arrays are, where their bytes lie, a CRC-32 of each block of rows

The manifest is written last, and the folder gets its name when all of it has reached the disk.  A reader believes
nothing that has no checksum: it takes the places of the arrays from the manifest and asks HDF5 nothing.  Equal content
gives equal bytes, however many ranks wrote.

Shapes: N rows of an array, B blocks of rows.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from zlib_ng.zlib_ng import crc32

from mpignn.errors import DataError, ResourceError, os_errors
from mpignn.files import read_file
from mpignn.large.disk import check_space
from mpignn.storage import arrays
from mpignn.storage.array_writers import Piece, crcs_by_name, make_file
from mpignn.storage.arrays import ArrayType, StoredArray, file_crc
from mpignn.storage.atomic import whole
from mpignn.version import version

log = logging.getLogger(__name__)

# Of the files, and of all that the trainer puts into them: whoever changes what is in there gives it another number.
SCHEMA = "mpignn-checkpoint/7"
STATE, MANIFEST = "state.h5", "manifest.json"
_NAME = re.compile(r"step-(\d{9,})")
_PARTIAL = re.compile(r"\.(step-\d{9,})\.(partial|replaced)-[0-9a-f]{8}")
_HEAD = '{"crc32": "%08x", "checkpoint": '       # the checksum is that of all bytes after these
_MOST_BYTES = 1 << 28      # of a manifest, which has 10 for each block of rows


class OtherFormat(DataError):
    """A checkpoint that is whole, and written by a version of the program that keeps other things in it."""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds.

    Attributes:
        step: Optimizer steps done.
        about: Whatever else its writer says, as JSON can.
        arrays: By name; as long as they are written, without checksums.
        num_bytes: Size of the state file.
        rest_crc32: CRC-32 of the bytes of the state file that belong to no array.
    """

    step: int
    about: dict[str, Any]
    arrays: dict[str, StoredArray]
    num_bytes: int
    rest_crc32: int


def name_of(step: int) -> str:
    """Name of the checkpoint after so many steps."""
    return f"step-{step:09d}"


def is_name(name: str) -> bool:
    """Whether `name_of` gives this name to some step."""
    return _NAME.fullmatch(name) is not None


def found_in(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a folder, whole or not, and their steps; the newest last."""
    names = [(entry.name, entry) for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(match[1]), path) for name, path in names if (match := _NAME.fullmatch(name)))


def newest(folder: Path) -> Path | None:
    """The newest checkpoint of a folder whose manifest is sound; None if there is none.

    Raises:
        OtherFormat: It is of another version of the program.
    """
    for _, path in reversed(found_in(folder)):
        try:
            read_manifest(path)
        except OtherFormat:
            raise
        except DataError as error:
            log.warning("%s", error)
        else:
            return path
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what a job that died while it wrote has left; no job may be writing there.

    A checkpoint that was about to be replaced gets its name back.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        left = _PARTIAL.fullmatch(entry.name)
        if left is None:
            continue
        out = folder / left[1]
        if left[2] == "replaced" and not out.exists():
            os.rename(entry, out)
        else:
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def new(out: Path) -> Iterator[Path]:
    """A temporary folder for a checkpoint, which gets the name ``out`` at the end; a folder that has it is replaced.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out, replaces=True) as folder:
        folder.mkdir()
        yield folder


def begin(folder: Path, out: Path, wanted: Mapping[str, ArrayType]) -> Manifest:
    """Make a state file with room for some arrays; returns a manifest that lacks their checksums.  Not collective.

    Args:
        folder: What `new` gave.
        out: What it will be called.
        wanted: By name.

    Raises:
        OSError: The disk is full.
        ResourceError: It is nearly so.
    """
    check_space(out, sum(array.num_bytes for array in wanted.values()))
    made = make_file(folder / STATE, wanted)
    size = (folder / STATE).stat().st_size
    return Manifest(0, {}, made, size, _rest_crc(folder, Manifest(0, {}, made, size, 0)))


def complete(folder: Path, manifest: Manifest, pieces: Iterable[Piece], step: int, about: dict[str, Any]) -> None:
    """Write the manifest.  Not collective.

    Args:
        folder: What `new` gave.
        manifest: What `begin` returned.
        pieces: What all `RowWriter`s wrote: every row once.
        step, about: What the manifest is to say.

    Raises:
        OSError: The disk is full.
    """
    crcs = crcs_by_name(manifest.arrays, pieces)
    said = {"schema": SCHEMA, "writer": f"mpignn {version()}", "step": step, "about": about,
            "arrays": {name: {"dtype": array.dtype.newbyteorder("=").str, "shape": array.shape, "offset": array.offset,
                              "crc32": crcs[name]} for name, array in manifest.arrays.items()},
            "num_bytes": manifest.num_bytes, "rest_crc32": manifest.rest_crc32}
    body = (json.dumps(said, allow_nan=False) + "}\n").encode()
    (folder / MANIFEST).write_bytes((_HEAD % crc32(body)).encode() + body)


def remove(folder: Path) -> None:
    """Remove a checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """What a checkpoint says of itself, checked against its checksum and the size of its state file.

    Raises:
        OtherFormat: It is of another version of the program.
        DataError: No checkpoint, or a damaged one.
    """
    path = folder / MANIFEST
    try:
        raw = read_file(path, _MOST_BYTES)
        size = (folder / STATE).stat().st_size
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}: {folder} is no whole checkpoint") from error
    length = len(_HEAD % 0)
    body = raw[length:]
    if raw[:length] != (_HEAD % crc32(body)).encode():
        raise DataError(f"{path}: its checksum does not match: the checkpoint is damaged")
    found = json.loads(body[:-2])
    schema, writer = found.pop("schema"), found.pop("writer", "a version of mpignn that does not say which")
    if schema != SCHEMA:
        raise OtherFormat(f"{folder} is of format {schema}, written by {writer}; this is mpignn {version()}, which "
                          f"reads {SCHEMA}: use the version that wrote it, or train anew")
    stored = {name: StoredArray(tuple(array["shape"]), np.dtype(array["dtype"]), str(folder / STATE), name,
                                array["offset"], tuple(array["crc32"]))
              for name, array in found.pop("arrays").items()}
    manifest = Manifest(arrays=stored, **found)
    if size != manifest.num_bytes:
        raise DataError(f"{folder / STATE}: expected {manifest.num_bytes} bytes, got {size}: the checkpoint is "
                        "damaged or incomplete")
    return manifest


def verified_rows(array: StoredArray, lo: int, hi: int) -> np.ndarray:
    """(hi - lo, ...) rows of an array, verified.

    Raises:
        DataError: A checksum does not match, or the file ends before.
    """
    rows = np.empty((hi - lo, *array.shape[1:]), array.dtype)
    with _reading(array.path):
        arrays.read_rows(array, lo, hi, rows)
    return rows


def check_rest(folder: Path, manifest: Manifest) -> None:
    """Verify the bytes of the state file that belong to no array.

    Raises:
        DataError: They are damaged.
    """
    with _reading(folder / STATE):
        found = _rest_crc(folder, manifest)
    if found != manifest.rest_crc32:
        raise DataError(f"{folder / STATE}: damaged between its arrays")


def disk_problems_named(out: Path) -> AbstractContextManager[None]:
    """Turn whatever the system says of a write into a `ResourceError`."""
    return os_errors(ResourceError, f"{out}: no checkpoint can be written", "; those written before are whole")


def array_name(*keys: str | int) -> str:
    """Name of an array that is found under some keys, whatever these look like."""
    parts = [quote(str(key), safe="", errors="surrogatepass") for key in keys]
    return "/".join("%2E" * len(part) if part in (".", "..") else part or "%" for part in parts)


def _reading(path: str | Path) -> AbstractContextManager[None]:
    """Turn whatever the system says of a read into a `DataError`."""
    return os_errors(DataError, f"{path}: cannot be read")


def _rest_crc(folder: Path, manifest: Manifest) -> int:
    """CRC-32 of the bytes of the state file that belong to no array."""
    taken = sorted((array.start(), array.start() + array.num_bytes) for array in manifest.arrays.values()
                   if array.num_bytes)
    place, crc = 0, 0
    for first, last in [*taken, (manifest.num_bytes, 0)]:
        crc = file_crc(folder / STATE, place, first, crc)
        place = last
    return crc
