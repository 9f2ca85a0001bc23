"""What benchmarks make of times: things in turn, rates of all ranks together, shares of a limit."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.bench import timing
from mpignn.bench.figures import TIMES, Figure, table, to_dict
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.comm.group import LocalGroup

VALUES = st.floats(1e-6, 1e6)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=9), st.sampled_from(["GB/s", *TIMES]))
def test_a_share_of_the_limit_is_one_where_the_limit_is_reached(pairs, unit):
    own, most = zip(*pairs, strict=True)
    first, limit = to_dict([Figure("own", unit, own, "limit"), Figure("limit", unit, most)])
    shares = [b / a if unit in TIMES else a / b for a, b in pairs]
    assert first["of_limit"] == pytest.approx(statistics.median(shares)) and limit["of_limit"] is None
    assert first["minimum"] <= first["median"] <= first["maximum"] and first["values"] == list(own)
    assert to_dict([Figure("own", unit, own, "own")])[0]["of_limit"] == pytest.approx(1)
    heading, *lines = table([first, limit])
    assert [line.split()[0] for line in lines] == ["own", "limit"] and lines[0].endswith("% of limit")
    assert lines[0][heading.index("of the limit"):] == f"{100 * first['of_limit']:.3g} % of limit"


class Two(LocalGroup):
    """Two ranks, of which this one takes as long as it does, and the other some seconds more or less."""

    size = 2

    def __init__(self, seconds: float, amount: float):
        self._other = seconds, amount

    def allgather(self, value):
        return [value, self._other]


@given(st.integers(1, 4), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(1, 9), st.floats(1, 9))
def test_things_take_turns_and_the_slowest_rank_counts(repeats, mine, other, my_amount, other_amount):
    clock, calls = [0.0], []

    def call(name, repeat):
        calls.append((name, repeat))
        clock[0] += mine
        return my_amount

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "_CACHE_BYTES", 8)
        patch.setattr(timing.time, "perf_counter", lambda: clock[0])
        rate, taken = time_in_turn(Two(other, other_amount), [
            Timed("rate", "GB/s", lambda repeat: call("rate", repeat), "most"),
            Timed("time", "ms", lambda repeat: call("time", repeat), after=lambda: calls.append("after"))], repeats)
    assert calls == [what for repeat in range(repeats + 1) for what in (("rate", repeat), ("time", repeat), "after")]
    assert rate.values == pytest.approx([(my_amount + other_amount) / max(mine, other)] * repeats, rel=1e-6)
    assert taken.values == pytest.approx([1e3 * max(mine, other) / my_amount] * repeats, rel=1e-6)
    assert (rate.limit, taken.limit) == ("most", "")
