"""What each rank runs for tests marked ``ranks``: import them, call them one by one, note the outcomes.

Started by ``conftest.py`` under mpirun.
"""

import faulthandler
import importlib
import json
import os
import pickle
import sys
import time
import traceback
from pathlib import Path

import pytest

from mpignn.mpi.world import initialize

_GRACE_S = 5       # for the other ranks to come, after one has failed; or the limit of a test, if that is less


def main(plan_path: str) -> None:
    plan = pickle.loads(Path(plan_path).read_bytes())
    world = initialize(ranks_per_node=plan["ranks_per_node"])
    between = world.all.comm.Dup()        # the verdicts' own, whatever a test did to the others
    with open(Path(plan["folder"]) / f"rank-{world.rank}.jsonl", "w") as notes:
        for nodeid, path, function, parameters in plan["calls"]:
            _note(notes, nodeid, "begun")
            faulthandler.dump_traceback_later(plan["limit_s"], exit=True)
            began = time.monotonic()
            kind, text = _call(Path(path), function, world, parameters)
            _note(notes, nodeid, kind, text, time.monotonic() - began)
            _meet(between, world, min(_GRACE_S, plan["limit_s"]) if kind == "failed" else None)
            faulthandler.cancel_dump_traceback_later()


def _call(path: Path, function: str, world, parameters) -> tuple[str, str]:
    try:
        if str(path.parent) not in sys.path:        # as pytest does
            sys.path.insert(0, str(path.parent))
        getattr(importlib.import_module(path.stem), function)(world=world, **parameters)
    except pytest.skip.Exception as skip:
        return "skipped", str(skip)
    except (Exception, pytest.fail.Exception):
        return "failed", traceback.format_exc()
    return "passed", ""


def _meet(between, world, grace_s: float | None) -> None:
    """Wait for the other ranks; if this one failed, for some time: they may wait elsewhere for it, for ever."""
    arrived = between.Ibarrier()
    began = time.monotonic()
    while not arrived.Test():
        time.sleep(0.001)
        if grace_s is not None and time.monotonic() - began > grace_s:
            world.abort(1)


def _note(notes, nodeid: str, kind: str, text: str = "", seconds: float = 0) -> None:
    notes.write(json.dumps([nodeid, kind, text, seconds]) + "\n")
    notes.flush()
    os.fsync(notes.fileno())


if __name__ == "__main__":
    main(sys.argv[1])
