"""Any state comes back from a checkpoint equal and of the same type, or is refused by one clear error."""

import collections
import datetime
import enum
import math

import numpy as np
import pytest
import torch
from holder import Holder
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.storage import snapshot
from mpignn.store.graph import DistGraph
from mpignn.train import checkpoint
from mpignn.train.checkpoint_series import Checkpoints
from mpignn.train.packing import plain


class Tables:
    """A graph's tensors: none."""

    def persistent(self):
        return []


class Graph:
    """As much of a `DistGraph` as a checkpoint without tensors asks for."""

    trainers, source_id, registry, schema = LocalGroup(), "graph", Tables(), Schema(("_N",), ())


def through_disk(state, folder):
    g: DistGraph = Graph()      # type: ignore[assignment]
    found = Holder()
    checkpoint.save(folder, 0, g, thing=Holder(state))
    checkpoint.load(folder, g, thing=found)
    return found.state


def assert_same(found, state) -> None:
    """Equal, and of the same types all the way down."""
    assert type(found) is type(state), (found, state)
    if isinstance(state, torch.Tensor):
        assert found.dtype == state.dtype and found.shape == state.shape
        bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        a, b = (t.detach().resolve_conj().resolve_neg().contiguous() for t in (found, state))
        if a.is_complex():
            a, b = torch.view_as_real(a).contiguous(), torch.view_as_real(b).contiguous()
        assert torch.equal(a.view(bits[a.itemsize]), b.view(bits[b.itemsize]))
        if isinstance(state, torch.nn.Parameter):
            assert found.requires_grad == state.requires_grad
    elif isinstance(state, np.ndarray):
        assert found.dtype == state.dtype and found.shape == state.shape
        assert found.tobytes() == state.tobytes()
    elif isinstance(state, np.str_ | np.bytes_):
        assert found == state
    elif isinstance(state, np.generic):
        assert found.dtype == state.dtype and found.tobytes() == state.tobytes()
    elif isinstance(state, dict):
        assert len(found) == len(state)
        for mine, yours in zip(found.items(), state.items(), strict=True):
            assert_same(mine, yours)
    elif isinstance(state, list | tuple):
        assert len(found) == len(state)
        for mine, yours in zip(found, state, strict=True):
            assert_same(mine, yours)
    elif isinstance(state, float | complex):
        assert repr(found) == repr(state)
    elif isinstance(state, set | frozenset):
        assert sorted(map(typed, found)) == sorted(map(typed, state))
    else:
        assert found == state


def typed(value) -> str:
    """A text by which members of a set can be put in order and compared."""
    if type(value) is int and value.bit_length() > 10_000:
        return hex(value)
    if isinstance(value, frozenset):
        return f"frozenset {sorted(map(typed, value))}"
    if isinstance(value, tuple):
        return f"tuple {list(map(typed, value))}"
    return f"{type(value).__name__} {value!r}"


TORCH_TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
               torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
               torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex32]


@st.composite
def tensors(draw):
    shape = draw(st.sampled_from([(), (0,), (3,), (2, 3), (0, 4), (2, 1, 2)]))
    dtype = draw(st.sampled_from(TORCH_TYPES))
    size = max(1, math.prod(shape)) * torch.empty((), dtype=dtype).element_size()
    bits = torch.from_numpy(np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2, size, np.uint8))
    made = bits.view(dtype)[:math.prod(shape)].reshape(shape)
    made = draw(st.sampled_from([lambda t: t, lambda t: t.T if t.dim() == 2 else t, lambda t: t[::2] if t.dim() else t,
                                 lambda t: t.conj() if t.dtype in (torch.complex64, torch.complex128) else t]))(made)
    return torch.nn.Parameter(made, draw(st.booleans())) if dtype == torch.float32 and draw(st.booleans()) else made


ARRAYS = hnp.arrays(
    st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="?"), hnp.unsigned_integer_dtypes(endianness="?"),
              hnp.floating_dtypes(endianness="?"), hnp.complex_number_dtypes(endianness="?"),
              hnp.datetime64_dtypes(endianness="?"), hnp.timedelta64_dtypes(endianness="?"),
              hnp.byte_string_dtypes(max_len=4), hnp.unicode_string_dtypes(endianness="?", max_len=4)),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
ORDERED = ARRAYS.flatmap(lambda array: st.sampled_from([array, array.T, array[::-1] if array.ndim else array]))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(None).map(lambda _: 10**5000), st.floats(),
    st.complex_numbers(allow_nan=False), st.text(),
    st.sampled_from(["\ud800", "\ud83d\ude00", "a\0b", ".", "..", "/", ""]), st.binary(max_size=5),
    ARRAYS.filter(lambda array: array.size and array.dtype.kind not in "SU").map(lambda array: array.reshape(-1)[0]),
    st.sampled_from([np.str_("a\0"), np.bytes_(b"\0b"), np.float16(0.5), np.longdouble(1) / 3]))
KEYS = st.recursive(SCALARS, lambda of: st.one_of(st.tuples(of, of), st.frozensets(of, max_size=2)), max_leaves=3)
STATES = st.recursive(
    st.one_of(SCALARS, SCALARS.map(lambda v: bytearray(b"x")), ORDERED, tensors(), st.sets(KEYS, max_size=3)),
    lambda of: st.one_of(st.lists(of, max_size=3), st.tuples(of, of), st.dictionaries(KEYS, of, max_size=3),
                         st.dictionaries(st.sampled_from([1, "1", 1.5, "1.5", None, "None", b"1"]), of, max_size=4),
                         st.dictionaries(st.text(max_size=3), of, max_size=3).map(collections.OrderedDict)),
    max_leaves=8)


@settings(max_examples=100, deadline=None)
@given(state=STATES)
def test_what_is_saved_is_what_is_loaded(state, tmp_path_factory):
    assert_same(through_disk({"state": state}, tmp_path_factory.mktemp("kept")), {"state": state})


def test_arrays_of_the_other_byte_order_are_not_scrambled(tmp_path):
    state = {"big": np.arange(3, dtype=">i4"),
             "0-d": np.array(1.5, ">f8"), "f": np.asfortranarray(np.eye(3, dtype=">f2"))}
    assert_same(through_disk(state, tmp_path), state)


def test_keys_that_look_alike_have_arrays_of_their_own(tmp_path):
    state = {1: np.arange(2), "1": np.arange(3), "1 (1)": np.arange(4),
             None: {"a": torch.ones(1)}, "None": torch.ones(2)}
    assert_same(through_disk(state, tmp_path), state)


def test_states_of_torch_come_back_with_their_types(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 3])
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    schedule.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
             "shared": [model[0].weight, model[0].weight], "size": torch.Size([2, 3])}
    found = through_disk(state, tmp_path)
    assert_same(found, state)
    assert found["model"]._metadata == model.state_dict()._metadata


def itself() -> list:
    made: list = []
    made.append(made)
    return made


class Colour(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(("odd", "text"), [
    (object(), "thing.x is a object"), (Colour.RED, "x is a Colour"), (Point(1, 2), "x is a Point"),
    (collections.defaultdict(int), "x is a defaultdict"), (math.sin, "x is a builtin_function"),
    (itself(), "more than 100 levels deep, or holds itself"), (np.array([None]), "an array of the type object"),
    (np.zeros(2, [("a", int)]), "an array of the type"), (np.zeros(2, [("a", int)])[0], "a NumPy scalar of the type"),
    (np.ma.masked_array([1], [True]), "x is a MaskedArray"), (torch.eye(2).to_sparse(), "no dense tensor"),
    (torch.empty(2, device="meta"), "no dense tensor"), (datetime.date(2020, 1, 1), "x is a date"),
    ({torch.ones(1): 1}, "is a Tensor"), ({Colour.RED: 1}, "is a Colour"), ({(1, object): 1}, "is a type"),
    ({object}, "is a type"),
])
def test_what_could_not_come_back_the_same_is_refused(odd, text, tmp_path):
    with pytest.raises(ConfigError, match=text) as error:
        through_disk({"x": odd}, tmp_path)
    assert error.value.agreed and len(str(error.value)) < 500
    assert list(tmp_path.iterdir()) == []


def test_settings_may_be_tuples_and_numbers_of_numpy(tmp_path):
    g: DistGraph = Graph()      # type: ignore[assignment]
    there = {"fanouts": (3, 3), "lr": np.float32(0.5), "sizes": np.arange(2), "where": tmp_path,
             "deep": {"a": (1, [2])}}
    model = torch.nn.Linear(2, 2)
    kept = Checkpoints(tmp_path / "kept", g, settings=there, model=model)
    kept.save(about={"epoch": np.int64(3), "ids": (1, 2)})
    found = Checkpoints(tmp_path / "kept", g, settings=there, model=model).resume()
    assert found.about == {"epoch": 3, "ids": [1, 2]}
    for changed in ({"fanouts": (3, 4)}, {"lr": 0.25}, {"deep": {"a": (1, [3])}}):
        with pytest.raises(ConfigError, match=f"{next(iter(changed))}: .* there, .* here"):
            Checkpoints(tmp_path / "kept", g, settings=there | changed, model=model).resume()


@pytest.mark.parametrize(("odd", "text"), [
    ({"a": object()}, "settings.a is a object"), ({"a": {1: 2}}, "settings.a: the key 1 is no text"),
    ({"a": [1, {2}]}, "settings.a.1 is a set"), ({"a": float("nan")}, "settings.a is nan"),
    ({"a": np.array([None])}, "settings.a is a ndarray")])
def test_settings_that_no_file_can_hold_are_refused(odd, text, tmp_path):
    g: DistGraph = Graph()      # type: ignore[assignment]
    for keep in (lambda: Checkpoints(tmp_path, g, settings=odd), lambda: checkpoint.save(tmp_path, 0, g, settings=odd)):
        with pytest.raises(ConfigError, match=text):
            keep()
    with pytest.raises(ConfigError, match=text.replace("settings", "about")):
        checkpoint.save(tmp_path, 0, g, about=odd)
    assert snapshot.found_in(tmp_path) == []


def test_plain_values_are_of_python():
    assert repr(plain({"a": np.str_("b"), "c": np.bool_(True)}, "x")) == "{'a': 'b', 'c': True}"
