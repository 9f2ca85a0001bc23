"""Finding out that nothing happens any more.

No MPI call ends when a host or a link does, so each process watches itself: a thread tells when nothing has happened
for a while, and ends the process when that has lasted too long.  It makes no MPI call.  Where even Python's threads do
not run any more, `faulthandler` does the same a little later.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mpignn.json_text import to_json
from mpignn.log import Activity, activity, beat

log = logging.getLogger(__name__)

STEADY_LIMIT_S = 1800.0
"""How long nothing may happen where batch follows batch, unless the user says otherwise."""

_SPEAK_S = 60.0     # quiet for so long, and then for twice as long each time, a working rank says where it is
_GRACE_S = 5.0      # of faulthandler after the thread
_EXIT_CODE = 1


_watchdog: "list[Watchdog]" = []        # that of this process
_record: list[Path] = []                # where it leaves what it saw when it gives up


def start(limit_s: float | None, peers: Sequence[tuple[int, str]] = ()) -> None:
    """Let this process be watched until it ends; when it is already, let that one know the new arguments.

    Not collective; arguments are those of `Watchdog`.
    """
    if _watchdog:
        _watchdog[0].tell(limit_s, peers)
    else:
        _watchdog.append(Watchdog(limit_s, peers))
        _watchdog[0].start()


def leave_word_in(path: Path | None) -> None:
    """Where this process says, when it gives up, what it was doing: a line of JSON; None: nowhere.  Not collective."""
    _record[:] = [] if path is None else [path]


class Watchdog:
    """Watches this process from `start` on."""

    def __init__(self, limit_s: float | None, peers: Sequence[tuple[int, str]] = ()):
        """Not collective.

        Args:
            limit_s: Seconds that nothing may happen in any phase, 0 for ever; None: `STEADY_LIMIT_S` in phases that
                are steady, and for ever in others, since a file system may be slow.
            peers: The other processes of this machine that make no sense without this one, by `identity`.
        """
        self.tell(limit_s, peers)
        self._spoken_s = 0.0

    def tell(self, limit_s: float | None, peers: Sequence[tuple[int, str]]) -> None:
        """Go by other arguments from now on."""
        self._limit_s, self._peers = limit_s, list(peers)
        beat()

    def start(self) -> None:
        """Watch until the process ends."""
        beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def limit_s(self, now: Activity) -> float:
        """Seconds that nothing may happen now; 0: for ever."""
        if now.idle:
            return 0.0
        if self._limit_s is None:
            return STEADY_LIMIT_S if now.steady else 0.0
        return self._limit_s

    def look(self, quiet_s: float) -> bool:
        """Say what there is to say after some quiet seconds; returns whether it has lasted too long."""
        limit_s = self.limit_s(activity)
        if limit_s and quiet_s >= limit_s:
            return True
        if quiet_s < _SPEAK_S:
            self._spoken_s = _SPEAK_S / 2
        elif quiet_s >= 2 * self._spoken_s and not activity.idle:
            self._spoken_s = quiet_s
            # Of many that wait for few, the few are the ones to name.
            log.log(logging.INFO if activity.waits_for else logging.WARNING, "%s", sentence(quiet_s))
        return False

    def _watch(self) -> None:
        while True:
            limit_s = self.limit_s(activity)
            self._arm(limit_s)
            time.sleep(_between_looks_s(limit_s))
            if self.look(time.monotonic() - activity.beat):
                self._end()

    def _arm(self, limit_s: float) -> None:
        """Let faulthandler end the process if this thread does not come back in time."""
        if limit_s == 0:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(limit_s + _GRACE_S, exit=True)

    def _end(self) -> None:
        # Past sys.stderr, which a progress bar may have replaced: that would break the line, and wait for a lock.
        quiet_s = time.monotonic() - activity.beat
        os.write(2, f"mpignn: {sentence(quiet_s)}: given up (--hang-timeout)\n".encode())
        faulthandler.dump_traceback(all_threads=True)
        for path in _record:
            _leave_word(path, quiet_s)
        # For the others of this machine to say the same, and for launchers to pass it on.
        time.sleep(0.5 + _between_looks_s(self.limit_s(activity)))
        for pid, mark in self._peers:
            if mark == identity(pid)[1]:
                os.kill(pid, signal.SIGKILL)
        os._exit(_EXIT_CODE)


def _between_looks_s(limit_s: float) -> float:
    return min(1.0, limit_s / 4) if limit_s else 1.0


def _leave_word(path: Path, quiet_s: float) -> None:
    """Add a line to a file that all ranks of the job add to: what this one does, since when, and its stacks."""
    stacks = [traceback.format_stack(frame) for thread, frame in sys._current_frames().items()
              if thread != threading.get_ident()]
    line = to_json({"who": activity.who, "quiet_s": quiet_s, "phase": activity.phase, "detail": activity.detail,
                    "waits_for": activity.waits_for, "at": time.time(), "phases": list(activity.phases),
                    "stacks": stacks})
    with suppress(OSError):         # it is said on stderr, too
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)


def sentence(quiet_s: float) -> str:
    """Who has been doing what for how long, waiting for whom."""
    where = f"phase {activity.phase!r}" + (f", {activity.detail}" if activity.detail else "")
    waits = f", waiting for {activity.waits_for}" if activity.waits_for else ", at work and waiting for no rank"
    return f"{activity.who}: nothing has happened for {quiet_s:.0f} s in {where}{waits}"


def identity(pid: int) -> tuple[int, str]:
    """A process and what tells it from one that gets its number later, or has it elsewhere; empty if it has ended."""
    try:
        space = os.readlink("/proc/self/ns/pid")
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return pid, ""
    return pid, "" if fields[0] in (b"Z", b"X") else f"{space} {fields[19].decode()}"
