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
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from zlib_ng.zlib_ng import crc32

from mpignn.errors import DataError, ResourceError
from mpignn.files import read_file
from mpignn.storage.blocks import make_room, rows_per_block, write_at
from mpignn.storage.folder import check_space, sync_and_close, sync_path
from mpignn.storage.sink import writing
from mpignn.version import version

log = logging.getLogger(__name__)

# Of the files, and of all that the trainer puts into them: whoever changes what is in there gives it another number.
SCHEMA = "mpignn-checkpoint/2"
STATE, MANIFEST = "state.h5", "manifest.json"
_NAME = re.compile(r"step-(\d{9,})")
_PARTIAL = re.compile(r"\.(step-\d{9,})\.(partial|replaced)-[0-9a-f]{8}")
_HEAD = '{"crc32": "%08x", "checkpoint": '       # the checksum is that of all bytes after these
_MOST_BYTES = 1 << 28      # of a manifest, which has 10 for each block of rows
_PIECE_BYTES = 1 << 18      # small enough to stay in the core's cache until it is summed


class OtherFormat(DataError):
    """A checkpoint that is whole, and written by a version of the program that keeps other things in it."""


@dataclass(frozen=True)
class StoredArray:
    """One array of a checkpoint.

    Attributes:
        dtype: Type of an element in the file.
        shape: (N, ...); one number is an array of one row.
        offset: Byte of the state file at which it begins.
        crc32: (B,) CRC-32 of each block; empty as long as it is not written.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    crc32: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def block_rows(self) -> int:
        """Rows of a block; the last one may have fewer."""
        return rows_per_block(np.dtype(self.dtype), self.shape[1:])

    @property
    def num_blocks(self) -> int:
        """B; an array without bytes has none."""
        return -(-self.shape[0] // self.block_rows) if self.row_bytes else 0

    def rows(self, block: int) -> tuple[int, int]:
        """First row of a block, and one past its last."""
        return block * self.block_rows, min((block + 1) * self.block_rows, self.shape[0])


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds.

    Attributes:
        step: Optimiser steps done.
        about: Whatever else its writer says, as JSON can.
        arrays: By name.
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


def begin(out: Path, arrays: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> tuple[Path, Manifest]:
    """Make a temporary folder beside ``out``, and a state file with room for some arrays.

    Args:
        out: What the folder will be called in the end.
        arrays: Type and shape (N, ...) by name.

    Returns:
        The temporary folder, and a manifest that lacks the checksums of the arrays.

    Raises:
        ResourceError: Too little room, or a folder that cannot be written.
    """
    with disk_problems_named(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        check_space(out, sum(dtype.itemsize * int(np.prod(shape, dtype=np.int64)) for dtype, shape in arrays.values()))
        folder = out.parent / f".{out.name}.partial-{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            with writing(folder / STATE) as file:
                stored = {name: StoredArray(dtype.newbyteorder("=").str, shape, make_room(file, name, dtype, shape))
                          for name, (dtype, shape) in arrays.items()}
            return folder, _measured(folder, Manifest(0, {}, stored, 0, 0))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


class BlockWriter:
    """Writes blocks of the arrays of a state file; several ranks may do so at a time, each its own blocks.

    Attributes:
        crcs: CRC-32 of the blocks written, by array and number of the block.
    """

    def __init__(self, folder: Path, arrays: Mapping[str, StoredArray]):
        self._arrays = arrays
        self._handle = os.open(folder / STATE, os.O_WRONLY | os.O_CLOEXEC)
        self.crcs: dict[tuple[str, int], int] = {}

    def write(self, name: str, block: int, rows: np.ndarray) -> None:
        """Write one block.

        Args:
            rows: (n, ...) all rows of the block, C-contiguous, of the type that `begin` was given.

        Raises:
            OSError: The disk is full, or worse.
        """
        array = self._arrays[name]
        first, last = array.rows(block)
        assert rows.dtype == array.dtype, f"{name}: rows are {rows.dtype}, stored as {array.dtype}"
        raw = rows.reshape(-1).view(np.uint8)
        assert raw.size == (last - first) * array.row_bytes, f"{name}: {raw.size} bytes for rows {first}:{last}"
        place, crc = array.offset + first * array.row_bytes, 0
        for begin_at in range(0, raw.size, _PIECE_BYTES):
            piece = raw[begin_at:begin_at + _PIECE_BYTES]
            crc = crc32(piece, crc)
            write_at(self._handle, piece, place + begin_at)
        # Asks the system to begin to write now, while the next block is being made; nothing is waited for.
        os.posix_fadvise(self._handle, place, raw.size, os.POSIX_FADV_DONTNEED)
        self.crcs[name, block] = crc

    def close(self) -> None:
        """Return when all that was written is on the disk.

        Raises:
            OSError: It cannot be written.
        """
        sync_and_close(self._handle)


def complete(manifest: Manifest, crcs: Mapping[tuple[str, int], int], step: int, about: dict[str, Any]) -> Manifest:
    """The manifest with the checksums of all blocks, and what is to be said of the checkpoint."""
    arrays = {name: replace(array, crc32=tuple(crcs[name, block] for block in range(array.num_blocks)))
              for name, array in manifest.arrays.items()}
    return replace(manifest, arrays=arrays, step=step, about=about)


def commit(folder: Path, out: Path, manifest: Manifest) -> None:
    """Write the manifest, and give the temporary folder its name; a folder that has it is replaced.

    Raises:
        ResourceError: The disk is full, or the folder cannot be written.
    """
    said = {"schema": SCHEMA, "writer": f"mpignn {version()}", **asdict(manifest)}
    body = (json.dumps(said, allow_nan=False) + "}\n").encode()
    with disk_problems_named(out):
        (folder / MANIFEST).write_bytes((_HEAD % crc32(body)).encode() + body)
        for path in (folder / STATE, folder / MANIFEST, folder):
            sync_path(path)
        old = out.parent / f".{out.name}.replaced-{secrets.token_hex(4)}"
        if out.exists():        # a renamed folder cannot replace one that is not empty
            os.rename(out, old)
        os.rename(folder, out)
        sync_path(out.parent)
        shutil.rmtree(old, ignore_errors=True)


def abandon(folder: Path) -> None:
    """Remove a temporary folder that is not to be completed."""
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
    arrays = {name: StoredArray(array["dtype"], tuple(array["shape"]), array["offset"], tuple(array["crc32"]))
              for name, array in found.pop("arrays").items()}
    manifest = Manifest(arrays=arrays, **found)
    if size != manifest.num_bytes:
        raise DataError(f"{folder / STATE}: expected {manifest.num_bytes} bytes, got {size}: the checkpoint is "
                        "damaged or incomplete")
    return manifest


def read_block(folder: Path, manifest: Manifest, name: str, block: int) -> np.ndarray:
    """(n, ...) the rows of a block, verified.

    Raises:
        DataError: The checksum does not match, or the file ends before.
    """
    array = manifest.arrays[name]
    first, last = array.rows(block)
    rows = np.empty((last - first, *array.shape[1:]), array.dtype)
    crc = _read(folder / STATE, array.offset + first * array.row_bytes, rows.reshape(-1).view(np.uint8))
    if crc != array.crc32[block]:
        raise DataError(f"{folder / STATE}: rows {first}..{last - 1} of {name} are damaged: expected CRC-32 "
                        f"{array.crc32[block]:08x}, got {crc:08x}")
    return rows


def read_array(folder: Path, manifest: Manifest, name: str) -> np.ndarray:
    """(N, ...) a whole array, verified; errors of `read_block`."""
    array = manifest.arrays[name]
    whole = np.empty(array.shape, array.dtype)
    for block in range(array.num_blocks):
        first, last = array.rows(block)
        whole[first:last] = read_block(folder, manifest, name, block)
    return whole


def check_rest(folder: Path, manifest: Manifest) -> None:
    """Verify the bytes of the state file that belong to no array.

    Raises:
        DataError: They are damaged.
    """
    if _rest_crc(folder / STATE, manifest) != manifest.rest_crc32:
        raise DataError(f"{folder / STATE}: damaged between its arrays")


@contextmanager
def disk_problems_named(out: Path) -> Iterator[None]:
    """Turn whatever the system says of a write into a `ResourceError`."""
    try:
        yield
    except OSError as error:
        raise ResourceError(f"{out}: no checkpoint can be written: {error.strerror}; those written before are whole"
                            ) from error


def array_name(*keys: str | int) -> str:
    """Name of an array that is found under some keys, whatever these look like."""
    parts = [quote(str(key), safe="", errors="surrogatepass") for key in keys]
    return "/".join("%2E" * len(part) if part in (".", "..") else part or "%" for part in parts)


def _measured(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with the size of the state file and the checksum of what is there already."""
    path = folder / STATE
    end = max((a.offset + a.shape[0] * a.row_bytes for a in manifest.arrays.values()), default=0)
    if path.stat().st_size < end:
        os.truncate(path, end)
    return replace(manifest, num_bytes=path.stat().st_size, rest_crc32=_rest_crc(path, manifest))


def _rest_crc(path: Path, manifest: Manifest) -> int:
    taken = sorted((a.offset, a.offset + a.shape[0] * a.row_bytes) for a in manifest.arrays.values() if a.num_blocks)
    place, crc = 0, 0
    for first, last in [*taken, (path.stat().st_size, 0)]:
        crc = _read(path, place, np.empty(first - place, np.uint8), crc)
        place = last
    return crc


def _read(path: Path, offset: int, out: np.ndarray, crc: int = 0) -> int:
    """Fill ``out``, (n,) uint8, from a place of a file on; returns the checksum, begun at ``crc``."""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            for begin_at in range(0, out.size, _PIECE_BYTES):
                piece = out[begin_at:begin_at + _PIECE_BYTES]
                done = 0
                while done < piece.size:
                    count = file.readinto(piece[done:].data)
                    if not count:
                        raise DataError(f"{path}: the file ends at byte {offset + begin_at + done}: it is incomplete")
                    done += count
                crc = crc32(piece, crc)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return crc
