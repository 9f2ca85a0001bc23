"""Rows that the ranks of a group send each other, all at once."""

import numpy as np
import pytest

from mpignn.buffers import Pool
from mpignn.errors import DataError

pytestmark = pytest.mark.each_library


@pytest.mark.parametrize("chunk_bytes", [1 << 30, 40])
@pytest.mark.parametrize("dtype, width", [(np.float32, 3), (np.int64, 1), (np.int8, 5), (np.float64, 0)])
@pytest.mark.ranks(1, 2, 3, 4)
def test_rows_arrive_in_order_of_their_senders(world, dtype, width, chunk_bytes):
    group, pool = world.all, Pool()
    group.chunk_bytes = chunk_bytes
    for seed in range(3):
        counts = np.random.default_rng(seed).integers(0, 9, (group.size, group.size))
        counts[:, seed % group.size] = 0        # one gets nothing at all
        rows = [[np.full((counts[a, b], width), 10 * a + b).astype(dtype) for b in range(group.size)]
                for a in range(group.size)]
        got, arrived = group.exchange(np.concatenate(rows[group.rank]), counts[group.rank], pool)
        np.testing.assert_array_equal(arrived, counts[:, group.rank])
        np.testing.assert_array_equal(got, np.concatenate([of_rank[group.rank] for of_rank in rows]))
    group.chunk_bytes = 1 << 30


@pytest.mark.ranks(1, 3)
def test_a_problem_of_one_rank_is_raised_on_all_before_anything_is_sent(world):
    group = world.all
    problem = DataError("bad rows") if group.rank == group.size - 1 else None
    where = "rank 2: " if group.size > 1 else ""
    with pytest.raises(DataError, match=f"^{where}bad rows$") as raised:
        group.exchange(np.zeros((group.size, 1)), np.ones(group.size, np.int64), Pool(), problem)
    assert raised.value.agreed
