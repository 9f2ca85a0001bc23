"""Files that a user names, looked at before they are read whole.

A pipe that nobody writes is waited for for ever, a device never ends, and what takes all memory is no text of a user's.
"""

import errno
import stat
from pathlib import Path

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def read_file(path: str | Path, most_bytes: int) -> bytes:
    """The bytes of a file.  Not collective.

    Args:
        path: Path of the file.
        most_bytes: More is not what the file is taken for.

    Raises:
        OSError: It cannot be read, is no file, or is larger; names the path.
    """
    status = Path(path).stat()
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise OSError(errno.EINVAL, f"{kind}, where a file is wanted", str(path))
    if status.st_size > most_bytes:
        raise OSError(errno.EINVAL, f"has {status.st_size} bytes, where at most {most_bytes} are expected: it is "
                                    "another file", str(path))
    return Path(path).read_bytes()
