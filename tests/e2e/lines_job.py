"""Many command lines in one job, one after the other: ``lines_job.py LINES.json OUT.json``.

OUT has for each line its exit code, whether training began, and what the first rank wrote to stderr.  A failure that
would end the job ends it, where there are several ranks; in one process its text stands for the code.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import torch.distributed

from mpignn import launcher
from mpignn.cli import main
from mpignn.job import ending, trainer

_start, _began = trainer.start, []


def start(*arguments) -> None:
    if torch.distributed.is_initialized():      # by the line before
        torch.distributed.destroy_process_group()
    _began.append(True)
    _start(*arguments)


def abort(world, error: BaseException, told: bool = False) -> None:
    if world is not None and world.size > 1:
        _abort(world, error, told)
    raise error


def run(line: list[str]) -> dict:
    """What becomes of one line."""
    _began.clear()
    with tempfile.TemporaryFile("w+") as said:
        before = os.dup(2)      # the log and the watchdog keep to it, whatever `sys.stderr` becomes
        os.dup2(said.fileno(), 2)
        try:
            code = main(line)
        except Exception:
            code = traceback.format_exc()
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        return {"code": code, "began": bool(_began), "said": said.read()}


if __name__ == "__main__":
    trainer.start = start
    _abort, ending.abort = ending.abort, abort
    found = [run(line) for line in json.loads(Path(sys.argv[1]).read_text())]
    if launcher.is_first():
        Path(sys.argv[2]).write_text(json.dumps(found))
