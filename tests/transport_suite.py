"""What every transport must do, checked on one that holds known numbers.

Shapes: S servers, N rows asked for.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mpignn.comm.sharded import ArraySpec, array_spec
from mpignn.comm.transport import GraphArray, Request, Transport
from mpignn.errors import CommError

NUM_ROWS = 9_000


def specs(num_servers: int) -> list[ArraySpec]:
    """Arrays that are wide and narrow, that overlap, that are empty, cut evenly and very unevenly."""
    servers = np.arange(num_servers + 1)
    even = servers * NUM_ROWS // num_servers
    first_only = np.where(servers == 0, 0, NUM_ROWS)            # the other servers own no row
    last_only = np.where(servers == num_servers, NUM_ROWS, 0)
    return [
        array_spec("wide", np.float32, 100, even),
        array_spec("narrow", np.int32, 1, even),
        array_spec("pairs", np.int64, 2, even, step=1),
        array_spec("bytes", np.uint8, 3, first_only),
        array_spec("one pair", np.int64, 2, last_only, step=1),
        array_spec("no rows", np.float64, 5, np.zeros(num_servers + 1)),
    ]


def fill(transport: Transport, server: int) -> None:
    """Write a server's own elements."""
    for name, array in transport.arrays.items():
        lo, hi = array.spec.bounds[server:server + 2]
        shard = transport.shard(name)
        assert shard.size == (hi - lo) * array.spec.step + array.spec.width - array.spec.step
        shard[:] = _values(array.spec, lo * array.spec.step + np.arange(shard.size))


def _values(spec: ArraySpec, element: np.ndarray) -> np.ndarray:
    return (element * 7 % (251 if spec.dtype == np.uint8 else 1 << 22)).astype(spec.dtype)


def ask(transport: Transport, asked: Sequence[tuple[str, np.ndarray]]) -> None:
    """Gather all of ``asked`` in one call and compare."""
    requests = [_request(transport.arrays[name], ids) for name, ids in asked]
    transport.gather(requests).wait()
    _compare(requests)


def _request(array: GraphArray, ids) -> Request:
    ids = np.asarray(ids, np.int64)
    return Request(array, ids, np.full((ids.size, array.spec.width), 77, array.spec.dtype))


def _compare(requests: Sequence[Request]) -> None:
    for request in requests:
        spec = request.array.spec
        elements = request.ids[:, None] * spec.step + np.arange(spec.width)
        np.testing.assert_array_equal(request.out, _values(spec, elements), err_msg=spec.name)


def _filled(transport: Transport) -> list[str]:
    return [name for name in transport.arrays if name != "no rows"]


def any_ids_in_any_order(transport: Transport, rng: np.random.Generator) -> None:
    for name in _filled(transport):
        for count in (1, 2, 50, 5_000):
            ask(transport, [(name, rng.integers(0, NUM_ROWS, count))])


def repeats_are_filled_each(transport: Transport, rng: np.random.Generator) -> None:
    for name in _filled(transport):
        ask(transport, [(name, np.full(300, NUM_ROWS - 1))])
        ask(transport, [(name, rng.choice([0, 3, NUM_ROWS // 2], 200))])


def no_ids_at_all(transport: Transport, rng: np.random.Generator) -> None:
    transport.gather([]).wait()
    ask(transport, [(name, np.empty(0)) for name in transport.arrays])
    ask(transport, [("no rows", np.empty(0)), ("wide", rng.integers(0, NUM_ROWS, 10)), ("narrow", np.empty(0))])


def every_row(transport: Transport, rng: np.random.Generator) -> None:
    for name in _filled(transport):
        ask(transport, [(name, np.arange(NUM_ROWS))])
        ask(transport, [(name, rng.permutation(NUM_ROWS))])


def rows_at_the_cuts(transport: Transport, rng: np.random.Generator) -> None:
    for name in _filled(transport):
        cuts = np.array(transport.arrays[name].spec.bounds)
        near = (cuts[:, None] + np.arange(-2, 3)).reshape(-1)
        ask(transport, [(name, rng.permutation(near[(near >= 0) & (near < NUM_ROWS)]))])


def only_rows_that_are_here(transport: Transport, rng: np.random.Generator) -> None:
    for name in _filled(transport):
        array = transport.arrays[name]
        np.testing.assert_array_equal(
            array.local, _values(array.spec, np.arange(array.lo, array.hi)[:, None] * array.spec.step
                                 + np.arange(array.spec.width)))
        if array.lo < array.hi:
            ask(transport, [(name, rng.integers(array.lo, array.hi, 500))])


def only_rows_of_others(transport: Transport, rng: np.random.Generator) -> None:
    for name in _filled(transport):
        array = transport.arrays[name]
        others = np.setdiff1d(np.arange(NUM_ROWS), np.arange(array.lo, array.hi))
        ask(transport, [(name, rng.permutation(others)[:500])])


def rows_with_every_gap(transport: Transport, rng: np.random.Generator) -> None:
    for gap in (1, 2, 3, 60, 70, 300):
        ask(transport, [(name, np.arange(0, NUM_ROWS, gap)) for name in _filled(transport)])


def several_arrays_in_one_call(transport: Transport, rng: np.random.Generator) -> None:
    for _ in range(5):
        ask(transport, [(name, rng.integers(0, NUM_ROWS, rng.integers(0, 400))) for name in
                        rng.choice(_filled(transport), 7)])     # the same array more than once, too


def a_hundred_thousand_narrow_rows(transport: Transport, rng: np.random.Generator) -> None:
    ask(transport, [("narrow", rng.integers(0, NUM_ROWS, 100_000))])
    ask(transport, [("narrow", np.sort(rng.choice(NUM_ROWS, NUM_ROWS // 3, replace=False)))])


def several_gathers_under_way(transport: Transport, rng: np.random.Generator) -> None:
    requests = [_request(transport.arrays[name], rng.integers(0, NUM_ROWS, 100)) for name in _filled(transport)]
    pending = [transport.gather([request]) for request in requests]
    for one in reversed(pending):
        one.wait()
        one.wait()      # a second wait changes nothing
    _compare(requests)


def wrong_requests_are_refused(transport: Transport, rng: np.random.Generator) -> None:
    array = transport.arrays["wide"]
    good = np.empty((2, 100), np.float32)
    for ids, out, message in (
            ([0, NUM_ROWS], good, f"row {NUM_ROWS} asked for, of {NUM_ROWS}"),
            ([-1, 0], good, "row -1 asked for"),
            ([0, 1], np.empty((2, 99), np.float32), "out is float32 "),
            ([0, 1], np.empty((3, 100), np.float32), "out is float32 "),
            ([0, 1], np.empty((2, 100), np.float64), "out is float64 "),
            ([0, 1], np.empty((2, 200), np.float32)[:, ::2], "not contiguous")):
        with pytest.raises(CommError, match=message):
            transport.gather([Request(array, np.array(ids, np.int64), out)])
    with pytest.raises(CommError, match="row numbers are int32"):
        transport.gather([Request(array, np.array([0, 1], np.int32), good)])
    with pytest.raises(CommError, match="row 0 asked for, of 0"):
        transport.gather([Request(transport.arrays["no rows"], np.zeros(1, np.int64), np.empty((1, 5)))])
    ask(transport, [("wide", rng.integers(0, NUM_ROWS, 10))])       # and it goes on


def arrays_are_read_only(transport: Transport, rng: np.random.Generator) -> None:
    for array in transport.arrays.values():
        assert not array.flat.flags.writeable and not array.local.flags.writeable


CHECKS: dict[str, Callable[[Transport, np.random.Generator], None]] = {
    check.__name__: check for check in (
        any_ids_in_any_order, repeats_are_filled_each, no_ids_at_all, every_row, rows_at_the_cuts,
        only_rows_that_are_here, only_rows_of_others, rows_with_every_gap, several_arrays_in_one_call,
        a_hundred_thousand_narrow_rows, several_gathers_under_way, wrong_requests_are_refused, arrays_are_read_only)}
