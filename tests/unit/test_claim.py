"""A folder has one owner: others are refused, the dead are found out, and who was given up notices."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mpignn import stop
from mpignn.errors import ConfigError, Stopped
from mpignn.storage import claim

HOLD = """
import sys, time
from pathlib import Path
from mpignn.storage import claim
claim.BEAT_S = 0.1
if sys.argv[2:]:
    claim._boot = lambda: sys.argv[2]       # as if on another host
claim.take(Path(sys.argv[1]))
print("taken", flush=True)
if sys.stdin.readline() == "fail\\n":
    raise RuntimeError
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short times, and no claims of other tests."""
    for name, value in (("BEAT_S", 0.1), ("LAPSE_S", 1.0), ("_LOOK_S", 0.0), ("_SHORT_S", 0.02)):
        monkeypatch.setattr(claim, name, value)
    monkeypatch.setattr(claim, "_held", {})
    monkeypatch.setattr(claim, "_job", ["this job"])


@pytest.fixture
def hold(tmp_path):
    """Starts a process that claims the folder; all have ended in the end."""
    begun = []

    def start(*host: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), *host], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        begun.append(process)
        assert process.stdout.readline() == "taken\n"
        return process
    yield start
    for process in begun:
        process.kill()
        process.communicate()


def test_the_second_is_refused_and_told_whose_the_folder_is(tmp_path, hold, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    owner = hold()
    with pytest.raises(ConfigError, match=rf"in use by another job: process {owner.pid} on \S+, Slurm job 4711, since "
                                          r"20\d\d-.*stop it \(scancel 4711\), or use another folder"):
        claim.take(tmp_path)
    owner.communicate("")
    claim.take(tmp_path)


@pytest.mark.parametrize("how", ["end", "fail", "kill", "zombie"])
def test_of_an_owner_on_this_host_the_folder_is_free_at_once(tmp_path, hold, how):
    owner = hold()
    if how in ("kill", "zombie"):
        owner.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)      # it is dead, but still has its number
    if how != "zombie":
        owner.communicate(None if how == "kill" else f"{how}\n")
    began = time.monotonic()
    claim.take(tmp_path).check()
    assert time.monotonic() - began < 0.5 * claim.LAPSE_S
    assert len(list(tmp_path.iterdir())) == 1


def test_an_owner_on_another_host_lives_as_long_as_its_heart_beats(tmp_path, hold):
    owner = hold("another host")
    with pytest.raises(ConfigError, match=f"process {owner.pid} on"):
        claim.take(tmp_path)
    owner.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    claim.take(tmp_path)
    assert time.monotonic() - began >= claim.LAPSE_S


def test_one_that_gives_the_folder_back_while_another_waits_need_not_lapse(tmp_path, hold):
    owner = hold("another host")
    owner.send_signal(signal.SIGSTOP)
    taken = threading.Thread(target=claim.take, args=(tmp_path,))
    began = time.monotonic()
    taken.start()
    time.sleep(0.1)
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"beats": "released"}))
    taken.join()
    assert time.monotonic() - began < claim.LAPSE_S
    claim.check(tmp_path)


def test_who_was_suspended_and_given_up_writes_no_more(tmp_path, monkeypatch):
    mine = claim.take(tmp_path)
    claim.check(tmp_path / "deeper" / "file")
    monkeypatch.setattr(claim, "_job", ["another job"])
    monkeypatch.setattr(claim, "_held", {})
    monkeypatch.setattr(claim, "_boot", lambda: "another host")
    mine._ended.set()                               # no heartbeat: the process is suspended
    theirs = claim.take(tmp_path)
    theirs.check()
    monkeypatch.setattr(claim, "_job", ["this job"])
    monkeypatch.setattr(claim, "_held", {tmp_path.resolve(): mine})
    with pytest.raises(ConfigError, match="is not this job's any more"):
        claim.check(tmp_path / "deeper" / "file")
    claim.check(tmp_path.parent / "elsewhere")
    before = theirs.path.read_bytes()
    mine.release()
    assert theirs.path.read_bytes() == before


def test_ranks_of_one_job_share_a_claim(tmp_path):
    mine = claim.take(tmp_path)
    assert claim.take(tmp_path) is mine and claim.share(tmp_path, mine.path.name) is mine
    claim._held.clear()                             # as in another process of the job
    again = claim.take(tmp_path)
    assert again is not mine and not again.is_own and again.path == mine.path
    again.check()
    claim.release_all(5)
    with pytest.raises(ConfigError, match="not this job's any more"):
        mine.check()
    assert claim.take(tmp_path).path != mine.path


def test_one_that_is_asked_to_stop_while_it_waits_stops(tmp_path, hold, monkeypatch):
    hold("another host").send_signal(signal.SIGSTOP)
    monkeypatch.setattr(stop, "_wishes", ["SIGUSR1"])
    with pytest.raises(Stopped, match="while waiting for"):
        claim.take(tmp_path)


def test_a_claim_that_was_never_written_lapses(tmp_path):
    (tmp_path / ".claim-7").touch()
    assert [claim.take(tmp_path).path] == list(tmp_path.iterdir()) != [tmp_path / ".claim-7"]


def race(folder: str, number: int, start, results) -> None:
    claim.belong_to(f"job {number}")
    claim.LAPSE_S, claim._SHORT_S = 1.0, 0.01
    claim._boot = lambda: f"host {number}"
    start.wait()
    try:
        claim.take(Path(folder))
        results.put("taken")
    except ConfigError:
        results.put("refused")
    start.wait()


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_that_start_at_once_one_has_the_folder(tmp_path, dead):
    if dead:
        (tmp_path / ".claim-3").touch()
    spawn = multiprocessing.get_context("fork")
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        start, results = spawn.Barrier(6), spawn.Queue()
        jobs = [spawn.Process(target=race, args=(str(folder), n, start, results)) for n in range(6)]
        for job in jobs:
            job.start()
        found = sorted(results.get(timeout=60) for _ in jobs)
        for job in jobs:
            job.join()
        assert found == ["refused"] * 5 + ["taken"]


def as_job(name: str, patch: pytest.MonkeyPatch) -> None:
    """Be another process from now on, of a job that lives."""
    patch.setattr(claim, "_job", [name])
    patch.setattr(claim, "_held", {})


def test_who_is_late_misleads_nobody(tmp_path, monkeypatch):
    """A slow job has seen that a claim is given back; when it goes on, the folder is another job's."""
    claim.take(tmp_path).release()
    make, begun = claim._make, []

    def slow_make(*arguments):
        if not begun:
            begun.append(True)
            with monkeypatch.context() as patch:
                as_job("second", patch)
                claim.take(tmp_path).withdraw()
                as_job("third", patch)
                begun.append(claim.take(tmp_path))
        return make(*arguments)

    monkeypatch.setattr(claim, "_make", slow_make)
    as_job("slow", monkeypatch)
    with pytest.raises(ConfigError, match="is in use by another job"):
        claim.take(tmp_path)
    as_job("third", monkeypatch)
    begun[1].check()
    assert list(tmp_path.iterdir()) == [begun[1].path]
    begun[1].release()


def test_who_gives_up_late_removes_no_other_claim(tmp_path, monkeypatch):
    """Of two that start at once one is slow to remove its claim; by then the folder is the other's, or a third's."""
    unlink, begun = Path.unlink, []

    def slow_unlink(path, *arguments, **more):
        if not begun:
            begun.append(path)
            (tmp_path / ".claim-of-another").unlink()       # that gives up, too
            path.unlink()                                   # and a third takes what is there for that of a dead job
            with monkeypatch.context() as patch:
                as_job("third", patch)
                begun.append(claim.take(tmp_path))
        unlink(path, *arguments, **more)

    def seen_first(path, owner, write=claim._write):
        write(path, owner)
        if not begun:
            (tmp_path / ".claim-of-another").touch()

    monkeypatch.setattr(Path, "unlink", slow_unlink)
    monkeypatch.setattr(claim, "_write", seen_first)
    as_job("slow", monkeypatch)
    with pytest.raises(ConfigError, match="is in use by another job"):
        claim.take(tmp_path)
    as_job("third", monkeypatch)
    begun[1].check()
    begun[1].release()


def test_who_withdraws_late_removes_no_other_claim(tmp_path, monkeypatch):
    mine, unlink, begun = claim.take(tmp_path), Path.unlink, []

    def slow_unlink(path, *arguments, **more):
        if not begun:
            begun.append(True)
            with monkeypatch.context() as patch:
                as_job("another", patch)
                with pytest.raises(ConfigError, match="in use by another job"):
                    claim.take(tmp_path)
        unlink(path, *arguments, **more)

    monkeypatch.setattr(Path, "unlink", slow_unlink)
    mine.withdraw()
    assert begun and not any(tmp_path.iterdir())


def test_a_claim_below_one_of_a_dead_job_still_counts(tmp_path, hold):
    owner = hold()
    (path,) = tmp_path.iterdir()
    (tmp_path / ".claim-of-the-dead").write_text(path.read_text().replace(f'"pid": {owner.pid}', '"pid": 4194305'))
    with pytest.raises(ConfigError, match=f"in use by another job: process {owner.pid} "):
        claim.take(tmp_path)


def contend(folder: Path, number: int, end: float, problems, taken) -> None:
    """Take a folder again and again, some of the time as if on a host of one's own, and see that nobody else has it."""
    rng = random.Random(number)
    claim.LAPSE_S, claim._SHORT_S, claim._LOOK_S = 10.0, 0.002, 0.0
    claim._boot = lambda: f"host {number % 3}"

    def slowed(function: Callable) -> Callable:
        def slow(*arguments):
            time.sleep(max(0, rng.random() - 0.7) * 0.03)
            found = function(*arguments)
            time.sleep(max(0, rng.random() - 0.7) * 0.03)
            return found
        return slow

    claim._make, claim._claims, claim._write = map(slowed, (claim._make, claim._claims, claim._write))
    while time.monotonic() < end:
        claim.belong_to(f"job {number} {rng.random()}")
        try:
            mine = claim.take(folder)
        except ConfigError:
            continue
        taken.value += 1
        try:
            os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
            mine.check()
            time.sleep(rng.random() * 0.005)
            mine.check()
            os.unlink(folder / "inside")
        except (OSError, ConfigError) as error:
            problems.put(repr(error))
            return
        (mine.withdraw if rng.random() < 0.7 else mine.release)()


def test_a_claim_that_is_removed_before_it_says_anything_is_made_again(tmp_path, monkeypatch):
    write, removed = claim._write, []

    def late(path, owner):
        if not removed:
            removed.append(path)
            path.unlink()       # by a job that has waited long enough for it to say something
        write(path, owner)

    monkeypatch.setattr(claim, "_write", late)
    mine = claim.take(tmp_path)
    mine.check()
    assert removed and [*tmp_path.iterdir()] == [mine.path]
    mine.withdraw()


def test_many_jobs_that_come_and_go_are_never_two_at_once(tmp_path):
    spawn = multiprocessing.get_context("fork")
    problems, taken = spawn.Queue(), spawn.Value("i", 0)
    jobs = [spawn.Process(target=contend, args=(tmp_path, number, time.monotonic() + 5, problems, taken))
            for number in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert problems.empty(), problems.get(timeout=10)
    assert [job.exitcode for job in jobs] == [0] * 8
    assert taken.value > 10


def test_processes_that_are_forked_are_jobs_of_their_own():
    program = ("import os\nfrom mpignn.storage import claim\n"
               "for _ in range(2):\n"
               "    if os.fork() == 0:\n"
               "        print(claim.belong_to(), claim.belong_to(), flush=True)\n"
               "        os._exit(0)\n"
               "    os.wait()\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    first, second = (line.split() for line in done.stdout.splitlines())
    assert len({*first}) == len({*second}) == 1 and first != second
