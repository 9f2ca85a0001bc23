"""What one rank had moved: calls, rows and bytes, by what they were for and where they were."""

import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

KINDS = ("structure", "feature", "tensor", "write")
"""The graph's structure and its data, rows of trainers' tensors that were read, and such that were written."""
TARGETS = ("self", "node", "remote", "cache")
"""Where rows were read: from the rank itself, from others of its node, from other nodes, and copies of theirs here."""
ANY = "any"

_Key = tuple[Any, ...]      # kind, hop, target, and of calls the owner


class Stats:
    """What one rank had moved.  Rows that kernels read in place from a view are not moved, and not counted.

    Methods give sums over all that fits their arguments.  A ``hop`` is that of the sampler, the seeds' hop being 0;
    None where rows were asked for by something else.  Several threads may count, and `taken` reads what they have
    counted.  Not collective.

    Attributes:
        wait_s: Seconds spent waiting for rows of other nodes and for writes to be acknowledged.
    """

    def __init__(self) -> None:
        self._calls: Counter[_Key] = Counter()
        self._rows: Counter[_Key] = Counter()
        self._bytes: Counter[_Key] = Counter()
        self.wait_s = 0.0
        self._lock = threading.Lock()       # counters lose what two threads add at a time

    def taken(self, reset: bool = False) -> "Stats":
        """What was counted up to now, by itself; with ``reset`` counting starts from 0 again."""
        now = Stats()
        with self._lock:
            for counter, copied in (self._calls, now._calls), (self._rows, now._rows), (self._bytes, now._bytes):
                copied.update(counter)
                if reset:
                    counter.clear()
            now.wait_s = self.wait_s
            if reset:
                self.wait_s = 0.0
        return now

    def since(self, before: "Stats") -> "Stats":
        """What was counted after ``before``, which was `taken` earlier; all of it, where counting began anew since."""
        now = self.taken()
        if any(now._rows[key] < count for key, count in before._rows.items()):
            return now
        for counter, was in (now._calls, before._calls), (now._rows, before._rows), (now._bytes, before._bytes):
            counter.subtract(was)
        now.wait_s -= before.wait_s
        return now

    def entries(self) -> Iterator[tuple[str, int | None, str, int, int, int]]:
        """Kind, hop, target, calls, rows and bytes of all that was counted, each kind, hop and target once."""
        for kind, hop, target in sorted({key[:3] for key in (*self._calls, *self._rows)}, key=str):
            yield (kind, hop, target, self.calls(kind, hop, target), self.rows(kind, hop, target),
                   self.bytes(kind, hop, target))

    def calls(self, kind: str = ANY, hop: int | str | None = ANY, target: str = ANY, owner: int | str = ANY) -> int:
        """Messages, or one-sided calls.

        Args:
            kind: One of `KINDS`.
            hop: The sampler's.
            target: One of `TARGETS`.
            owner: Number of a server for structure and features, of a trainer for arrays and writes.
        """
        return _sum(self._calls, kind, hop, target, owner)

    def rows(self, kind: str = ANY, hop: int | str | None = ANY, target: str = ANY) -> int:
        """Rows; arguments of `calls`.

        A row of another node counts once for each request that asks for it, however often that names it; so does its
        copy on this node.
        """
        return _sum(self._rows, kind, hop, target)

    def bytes(self, kind: str = ANY, hop: int | str | None = ANY, target: str = ANY) -> int:
        """Bytes of `rows`; arguments of `calls`."""
        return _sum(self._bytes, kind, hop, target)

    def count(self, kind: str, hop: int | None, target: str, rows: int, row_bytes: int) -> None:
        """Add rows."""
        if rows:
            with self._lock:
                self._rows[kind, hop, target] += rows
                self._bytes[kind, hop, target] += rows * row_bytes

    def count_calls(self, kind: str, hop: int | None, target: str, owner: int, calls: int) -> None:
        """Add messages to an owner."""
        with self._lock:
            self._calls[kind, hop, target, owner] += calls

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the seconds of the ``with`` block as waited."""
        began = time.perf_counter()
        yield
        waited = time.perf_counter() - began
        with self._lock:
            self.wait_s += waited

    def __str__(self) -> str:
        """A line for each kind, hop and target, for people."""
        lines = []
        for kind, hop, target, calls, rows, size in self.entries():
            where = kind if hop is None else f"{kind} hop {hop}"
            lines.append(f"{where:18s} {target:7s} {calls:9,d} calls {rows:12,d} rows {size / 1e6:12,.1f} MB")
        return "\n".join([*lines, f"waited {self.wait_s:.3f} s"])


def _sum(counter: Counter[_Key], *wanted: Hashable) -> int:
    return sum(count for key, count in counter.items()
               if all(w in (ANY, k) for w, k in zip(wanted, key, strict=True)))
