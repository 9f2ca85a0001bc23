"""Tensors that trainers write, in one process: any sequence of operations against NumPy, names, files, refusals."""

import gc
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from services import make_graph, serve

from mpignn.comm.group import LocalGroup
from mpignn.errors import CommError, ConfigError, DataError, IDError, UnknownName
from mpignn.roles import BOTH, Topology
from mpignn.store.conflicts import first_conflict
from mpignn.store.registry import TensorRegistry
from mpignn.store.tensor import DistTensor

N, M = 12, 20       # authors, papers
WRITES = ("A", "writes", "P")
ROW = (2, 3)


def make_world():
    graph = make_graph({"A": N, "P": M}, {WRITES: (np.arange(N) % 5, np.arange(N)), ("P", "by", "A"): ([0], [0])})
    published = serve(graph, parts=3).published
    registry = TensorRegistry(published.book, Topology((0,), (BOTH,)), published.transport, LocalGroup())
    return SimpleNamespace(published=published, registry=registry)


@pytest.fixture
def g():
    made = make_world()
    yield made
    made.registry.close()


INDICES = st.one_of(
    st.lists(st.integers(0, M - 1), max_size=15).map(lambda ids: np.array(ids, np.int64)),
    st.lists(st.integers(0, M - 1), min_size=1, max_size=15),
    st.lists(st.booleans(), min_size=M, max_size=M).map(np.array),
    st.slices(M),
    st.integers(0, M - 1))
WAYS = {"set": None, "add": np.add, "min": np.minimum, "max": np.maximum}
DTYPES = [torch.float32, torch.float64, torch.int64, torch.int8, torch.uint8]
STEPS = st.lists(st.tuples(INDICES, st.sampled_from([*WAYS, "read"]), st.booleans(), st.integers(0, 99)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from(DTYPES), st.booleans())
def test_any_operations_do_what_numpy_does(steps, dtype, as_tensors):
    g = make_world()
    t = DistTensor((M, *ROW), dtype, g=g, init_func=lambda shape, dtype: torch.ones(shape, dtype=dtype))
    expected = np.ones((M, *ROW), torch.empty(0, dtype=dtype).numpy().dtype)
    for index, way, scalar, seed in steps:
        given_index = torch.from_numpy(index) if as_tensors and isinstance(index, np.ndarray) else index
        if way == "read":
            np.testing.assert_array_equal(t[given_index], expected[index])
            continue
        shape = () if scalar else expected[index].shape
        rows = np.random.default_rng(seed).integers(0, 50, shape).astype(expected.dtype)
        if way == "set":
            t[given_index] = rows.item() if scalar else torch.from_numpy(rows)
            for i, row in zip(np.arange(M)[index].reshape(-1), np.broadcast_to(rows, expected[index].shape)
                              .reshape(-1, *ROW), strict=True):
                expected[i] = row
        else:
            getattr(t, f"{way}_")(given_index, rows if rows.ndim else rows.item())
            WAYS[way].at(expected, index, rows)
    np.testing.assert_array_equal(t[:], expected)
    np.testing.assert_array_equal(t.local, expected)
    assert t.count_nonzero() == np.count_nonzero(expected)


def test_what_is_said_of_a_tensor(g):
    t = DistTensor((M, 4), torch.int32, "t", g=g)
    assert (t.shape, t.dtype, t.name, t.part_policy, t.persistent, len(t)) == ((M, 4), torch.int32, "t", "P", False, M)
    assert t.local_ids.tolist() == list(range(M)) and not t[:].any()
    assert DistTensor((M,), torch.bool, part_policy="by", g=make_single(g)).part_policy == "P:by:A"
    assert t[3].shape == (4,) and t[[3]].shape == (1, 4) and t[[]].shape == (0, 4) and t[0:0].shape == (0, 4)


def make_single(g):
    """The same, with as many edges of a type as ``by`` pretends to have."""
    graph = make_graph({"A": 2, "P": 2}, {("P", "by", "A"): (np.zeros(M, int), np.zeros(M, int))})
    published = serve(graph).published
    registry = TensorRegistry(published.book, Topology((0,), (BOTH,)), published.transport, LocalGroup())
    return SimpleNamespace(registry=registry)


def test_local_is_the_memory_itself_also_for_other_libraries(g):
    t = DistTensor((M, 2), torch.float32, g=g)
    t.local[4] = 7
    assert t.local.data_ptr() == torch.from_dlpack(t).data_ptr() == t.local_partition.data_ptr()
    assert t[[4, 5]].tolist() == [[7, 7], [0, 0]]
    assert np.from_dlpack(t)[4].tolist() == [7, 7]


def test_first_values_come_from_a_function_of_shape_or_of_ids(g):
    by_ids = DistTensor((M, 2), torch.int64, g=g, init_func=lambda shape, dtype, ids: ids[:, None].expand(shape))
    assert by_ids[[19, 0]].tolist() == [[19, 19], [0, 0]]
    by_shape = DistTensor((M, 2), torch.int64, g=g, init_func=lambda shape, dtype: torch.full(shape, 5, dtype=dtype))
    assert by_shape[[3]].tolist() == [[5, 5]]


@pytest.mark.parametrize("init_func, message", [
    (lambda shape, dtype: torch.zeros(shape[0] + 1), "gave torch.float32"),
    (lambda shape, dtype: torch.zeros(shape, dtype=torch.float64), "gave torch.float64"),
    (lambda shape, dtype: 3, "gave a int"),
    (lambda shape, dtype: 1 / 0, "ZeroDivisionError: division by zero")])
def test_a_function_that_gives_something_else_is_refused_and_leaves_no_tensor(g, init_func, message):
    with pytest.raises(DataError, match=message):
        DistTensor((M,), torch.float32, "t", init_func=init_func, g=g)
    assert g.registry.names() == []
    assert DistTensor((M,), torch.float32, "t", g=g)[3] == 0


def test_a_name_finds_the_same_tensor(g):
    first = DistTensor((M,), torch.float32, "t", g=g)
    first[[2]] = 8.0
    again = DistTensor((M,), torch.float32, "t", init_func=lambda shape, dtype: torch.ones(shape), g=g)
    assert again[2] == 8 and again.local.data_ptr() == first.local.data_ptr()
    other = DistTensor((M,), torch.float32, g=g)
    assert other[2] == 0 and g.registry.names() == ["t"]
    for change in ({"shape": (M, 1)}, {"dtype": torch.float64}, {"persistent": True}, {"part_policy": "even"}):
        with pytest.raises(DataError, match="'t' exists and is another one: torch.float32 \\(20,\\) by P; asked for"):
            DistTensor(**{"shape": (M,), "dtype": torch.float32, "name": "t", "g": g} | change)


def test_what_nobody_refers_to_is_given_back_unless_persistent(g):
    kept = DistTensor((M,), torch.float32, "kept", g=g)
    for name in ("gone", "stays"):
        DistTensor((M,), torch.float32, name, persistent=name == "stays", g=g)[[1]] = 3.0
    gc.collect()
    assert DistTensor((M,), torch.float32, "gone", g=g)[1] == 0
    assert DistTensor((M,), torch.float32, "stays", persistent=True, g=g)[1] == 3
    kept.free()
    with pytest.raises(CommError, match="kept: already freed"):
        kept[[0]]
    assert set(g.registry.names()) <= {"gone", "stays"}


def test_the_only_open_graph_is_the_default(g):
    gc.collect()
    assert DistTensor((M,), torch.float32).part_policy == "P"
    other = make_world()
    with pytest.raises(ConfigError, match="2 graphs are open"):
        DistTensor((M,), torch.float32)
    other.registry.close()
    g.registry.close()
    with pytest.raises(ConfigError, match="0 graphs are open"):
        DistTensor((M,), torch.float32)


@pytest.mark.parametrize("options, kind, message", [
    ({"persistent": True}, ConfigError, "needs a name"),
    ({"shape": (7,)}, DataError, "7 rows are the size of no node or edge type: give part_policy"),
    ({"shape": (N,)}, DataError, "12 rows are the size of A and A:writes:P: give part_policy"),
    ({"shape": (M + 1,), "part_policy": "P"}, DataError, "part_policy P has 20 rows, not 21"),
    ({"part_policy": "Q"}, UnknownName, "part_policy 'Q' is neither"),
    ({"shape": ()}, ConfigError, "shape is"),
    ({"shape": (M, -1)}, ConfigError, "a size of the shape .* is -1"),
    ({"dtype": "float32"}, ConfigError, "dtype is 'float32'"),
    ({"dtype": torch.float8_e5m2}, ConfigError, "cannot hold torch.float8_e5m2"),
    ({"name": 3}, ConfigError, "name is 3")])
def test_wrong_tensors_are_refused(g, options, kind, message):
    with pytest.raises(kind, match=message):
        DistTensor(**{"shape": (M,), "dtype": torch.float32, "g": g} | options)


@pytest.mark.parametrize("index", [20, [0, 3, 20, 21], torch.tensor([20]), slice(0, 3).__class__ and [-1], -1])
def test_rows_that_are_not_there_are_named(g, index):
    t = DistTensor((M, 2), torch.float32, "t", g=g)
    bad = -1 if -1 in np.atleast_1d(index) else 20
    for use in (lambda: t[index], lambda: t.__setitem__(index, 1.0), lambda: t.add_(index, 1.0)):
        with pytest.raises(IDError, match=f"row of t: {bad} is not in 0..19"):
            use()


@pytest.mark.parametrize("index, message", [
    ((0, 1), "index by rows only"), (None, "index by rows only"), (..., "index by rows only"),
    ([True, False], "a mask of shape \\(2,\\) for 20 rows"), ([[0, 1]], "expected integers in one dimension"),
    ([0.5], "expected integers")])
def test_what_is_no_index_is_refused(g, index, message):
    with pytest.raises(IDError, match=message):
        DistTensor((M, 2), torch.float32, "t", g=g)[index]


@pytest.mark.parametrize("rows, message", [
    (torch.zeros(2, dtype=torch.float32), "expected torch.int32 \\(2, 3\\), or one number, got torch.float32 \\(2,\\)"),
    (torch.zeros(2, 3), "got torch.float32 \\(2, 3\\): rows are neither cast nor repeated"),
    (torch.zeros(3, dtype=torch.int32), "got torch.int32 \\(3,\\)"),
    (np.zeros((1, 3), np.int32), "got torch.int32 \\(1, 3\\)"),
    ([[0.5, 0, 0], [0, 0, 0]], "is not of the type torch.int32"),
    (1.5, "1.5 is not of the type torch.int32")])
def test_rows_are_neither_cast_nor_repeated(g, rows, message):
    t = DistTensor((M, 3), torch.int32, "t", g=g)
    for write in (lambda: t.__setitem__([4, 5], rows), lambda: t.add_([4, 5], rows)):
        with pytest.raises(DataError, match=message):
            write()
    assert not t[:].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool])
def test_types_that_mpi_cannot_reduce_are_read_and_replaced_only(g, dtype):
    t = DistTensor((M, 3), dtype, "t", g=g)
    t[[3, 1]] = torch.tensor([[1, 0, 1], [0, 1, 1]]).to(dtype)
    t.local[7] = 1
    assert t[[1, 7]].float().tolist() == [[0, 1, 1], [1, 1, 1]] and t[[1]].dtype == dtype
    with pytest.raises(DataError, match=f"MPI cannot add elements of {dtype}"):
        t.add_([0], t[[1]])


def test_masks_are_joined(g):
    a, b = (DistTensor((M,), torch.bool, g=g) for _ in range(2))
    a[[1, 2]], b[[2, 3]] = True, True
    assert (a | b)[:].nonzero().flatten().tolist() == [1, 2, 3] and (a | b).part_policy == "P"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int64])
def test_a_file_gives_back_what_was_written(g, tmp_path, dtype):
    t = DistTensor((M, 3), dtype, "t", g=g)
    values = torch.arange(3 * M).reshape(M, 3).to(dtype)
    t[:] = values
    t.to_hdf5(tmp_path / "t.h5")
    before = (tmp_path / "t.h5").read_bytes()
    t[:] = torch.zeros(M, 3, dtype=dtype)
    t.from_hdf5(tmp_path / "t.h5")
    assert torch.equal(t[:], values)
    t.to_hdf5(str(tmp_path / "t.h5"), "t")
    assert (tmp_path / "t.h5").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["t.h5"]
    for shape in (0, 2), (3, 0), (0, 0), (3, 2, 0):
        empty = DistTensor(shape, dtype, part_policy="even", g=g)
        empty.to_hdf5(tmp_path / "empty.h5", "empty")
        empty.from_hdf5(tmp_path / "empty.h5", "empty")


def test_files_that_do_not_fit_are_refused(g, tmp_path):
    t = DistTensor((M, 3), torch.float32, "t", g=g)
    t.to_hdf5(tmp_path / "t.h5")
    with pytest.raises(DataError, match="holds no tensor 'u', but: t"):
        t.from_hdf5(tmp_path / "t.h5", "u")
    with pytest.raises(DataError, match="no such file"):
        t.from_hdf5(tmp_path / "u.h5")
    with pytest.raises(DataError, match=r"t is torch.float32 \(20, 3\), the tensor is torch.float64 \(20, 3\)"):
        DistTensor((M, 3), torch.float64, g=g).from_hdf5(tmp_path / "t.h5", "t")
    with pytest.raises(ConfigError, match="cannot write a file there"):
        t.to_hdf5(tmp_path / "no" / "t.h5")
    with pytest.raises(ConfigError, match="needs one in a file"):
        DistTensor((M, 3), torch.float32, g=g).to_hdf5(tmp_path / "v.h5")
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file["t"][5, 1] = 3
    with pytest.raises(DataError, match="damaged.*; write it again, or take a copy of it$"):
        t.from_hdf5(tmp_path / "t.h5")


@given(st.lists(st.dictionaries(st.sampled_from(["put", "add", "max"]), st.sets(st.integers(0, 6)), max_size=3),
                min_size=1, max_size=4))
def test_conflicts_are_those_that_brute_force_finds(written):
    def clash(row):
        touched = [(trainer, kind) for trainer, kinds in enumerate(written) for kind, rows in kinds.items()
                   if row in rows]
        several = len({trainer for trainer, _ in touched}) > 1
        return several and (len({kind for _, kind in touched}) > 1 or touched[0][1] == "put")
    expected = next((row for row in range(7) if clash(row)), None)
    found = first_conflict([{kind: np.array(sorted(rows), np.int64) for kind, rows in kinds.items()}
                            for kinds in written])
    assert (None if found is None else found[0]) == expected
