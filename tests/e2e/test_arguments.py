"""Ids and sizes of NumPy, torch and Python are taken by all public functions, or refused by an error of ours."""

import os
import sys
from pathlib import Path

from mpirun import environment, run


def test_ids_and_sizes_of_all_forms(tmp_path):
    here = Path(__file__).parent
    path = os.pathsep.join([environment()["PYTHONPATH"], str(here.parent)])
    done = run([sys.executable, str(here / "arguments_job.py"), str(tmp_path)], 200, {"PYTHONPATH": path})
    assert done.returncode == 0 and "all tried" in done.stdout, str(done)
