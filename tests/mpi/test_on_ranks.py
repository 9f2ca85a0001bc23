"""That tests under mpirun can fail: what ``conftest.py`` makes of functions that go wrong on some rank."""

import os
import re
import sys
from pathlib import Path

import pytest

from mpirun import run

TESTS = Path(__file__).parents[1]
MODULE = '''
import os, time
import pytest

@pytest.mark.ranks(1, 2)
def test_good(world):
    assert world.all.allgather(world.rank) == list(range(world.size))

@pytest.mark.ranks(2)
def test_one_rank_fails(world):
    assert world.rank == 0, "not on this one"

@pytest.mark.ranks(2)
@pytest.mark.parametrize("number", [1, 2])
def test_with_parameters(world, number):
    assert number == 1

@pytest.mark.ranks(2)
def test_one_rank_fails_and_the_other_waits(world):
    if world.rank == 1:
        raise ValueError("gone before the barrier")
    world.all.barrier()

@pytest.mark.ranks(2)
def test_behind_that_one(world):
    pass

@pytest.mark.ranks(2)
def test_one_rank_leaves(world):
    if world.rank == 1:
        os._exit(0)
    world.all.barrier()

@pytest.mark.ranks(2)
def test_both_hang(world):
    time.sleep(1000)

@pytest.mark.ranks(2)
def test_skips(world):
    pytest.skip("not today")
'''
EXPECTED = {"test_good[mpich-np1]": "PASSED", "test_good[mpich-np2]": "PASSED",
            "test_one_rank_fails[mpich-np2]": "FAILED",
            "test_with_parameters[mpich-np2-1]": "PASSED", "test_with_parameters[mpich-np2-2]": "FAILED",
            "test_one_rank_fails_and_the_other_waits[mpich-np2]": "FAILED",
            "test_behind_that_one[mpich-np2]": "PASSED",
            "test_one_rank_leaves[mpich-np2]": "FAILED", "test_both_hang[mpich-np2]": "FAILED",
            "test_skips[mpich-np2]": "SKIPPED"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inner")
    (folder / "test_inner.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-v", "-rA", "-p", "conftest", "-p", "no:cacheprovider",
               "--mpi", "mpich", "--ranks-limit", "2", "--rootdir", str(folder), "-c", os.devnull, str(folder)]
    return run(command, timeout=300, env={"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"}).stdout


@pytest.mark.parametrize("name", EXPECTED)
def test_outcome(report, name):
    outcome = re.search(rf"::{re.escape(name)} (\w+)", report)
    assert outcome is not None, report
    assert outcome.group(1) == EXPECTED[name], report


@pytest.mark.parametrize("text", [
    "rank 1 of 2:\nTraceback", "AssertionError: not on this one", "ValueError: gone before the barrier",
    "did not finish; exit code", "in test_both_hang", "not today"])
def test_the_report_says_why(report, text):
    assert text in report, report
