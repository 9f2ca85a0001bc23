"""Marks on numbers, a bit for each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import graphs  # noqa: F401  (its settings of hypothesis)
from mpignn.graph.bits import Bits


@given(st.integers(1, 70), st.data())
def test_what_was_marked_is_known(count, data):
    numbers = st.lists(st.integers(0, count - 1), max_size=30).map(lambda some: np.array(some, np.int64))
    some, others = data.draw(numbers), data.draw(numbers)
    first, last = sorted(data.draw(st.lists(st.integers(0, count), min_size=2, max_size=2)))
    bits = Bits(count)
    bits.mark(some)
    assert bits.octets.size == -(-count // 8)
    assert bits.marked(others).tolist() == np.isin(others, some).tolist()
    assert bits.of_stretch(first, last).tolist() == np.isin(np.arange(first, last), some).tolist()
