"""The processes of a job that runs, and what the kernel says of their memory."""

import os
from collections.abc import Iterator
from pathlib import Path

_RANKS = (b"OMPI_COMM_WORLD_RANK", b"PMI_RANK")
_GONE = (FileNotFoundError, ProcessLookupError)


def children(parent: int) -> list[int]:
    """All processes below ``parent``, at any depth."""
    below: dict[int, list[int]] = {}
    for pid, above, _ in _all():
        below.setdefault(above, []).append(pid)
    found, todo = [], [parent]
    while todo:
        todo += (next_ones := below.get(todo.pop(), []))
        found += next_ones
    return found


def in_session(session: int) -> list[int]:
    """All processes of a session, also those whose parents have ended."""
    return [pid for pid, _, of in _all() if of == session]


def _all() -> Iterator[tuple[int, int, int]]:
    """Each process, its parent and its session."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except _GONE:
                continue        # it has ended
            yield int(entry.name), int(stat[1]), int(stat[3])


def rank_of(pid: int) -> int | None:
    """The rank that a launcher gave a Python process; None for other processes."""
    try:
        if b"mpignn" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return None
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except _GONE:
        return None
    known = dict(v.split(b"=", 1) for v in variables if b"=" in v)
    rank = next((known[name] for name in _RANKS if name in known), None)
    return None if rank is None else int(rank)


def memory(pid: int, kind: str = "Pss") -> int:
    """Bytes, by a line of smaps_rollup: Pss, Pss_Anon, Pss_File, Pss_Shmem."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except _GONE:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:")), 0)


def status(pid: int) -> dict[str, int]:
    """Bytes, by the lines of /proc/PID/status: VmHWM (peak of what was resident), RssAnon, RssFile, RssShmem."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except _GONE:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith(" kB")}


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken so far, in all its threads."""
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except _GONE:
        return 0.0
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
