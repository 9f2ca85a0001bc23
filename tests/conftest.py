"""Test functions that run under mpirun, and the long runs.

``@pytest.mark.ranks(1, 2, 3)`` makes a test function run on that many ranks, once with each MPI library.  The ranks
import its module and call it together; it gets the `World` as ``world``, and its parameters if it has any.  With
``ranks_per_node=(None, 1)`` it runs once for each of these, see `roles.group_nodes`.  All functions of a run that want
the same number of ranks share one mpirun.  `make test` takes a sample of all of libraries, launches and other
parameters, and of the tests that are marked ``long`` or ``by_turns``, see `_sample`.  pytest itself never loads MPI, so
such a module imports what needs MPI inside its functions, which take no fixtures.
"""

import json
import os
import pickle
import re
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from fork_server import TOKEN
from forks import FORKS
from mpirun import MPIS, compile_kernels, missing, mpirun, sweep_shared


def pytest_addoption(parser):
    parser.addoption("--mpi", choices=MPIS, default=None, help="run the tests under mpirun with this library only")
    parser.addoption("--ranks-limit", type=float, default=120, metavar="SECONDS",
                     help="for one test function under mpirun (default: %(default)s; the machine may be busy)")
    parser.addoption("--soak", action="store_true", help="run all of the long tests, not a sample")


def pytest_configure(config):
    # The machine may be busy; seeds are fixed.
    settings.register_profile("mpignn", deadline=None, derandomize=True,
                              max_examples=100 if config.getoption("--soak") else 40)
    settings.load_profile("mpignn")


def pytest_sessionstart(session):
    session.stash[_STARTED] = time.time()
    if _is_first(session.config) and TOKEN not in os.environ:       # else a test has started it
        compile_kernels()


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the work, give each whole launches of functions on ranks, and else whole files."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            launch = re.match(rf"[^\[]*\[((?:{'|'.join(MPIS)})-np\d+(?:-node\d+)?)[-\]]", nodeid)
            return f"tests/mpi {launch[1]}" if launch and file.startswith("tests/mpi/") else file
    return Scheduling(config, log)


def pytest_collection_modifyitems(config, items):
    if _MPI in sys.modules:
        raise pytest.UsageError("a test module imports MPI at its top; import it inside the functions that need it")
    only, soak = config.getoption("--mpi"), config.getoption("--soak")
    libraries = MPIS if only is None else (only,)
    kept, dropped = [], []
    for item, in_sample in zip(items, _sample(items, libraries), strict=True):
        other_mpi = _is_ranks(item) and _launch(item)[0] not in libraries
        (kept if (soak or in_sample) and not other_mpi else dropped).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _sample(items, libraries: Sequence[str]) -> list[bool]:
    """Which tests `make test` takes.

    Those are the first of each function that is marked ``long``; of one marked ``by_turns`` each choice of its
    parameters with one library, that with the other by turns; and of a function on ranks as many as `_on_ranks` says.
    `make soak` pairs all with all.
    """
    on_ranks = _on_ranks([item for item in items if _is_ranks(item) and not _is_long(item)], libraries)
    begun, choices = set(), defaultdict(dict)       # of a function: numbers of its choices

    def is_taken(item) -> bool:
        if _is_ranks(item):
            return item.nodeid in on_ranks
        is_first = _function(item) not in begun
        begun.add(_function(item))
        in_turn = item.get_closest_marker("by_turns") is None or _comes_in_turn(item, choices[_function(item)])
        return (is_first or not _is_long(item)) and in_turn

    return [is_taken(item) for item in items]


def _on_ranks(items, libraries: Sequence[str]) -> set[str]:
    """Which cases of functions on ranks `make test` takes, by node id.

    So many of a function that each of its launches and each choice of its other parameters is met: with either library
    if it is marked ``each_library``, else the libraries share them, see `_shared_out`.
    """
    cases, taken = defaultdict(dict), set()     # of a function: items by library, launch and choice
    for item in items:
        mpi, *launch = _launch(item)
        cases[_function(item)][mpi, tuple(launch), _choice(item)] = item
    for function, of_function in cases.items():
        launches = list(dict.fromkeys(launch for _, launch, _ in of_function))
        choices = list(dict.fromkeys(choice for *_, choice in of_function))
        # Open MPI's launches are paired otherwise than MPICH's.
        pairs = {mpi: [(launches[place % len(launches)], choices[(place + shift) % len(choices)])
                       for place in range(max(len(launches), len(choices)))] for shift, mpi in enumerate(libraries)}
        item = next(iter(of_function.values()))
        if item.get_closest_marker("each_library") is None and len(pairs[libraries[0]]) > 1:
            first = _turn(function) % len(libraries)
            pairs = _shared_out(pairs[libraries[0]], [*libraries[first:], *libraries[:first]])
        taken.update(of_function[mpi, *pair].nodeid for mpi, of_library in pairs.items() for pair in of_library)
    return taken


def _shared_out(pairs, libraries: Sequence[str]) -> dict[str, list]:
    """Pairs of a launch and a choice by library: each goes to that which has met the fewest of their values so far."""
    shares, met = {mpi: [] for mpi in libraries}, Counter()
    for launch, choice in pairs:
        values = [*enumerate(launch), *choice]
        mpi = min(libraries, key=lambda mpi: (sum(met[mpi, value] for value in values), len(shares[mpi])))
        shares[mpi].append((launch, choice))
        met.update((mpi, value) for value in values)
    return shares


def _comes_in_turn(item, choices: dict[tuple, int]) -> bool:
    """Whether it is the turn of its library.

    Args:
        choices: Numbers of the choices of the function's other parameters, to which that of the item is added.
    """
    number = choices.setdefault(_choice(item), len(choices))
    return MPIS[(_turn(_function(item)) + number) % len(MPIS)] == item.callspec.params["mpi"]


def _turn(function: str) -> int:
    """With which library a function begins: some with either, and each always with the same."""
    return zlib.crc32(function.encode())


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
    kind, text, pyfuncitem.stash[_SECONDS] = verdicts[pyfuncitem.nodeid]
    if kind == "skipped":
        pytest.skip(text)
    if kind == "failed":
        pytest.fail(text, pytrace=False)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    without = _MPI not in sys.modules
    result = yield
    if without and _MPI in sys.modules:
        pytest.fail("has imported MPI into pytest, which from here on can neither fork nor start jobs", pytrace=False)
    return result


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell of a function on ranks how long it took there; the first of a job has waited for all of them."""
    outcome = yield
    if call.when == "call" and _SECONDS in item.stash:
        outcome.get_result().duration = item.stash[_SECONDS]


_MPI = "mpi4py.MPI"
_VERDICTS = pytest.StashKey[dict]()
_SECONDS = pytest.StashKey[float]()
_STARTED = pytest.StashKey[float]()


def _is_first(config) -> bool:
    """Whether this process starts the others of the session, if it has any."""
    return not hasattr(config, "workerinput")


def _is_ranks(item) -> bool:
    return item.get_closest_marker("ranks") is not None


def _is_long(item) -> bool:
    return item.get_closest_marker("long") is not None


def _function(item) -> str:
    """The test function of which it is a case."""
    return item.nodeid.partition("[")[0]


def _launch(item) -> tuple[str, int, int | None]:
    return item.callspec.params["world"]


def _choice(item) -> tuple[tuple[str, int], ...]:
    """Its parameters but the launch or library, by the identity of their values, which some cases share."""
    return tuple((name, id(value)) for name, value in item.callspec.params.items() if name not in ("world", "mpi"))


def _run_batch(batch, mpi: str, np: int, group: int | None, limit_s: float) -> dict[str, tuple[str, str, float]]:
    """Run test functions in one job; those behind one that ends the job are left for the next.

    Returns:
        Kind of outcome, text and seconds, by node id, of all functions that were begun.
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
                nodeid, *outcome = json.loads(line)
                outcomes[nodeid][rank] = outcome
    begun = [item.nodeid for item in batch if outcomes[item.nodeid]] or [batch[0].nodeid]
    return {nodeid: _join(outcomes[nodeid], np, str(job)) for nodeid in begun}


def _join(of_rank: dict[int, tuple[str, str, float]], np: int, job: str) -> tuple[str, str, float]:
    """One verdict out of those of all ranks."""
    longest = max((seconds for _, _, seconds in of_rank.values()), default=0.0)
    for kind in ("failed", "skipped"):
        texts = [f"rank {rank} of {np}:\n{text}" for rank, (got, text, _) in sorted(of_rank.items()) if got == kind]
        if texts:
            return kind, texts[0] if kind == "skipped" else "\n".join(texts), longest
    unfinished = [str(rank) for rank in range(np) if of_rank.get(rank, ("begun",))[0] == "begun"]
    if unfinished:
        return "failed", f"rank(s) {', '.join(unfinished)} of {np} did not finish; {job}", longest
    return "passed", "", longest
