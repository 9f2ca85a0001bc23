"""Test functions that run under mpirun, and the long runs.

``@pytest.mark.ranks(1, 2, 3)`` makes a test function run on that many ranks, once with each MPI library.  The ranks
import its module and call it together; it gets the `World` as ``world``, and its parameters if it has any.  With
``ranks_per_node=(None, 1)`` it runs once for each of these, see `roles.group_nodes`.  All functions of a run that want
the same number of ranks share one mpirun.  pytest itself never loads MPI, so such a module imports what needs MPI
inside its functions, which take no fixtures.
"""

import json
import pickle
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest

from forks import FORKS
from mpirun import MPIS, missing, mpirun, sweep_shared


def pytest_addoption(parser):
    parser.addoption("--mpi", choices=MPIS, default=None, help="run the tests under mpirun with this library only")
    parser.addoption("--ranks-limit", type=float, default=120, metavar="SECONDS",
                     help="for one test function under mpirun (default: %(default)s; the machine may be busy)")
    parser.addoption("--soak", action="store_true", help="run all of the long tests, not a sample")


def pytest_sessionstart(session):
    session.stash[_STARTED] = time.time()


def pytest_sessionfinish(session):
    FORKS.close()
    sweep_shared(since=session.stash[_STARTED])


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("ranks")
    if marker is None:
        return
    launches = [(mpi, np, group) for mpi in MPIS for np in marker.args
                for group in marker.kwargs.get("ranks_per_node", (None,)) if group is None or group < np]
    metafunc.parametrize("world", launches, ids=[
        f"{mpi}-np{np}" + ("" if group is None else f"-node{group}") for mpi, np, group in launches])


def pytest_collection_modifyitems(config, items):
    if "mpi4py.MPI" in sys.modules:
        raise pytest.UsageError("a test module imports MPI at its top; import it inside the functions that need it")
    only = config.getoption("--mpi")
    seen, kept, dropped = set(), [], []
    for item in items:
        function = item.nodeid.partition("[")[0]
        sampled_out = (item.get_closest_marker("long") is not None and not config.getoption("--soak")
                       and function in seen)
        other_mpi = only is not None and _is_ranks(item) and _launch(item)[0] != only
        (dropped if sampled_out or other_mpi else kept).append(item)
        seen.add(function)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not _is_ranks(pyfuncitem):
        return None
    mpi, np, group = _launch(pyfuncitem)
    reason = missing(mpi)
    if reason is not None:
        pytest.skip(reason)
    verdicts = pyfuncitem.session.stash.setdefault(_VERDICTS, {})
    if pyfuncitem.nodeid not in verdicts:
        batch = [item for item in pyfuncitem.session.items if _is_ranks(item)
                 and _launch(item) == (mpi, np, group) and item.nodeid not in verdicts]
        verdicts.update(_run_batch(batch, mpi, np, group, pyfuncitem.config.getoption("--ranks-limit")))
    kind, text = verdicts[pyfuncitem.nodeid]
    if kind == "skipped":
        pytest.skip(text)
    if kind == "failed":
        pytest.fail(text, pytrace=False)
    return True


_VERDICTS = pytest.StashKey[dict]()
_STARTED = pytest.StashKey[float]()


def _is_ranks(item) -> bool:
    return item.get_closest_marker("ranks") is not None


def _launch(item) -> tuple[str, int, int | None]:
    return item.callspec.params["world"]


def _run_batch(batch, mpi: str, np: int, group: int | None, limit_s: float) -> dict[str, tuple[str, str]]:
    """Run test functions in one job; those behind one that ends the job are left for the next.

    Returns:
        Kind of outcome and text, by node id, of all functions that were begun.
    """
    with tempfile.TemporaryDirectory(prefix="mpignn-test-") as folder:
        calls = [(item.nodeid, str(item.path), item.originalname,
                  {k: v for k, v in item.callspec.params.items() if k != "world"}) for item in batch]
        plan = Path(folder, "plan.pickle")
        plan.write_bytes(pickle.dumps({"ranks_per_node": group, "calls": calls, "limit_s": limit_s,
                                       "folder": folder}))
        driver = Path(__file__).parent / "on_ranks.py"
        job = mpirun([str(driver), str(plan)], np, mpi, timeout=60 + limit_s * len(batch))
        outcomes = defaultdict(dict)        # node id -> rank -> (kind, text)
        for rank in range(np):
            lines = Path(folder, f"rank-{rank}.jsonl")
            for line in lines.read_text().splitlines() if lines.exists() else ():
                nodeid, kind, text = json.loads(line)
                outcomes[nodeid][rank] = (kind, text)
    begun = [item.nodeid for item in batch if outcomes[item.nodeid]] or [batch[0].nodeid]
    return {nodeid: _join(outcomes[nodeid], np, str(job)) for nodeid in begun}


def _join(of_rank: dict[int, tuple[str, str]], np: int, job: str) -> tuple[str, str]:
    """One verdict out of those of all ranks."""
    for kind in ("failed", "skipped"):
        texts = [f"rank {rank} of {np}:\n{text}" for rank, (got, text) in sorted(of_rank.items()) if got == kind]
        if texts and kind == "skipped":
            return kind, texts[0]
        if texts:
            return kind, "\n".join(texts)
    unfinished = [str(rank) for rank in range(np) if of_rank.get(rank, ("begun", ""))[0] == "begun"]
    if unfinished:
        return "failed", f"rank(s) {', '.join(unfinished)} of {np} did not finish; {job}"
    return "passed", ""
