"""Work cut for the threads of a rank."""

import threading
from functools import partial

import numpy as np
import pytest

from mpignn.kernels import threads


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(threads, "GRAIN", 100)
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_pieces_are_all_of_it_and_even(count):
    threads.set_num_threads(count)
    rng = np.random.default_rng(0)
    indptr = 7 + np.concatenate([[0], np.cumsum(rng.integers(0, 30, 1000))])
    for pieces in threads.cut(indptr), threads.stretches(1000):
        assert len(pieces) == count and pieces[0][0] == 0 and pieces[-1][1] == 1000
        assert all(a[1] == b[0] for a, b in zip(pieces, pieces[1:], strict=False))
    sizes = [indptr[last] - indptr[first] for first, last in threads.cut(indptr)]
    assert max(sizes) - min(sizes) <= 2 * 30


def test_little_work_is_not_cut():
    threads.set_num_threads(4)
    assert threads.stretches(199) == [(0, 199)] and len(threads.stretches(200)) == 2
    assert len(threads.stretches(399, 1 / 2)) == 1 and len(threads.stretches(400, 1 / 2)) == 2
    assert threads.stretches(0) == [(0, 0)] and threads.cut(np.zeros(1, np.int64)) == [(0, 0)]
    assert threads.cut(np.zeros(5, np.int64)) == [(0, 4)]


def test_pieces_run_at_the_same_time_and_answer_in_order():
    threads.set_num_threads(3)
    meet = threading.Barrier(3, timeout=20)

    def work(number, first, last):
        meet.wait()
        return number, first, last

    assert threads.run(work, [(0, 1), (1, 5), (5, 9)]) == [(0, 0, 1), (1, 1, 5), (2, 5, 9)]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_piece_that_fails_is_raised_once_all_are_done(failing):
    threads.set_num_threads(2)
    done = []

    def work(number, first, last):
        if number == failing:
            raise ValueError(f"piece {number}")
        done.append(number)

    with pytest.raises(ValueError, match=f"piece {failing}"):
        threads.run(work, [(0, 1), (1, 2)])
    assert done == [1 - failing]


def test_jobs_are_done_by_the_thread_of_the_piece_in_their_order():
    threads.set_num_threads(2)
    meet, done = threading.Barrier(2, timeout=20), [[], []]

    def work(job, number, first, last):
        if job == 0:
            meet.wait()
        done[number].append((job, threading.get_ident()))
        return job, first, last

    answers = threads.run_all([(partial(work, 0), [(0, 1), (1, 2)]), (partial(work, 1), [(0, 9)]),
                               (partial(work, 2), [(0, 4), (4, 5)])])
    assert answers == [[(0, 0, 1), (0, 1, 2)], [(1, 0, 9)], [(2, 0, 4), (2, 4, 5)]]
    assert [[job for job, _ in each] for each in done] == [[0, 1, 2], [0, 2]]
    assert [len({thread for _, thread in each}) for each in done] == [1, 1] and threads.run_all([]) == []
