"""How far some work is, for whoever watches: a bar at a terminal, else a line now and then."""

import time

from mpignn import say, terminal

_BAR_S = 0.5            # between two looks of the bar, and at most so much of the time:
_SHARE = 0.02
_LINES_S = 10.0         # between the first lines, and in long runs between all:
_SELDOM_S = 60.0
_BAR_WIDTH = 30
_ERASE = "\r\x1b[K"


class Progress:
    """Shows steps, or other things that are counted, as they are made."""

    def __init__(self, how: str, total: int, done: int, what: str = "step", rate: bool = False) -> None:
        """Not collective.

        Args:
            how: ``bar``, ``lines`` or ``none``; ``auto`` shows a bar where a terminal is watched, and lines elsewhere.
            total: Steps of the work.
            done: Those that were made before.
            what: What stands before their number.
            rate: Whether to show how many come in a second.
        """
        self._columns = terminal.columns() if how in ("auto", "bar") else None
        self._how = how if how != "auto" else "lines" if self._columns is None else "bar"
        self._total, self._before, self._done = total, done, done
        self._what, self._with_rate = what, rate
        self._began = self._shown = time.monotonic()
        self._drawn = False

    def advance(self, count: int = 1) -> None:
        """Some steps were made, or none.  Not collective."""
        if not count:
            return
        self._done += count
        now = time.monotonic()
        passed, quiet = now - self._began, now - self._shown
        if self._how == "bar" and quiet > max(_BAR_S, _SHARE * min(passed, _LINES_S)):
            filled = int(_BAR_WIDTH * self._done / self._total)
            bar = "#" * filled + "." * (_BAR_WIDTH - filled)
            say.tell(_ERASE + f"[{bar}] {self._text(passed)}"[:(self._columns or 80) - 1], end="")
            self._shown, self._drawn = now, True
        elif self._how == "lines" and quiet > min(_SELDOM_S, max(_LINES_S, passed / 10)):
            say.tell(self._text(passed))
            self._shown = now

    def erase(self) -> None:
        """Make room for another line; the bar comes again.  Not collective."""
        if self._drawn:
            say.tell(_ERASE, end="")
            self._drawn = False

    def _text(self, passed: float) -> str:
        made = self._done - self._before
        left = int(passed / made * (self._total - self._done))
        rate = f"{made / passed:,.0f} a second, " if self._with_rate else ""
        return (f"{self._what} {self._done:,} of {self._total:,} ({100 * self._done // self._total} %), {rate}"
                f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
