"""A forked process is to its launcher and to its own program what one that was started would be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forks import FORKS
from mpirun import MPIS, environment, missing, mpirun, python, read_only, run

SEEN = ("import json, os, sys; print(json.dumps([sys.argv, sys.path[0], __name__, os.getcwd(), "
        "os.environ['MPIGNN_TEST_RUN'] != '', 'torch' in sys.modules, 'mpi4py' in sys.modules]))")


@pytest.mark.parametrize("mpi", MPIS)
def test_ranks_know_of_each_other_and_have_their_own_arguments(mpi, tmp_path):
    if missing(mpi) is not None:
        pytest.skip(missing(mpi))
    program = "import sys; from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank), sys.argv)"
    done = mpirun(["-c", program, "a b"], 3, mpi, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "3 ['-c', 'a b']\n" * 3), done


def test_a_program_sees_what_it_would_see(tmp_path):
    (tmp_path / "seen.py").write_text(SEEN)
    for words in (["-c", SEEN, "x"], ["seen.py", "x"], ["-m", "seen", "x"]):
        forked, started = (json.loads(run([python(), *words], cwd=tmp_path, fresh=f).stdout) for f in (False, True))
        assert forked[:5] == started[:5] and forked[5:] == [True, False], words


def test_it_sees_the_file_systems_that_its_launcher_sees(tmp_path):
    """And no other process does."""
    words = [*read_only(tmp_path), python(), "-c", f"open({str(tmp_path / 'file')!r}, 'w')"]
    forked, started = (run(words, fresh=f) for f in (False, True))
    assert forked.returncode == started.returncode == 1
    assert "Read-only file system" in forked.stderr and "Read-only file system" in started.stderr
    assert run(words[-3:]).returncode == 0 and (tmp_path / "file").exists()


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "1 / 0", "import os; os.kill(os.getpid(), 9)",
                                     "import os; os.kill(os.getpid(), 15)", "import sys; sys.exit('no')"])
def test_it_ends_as_it_would_end(program):
    forked, started = (run([python(), "-c", program], fresh=f) for f in (False, True))
    assert forked.returncode == started.returncode != 0
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_the_launcher_gets_the_exit_code_before_it_misses_the_rank():
    """MPICH's one kills a rank whose socket is closed before MPI has ended."""
    for fresh in False, True:
        done = mpirun(["-c", "import os; from mpi4py import MPI; os._exit(3)"], 1, fresh=fresh)
        assert done.returncode == 3, done


@pytest.mark.parametrize(("number", "caught"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_signals_reach_it_and_it_dies_with_its_launcher(number, caught, tmp_path):
    program = ("import os, pathlib, signal, time; signal.signal(15, lambda *_: os._exit(7)); "
               "pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)")
    job = subprocess.Popen([*FORKS.words(sys.executable, environment()), "-c", program], cwd=tmp_path)
    wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    job.send_signal(number)
    assert job.wait(20) == (7 if caught else -number)
    wait(lambda: not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text()}"))


KEPT = """
import gc, os
gc.collect()
print(*(number for number in range(3, 64) if os.path.exists(f"/proc/self/fd/{number}")))
"""
OPENED = 'for number in {3..50}; do eval "exec $number</dev/null"; done; exec "$@"'


@pytest.mark.parametrize("fresh", [False, True])
def test_where_it_was_is_told_when_time_is_out(fresh):
    done = mpirun(["-c", "import time\ndef here():\n    time.sleep(100)\nhere()"], 2, timeout=3, fresh=fresh)
    assert done.timed_out and "in here" in done.stderr, done


def test_nothing_of_the_server_closes_a_file_of_the_program():
    """Its sockets have numbers that files have here: whatever lives on may close them when it is collected."""
    waiting = subprocess.Popen([*FORKS.words(sys.executable, environment()), "-c", "input()"], stdin=subprocess.PIPE)
    time.sleep(1)       # the server has a child, and what belongs to it
    done = run(["bash", "-c", OPENED, "bash", python(), "-c", KEPT])
    waiting.communicate(b"\n")
    assert list(map(int, done.stdout.split())) == list(range(3, 51)), done


def test_a_child_and_its_launcher_may_end_at_once(tmp_path):
    """The server hears of both in one look."""
    begin = FORKS.words(sys.executable, environment())
    program = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    job = subprocess.Popen([*begin, "-c", program], cwd=tmp_path)
    wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    server = FORKS.servers[sys.executable]
    server.send_signal(signal.SIGSTOP)
    child = (tmp_path / "pid").read_text()
    os.kill(int(child), signal.SIGKILL)
    wait(lambda: ") Z " in Path(f"/proc/{child}/stat").read_text())
    job.kill()
    job.wait()
    server.send_signal(signal.SIGCONT)
    assert run([python(), "-c", "print('here')"]).stdout == "here\n"


def test_it_leaves_as_it_would_leave(tmp_path):
    """What has been asked for the end is done, threads are waited for, and what was printed is there."""
    # Each line is one piece: what two ranks print piece by piece at the same time comes mixed out of the launcher.
    program = ("import atexit, sys, threading, time; from mpi4py import MPI\n"
               "say = lambda words: print(words + chr(10), end='')\n"
               "threading.Thread(target=lambda: (time.sleep(0.5), say('thread'))).start()\n"
               "atexit.register(lambda: say(f'atexit {MPI.Is_finalized()}')); say('end'); sys.exit(300)")
    for fresh in False, True:
        done = mpirun(["-c", program], 2, fresh=fresh, cwd=tmp_path)
        assert (done.returncode, sorted(done.stdout.splitlines())) == (
            44, sorted(["end", "thread", "atexit False"] * 2)), done


def wait(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "nothing happened in 20 s"
        time.sleep(0.01)
