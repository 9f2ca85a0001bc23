"""Numbers that come in any order, into an array in a file."""

import numpy as np

from mpignn.comm.group import LocalGroup
from mpignn.large.arrays import FileArray
from mpignn.large.scattered import scattered
from mpignn.large.scratch import scratch_in

COUNT = 100_000


def test_room_is_taken_before_numbers_are_written_through_memory(tmp_path):
    order = np.random.default_rng(0).permutation(COUNT)
    taken = []

    def pairs():
        (path,) = (tmp_path / "scratch").iterdir()
        taken.append(path.stat().st_blocks * 512)       # where the disk is full later, that kills the process
        for places in np.array_split(order, 7):
            yield places, 3 * places

    with scratch_in(tmp_path, tmp_path / "out", LocalGroup(), memory=1) as scratch:
        made = scattered(pairs(), COUNT, scratch)
        assert isinstance(made, FileArray) and taken[0] >= made.nbytes == 8 * COUNT
        assert np.array_equal(made[:], 3 * np.arange(COUNT)) and made.mapped()[[5, 3]].tolist() == [15, 9]


def test_there_may_be_none(tmp_path):
    with scratch_in(tmp_path, tmp_path / "out", LocalGroup(), memory=1) as scratch:
        assert scattered(iter(()), 0, scratch)[:].size == 0
