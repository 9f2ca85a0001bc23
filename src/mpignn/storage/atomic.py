"""Folders and files that appear under their names complete, or not at all.

Where one is to appear is checked before the work that fills it, and again when it is made.
"""

import errno
import glob
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpignn.errors import ConfigError, os_errors
from mpignn.large.disk import full_disk_named

log = logging.getLogger(__name__)


def check_new(out: Path, what: str = "create a folder") -> None:
    """Raise ConfigError unless something can be made that is not there yet.  Not collective."""
    if os.path.lexists(out):
        raise ConfigError(f"{out} exists already and is left as it is: remove it or choose another name")
    _check_parent(out, out, what)


def check_file(out: Path, inputs: Iterable[Path] = ()) -> Path:
    """The file that writing ``out`` makes or replaces: the one that a symbolic link leads to.  Not collective.

    Args:
        inputs: Files that may not be replaced.

    Raises:
        ConfigError: No file can be made there; a folder, a device or a pipe is there; or it is one of the inputs.
    """
    with os_errors(ConfigError, f"{out}: cannot write a file there"):
        target = Path(os.path.realpath(out, strict=os.path.exists(out)))
        there = target.exists()
        if there and not target.is_file():
            what = "a folder" if target.is_dir() else "a device or a pipe"
            raise ConfigError(f"{out} is {what}: cannot write a file there, choose another name")
        if there and any(file.exists() and target.samefile(file) for file in inputs):
            raise ConfigError(f"{out} is read by this job and cannot be its output: choose another name")
    _check_parent(target, out, "write a file")
    return target


def _check_parent(path: Path, told: Path, what: str) -> None:
    """Raise ConfigError unless names can be made in the folder of ``path``, which the user knows as ``told``."""
    folder = path.parent
    if not folder.is_dir():
        why = f"{folder} is no folder" if folder.exists() else f"No such file or directory: make {folder} first"
    elif not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        why = f"{folder}: {os.strerror(errno.EROFS if read_only else errno.EACCES)}"
    else:
        return
    raise ConfigError(f"{told}: cannot {what} there: {why}")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that is renamed to it at the end, and removed if anything goes wrong.

    All files in it reach the disk before the name does.

    Raises:
        ConfigError: ``out`` exists, or its parent cannot be written to.
        ResourceError: The disk is full, or a quota reached.
    """
    check_new(out)
    for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.partial-*")):
        log.warning("%s is left by a command that was killed, or one that makes %s is at work: if none is, remove it",
                    left, out)
    with full_disk_named(out), whole(out) as folder:
        with os_errors(ConfigError, f"{out}: cannot create a folder there"):
            folder.mkdir()
        yield folder


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """The name of a temporary file beside ``out`` that is renamed to it at the end, and removed if anything goes wrong.

    It reaches the disk before it gets its name.  A file of that name is replaced; where the name is a symbolic link,
    the file that it leads to.

    Raises:
        ConfigError: No file can be made there.
    """
    with whole(check_file(out)) as partial:
        yield partial


@contextmanager
def whole(out: Path, replaces: bool = False) -> Iterator[Path]:
    """A temporary name beside ``out``, for a file or a folder that gets the name ``out`` at the end.

    All of it reaches the disk before the name does.  It is removed if anything goes wrong.

    Args:
        out: A file that has the name is replaced.
        replaces: A folder that has it is, too.  A job that dies between the two renames of that leaves the one that
            was there as ``.<name>.replaced-<number>``.

    Raises:
        OSError: Something could not be written; or ``out`` is a folder that may not be replaced.
    """
    partial = _beside(out, "partial")
    try:
        yield partial
        for path in (*sorted(partial.iterdir()), partial) if partial.is_dir() else (partial,):
            sync_path(path)
        old = _beside(out, "replaced")
        if replaces and out.exists():       # a renamed folder cannot replace one that is not empty
            os.rename(out, old)
        os.replace(partial, out)
        sync_path(out.parent)
        remove(old)
    finally:
        remove(partial)     # nothing is there any more once it is renamed


def _beside(out: Path, what: str) -> Path:
    return out.parent / f".{out.name}.{what}-{secrets.token_hex(4)}"


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Return when a file's content, or a folder's names, are on the disk."""
    sync_and_close(os.open(path, os.O_RDONLY))


def sync_and_close(handle: int) -> None:
    """Close a file or folder when all of it is on the disk."""
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
