"""A job that runs, and what it takes: its epochs, its CPU time, its memory.

Jobs of mpignn and of others are watched alike: each writes a line of JSON for its first step and for each epoch.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import children, cpu_seconds, in_session, memory

_LOOK_EVERY, _WEIGH_EVERY, _PATIENCE = 0.02, 0.25, 15.0       # seconds


@dataclass
class Watched:
    """What was seen of a job.

    Attributes:
        first_step_s: Seconds from its start until it told of its first step.
        epochs: What it told of each epoch.
        at: Seconds since its start when it told so.
        cpu_s: CPU seconds that its processes had taken then, all together.
        peak_bytes: Most memory of all processes together, by PSS.
    """

    first_step_s: float | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def watch(commands: Sequence[Sequence[str]], env: dict[str, str], told: Path, epochs: int, seconds: float) -> Watched:
    """Start ``commands`` together, and watch them until file ``told`` has ``epochs`` epochs; then end them.

    They shall do an epoch more than that, since of a process that has ended no CPU time can be read.  Exits where one
    of them fails, or where they take more than ``seconds``.
    """
    seen, began, weighed = Watched(), time.monotonic(), 0.0
    with tempfile.TemporaryFile("w+") as log:
        jobs = [subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
                for command in commands]
        try:
            while len(seen.epochs) < epochs:
                failed = any(job.poll() for job in jobs) or all(job.poll() is not None for job in jobs)
                now = time.monotonic() - began
                _look(seen, told, now, jobs)        # after the poll: what a job wrote before it ended is there
                if len(seen.epochs) < epochs and (failed or now > seconds):
                    log.seek(0)
                    sys.exit(f"{' '.join(commands[0])} " + ("failed" if failed else f"takes more than {seconds:.0f} s")
                             + f":\n{log.read()[-3000:]}")
                if now - weighed > _WEIGH_EVERY:
                    seen.peak_bytes = max(seen.peak_bytes, sum(map(memory, _below(jobs))))
                    weighed = now
                time.sleep(_LOOK_EVERY)
        finally:
            _end(jobs)
    return seen


def _look(seen: Watched, told: Path, now: float, jobs: list[subprocess.Popen]) -> None:
    lines = told.read_text().splitlines(keepends=True) if told.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    if seen.first_step_s is None and any(event["event"] == "step" for event in events):
        seen.first_step_s = now
    for event in [event for event in events if event["event"] == "epoch"][len(seen.epochs):]:
        seen.epochs.append(event)
        seen.at.append(now)
        seen.cpu_s.append(sum(map(cpu_seconds, _below(jobs))))


def _below(jobs: list[subprocess.Popen]) -> set[int]:
    return {pid for job in jobs for pid in (job.pid, *children(job.pid))}


def _end(jobs: list[subprocess.Popen]) -> None:
    """Ask all to end, and end what has not after some seconds."""
    for job in jobs:
        job.terminate()
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and any(job.poll() is None for job in jobs):
        time.sleep(_LOOK_EVERY)
    for job in jobs:        # each began a session, in which are also those whose parents have ended
        for pid in in_session(job.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for job in jobs:
        job.wait()
