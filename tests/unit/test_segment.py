import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from mpignn.kernels.segment import segment_max, segment_sum, spread_max, transpose

DTYPES = [np.float32, np.float64]


def block(degrees, num_src, seed=0, dtype=np.int32):
    """Random in-edges, repeated neighbors included, for destinations of the given degrees."""
    indptr = np.concatenate([[0], np.cumsum(degrees, dtype=np.int64)]).astype(np.int64)
    return indptr, np.random.default_rng(seed).integers(0, max(num_src, 1), indptr[-1]).astype(dtype)


def in_order(indptr, indices, x, start=None):
    """Sums in the order of the edges, one addition at a time: the same bits are expected."""
    out = np.zeros((indptr.size - 1, x.shape[1]), x.dtype)
    if start is not None:
        out[:len(start)] = start
    for d in range(len(out)):
        for e in range(indptr[d], indptr[d + 1]):
            out[d] += x[indices[e]]
    return out


shapes = st.tuples(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 15), st.integers(1, 40))


@given(shapes, st.sampled_from(DTYPES), st.sampled_from([np.int32, np.int64]))
@settings(max_examples=60, deadline=None)
def test_sums_and_means_are_those_of_the_loop_bit_for_bit(shape, dtype, index_dtype):
    degrees, num_src, columns = shape
    indptr, indices = block(degrees, num_src, dtype=index_dtype)
    x = np.random.default_rng(1).standard_normal((num_src, columns)).astype(dtype)
    out = np.full((len(degrees), columns), np.nan, dtype)
    segment_sum(indptr, indices, x, out)
    np.testing.assert_array_equal(out, in_order(indptr, indices, x))
    segment_sum(indptr, indices, x, out, mean=True)
    counts = np.maximum(np.diff(indptr), 1).astype(dtype)
    np.testing.assert_array_equal(out, in_order(indptr, indices, x) / counts[:, None])


@pytest.mark.parametrize("dtype", DTYPES)
def test_sum_is_the_product_with_the_adjacency(dtype):
    indptr, indices = block([0, 3, 50, 0, 1], 30)
    x = np.random.default_rng(1).standard_normal((30, 100)).astype(dtype)
    out = np.empty((5, 100), dtype)
    segment_sum(indptr, indices, x, out)
    dense = csr_array((np.ones(indices.size), indices, indptr), (5, 30)).toarray() @ x
    np.testing.assert_allclose(out, dense, rtol=1e-5, atol=1e-5)


def test_first_sums_begin_with_the_rows_given():
    indptr, indices = block([2, 0, 3, 4], 6)
    x, start = np.random.default_rng(1).standard_normal((6, 7)), np.ones((2, 7))
    out = np.empty((4, 7))
    segment_sum(indptr, indices, x, out, start=start)
    np.testing.assert_array_equal(out, in_order(indptr, indices, x, start))


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_transposing_keeps_every_edge_and_sorts_it_stably(shape):
    degrees, num_src, _ = shape
    indptr, indices = block(degrees, num_src)
    out_indptr, out_indices = transpose(indptr, indices, num_src)
    dst = np.repeat(np.arange(len(degrees)), degrees)
    order = np.argsort(indices, kind="stable")
    np.testing.assert_array_equal(out_indices, dst[order])
    np.testing.assert_array_equal(np.diff(out_indptr), np.bincount(indices, minlength=num_src))
    assert out_indices.dtype == np.int32


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_and_its_backward_follow_the_loop(dtype):
    indptr, indices = block([4, 0, 1, 9, 0], 7)
    x = np.random.default_rng(1).integers(-3, 3, (7, 20)).astype(dtype)     # ties are frequent
    out, winner = np.empty((5, 20), dtype), np.empty((5, 20), np.int32)
    segment_max(indptr, indices, x, out, winner)
    grad = np.random.default_rng(2).standard_normal((5, 20)).astype(dtype)
    back, expected = np.full_like(x, np.nan), np.zeros_like(x)
    spread_max(grad, winner, back)
    for d in range(5):
        picked = indices[indptr[d]:indptr[d + 1]]
        if picked.size == 0:
            np.testing.assert_array_equal(out[d], 0)
            np.testing.assert_array_equal(winner[d], -1)
            continue
        np.testing.assert_array_equal(out[d], x[picked].max(axis=0))
        np.testing.assert_array_equal(winner[d], picked[x[picked].argmax(axis=0)])
        np.add.at(expected, (picked[x[picked].argmax(axis=0)], np.arange(20)), grad[d])
    np.testing.assert_array_equal(back, expected)


def test_maximum_shows_what_is_not_a_number():
    x = np.array([[1.0], [np.nan], [2.0], [np.nan]])
    out, winner = np.empty((2, 1)), np.empty((2, 1), np.int32)
    segment_max(np.array([0, 3, 5]), np.array([0, 1, 2, 3, 2], np.int32), x, out, winner)
    assert np.isnan(out).all()
    assert winner.tolist() == [[1], [3]]


@pytest.mark.parametrize("num_src", [0, 3])
def test_no_destinations(num_src):
    indptr, indices = block([], num_src)
    x, out = np.ones((num_src, 4)), np.empty((0, 4))
    segment_sum(indptr, indices, x, out, mean=True)
    segment_max(indptr, indices, x, out, np.empty((0, 4), np.int32))
    back = np.full_like(x, np.nan)
    segment_sum(*transpose(indptr, indices, num_src), out, back)
    np.testing.assert_array_equal(back, 0)
    spread_max(out, np.empty((0, 4), np.int32), back)
    np.testing.assert_array_equal(back, 0)


@pytest.mark.parametrize("dtype, stored", [(torch.bfloat16, np.uint16), (torch.float16, np.int16)])
def test_numbers_of_16_bits_are_read_and_rounded_as_torch_does(dtype, stored):
    special = [0.0, -0.0, 1e-7, -3e-6, 6e4, -7e4, 3.4e38, np.inf, -np.inf, np.nan, 1.0039062, 1.01171875]
    exact = torch.cat([torch.tensor(special), torch.randn(500, generator=torch.Generator().manual_seed(0))])[None]
    wide, out = exact.numpy(), np.empty((1, exact.shape[1]), stored)
    segment_sum(np.array([0, 1]), np.zeros(1, np.int32), wide, out)
    expected = exact.to(dtype)
    found = torch.from_numpy(out).view(dtype)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
    back = np.empty_like(wide)
    segment_sum(np.array([0, 1]), np.zeros(1, np.int32), out, back)
    np.testing.assert_array_equal(back, expected.float().numpy())


def test_columns_of_a_wider_array_are_rows_too():
    indptr, indices = block([2, 0, 3, 4], 6)
    rng = np.random.default_rng(1)
    wide, pair = rng.standard_normal((6, 20)), np.full((4, 14), np.nan)
    x, start = wide[:, 5:12], rng.standard_normal((4, 9))[:, 2:]
    segment_sum(indptr, indices, x, pair[:, 7:], own=pair[:, :7], start=start)
    np.testing.assert_array_equal(pair[:, 7:], in_order(indptr, indices, x, start))
    np.testing.assert_array_equal(pair[:, :7], x[:4])
