"""The choice of the way to rows of other nodes, from figures."""

import json

import numpy as np

from mpignn.json_text import to_json
from mpignn.mpi.access import Access, Measured, choose, faster
from mpignn.roles import BOTH, Role, Topology

DEDICATED = Topology((0, 0, 1, 1, 2, 2), (Role.SERVER, Role.TRAINER) * 3)
COLOCATED = Topology((0, 1, 2), (BOTH,) * 3)


def measured(origin, target, rma_s, owner_s, rma_small_s=1e-4, owner_small_s=1e-4):
    return Measured(origin, target, rma_s, owner_s, rma_small_s, owner_small_s)


def off_diagonal(ways):
    return [ways[i][j] for i in range(len(ways)) for j in range(len(ways)) if i != j]


def test_all_pairs_of_nodes_take_what_was_faster_for_all_that_were_measured():
    pairs = [(0, 1), (1, 2), (2, 0)]
    noisy = tuple(measured(*pair, rma_s, 1e-3) for pair, rma_s in zip(pairs, (9e-4, 3e-3, 3e-3), strict=True))
    assert set(off_diagonal(choose(DEDICATED, True, noisy))) == {"owner"}
    noisy = tuple(measured(*pair, rma_s, 1e-3) for pair, rma_s in zip(pairs, (2e-3, 8e-4, 8e-4), strict=True))
    assert set(off_diagonal(choose(DEDICATED, True, noisy))) == {"rma"}


def test_small_requests_weigh_in():
    assert faster([measured(0, 1, rma_s=1.0e-3, owner_s=1.3e-3, rma_small_s=5e-4, owner_small_s=1e-4)]) == "owner"
    assert faster([measured(0, 1, rma_s=1.3e-3, owner_s=1.0e-3, rma_small_s=1e-4, owner_small_s=3e-4)]) == "rma"


def test_a_near_thing_goes_to_one_sided_reads():
    assert faster([measured(0, 1, rma_s=1.2e-3, owner_s=1.0e-3)]) == "rma"
    assert faster([measured(0, 1, rma_s=1.5e-3, owner_s=1.0e-3)]) == "owner"


def test_without_progress_ranks_that_compute_are_asked_by_message():
    found = (measured(0, 1, 1e-3, 2e-3), measured(1, 2, 1e-3, 2e-3))
    assert set(off_diagonal(choose(COLOCATED, False, found))) == {"owner"}
    assert set(off_diagonal(choose(COLOCATED, True, found))) == {"rma"}
    assert set(off_diagonal(choose(DEDICATED, False, found))) == {"rma"}


def test_rma_that_never_answers_is_not_used():
    assert {path for row in choose(DEDICATED, None, (measured(0, 1, 1e-9, 1.0),)) for path in row} == {"owner"}


def test_wrong_bytes_lose():
    assert faster([measured(0, 1, np.inf, 1.0, np.inf, 1.0), measured(1, 0, 1.0, 2.0)]) == "owner"


def test_the_choice_is_told_with_its_figures():
    found = (measured(0, 1, 10e-3, 5e-3, 2e-4, 3e-4), measured(1, 0, 10e-3, 5e-3, 2e-4, np.inf))
    access = Access("auto", (("owner", "owner"), ("rma", "owner")), False, found)
    line = access.line()
    assert "owner (1 of 2 pairs of nodes)" in line and "rma 100 MB/s, owner 200 MB/s" in line
    assert "waits until its target enters MPI" in line
    told = json.loads(to_json(access.to_dict()))
    assert told["paths"] == [["owner", "owner"], ["rma", "owner"]] and told["measured"][1]["owner_small_s"] is None
