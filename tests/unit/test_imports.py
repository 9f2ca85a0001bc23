"""What is left out where large packages are imported, and that nothing of it is missed."""

import inspect
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


# As many paths are resolved otherwise as there are modules, 1,400.
COUNTED = """
import inspect, os, posixpath, sys
resolve, count = os.path.realpath, 0
def realpath(path, **options):
    global count
    count += 1
    return resolve(path, **options)
posixpath.realpath = realpath
from mpignn import imports
imports.with_torch("mpignn.train.gpus")
assert "torch" in sys.modules and count < 100, count
assert inspect.getframeinfo(sys._getframe()).lineno == 12
"""


def test_torch_is_imported_without_looking_for_every_module():
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
