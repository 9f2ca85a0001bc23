"""Room on a disk, before something is written and when there is none any more."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from mpignn.errors import FULL_DISK, ResourceError, os_errors


def has_space(out: Path, num_bytes: int) -> bool:
    """Whether the file system of ``out`` has so many bytes free."""
    return shutil.disk_usage(out.parent).free >= num_bytes


def check_space(out: Path, num_bytes: int) -> None:
    """Raise `ResourceError` if a file system does not have so many bytes free.

    A quota is not seen here; `full_disk_named` names it when it is reached.
    """
    free = shutil.disk_usage(out.parent).free
    if free < num_bytes:
        raise ResourceError(f"{out}: needs {num_bytes / 1e6:.1f} MB, but the disk has {free / 1e6:.1f} MB free")


def full_disk_named(out: Path) -> AbstractContextManager[None]:
    """Turn what the system says of a disk that takes no more into a `ResourceError`."""
    return os_errors(ResourceError, f"{out}: cannot be written", "; what was written is removed", FULL_DISK)
