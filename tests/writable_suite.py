"""What every array must do: rounds of writes by all trainers, compared with what NumPy makes of them.

All trainers draw the writes of all trainers from the same seed, so each knows what must come out.

Shapes: T trainers, N rows, W elements in a row.
"""

from collections.abc import Callable

import numpy as np
import pytest

from mpignn.comm.sharded import ArraySpec, array_spec
from mpignn.comm.writable import REDUCTIONS, WritableArray
from mpignn.errors import CommError, IDError

NUM_ROWS = 601
DTYPES = (np.float32, np.float64, np.int64, np.int32, np.int8, np.uint8)


def specs(num_trainers: int) -> list[ArraySpec]:
    """Rows wide and narrow, of every type, cut evenly and very unevenly."""
    even = np.arange(num_trainers + 1) * NUM_ROWS // num_trainers
    last_only = np.where(np.arange(num_trainers + 1) == num_trainers, NUM_ROWS, 0)
    return [array_spec(f"{np.dtype(dtype)} x {width}", dtype, width, bounds)
            for dtype, width, bounds in zip(DTYPES, (100, 1, 3, 17, 5, 1), (even, even, last_only) * 2, strict=True)]


def read(array: WritableArray, ids) -> np.ndarray:
    """(N, W) rows of an array."""
    ids = np.asarray(ids, np.int64)
    out = np.full((ids.size, array.spec.width), 77).astype(array.spec.dtype)
    array.gather(ids, out).wait()
    return out


def values(rng: np.random.Generator, count: int, spec: ArraySpec) -> np.ndarray:
    """(count, W) small integers: sums of them are exact in every type but the smallest, where they wrap."""
    return rng.integers(0, 8, (count, spec.width)).astype(spec.dtype)


def start(array: WritableArray, rank: int) -> np.ndarray:
    """Give all rows known values through their owners; returns (N, W) these."""
    spec = array.spec
    known = (np.arange(spec.num_rows)[:, None] * 3 + np.arange(spec.width)).astype(spec.dtype)
    assert (array.lo, array.hi) == spec.bounds[rank:rank + 2]
    array.local[:] = known[array.lo:array.hi]
    array.sync()
    return known


def _round(array: WritableArray, rank: int, num_trainers: int, rng: np.random.Generator, known: np.ndarray,
           kind: str) -> None:
    """All trainers write at the same time: reductions to the same rows, replacements to rows of their own."""
    rng = np.random.default_rng(rng.integers(1 << 30))
    for trainer in range(num_trainers):
        for count in rng.integers(0, 60, 3):
            ids = rng.choice(rng.integers(0, array.spec.num_rows, 1 + count // 2), count)
            if kind == "put":
                ids = np.minimum(ids // num_trainers * num_trainers + trainer, array.spec.num_rows - 1)
                ids = ids[ids % num_trainers == trainer]
            rows = values(rng, ids.size, array.spec)
            if kind == "put":
                for i, row in zip(ids, rows, strict=True):
                    known[i] = row
            else:
                REDUCTIONS[kind].at(known, ids, rows)
            if trainer == rank:
                array.put(ids, rows) if kind == "put" else array.accumulate(ids, rows, kind)
                rows[:] = 99        # the array has its copy


def writes_of_all_trainers(array: WritableArray, rank: int, num_trainers: int, rng: np.random.Generator) -> None:
    known = start(array, rank)
    for kind in ("add", "put", "max", "add", "put", "put", "min", "add"):
        _round(array, rank, num_trainers, rng, known, kind)
        array.sync()
        some = rng.integers(0, NUM_ROWS, 300)
        np.testing.assert_array_equal(read(array, some), known[some], err_msg=kind)
        np.testing.assert_array_equal(array.local, known[array.lo:array.hi], err_msg=kind)
        array.sync()        # nobody writes on while others still read


def one_trainer_reads_what_it_wrote(array: WritableArray, rank: int, num_trainers: int,
                                    rng: np.random.Generator) -> None:
    """Its own rows of every kind one after the other, without a sync in between."""
    known = start(array, rank)
    mine = np.arange(rank, NUM_ROWS, num_trainers)
    for kind in rng.permutation(["put", "add", "add", "max", "put", "put", "min", "add"] * 2):
        ids = rng.choice(mine, 40)
        rows = values(rng, ids.size, array.spec)
        if kind == "put":
            known[ids] = rows
            array.put(ids, rows)
        else:
            REDUCTIONS[kind].at(known, ids, rows)
            array.accumulate(ids, rows, kind)
        if rng.random() < 0.5:
            np.testing.assert_array_equal(read(array, mine), known[mine], err_msg=kind)
    array.sync()


def additions_to_the_same_rows_lose_nothing(array: WritableArray, rank: int, num_trainers: int,
                                            rng: np.random.Generator) -> None:
    known = start(array, rank)
    hot = np.array([0, 1, NUM_ROWS // 2, NUM_ROWS - 1])
    for _ in range(50):
        array.accumulate(hot, np.ones((hot.size, array.spec.width), array.spec.dtype), "add")
    array.sync()
    added = np.array(50 * num_trainers).astype(array.spec.dtype)
    np.testing.assert_array_equal(read(array, hot), known[hot] + added)
    array.sync()


def runs_and_single_rows(array: WritableArray, rank: int, num_trainers: int, rng: np.random.Generator) -> None:
    known = start(array, rank)
    for ids in (np.arange(NUM_ROWS), np.arange(5, 400), np.arange(0, NUM_ROWS, 2), np.array([7]),
                np.r_[3:90, 95, 97:300], np.arange(NUM_ROWS)[::-1], np.empty(0, np.int64)):
        np.testing.assert_array_equal(read(array, ids), known[ids])
    array.sync()
    if rank == num_trainers - 1:
        everything = np.ones((NUM_ROWS, array.spec.width), array.spec.dtype)
        array.put(np.arange(NUM_ROWS), everything)
        array.accumulate(np.arange(NUM_ROWS), everything, "add")
        every_other = np.arange(NUM_ROWS)[::2]      # ids that do not lie side by side
        array.accumulate(every_other, np.zeros((every_other.size, array.spec.width), array.spec.dtype), "add")
        array.put(every_other, np.full((every_other.size, array.spec.width), 2, array.spec.dtype))
        np.testing.assert_array_equal(read(array, np.arange(NUM_ROWS)), everything + everything)
    array.sync()
    np.testing.assert_array_equal(read(array, [0, NUM_ROWS - 1]), 2)
    array.sync()


def asked_for(rank: int, rng: np.random.Generator) -> np.ndarray:
    """Ids that trainer ``rank`` asks for: each other ones, sometimes none; the same on all who ask."""
    rng = np.random.default_rng([int(rng.integers(1 << 30)), rank])
    return rng.integers(0, NUM_ROWS, int(rng.choice([0, 1, 7, 200])))


def rows_come_together(array: WritableArray, rank: int, num_trainers: int, rng: np.random.Generator) -> None:
    known = start(array, rank)
    for _ in range(4):
        ids = asked_for(rank, rng)
        out = np.full((ids.size, array.spec.width), 77).astype(array.spec.dtype)
        array.gather_together(ids, out)
        np.testing.assert_array_equal(out, known[ids])
    array.sync()


def rows_go_to_their_owners(array: WritableArray, rank: int, num_trainers: int, rng: np.random.Generator) -> None:
    """In order of the trainer that sent them, and then of its own order."""
    for _ in range(4):
        state = rng.bit_generator.state
        ids_of = []
        for trainer in range(num_trainers):
            rng.bit_generator.state = state     # all draw from the same place
            ids_of.append(asked_for(trainer, rng))
        rows_of = [(np.arange(ids.size)[:, None] * 7 + trainer + np.arange(array.spec.width)).astype(array.spec.dtype)
                   for trainer, ids in enumerate(ids_of)]
        got = array.to_owners(ids_of[rank], rows_of[rank])
        ids = np.concatenate(ids_of)
        here = (ids >= array.lo) & (ids < array.hi)
        np.testing.assert_array_equal(got.ids, ids[here])
        np.testing.assert_array_equal(np.concatenate([got.mine, got.received])[got.places],
                                      np.concatenate(rows_of)[here])
    array.sync()


def wrong_calls_are_refused(array: WritableArray, rank: int, num_trainers: int, rng: np.random.Generator) -> None:
    width, dtype = array.spec.width, array.spec.dtype
    good = np.zeros((2, width), dtype)
    for ids, bad in (([0, NUM_ROWS], NUM_ROWS), ([-1, 0], -1)):
        for call in (array.gather, array.gather_together, array.put, lambda i, r: array.accumulate(i, r, "add")):
            with pytest.raises(IDError, match=f"{array.spec.name}: {bad} is not in"):
                call(np.array(ids), good)
        wrong = np.array(ids if rank == num_trainers - 1 else [0, 1])     # one trainer's mistake is raised on all
        with pytest.raises(IDError, match=f"{array.spec.name}: {bad} is not in"):
            array.to_owners(wrong, good)
    for rows in (np.zeros((3, width), dtype), np.zeros((2, width + 1), dtype), np.zeros((2, width), np.complex64)):
        with pytest.raises(CommError, match="not contiguous"):
            array.put(np.array([0, 1]), rows)
    array.sync()


CHECKS: dict[str, Callable[[WritableArray, int, int, np.random.Generator], None]] = {
    check.__name__: check for check in (
        writes_of_all_trainers, one_trainer_reads_what_it_wrote, additions_to_the_same_rows_lose_nothing,
        runs_and_single_rows, rows_come_together, rows_go_to_their_owners, wrong_calls_are_refused)}
