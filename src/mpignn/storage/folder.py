"""Folders and files that appear under their names complete, or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpignn.errors import ConfigError, ResourceError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that is renamed to it at the end, and removed if anything goes wrong.

    All files in it reach the disk before the name does.

    Raises:
        ConfigError: ``out`` exists, or its parent cannot be written to.
        ResourceError: The disk is full, or a quota reached.
    """
    if os.path.lexists(out):
        raise ConfigError(f"{out} exists already and is left as it is: remove it or choose another name")
    folder = out.parent / f".{out.name}.partial-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise ConfigError(f"{out}: cannot create a folder there: {error.strerror}") from error
    try:
        with full_disk_named(out):
            yield folder
            for name in (*sorted(folder.iterdir()), folder):
                sync_path(name)
            os.rename(folder, out)
            sync_path(out.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)       # nothing is there any more once it is renamed


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """The name of a temporary file beside ``out`` that is renamed to it at the end, and removed if anything goes wrong.

    It reaches the disk before it gets its name.  What had that name is replaced.

    Raises:
        ConfigError: No file can be made there.
    """
    partial = out.parent / f".{out.name}.partial-{secrets.token_hex(4)}"
    if not os.access(out.parent, os.W_OK) or out.is_dir():
        raise ConfigError(f"{out}: cannot write a file there")
    try:
        yield partial
        sync_path(partial)
        os.replace(partial, out)
        sync_path(out.parent)
    finally:
        partial.unlink(missing_ok=True)     # nothing is there any more once it is renamed


def sync_path(path: Path) -> None:
    """Return when a file's content, or a folder's names, are on the disk."""
    sync_and_close(os.open(path, os.O_RDONLY))


def sync_and_close(handle: int) -> None:
    """Close a file or folder when all of it is on the disk."""
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_space(out: Path, num_bytes: int) -> None:
    """Raise `ResourceError` if a file system does not have so many bytes free.

    A quota is not seen here; `full_disk_named` names it when it is reached.
    """
    free = shutil.disk_usage(out.parent).free
    if free < num_bytes:
        raise ResourceError(f"{out}: needs {num_bytes / 1e6:.1f} MB, but the disk has {free / 1e6:.1f} MB free")


@contextmanager
def full_disk_named(out: Path) -> Iterator[None]:
    """Turn what the system says of a disk that takes no more into a `ResourceError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        raise ResourceError(f"{out}: cannot be written: {error.strerror}; what was written is removed") from error
