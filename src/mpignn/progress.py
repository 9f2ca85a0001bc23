"""How far the work is, for whoever watches: a line that is drawn anew at a terminal, else a line now and then.

Whatever takes long is a phase (`mpignn.log.phase`), and where its things can be counted, a `counted` one.  A thread
looks at both.  So no command is silent for long, whatever it does, and no work need ask when something was said last.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from mpignn import say, terminal
from mpignn.launcher import is_first
from mpignn.log import activity, beat, phase
from mpignn.machine import private_memory

_LOOK_S = 0.5
_QUIET_S = 2.0          # silence ends after so long: within 3 s on a machine that is busy, too
_BAR_WIDTH = 30
_LEAST_BAR = 5
_RATE_FROM, _LEAST_RATE = 10, 0.5       # a second: slower ones have a decimal, or are told the other way round
BYTES = "bytes"

# Commands, and options of all, whose standard output is what they are for.
_DELIVERING = ("describe", "check", "info", "report", "bench", "slurm", "completion")
_ASKING = ("-h", "--help", "--help-all", "--version")


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Sized(Protocol[T_co]):
    """Things of which it is known how many they are."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


class Count:
    """Things of one kind that are done one after the other."""

    def __init__(self, total: int, done: int = 0, unit: str = "") -> None:
        """Not collective.

        Args:
            total: How many there are.
            done: Those that were done before, by another process.
            unit: What stands before their number, as in ``step 3 of 10``; `BYTES` for these.
        """
        self._total, self._before, self._done, self._unit = total, done, done, unit
        self._facts = ""
        self._began = self._last = time.monotonic()

    def advance(self, count: int = 1, facts: str = "") -> None:
        """Some were done, or none.  Not collective.

        Args:
            facts: What else there is to tell, such as the loss.
        """
        if count:
            self._done, self._last, self._facts = self._done + count, time.monotonic(), facts
            beat()

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return min(1.0, self._done / self._total) if self._total else 1.0

    def text(self) -> str:
        """How many of how many, how fast, and when all will be done."""
        scale, unit, form = 1.0, "", ",.0f"
        if self._unit == BYTES:
            scale, unit, form = (1e6, " MB", ",.1f") if self._total >= 1e6 else (1.0, " bytes", ",.0f")
        name = self._unit + " " if self._unit and not unit else ""
        words = [f"{name}{self._done / scale:{form}} of {self._total / scale:{form}}{unit} "
                 f"({int(100 * self.share)} %)"]
        made, passed = self._done - self._before, self._last - self._began
        if made and passed > 0:
            rate = made / passed / scale
            words.append(f"{rate:,.{0 if rate >= _RATE_FROM else 1}f}{unit} a second" if rate >= _LEAST_RATE
                         else f"{1 / rate:,.0f} s each")
        if self._facts:
            words.append(self._facts)
        if made and passed > 0:
            each_s = passed / made
            left = each_s * (self._total - self._done) - min(each_s, time.monotonic() - self._last)
            words.append(f"{_clock(left)} left")
        return ", ".join(words)

    def is_of(self, began: float) -> bool:
        """Whether it is what is done in a phase that began then.  Not collective."""
        return self._began >= began or self._last > began

    def begin(self) -> None:
        """Show it, until `end`.  Not collective."""
        _shown.append(self)

    def end(self) -> None:
        """Show it no more; once is enough.  Not collective."""
        if self in _shown:
            _shown.remove(self)


_shown: list[Count] = []        # the innermost last


@contextmanager
def counting(total: int, unit: str = "") -> Iterator[Callable[[int], None]]:
    """A block that does things of one kind, in the phase that is under way.  Not collective.

    Args:
        total, unit: As for `Count`.

    Yields:
        What to call with the number of things that are done.
    """
    count = Count(total, 0, unit)
    count.begin()
    try:
        yield count.advance
    finally:
        count.end()


@contextmanager
def counted(name: str, total: int, unit: str = "") -> Iterator[Callable[[int], None]]:
    """`counting` in a phase of its own.  Not collective."""
    with phase(name), counting(total, unit) as advance:
        yield advance


def each(things: Sized[T], unit: str = "") -> Iterator[T]:
    """The things themselves, counted as they are done.  Not collective."""
    with counting(len(things), unit) as advance:
        for thing in things:
            yield thing
            advance(1)


def text() -> str:
    """What this process does, for how long, and how far it is.  Not collective."""
    now, counts = time.monotonic(), list(_shown)
    told, counts = (f"{activity.phase}: {counts[-1].text()}", counts[:-1]) if (
        counts and counts[-1].is_of(activity.began)) else (
        f"{activity.phase}: {now - activity.began:.0f} s so far", counts)
    return "; ".join([told, *(count.text() for count in counts[:1])])


class Display:
    """Shows what this process does, until it is hidden.  There is one in a process.

    Attributes:
        of_command: Whether a command of ours runs, and no program of the user's.
        on_stderr: Whether it is shown on standard error, as standard output is for something else.
    """

    def __init__(self) -> None:
        self.of_command = False
        self._how, self._columns, self.on_stderr = "none", 80, False
        self._hidden = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is shown."""
        return self._thread is not None

    def begin_command(self, words: Sequence[str]) -> None:
        """Show what a command does, if this is the first process of its job; again does no harm.  Not collective.

        Args:
            words: Those behind the name of the program.
        """
        if not self.of_command:
            self.of_command = True
            self.on_stderr = any(word in _DELIVERING for word in words[:1]) or any(word in _ASKING for word in words)
            activity.began = time.monotonic()
            if is_first():
                self.show()

    def end_command(self) -> None:
        """Show nothing more.  Not collective."""
        self.of_command, self.on_stderr = False, False
        self.hide()

    def show(self, how: str = "auto") -> None:
        """From now on show it, or show it otherwise.  Not collective.

        Args:
            how: ``bar``, ``lines`` or ``none``; ``auto`` shows a bar where a terminal is watched, and lines elsewhere.
        """
        self.hide()
        columns = terminal.columns(2 if self.on_stderr else 1) if how in ("auto", "bar") else None
        self._how = how if how != "auto" else "lines" if columns is None else "bar"
        self._columns = columns or 80
        if self._how != "none":
            self._hidden = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(self._hidden,), name="progress", daemon=True)
            self._thread.start()

    @contextmanager
    def showing(self, how: str) -> Iterator[None]:
        """Show it for a block, unless it is shown already.  Not collective.

        Args:
            how: As for `show`.
        """
        if self.is_on or self.of_command:
            yield
            return
        self.show(how)
        try:
            yield
        finally:
            self.hide()

    @contextmanager
    def showing_for(self, name: str, is_second: bool) -> Iterator[None]:
        """Show, for a block in which the first rank can tell nothing, what it does.  Not collective.

        Args:
            name: Its phase.
            is_second: Whether this is the second rank, which does so if a command of ours runs.
        """
        if not (is_second and self.of_command):
            yield
            return
        with phase(name):
            with say.line():
                pass            # the first rank may just have said something
            self.show("lines")
            try:
                yield
            finally:
                self.hide()

    def hide(self) -> None:
        """Show nothing more.  Not collective."""
        self._hidden.set()
        if self._thread is not None:
            self._thread.join(_LOOK_S)      # it may wait for a reader that reads nothing
            self._thread = None
        say.erase()

    def look(self) -> None:
        """Say what there is to say now.  Not collective."""
        if self._how == "bar":
            say.draw(self._bar(text()), self.on_stderr)
        elif say.quiet_s() >= _QUIET_S:
            say.tell(text(), on_stderr=self.on_stderr)

    def _watch(self, hidden: threading.Event) -> None:
        while not hidden.wait(_LOOK_S):
            self.look()

    def _bar(self, told: str) -> str:
        """A line with as much of a bar as there is room for."""
        told = f"{told}, {private_memory() / 1e9:.1f} GB"
        room = min(_BAR_WIDTH, self._columns - 4 - len(told))
        if _shown and room >= _LEAST_BAR:
            filled = int(room * _shown[0].share)
            told = f"[{'#' * filled}{'.' * (room - filled)}] {told}"
        return told[:self._columns - 1]


display = Display()


def _clock(seconds: float) -> str:
    left = max(0, int(seconds))
    return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
