"""Means and deviations are the same to the last bit, whoever sees which rows in which blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.tables import moments
from mpignn.tables.moments import Moments
from threads_group import on_threads

cuts = st.lists(st.floats(0, 1), max_size=6)


def blocks(begin, end, cut):
    places = sorted({begin, end, *(begin + int(part * (end - begin)) for part in cut)})
    return zip(places, places[1:], strict=False)


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 3), st.integers(1, 5), st.integers(1, 40), cuts, st.data())
def test_blocks_and_ranks_change_no_bit(num_rows, width, size, stretch, cut, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.normal(3, 10.0 ** rng.integers(-3, 9, width), (num_rows, width))
    missing, in_train = rng.random((num_rows, width)) < 0.2, rng.random(num_rows) < data.draw(st.sampled_from([0, 0.5]))
    bounds = np.sort(data.draw(st.lists(st.integers(0, num_rows), min_size=size - 1, max_size=size - 1)))
    bounds = [0, *bounds, num_rows]

    def found(group, begin, end, cut):
        made = Moments(width, begin)
        for lo, hi in blocks(begin, end, cut):
            made.add(values[lo:hi], missing[lo:hi], in_train[lo:hi])
        made.agree(group)
        return made.mean().tobytes(), made.deviation().tobytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "_VALUES", stretch)
        (one,) = on_threads(1, lambda group: found(group, 0, num_rows, []))
        for other in on_threads(size, lambda group: found(group, bounds[group.rank], bounds[group.rank + 1], cut)):
            assert other == one
    counted = ~missing & (in_train if (in_train[:, None] & ~missing).any() else np.ones(num_rows, bool))[:, None]
    for column in range(width):
        some = values[counted[:, column], column]
        if some.size:
            assert np.isclose(np.frombuffer(one[0])[column], some.mean())


def test_rows_that_are_all_missing_take_their_places():
    rng = np.random.default_rng(0)
    values, zero = rng.normal(size=(1000, 2)), np.zeros((500, 2))
    everything, none = np.ones((500, 2), bool), np.zeros((1000, 2), bool)
    found = []
    for way in range(2):
        made = Moments(2, 0)
        if way:
            made.add_missing(500)
        else:
            made.add(zero, everything, np.zeros(500, bool))
        made.add(values, none, np.zeros(1000, bool))
        (_,) = on_threads(1, made.agree)
        found.append(made.mean().tobytes() + made.deviation().tobytes())
    assert found[0] == found[1]
