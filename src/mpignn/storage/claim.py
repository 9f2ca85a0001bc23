"""Which job may write into a folder: one at a time, also where hosts share the folder and have no locks.

A claim is a file ``.claim-NAME`` in the folder.  It says whose it is, and its owner changes it every `BEAT_S` seconds.
Another one may be made where the owner of each claim has given the folder back, was a process of this host that is
gone, or has not changed the file for `LAPSE_S` seconds on the clock of the one who waits: clocks of two hosts are never
compared.  Who makes one looks again, and has the folder only if nothing is there but what it has judged: of two that
make one at the same time at least one sees the other.  It removes the others, so an owner that was suspended meanwhile
finds its own gone, and writes no more.  A name never comes back, so who is late removes or changes no other job's.
"""

import atexit
import json
import logging
import os
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeGuard

from mpignn import stop
from mpignn.errors import ConfigError, ResourceError, Stopped, os_errors
from mpignn.json_text import to_json
from mpignn.log import beat
from mpignn.watchdog import identity

log = logging.getLogger(__name__)

BEAT_S = 10.0
LAPSE_S = 60.0
_LOOK_S = 1.0               # between two looks of an owner at its claim
_SHORT_S = 0.25             # between those of one who waits for it
_NAME = re.compile(r"\.claim-.+")
_RELEASED = "released"      # in the place of the number of beats, and as long

_job: list[str] = []                    # what tells the job of this process from all others, see `belong_to`
_held: dict[Path, "Claim"] = {}         # the claims of that job, by folder


@dataclass(frozen=True)
class Owner:
    """What a claim says.

    Attributes:
        job: A word that all ranks of one job share, and no other job has.
        host: Its name.
        boot: What tells that host, from its start to its end, from any other.
        pid, started: The process and what tells it from others of that number, by `watchdog.identity`.
        slurm: Number of the Slurm job; empty without Slurm.
        since: When the claim was made, by the clock of the host.
        beats: How often it was changed, or ``released``.
    """

    job: str
    host: str
    boot: str
    pid: int
    started: str
    slurm: str
    since: str
    beats: str

    def __str__(self) -> str:
        slurm = f", Slurm job {self.slurm}" if self.slurm else ""
        return f"process {self.pid} on {self.host}{slurm}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether this process can tell whether the owner lives."""
        space, mine = self.started.partition(" ")[0], identity(os.getpid())[1].partition(" ")[0]
        return (self.boot, space) == (_boot(), mine)

    @property
    def is_alive(self) -> bool:
        """Whether the owner is a process of this host that lives for sure."""
        return self.is_here and identity(self.pid)[1] == self.started

    @property
    def is_over(self) -> bool:
        """Whether the owner has given the folder back, or is gone for sure."""
        if self.beats == _RELEASED:
            return True
        return self.is_here and not self.is_alive and (identity(self.pid)[1] != "" or not _is_hidden(self.pid))


class Claim:
    """A folder that this job may write into.

    Attributes:
        folder: The folder.
        path: The file of the claim, in that folder.
    """

    def __init__(self, path: Path):
        self.folder, self.path = path.parent, path
        self._seen_at = float("-inf")       # on a clock that also counts while the machine sleeps
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_own(self) -> bool:
        """Whether this process has made the claim, and not another one of its job."""
        return self._thread is not None

    def check(self) -> None:
        """Raise `ConfigError` if the job does not have the folder any more.  Looks at most once a second.

        Not collective.

        Raises:
            ResourceError: The folder cannot be read.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if now - self._seen_at < _LOOK_S:
            return
        with os_errors(ResourceError, f"{self.path}: cannot be read"):
            owner = _read(self.path)
        if not self._holds(owner):
            raise ConfigError(f"{self.folder} is not this job's any more: nothing was heard of it for {LAPSE_S:.0f} s "
                              f"and another job took the folder, or somebody removed {self.path}; nothing more is "
                              "written there")
        self._seen_at = now

    def keep(self) -> None:
        """Change the file every few seconds, from a thread, until it is released or lost."""
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the folder back, so that the next job need not wait.  Not collective."""
        self._end(lambda owner: _write(self.path, replace(owner, beats=_RELEASED)))

    def leave(self) -> None:
        """Release the folder if this process has made the claim, and `check` it no more if another one has.

        Not collective.
        """
        if self.is_own:
            self.release()
        else:
            _held.pop(self.folder, None)

    def withdraw(self) -> None:
        """Release the folder, and leave no file of the claim in it.  Not collective."""
        self._end(lambda _: self.path.unlink(missing_ok=True))

    def _end(self, give_back: Callable[[Owner], None]) -> None:
        _held.pop(self.folder, None)
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        try:
            owner = _read(self.path)
            if owner is not None and self._holds(owner):
                give_back(owner)
        except OSError as error:        # then it lapses
            log.debug("%s: cannot be released: %s", self.path, error.strerror)

    def _holds(self, owner: "Owner | None") -> TypeGuard["Owner"]:
        return owner is not None and owner.job == belong_to() and owner.beats != _RELEASED

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(BEAT_S):
            try:
                owner = _read(self.path)
                if not self._holds(owner):
                    return      # `check` tells whoever wants to write
                count += 1
                _write(self.path, replace(owner, beats=_padded(count)))
            except OSError as error:
                log.warning("%s: cannot be changed: %s; another job may take the folder", self.path, error.strerror)


def belong_to(job: str | None = None) -> str:
    """Let this process belong to a job, if one is given; returns the word that tells that job.  Not collective."""
    if job is not None:
        _job[:] = [job]
    elif not _job:
        _job.append(secrets.token_hex(8))       # only now: processes that were forked meanwhile are other jobs
    return _job[0]


def take(folder: Path) -> Claim:
    """Claim a folder for this job, which may have it already.  Not collective; one rank does it for all.

    It is released by `Claim.release`, or when the process ends.

    Raises:
        ConfigError: Another job has it.  That takes up to `LAPSE_S` seconds to find out where its host is another one.
        ResourceError: The folder cannot be written.
        Stopped: This process was asked to stop while it waited.
    """
    folder = folder.resolve()
    with os_errors(ResourceError, f"{folder}: cannot be written"):
        name, is_new = _take(folder)
    claim = share(folder, name)
    if is_new:
        claim.keep()
    return claim


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Have a folder claimed for this job while something happens; arguments and errors are those of `take`."""
    is_new = folder.resolve() not in _held
    claim = take(folder)
    try:
        yield
    finally:
        if is_new and claim.is_own:
            claim.release()


def share(folder: Path, name: str) -> Claim:
    """Let `check` know in this process, too, of a claim that another rank of its job has made.

    Not collective.

    Args:
        folder: The folder that is claimed.
        name: Name of the claim's file there.
    """
    folder = folder.resolve()
    if folder not in _held or _held[folder].path.name != name:
        _held[folder] = Claim(folder / name)
    return _held[folder]


def check(path: Path) -> None:
    """Raise `ConfigError` if a folder that this job had claimed, and that a path is in, is another's by now.

    For before a write.  Not collective.
    """
    whole = path.resolve() if _held else path
    for folder, claim in list(_held.items()):
        if folder == whole or folder in whole.parents:
            claim.check()


def release_all(limit_s: float) -> None:
    """Give back all that this job has claimed, as it ends; a disk that does not answer is waited for so long only."""
    def release() -> None:
        for claim in list(_held.values()):
            claim.release()
    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    thread.join(limit_s)


@atexit.register
def _release_own() -> None:
    """Give back what this process has claimed; where it only shares a claim, others may still write."""
    for claim in list(_held.values()):
        if claim.is_own:
            claim.release()


def _take(folder: Path) -> tuple[str, bool]:
    """The name of this job's claim, and whether it was made just now."""
    while True:
        seen = _claims(folder)
        owners = {name: _parsed(said) for name, said in seen.items()}
        for name, owner in owners.items():
            if owner is not None and owner.job == belong_to() and owner.beats != _RELEASED:
                return name, False
        uncertain = [name for name, owner in owners.items() if owner is None or not owner.is_over]
        if not all(_has_lapsed(folder, name, seen) for name in uncertain):
            continue
        name = f".claim-{secrets.token_hex(8)}"
        if not _make(folder / name, seen):
            time.sleep(_SHORT_S * (0.5 + random.random()))      # another job has the folder, or is about to; or neither
            continue
        for other in seen:
            (folder / other).unlink(missing_ok=True)
        if uncertain:
            time.sleep(2 * _LOOK_S)     # an owner that lives in spite of all has found out by then
        return name, True


def _has_lapsed(folder: Path, name: str, seen: Mapping[str, bytes]) -> bool:
    """Watch a claim; returns whether it stays as it is for so long, or else something has changed in the folder.

    Args:
        folder: Where it is.
        name: Name of the claim.
        seen: All claims as they were.

    Raises:
        ConfigError: It changes, so its owner lives.
    """
    owner, end = _parsed(seen[name]), time.monotonic() + LAPSE_S
    if owner is not None and owner.is_alive:
        raise _refused(folder, owner)
    log.info("%s: another job has claimed this folder (%s): waiting up to %.0f s to see whether it lives", folder,
             owner or "which does not say whose it is yet", LAPSE_S)
    while time.monotonic() < end:
        time.sleep(_SHORT_S)
        beat()
        if stop.wish() is not None:
            raise Stopped(f"asked to stop while waiting for {folder}, which another job has claimed")
        now = _claims(folder)
        if now != seen:
            owner = _parsed(now.get(name, b""))
            if owner is not None and not owner.is_over and now[name] != seen[name]:
                raise _refused(folder, owner)
            return False
    return True


def _refused(folder: Path, owner: Owner) -> ConfigError:
    how = f"stop it (scancel {owner.slurm})" if owner.slurm else "stop it"
    return ConfigError(f"{folder} is in use by another job: {owner}: wait until that has ended, {how}, or use another "
                       "folder (train --run-dir; eval and infer of a copy of the run)")


def _claims(folder: Path) -> dict[str, bytes]:
    """What is in each file of a claim, as the file's server has it, by their names."""
    found = {}
    for name in os.listdir(folder):
        if _NAME.fullmatch(name):
            with suppress(FileNotFoundError):       # removed meanwhile
                found[name] = (folder / name).read_bytes()
    return found


def _make(path: Path, judged: Mapping[str, bytes]) -> bool:
    """Make a claim, if no other one is in the way; those that are judged are not, as long as they stay as they are."""
    pid, started = identity(os.getpid())
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        _write(path, Owner(belong_to(), os.uname().nodename, _boot(), pid, started, os.environ.get("SLURM_JOB_ID", ""),
                           time.strftime("%Y-%m-%d %H:%M:%S"), _padded(0)))
        others = {other: said for other, said in _claims(path.parent).items() if other != path.name}
    except FileNotFoundError:       # removed by one who has waited long enough for it to say something
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    alone = others.items() <= judged.items()
    if not alone:
        path.unlink(missing_ok=True)
    return alone


def _padded(count: int) -> str:
    return f"{count:0{len(_RELEASED)}d}"


def _write(path: Path, owner: Owner) -> None:
    """Write a claim over what was there, which is as long."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(handle, (to_json(asdict(owner)) + "\n").encode(), 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Owner | None:
    """What a claim says; None if it is not there, or not written yet."""
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return None


def _parsed(said: bytes) -> Owner | None:
    try:
        return Owner(**json.loads(said))
    except (ValueError, TypeError):
        return None


def _is_hidden(pid: int) -> bool:
    """Whether a process exists that is not ours to see."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
