"""A Python that has imported what jobs need, and forks into them: their processes start in hundredths of a second.

What a user starts takes seconds of CPU to import torch, to load compiled kernels, and to take all that apart again.
`mpirun.run` starts ``forked.py`` in place of Python, which sends what it is (arguments, environment, folder, open
files, mounts) to this server; a child of it then is that process.  It loads MPI only there, dies with its
``forked.py``, and that leaves with the exit code of the child.

``python fork_server.py SOCKET`` serves until its standard input is closed.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import threading
import types
from pathlib import Path

TOKEN = "MPIGNN_TEST_RUN"       # in the environment of all processes of a run, by which they are found again
_FAR = 512      # no process has so many files open: numbers from here on are for moving
_CLONE_NEWNS = 0x20000
_C = ctypes.CDLL(None)


class _NeedsMPI(Exception):
    """A module was about to load MPI."""


class _Guard:
    """A finder of modules that finds all but MPI."""

    @staticmethod
    def find_spec(name: str, path=None, target=None) -> None:
        if name == "mpi4py.MPI":
            raise _NeedsMPI


def preload() -> None:
    """Import all of the program that loads neither MPI nor Apache Arrow, which starts threads; load its kernels."""
    import mpignn
    sys.meta_path.insert(0, _Guard)
    for found in pkgutil.walk_packages(mpignn.__path__, "mpignn."):
        if found.name != "mpignn.__main__" and not found.name.startswith("mpignn.tables."):
            with contextlib.suppress(_NeedsMPI):
                importlib.import_module(found.name)
    for load in importlib.import_module("common_kernels").GROUPS.values():
        load()
    sys.meta_path.remove(_Guard)
    sys.modules.pop("mpi4py", None)         # it knows by now what the program asked of it, and others may ask otherwise
    # torch.testing imports the last one: 1.3 s.
    for name in ("pymetis", "pytest", "hypothesis.extra.numpy", "torch.distributed.tensor"):
        importlib.import_module(name)
    # What is loaded from here on, as the MPI library, does at exit what it must; of what is here that takes longer than
    # many a job.
    _C.on_exit(_C._exit, None)
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"{len(threads)} threads would not be forked"
    gc.collect()
    gc.freeze()     # what is here stays shared with the children


class Server:
    """Forks a child for each that asks, and tells it of the end.

    Args:
        path: Path of the socket.
    """

    def __init__(self, path: str):
        self._events = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(128)
        self._events.register(self._listener, selectors.EVENT_READ, self._fork)
        self._events.register(0, selectors.EVENT_READ, self._leave)
        self._children: set[int] = set()

    def serve(self) -> dict:
        """Serve; in a child, return what it is to be."""
        while True:
            for key, _ in self._events.select():
                if self._events.get_map().get(key.fd) is not key:
                    continue        # the end of its child has come before it, in the same look
                request = key.data()
                if request is not None:
                    return request

    def _fork(self) -> dict | None:
        asker, _ = self._listener.accept()
        size, files, _, _ = socket.recv_fds(asker, 8, 64)
        request = marshal.loads(asker.recv(int.from_bytes(size, "little"), socket.MSG_WAITALL))
        child = os.fork()
        if child == 0:
            self._let_go(asker)
            return request | {"mounts": None if request["mounts"] == os.readlink("/proc/self/ns/mnt") else files[0],
                              "files": dict(zip(request["files"], files[1:], strict=True))}
        for file in files:
            os.close(file)
        self._children.add(child)
        ended = os.pidfd_open(child)
        self._events.register(ended, selectors.EVENT_READ, lambda: self._reap(child, ended, asker))
        self._events.register(asker, selectors.EVENT_READ, lambda: self._pass_on(child, asker))
        return None

    def _let_go(self, asker: socket.socket) -> None:
        """Leave no object in a child that would close, when it is collected, a file of the same number."""
        sockets = [key.fileobj for key in self._events.get_map().values() if isinstance(key.fileobj, socket.socket)]
        for one in (*sockets, asker):
            os.close(one.detach())
        self._events.close()

    def _pass_on(self, child: int, asker: socket.socket) -> None:
        """Hand signals on; the end of the asker is the child's."""
        for number in asker.recv(16) or [signal.SIGKILL]:
            if child in self._children:
                os.kill(child, number)

    def _reap(self, child: int, ended: int, asker: socket.socket) -> None:
        self._children.remove(child)
        self._events.unregister(ended)
        self._events.unregister(asker)
        os.close(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            asker.sendall(code.to_bytes(4, "little", signed=True))
        except BrokenPipeError:     # it has ended first
            return
        finally:
            asker.close()

    def _leave(self) -> None:
        for child in self._children:
            os.kill(child, signal.SIGKILL)
        os._exit(0)


def become(request: dict) -> None:
    """Be the process that a request describes, up to the program."""
    os.setsid()
    if request["mounts"] is not None and _C.setns(request["mounts"], _CLONE_NEWNS):
        raise OSError("a forked process does not get at the file systems that it shall see")
    moved = {number: fcntl.fcntl(file, fcntl.F_DUPFD, _FAR) for number, file in request["files"].items()}
    os.closerange(3, _FAR)          # the server's
    for number, file in moved.items():
        os.dup2(file, number)
        os.close(file)
    sys.stdin = sys.__stdin__ = _stream(0, "r")
    sys.stdout = sys.__stdout__ = _stream(1, "w")
    sys.stderr = sys.__stderr__ = _stream(2, "w", buffering=1, errors="backslashreplace")
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None     # which comes from it
    # Whom it belongs to, as /proc shows its environment as that of the server; names are cut off behind 15 letters.
    Path("/proc/self/comm").write_text(f"{request['pid']} {os.environ.get(TOKEN, '')}")


def _stream(file: int, mode: str, **options):
    return open(file, mode, closefd=False, **options)


def run(arguments: list[str]) -> None:
    """Be ``python ARGUMENTS``, as far as these are ``-m MODULE``, ``-c PROGRAM`` or a script with its own behind."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = __builtins__
    match arguments:
        case ["-m", module, *rest]:
            sys.argv, sys.path[0] = [module, *rest], os.getcwd()
            runpy._run_module_as_main(module)       # what python -m calls
        case ["-c", program, *rest]:
            sys.argv, sys.path[0] = ["-c", *rest], ""
            exec(compile(program, "<string>", "exec"), main.__dict__)
        case [script, *rest]:
            sys.argv, sys.path[0], main.__file__ = [script, *rest], str(Path(script).resolve().parent), script
            exec(compile(Path(script).read_bytes(), script, "exec"), main.__dict__)


def leave(code: int) -> None:
    """End as Python ends where no exception leads, but do not take apart what it has imported."""
    threading._shutdown()           # waits for all but daemons
    atexit._run_exitfuncs()
    if "mpi4py.MPI" in sys.modules:
        from mpi4py import MPI
        if MPI.Is_initialized() and not MPI.Is_finalized():
            MPI.Finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    _C.fflush(None)
    _C.exit(code)


def main() -> None:
    preload()
    asked = Server(sys.argv[1]).serve()
    become(asked)
    code = 0
    try:
        run(asked["arguments"])
    except SystemExit as leaving:
        if not isinstance(leaving.code, int | None):
            raise
        code = leaving.code or 0
    leave(code)


if __name__ == "__main__":
    main()
