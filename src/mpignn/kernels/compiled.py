"""Compiling kernels, and keeping what was compiled.

numba looks for a place when a function is decorated, that is, at import, and fails where it finds none.  Here the
place is chosen when the first kernel is compiled, none is one as well, and a file that is damaged is as good as none.
What an installation that can only be read brings with it, such as an image, is used as well.
"""

import hashlib
import importlib
import logging
import os
import pickle
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import caching, config

from mpignn.launcher import is_first

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger(__name__)

_BESIDE = Path(__file__).parent / "__pycache__"
_DIGEST_BYTES = 32

_given: list[Path] = []         # folders that may serve
_chosen: list[Path | None] = []         # at most one: where kernels are kept; None: nowhere
_loading: list[Callable[[], object]] = []       # at most one: the call for which nothing shall be compiled


# numba keeps no types: what it makes of a function is given the function's.

def kernel(function: F) -> F:
    """Decorate a function that is compiled for each type of its arguments, releases the GIL, and is kept."""
    return kernel_with()(function)


def kernel_with(**options: Any) -> Callable[[F], F]:
    """`kernel` with options of `numba.njit`."""
    def decorate(function: F) -> F:
        compiled = numba.njit(nogil=True, **options)(function)
        compiled._cache = _Kept(function)
        return cast(F, compiled)
    return decorate


def helper(function: F) -> F:
    """Decorate a function that kernels call."""
    return cast(F, numba.njit(function))


def inlined(function: F) -> F:
    """Decorate a function whose code kernels take in."""
    return cast(F, numba.njit(inline="always")(function))


class _NotKept(Exception):
    """A kernel would have to be compiled."""


def load(call: Callable[[], object]) -> bool:
    """Make a call of kernels, if all that it needs are kept or were called before; returns whether.  Not collective."""
    _loading.append(call)
    try:
        call()
    except _NotKept:
        return False
    finally:
        _loading.pop()
    return True


def may_keep_in(folder: Path) -> None:
    """Keep kernels in a folder, made here, if they cannot be kept beside their source.  Not collective.

    The place is chosen now, so that the first rank tells of none even if it only serves.
    """
    _given.append(folder)
    place()


def place() -> Path | None:
    """Where kernels are kept, chosen by the first call; None: nowhere.  Not collective.

    That is the folder that NUMBA_CACHE_DIR names, else the first of these that can be written to: the one beside the
    source, the one of `may_keep_in`, one of this user's in that for temporary files.
    """
    if not _chosen:
        _chosen.append(next(filter(_can_be_written, _candidates()), None))
        if _chosen[0] is None and is_first():
            log.warning("compiled kernels can be kept nowhere, neither beside the program nor in the run folder nor in "
                        "that for temporary files (TMPDIR): each job compiles its own")
    return _chosen[0]


def folders() -> list[Path]:
    """Where kernels are looked for: in the installation, even if it can only be read, then in the place.

    Not collective.
    """
    kept_in, found = place(), list[Path]()
    for folder in _installed():
        if folder == kept_in:
            break
        if folder.is_dir():
            found.append(folder)
    return found if kept_in is None else [*found, kept_in]


def _installed() -> Iterator[Path]:
    """Folders that come with the program, or are named by who starts it: what lies there may be run."""
    if config.CACHE_DIR:
        yield Path(config.CACHE_DIR)
    yield _BESIDE


def _candidates() -> Iterator[Path]:
    yield from _installed()
    yield from _given
    with suppress(FileNotFoundError):       # none of the folders that Python tries can be written to
        yield Path(tempfile.gettempdir()) / f"mpignn-kernels-{os.geteuid()}"


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o755 if folder in (_BESIDE, *_given) else 0o700, parents=True, exist_ok=True)
        status = folder.stat()
        # What is loaded from it is run: others may have made a folder of that name where all may write.
        if folder.name.startswith("mpignn-kernels-") and (
                status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return False
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _import_numba() -> None:
    """Import of numba what it imports when it is first used, but not SciPy, which takes 0.1 s and 300 files.

    It imports SciPy to see whether it is there, as it is, for kernels with linear algebra, which look again.
    """
    if "numba.np.arraymath" not in sys.modules:
        from numba.np import linalg
        look, linalg.ensure_blas = linalg.ensure_blas, lambda: None
        try:
            cast(Any, importlib.import_module("numba.np.arraymath")).ensure_blas = look
        finally:
            linalg.ensure_blas = look


class _Locator(caching.InTreeCacheLocator):
    """Tells numba a folder."""

    def __init__(self, py_func: Callable[..., Any], py_file: str, folder: Path) -> None:
        super().__init__(py_func, py_file)
        self._cache_path = str(folder if folder == _BESIDE else folder / self.get_suitable_cache_subpath(py_file))

    def ensure_cache_path(self) -> None:
        """Without numba's file that is written for each kernel and rank, to see whether one can be."""
        if not os.path.isdir(self._cache_path):
            os.makedirs(self._cache_path, exist_ok=True)


@dataclass(frozen=True)
class _LocatorOf:
    """Makes locators for a folder, in the place of a class of them."""

    folder: Path

    def from_function(self, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        locator = _Locator(py_func, py_file, self.folder)
        with suppress(OSError):
            locator.ensure_cache_path()
            return locator if os.path.exists(py_file) else None
        return None


class _Impl(caching.CompileResultCacheImpl):
    def __init__(self, py_func: Callable[..., Any], folder: Path) -> None:
        self._locator_classes = [_LocatorOf(folder)]
        super().__init__(py_func)


class _CheckedFiles(caching.IndexDataCacheFile):
    """Files that begin with a checksum: LLVM does not survive what is damaged."""

    def _save_data(self, name: str, data: Any) -> None:
        pickled = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(pickled).digest() + pickled)

    def _load_data(self, name: str) -> Any:
        found = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(found[_DIGEST_BYTES:]).digest() != found[:_DIGEST_BYTES]:
            raise ValueError(f"{name} has another checksum")
        return pickle.loads(found[_DIGEST_BYTES:])


class _Files(caching.FunctionCache):
    """The files of a kernel in a folder.

    Raises:
        RuntimeError: There is none, and none can be made.
    """

    def __init__(self, py_func: Callable[..., Any], folder: Path) -> None:
        self._impl_class = partial(_Impl, folder=folder)
        super().__init__(py_func)
        self.is_kept_in = folder == place()
        locator = self._impl.locator
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, locator.get_source_stamp())


class _Kept(caching.NullCache):
    """The cache of one kernel: numba's, at places that are known only when it is first asked for something."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        self._py_func = py_func
        self._files: list[_Files] = []

    @property
    def cache_path(self) -> str | None:
        files = self._written()
        return None if files is None else files.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        _import_numba()
        for files in self._opened():
            found = self._found(files, sig, target_context)
            if found is not None:
                return found
        if _loading:
            raise _NotKept
        return None

    def _found(self, files: _Files, sig: Any, target_context: Any) -> Any:
        try:
            return files.load_overload(sig, target_context)
        except Exception as error:      # whatever reading something damaged leads to
            if not _loading:            # who compiles it anew tells of it
                log.warning("%s: the kept kernel %s cannot be used (%s: %s) and is compiled anew", files.cache_path,
                            self._py_func.__name__, type(error).__name__, error)
                if files.is_kept_in:
                    self._attempt(files.flush)
            return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        files = self._written()
        if files is not None:
            self._attempt(lambda: files.save_overload(sig, cres))

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write; a disk that takes no more is no reason not to compute."""
        try:
            write()
        except OSError as error:
            log.warning("%s: a compiled kernel cannot be kept: %s", self.cache_path, error.strerror)

    def _written(self) -> _Files | None:
        """The files where it is kept; None: there are none."""
        return next((files for files in self._opened() if files.is_kept_in), None)

    def _opened(self) -> list[_Files]:
        if not self._files:
            for folder in folders():
                with suppress(RuntimeError):        # numba: no locator is available, the place is gone
                    self._files.append(_Files(self._py_func, folder))
        return self._files
