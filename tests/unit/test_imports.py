"""What is left out where large packages are imported, and that nothing of it is missed."""

import importlib
import inspect
import os
import subprocess
import sys

from mpignn import imports
from mpirun import environment

# Without a kernel that is kept, hence one that is compiled.
AFTER = """
import sys
import numba, numpy as np
from mpignn.kernels import segment
segment.warm()
assert "scipy.linalg" not in sys.modules
x = np.arange(6.0).reshape(2, 3)
assert np.array_equal(numba.njit(lambda a: a @ a.T)(x), x @ x.T)
assert np.allclose(numba.njit(lambda a: np.linalg.inv(a))(np.eye(2) * 4), np.eye(2) / 4)
"""


def test_numba_still_does_linear_algebra_which_our_kernels_do_without():
    done = subprocess.run([sys.executable, "-c", AFTER], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# As many paths are resolved otherwise as there are modules, and three files and folders are looked at for each.
COUNTED = """
import inspect, os, posix, posixpath, sys
def counted(module, name):
    def call(*arguments, **options):
        counts[name] += 1
        return does(*arguments, **options)
    does, counts[name] = getattr(module, name), 0
    setattr(module, name, call)
counts = {}
counted(posixpath, "realpath")
counted(posix, "stat")          # as Python calls it where it imports
from mpignn import imports
imports.with_torch("mpignn.train.gpus")
assert "torch" in sys.modules and counts["realpath"] < 100, counts
assert 500 < counts["stat"] < 2 * len(sys.modules), (counts, len(sys.modules))
assert inspect.getframeinfo(sys._getframe()).lineno == 16
"""


def test_torch_is_imported_with_few_looks_at_files():
    done = subprocess.run([sys.executable, "-c", COUNTED], env=environment(), capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_frame_is_told_with_its_module_and_line():
    with imports._frames_told_at_once():
        here, module = inspect.getframeinfo(sys._getframe()), inspect.getmodule(sys._getframe())
        of_code = inspect.getmodule(sys._getframe().f_code)
    after = inspect.getframeinfo(sys._getframe())
    assert module is of_code is inspect.getmodule(sys._getframe()) is sys.modules[__name__]
    assert here.filename == after.filename == __file__ and here.lineno == after.lineno - 2
    assert here.code_context is None and "after = " in after.code_context[0]


def test_modules_are_found_that_come_after_those_before_were_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    look = sys.modules["_frozen_importlib_external"]._path_stat
    (tmp_path / "comes_first.py").write_text("")
    with imports.files_looked_at_once():
        importlib.import_module("comes_first")
        assert sys.modules["_frozen_importlib_external"]._path_stat is not look
    (tmp_path / "comes_later.py").write_text("")
    os.utime(tmp_path, (1, 1))          # clocks of file systems are coarse
    assert importlib.import_module("comes_later")
    assert sys.modules["_frozen_importlib_external"]._path_stat is look
