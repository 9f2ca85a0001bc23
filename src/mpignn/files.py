"""Files that a user names, looked at before they are read whole.

A pipe that nobody writes is waited for for ever, a device never ends, and what takes all memory is no text of a user's.
"""

import difflib
import errno
import stat
from collections.abc import Iterable
from contextlib import suppress
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


def almost_named(path: str | Path, names: Iterable[str] = ()) -> str:
    """``; did you mean X?`` where something beside a path that is not there has almost its name.  Not collective.

    Args:
        path: What is not there.
        names: Other things that may have been meant.
    """
    missing, known = Path(path), {name: name for name in names}
    with suppress(OSError):
        known |= {beside.name: str(missing.with_name(beside.name)) for beside in missing.parent.iterdir()}
    found = difflib.get_close_matches(missing.name, known, n=1, cutoff=0.7)
    return f"; did you mean {known[found[0]]}?" if found else ""
