"""Where compiled kernels are kept: a read-only installation works without a home, and damage costs only time."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mpirun import ROOT, launcher, python, run

CALL = """
import logging, sys
logging.basicConfig(format="%(message)s")
import numpy as np
from mpignn.kernels import compiled, older
marks = np.ones(2, bool)
older.mark_older(np.array([1, 5]), np.empty(0, np.int64), 0, np.array([-1]), np.array([[0, 2]]), np.array([3]),
                 np.array([0]), marks)
print(marks.tolist(), compiled.place())
"""


def call(env: dict[str, str], *before: str) -> subprocess.CompletedProcess:
    return subprocess.run([*before, sys.executable, "-c", CALL], capture_output=True, text=True, timeout=300,
                          env={"PATH": os.environ["PATH"], **env})


def test_a_kept_kernel_that_is_damaged_is_compiled_anew(tmp_path):
    env = {"PYTHONPATH": str(ROOT / "src"), "NUMBA_CACHE_DIR": str(tmp_path)}
    right = f"[True, False] {tmp_path}\n"
    first = call(env)
    assert (first.stdout, first.stderr) == (right, ""), first
    for name, change in (("*.nbc", lambda data: data[:-9] + b"x" * 9), ("*.nbc", lambda data: data[:100]),
                         ("*.nbi", lambda data: b""), ("*.nbi", lambda data: data[:-5] + b"xxxxx")):
        (path,) = tmp_path.rglob(name)
        path.write_bytes(change(path.read_bytes()))
        found = call(env)
        assert found.stdout == right and "Traceback" not in found.stderr, found
        assert found.stderr.count("mark_older cannot be used") == 1 and str(tmp_path) in found.stderr, found
    assert call(env).stderr == ""


# The program, and all folders for temporary files that Python tries, cannot be written: not by root either.
NOWHERE = """for folder in {src} /tmp /var/tmp /usr/tmp; do
    if [ -d $folder ]; then mount --bind $folder $folder && mount -o remount,ro,bind $folder || exit 9; fi
done
mount -t tmpfs -o size=64m tmpfs {run} && mkdir -p {run}/run && touch {run}/run/kernels || exit 9
cd {src}
exec "$@"
"""
NOTHING_KEPT = "compiled kernels can be kept nowhere"


def nowhere(folder: Path) -> list[str]:
    """Words that let a command find no place for kernels; ``folder/free/run`` is a run folder that takes none."""
    (folder / "free").mkdir()
    words = ["unshare", "-m", "sh", "-c", NOWHERE.format(src=ROOT / "src", run=folder / "free"), "sh"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"]).returncode:
        pytest.skip("this system lets us make no mount namespace")
    return words


def test_without_any_place_a_program_says_so_once_and_works(tmp_path):
    found = call({"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}, *nowhere(tmp_path))
    assert found.returncode == 0 and found.stdout == "[True, False] None\n", found
    assert found.stderr.count(NOTHING_KEPT) == len(found.stderr.splitlines()) == 1, found


@pytest.mark.parametrize("np", [1, 3])
def test_without_any_place_a_job_says_so_once(graphs, tmp_path, np):
    """Whether its first rank compiles or serves.  It is stopped before it compiles all kernels, which takes minutes;
    Open MPI's mpirun cannot do without a folder for temporary files."""
    done = run([*nowhere(tmp_path), *(launcher(np) if np > 1 else ()), python(), "-m", "mpignn", "train",
                str(graphs["one"]), "--time-limit", "0", "--run-dir", str(tmp_path / "free" / "run")],
               fresh=True)
    assert done.returncode == 75 and "mpignn: stopped: asked to stop" in done.stderr, str(done)
    assert done.stderr.count(NOTHING_KEPT) == 1 and "Traceback" not in done.stderr, str(done)


@pytest.fixture
def installed():
    """A folder for everybody, with a copy of the program that can be read only; words that make one nobody."""
    as_nobody: list[str] = []
    if os.geteuid() == 0:               # whom modes do not hinder
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if shutil.which("setpriv") is None or subprocess.run([*as_nobody, sys.executable, "-c", ""],
                                                             capture_output=True).returncode:
            pytest.skip("no setpriv here, or nobody cannot run this Python")
    folder = Path(tempfile.mkdtemp(prefix="mpignn-read-only-"))
    try:
        shutil.copytree(ROOT / "src" / "mpignn", folder / "lib" / "mpignn",
                        ignore=shutil.ignore_patterns("*.pyc", "*.nb?"))
        for name in ("home", "tmp"):
            (folder / name).mkdir()
            (folder / name).chmod(0o777)
        for path in (folder / "lib").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        folder.chmod(0o755)
        yield folder, as_nobody
    finally:
        for path in (folder / "lib").rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_installation_needs_no_home(installed):
    folder, as_nobody = installed
    # All kernels are compiled: without optimization, which takes most of the time.
    env = {"PYTHONPATH": str(folder / "lib"), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1", "NUMBA_OPT": "0"}
    found = call(env, *as_nobody)
    assert found.stdout == f"[True, False] {folder}/tmp/mpignn-kernels-{65534 if as_nobody else os.geteuid()}\n", found
    assert found.stderr == "", found

    def mpignn(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([*as_nobody, sys.executable, "-m", "mpignn", *words], cwd=folder / "home", text=True,
                              capture_output=True, timeout=300, env={"PATH": os.environ["PATH"], **env})

    done = mpignn("--help")
    assert done.returncode == 0 and "usage: mpignn" in done.stdout, done
    for words in (["synth", "made", "--nodes", "500", "--avg-degree", "4"],
                  ["partition", "made", "cut", "--parts", "1"],
                  ["train", "cut", "--fanouts", "2", "--hidden", "4", "--epochs", "1", "--run-dir", "run"]):
        done = mpignn(*words)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done
    assert any((folder / "home" / "run" / "kernels").rglob("*.nbc"))


def test_kernels_that_an_installation_brings_are_used_where_it_can_only_be_read(installed):
    """As those of an image, or of a folder for all users that `mpignn warmup` has filled."""
    folder, as_nobody = installed
    kernels = folder / "kernels"
    env = {"PYTHONPATH": str(folder / "lib"), "TMPDIR": str(folder / "tmp"), "NUMBA_CACHE_DIR": str(kernels)}
    found = call(env)
    assert found.stdout == f"[True, False] {kernels}\n", found
    for path in (kernels, *kernels.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        found = call(env, *as_nobody)
        assert found.stdout.startswith(f"[True, False] {folder}/tmp/") and found.stderr == "", found
        assert not any((folder / "tmp").rglob("*.nb?")), "it was compiled again"
    finally:
        for path in (kernels, *kernels.rglob("*")):
            path.chmod(0o755)
