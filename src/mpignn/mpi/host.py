"""What this process may use of its machine: cores and memory.

Linux only.  Limits of control groups count, of both versions: a container or a batch job may have far less
than the machine.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


def core_share(masks: Sequence[frozenset[int]], index: int) -> float:
    """Cores for one of several processes that may run on some of a machine's cores each.

    Each core is shared evenly by those that may use it.

    Args:
        masks: The cores that each process may run on.
        index: Which process is asked about.
    """
    return sum(1 / sum(core in mask for mask in masks) for core in masks[index])


def usable_cores(root: Path = Path("/")) -> frozenset[int]:
    """The cores that this process may run on; as many of them as its CPU quota pays for, at least one."""
    cores = sorted(os.sched_getaffinity(0))
    quota = min(_quotas(root), default=len(cores))
    return frozenset(cores[:max(1, round(quota))])


def asked_threads(environ: Mapping[str, str] = os.environ) -> int | None:
    """How many threads OMP_NUM_THREADS asks for, at the outer level if it lists several; None: it does not."""
    word = environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(word) if word.isdigit() and int(word) > 0 else None


def available_memory(root: Path = Path("/")) -> tuple[int, str]:
    """Bytes that can still be taken without swapping or being killed, and what sets that limit.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    limits = [(_mem_available(root), "free memory of the machine")]
    for group in _group_folders(root, ""):        # version 2
        limit, used = _number(group / "memory.max"), _number(group / "memory.current")
        if limit is not None and used is not None:
            limits.append((limit - used + _reclaimable(group, "inactive_file"), f"memory limit of {group}"))
    for group in _group_folders(root, "memory"):  # version 1
        limit, used = _number(group / "memory.limit_in_bytes"), _number(group / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            limits.append((limit - used + _reclaimable(group, "total_inactive_file"), f"memory limit of {group}"))
    return min(limits)


def _mem_available(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _quotas(root: Path) -> Iterator[float]:
    for group in _group_folders(root, ""):
        words = _text(group / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            yield int(words[0]) / int(words[1])
    for group in _group_folders(root, "cpu"):
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            yield quota / period


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those around it; version 2 where ``controller`` is empty.

    Inside a container the path that the kernel names may lie outside the mount; then only the mount's top is seen.
    """
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        top = base / controller
        folder = top / path.lstrip("/")
        while folder != top:
            if folder.is_dir():
                yield folder
            folder = folder.parent
        yield top


def _reclaimable(group: Path, key: str) -> int:
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
