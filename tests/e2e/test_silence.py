"""No command is silent for longer than 3 s, however long its phases take, and all end with a line of what came of them.

All run at the same time, each of their phases slowed down: they sleep most of the time.
"""

import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
from test_commands import EXIT_CODES, OF_JOBS, USES, words

from mpignn.cli import _COMMANDS
from mpirun import MPIS, environment, forked, launcher, missing, python

LONGEST_S = 3.0
SLOW = """
import ctypes, sys, time
import mpignn.cli as cli
import mpignn.log as log
beat, last = log.beat, [0]
def slow(detail=None):
    if log.activity.began > last[0]:        # a phase has begun
        last[0] = log.activity.began
        time.sleep(0.5)
    beat(detail)
log.beat = slow
import mpignn.partition.metis as metis
apart = metis.call_apart
def keep_lock(function, count):
    if "mpi4py.MPI" in sys.modules:         # METIS works in no process of its own there, and keeps Python's lock
        ctypes.PyDLL(None).usleep(5_000_000)
    return apart(function, count)
metis.call_apart = keep_lock
text, add, work = cli._COMMANDS[sys.argv[1]]
def begin(arguments):
    time.sleep(3.5)
    return work(arguments)
cli._COMMANDS[sys.argv[1]] = text, add, begin
sys.exit(cli.main(sys.argv[1:]))
"""
# The last line of standard output; logs of other ranks, on standard error, may come through the launcher after it.
ENDS = {
    "train": r"wrote run; next: .*", "eval": r".*; written to run/eval/eval\.json",
    "infer": r"wrote pred\.h5",
    "partition": r"wrote cut; next: .*", "report": r"wrote run/report\.html", "synth": r"wrote made; next: .*",
    "warmup": r"all kernels were compiled before: .* MB in .*; next: .*",
    "check": r".*: no problem found; nothing was written", "bench": r"wrote bench\.json",
}
PRINT = {"describe", "info", "slurm", "completion", "data"}     # to standard output what they are for; data fails here


class Listener:
    """A command under test, and when each of its lines came.

    Attributes:
        lines: Seconds since its start, and the line, of standard output and error as they came.
        told: Those of standard output alone.
        ended: Seconds until both were closed.
    """

    def __init__(self, command, cwd) -> None:
        self.began = time.monotonic()
        self.job = subprocess.Popen(forked(command), cwd=cwd, env=environment(), stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[tuple[float, str]] = []
        self.told: list[str] = []
        self.ended = 0.0
        self._threads = [threading.Thread(target=self._listen, args=(stream,))
                         for stream in (self.job.stdout, self.job.stderr)]
        for thread in self._threads:
            thread.start()

    def _listen(self, stream) -> None:
        for line in stream:
            self.lines.append((time.monotonic() - self.began, line.rstrip("\n")))
            if stream is self.job.stdout:
                self.told.append(line.rstrip("\n"))
        self.ended = time.monotonic() - self.began

    def wait(self) -> int:
        try:
            return self.job.wait(120)
        finally:
            self.job.kill()
            for thread in self._threads:
                thread.join(10)

    def silence(self, launched: bool) -> tuple[float, str]:
        """The longest one, and the line that ended it; of what was launched, since its first line."""
        ends = [*self.lines, (self.ended, "the end")]
        stamps = [self.lines[0][0] if launched else 0.0, *(stamp for stamp, _ in self.lines)]
        return max((here - before, line) for before, (here, line) in zip(stamps, ends, strict=True))


@pytest.fixture(scope="module")
def heard(source, graphs, tmp_path_factory):
    """Every command, alone, and those that may under mpirun; by name and number of ranks."""
    first = tmp_path_factory.mktemp("trained")
    subprocess.run(forked([sys.executable, "-m", "mpignn", *words("train", source, graphs)]), cwd=first, check=True,
                   env=environment(), stdout=subprocess.DEVNULL, timeout=120)
    listeners = {}
    for name, ranks in [*((name, 1) for name in USES), ("train", 3), ("infer", 2), ("partition", 2), ("check", 2)]:
        mpi = MPIS[len(listeners) % 2]
        if ranks > 1 and missing(mpi):
            continue
        start = [sys.executable] if ranks == 1 else [*launcher(ranks, mpi), python(mpi)]
        folder = tmp_path_factory.mktemp(f"{name}-{ranks}")
        if name in ("eval", "infer", "report"):
            shutil.copytree(first / "run", folder / "run")
        more = ["--out", "bench.json"] if name == "bench" else []
        time.sleep(0.3)     # their starts take CPU time
        listeners[name, ranks] = Listener([*start, "-c", SLOW, *words(name, source, graphs), *more], folder)
    for (name, _), listener in listeners.items():
        assert listener.wait() == EXIT_CODES.get(name, 0), listener.lines
    return listeners


def test_every_command_is_used_here():
    assert ENDS.keys() | PRINT == set(_COMMANDS) and OF_JOBS


def test_no_command_is_silent_for_longer_than_3_s(heard):
    silences = {(name, ranks): listener.silence(ranks > 1) for (name, ranks), listener in heard.items()}
    assert not {of: silence for of, silence in silences.items() if silence[0] > LONGEST_S}, silences


def test_every_command_ends_with_what_was_written_where(heard):
    for (name, _), listener in heard.items():
        if name in ENDS:
            assert re.fullmatch(ENDS[name], listener.told[-1]), (name, listener.lines[-5:])
