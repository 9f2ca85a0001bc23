"""From the users' ids to rows, against dicts of Python."""

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.errors import DataError
from mpignn.kernels import ids as kernels
from mpignn.tables.id_map import IdMap

INT64 = st.integers(-2**63, 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1).filter(lambda number: number != kernels._OTHER)      # set apart, it has the key of 0
# Few different ones, so that many are equal; texts that look like integers and are not the way to write one.
INTEGERS = st.one_of(st.integers(-3, 3), st.sampled_from([2**63 - 1, -2**63, 2**32, -2**32]), INT64)
UNSIGNED = st.one_of(st.integers(0, 3), st.sampled_from([2**64 - 1, 2**63, 2**63 - 1, 2**64 - 3]), UINT64)
ODD = ["05", "-0", "00", "+5", "-", "5 ", "18446744073709551616", "-9223372036854775809", "99999999999999999999",
       "1234567a", "12345678/1234567:", "-1234567890123456789", "-12345678901234567890", "123456789012345678901", "-",
       "1e3", "0x5", "5.0", "\x00", "\x00\x00", "é"]
TEXTS = st.one_of(st.integers(-3, 3).map(str), UNSIGNED.map(str), INTEGERS.map(str), st.sampled_from(ODD),
                  st.text(st.characters(exclude_categories=("Cs",)), max_size=20))


def chunk_of(kind, values):
    return st.lists(st.one_of(st.none(), values), max_size=20).map(lambda some: pa.array(some, kind))


CHUNKS = st.lists(st.one_of(chunk_of(pa.int64(), INTEGERS), chunk_of(pa.uint64(), UNSIGNED),
                            chunk_of(pa.string(), TEXTS), chunk_of(pa.large_string(), TEXTS)), max_size=6)
EXAMPLES = settings(deadline=None, max_examples=200, derandomize=True)      # the first call compiles


def names(chunk):
    """What ids are, so that equal ones are equal: their texts; None for those that are missing."""
    return [None if value in (None, "") else str(value) for value in chunk.to_pylist()]


def ids_of(made):
    return list(map(str, made.user_ids().of(0, len(made))))


@EXAMPLES
@given(CHUNKS, CHUNKS, st.integers(0, 5))
def test_ids_get_rows_as_in_a_dict(known, asked, skipped):
    made, expected = IdMap(), {}
    for chunk in known:
        rows = [-1 if name is None else expected.setdefault(name, len(expected)) for name in names(chunk)]
        assert made.grow(chunk).tolist() == rows
        assert len(made) == len(expected)
    for chunk in [*known, *asked, *(chunk.slice(skipped) for chunk in known)]:
        assert made.find(chunk).tolist() == [expected.get(name, -1) for name in names(chunk)]
    assert ids_of(made) == list(expected)


@EXAMPLES
@given(st.lists(INTEGERS, unique=True), st.lists(UNSIGNED, unique=True))
def test_integers_of_one_type_stay_integers(signed, unsigned):
    for values, kind in ((signed, pa.int64()), (unsigned, pa.uint64())):
        for chunk in (pa.array(values, kind), pa.array(map(str, values), pa.string())):
            found = IdMap.build([chunk]).user_ids()
            assert found.bounds is None and found.values.tolist() == values


@pytest.mark.parametrize("as_ids", [lambda numbers: pa.array(numbers), lambda numbers: pa.array(
    [f"paper/{number:x}" for number in numbers.tolist()])], ids=["integers", "texts"])
def test_many_ids_in_many_pieces(as_ids):
    rng = np.random.default_rng(0)
    numbers = rng.permutation(np.unique(rng.integers(-2**63, 2**63 - 1, 300_000)))
    made = IdMap.build(as_ids(part) for part in np.array_split(numbers, 3))
    asked = rng.integers(0, numbers.size, 200_000)
    assert (made.find(as_ids(numbers[asked])) == asked).all()
    assert (made.find(as_ids(numbers[asked] ^ 1)) == -1).mean() > 0.99
    assert ids_of(made)[12345] == str(as_ids(numbers)[12345])


@pytest.mark.parametrize("late", [False, True])
def test_missing_ids_and_those_that_come_twice_are_told_with_their_rows(late):
    before = [pa.array(range(100, 70_100))] if late else []
    row = 70_000 if late else 0

    def where(row):
        return f"papers.csv, line {row + 2}"
    with pytest.raises(DataError, match=f"line {row + 4}: the id 'a' stands in papers.csv, line {row + 2}, too"):
        IdMap.build([*before, pa.array(["a", "b", "a"])], where)
    with pytest.raises(DataError, match=f"line {row + 3}: there is no id"):
        IdMap.build([*before, pa.array(["a", None])], where)
    with pytest.raises(DataError, match=f"row {row + 1}: there is no id"):
        IdMap.build([*before, pa.array(["a", ""])])


UUIDS = [uuid.UUID(int=i * 2**100 + 12345) for i in range(3)]


@pytest.mark.parametrize("chunk, expected", [
    (pa.array([1.0, None, float("nan"), 5.0]), ["1", None, None, "5"]),
    (pa.array([1.0, 3.5, None, 1e300]), ["1", "3.5", None, "1e+300"]),
    (pa.array([7, None], pa.int8()), ["7", None]), (pa.array([2**32 - 1], pa.uint32()), [str(2**32 - 1)]),
    (pa.array(["a", "5", None, "a"]).dictionary_encode(), ["a", "5", None, "a"]),
    (pa.array([u.bytes for u in UUIDS], pa.uuid()), list(map(str, UUIDS))),
    (pa.array([u.bytes for u in UUIDS] + [None], pa.binary(16)), [*map(str, UUIDS), None]),
    (pa.array([b"\x00\xff", None], pa.binary(2)), ["00ff", None]), (pa.array([b"ab", b"5"]), ["ab", "5"]),
    (pa.array([None, None]), [None, None]), (pa.array(["x"], pa.string_view()), ["x"]), (pa.array([], "int64"), []),
], ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "")
def test_ids_of_other_types_are_texts_or_integers(chunk, expected):
    made = IdMap()
    rows = made.grow(chunk)
    assert (rows == made.find(pa.array(expected, pa.string()))).all()
    assert ids_of(made) == list(dict.fromkeys(name for name in expected if name is not None))


@pytest.mark.parametrize("chunk", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"\xff"])])
def test_what_cannot_be_an_id_is_refused(chunk):
    with pytest.raises(DataError, match="cannot be ids"):
        IdMap().find(chunk)
