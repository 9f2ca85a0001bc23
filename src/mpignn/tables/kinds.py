"""Types of columns: what they hold, which one holds the values of two, and which value does not fit one."""

import pyarrow as pa
import pyarrow.types as pt

TYPED = (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("s"), pa.timestamp("ns"))
"""What the words of a text can be, but text, the narrowest first."""

TEXTS, NUMBERS, NOTHING = "texts", "numbers", "nothing"
"""Some of what `sort_of` says; the last of a column without values."""


def is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers, or become some, as times do."""
    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_decimal(kind)
                or pt.is_date(kind) or pt.is_timestamp(kind))


def sort_of(kind: pa.DataType) -> str:
    """What values of a type are, in words that are the same for types of which one can stand for the other."""
    if is_list(kind):
        return f"lists of {sort_of(kind.value_type)}"
    if is_text(kind):
        return TEXTS
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return "times"
    if pt.is_null(kind):
        return NOTHING
    return NUMBERS if is_number(kind) else f"values of type {kind}"


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a column, where the type says how they are packed, too."""
    if pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        return value_type(kind.value_type)
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    return kind


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """A type that holds the values of both exactly, but that large integers may be rounded to floats; None: none."""
    if one == other or pt.is_null(other):
        return one
    if pt.is_null(one):
        return other
    signed, unsigned = pt.is_signed_integer, pt.is_unsigned_integer
    if (signed(one) and signed(other)) or (unsigned(one) and unsigned(other)):
        return max(one, other, key=lambda kind: kind.bit_width)
    if pt.is_integer(one) and pt.is_integer(other):
        return None if pa.uint64() in (one, other) else pa.int64()
    if all(pt.is_integer(kind) or pt.is_floating(kind) for kind in (one, other)):
        narrow = pt.is_floating(one) and pt.is_floating(other) and 64 not in (one.bit_width, other.bit_width)
        return pa.float32() if narrow else pa.float64()
    return None


def wider_kinds(kind: pa.DataType) -> tuple[pa.DataType, ...]:
    """``kind``, and what else a column may be, but text, whose first values are such."""
    return (kind, *(TYPED if pt.is_null(kind) else (pa.float64(),) if pt.is_integer(kind) else ()))


def holds(kind: pa.DataType, array: pa.Array) -> bool:
    """Whether the words of a text are values of a type."""
    return kind == pa.string() or _casts(array, kind)


def first_bad(array: pa.Array, kind: pa.DataType) -> int | None:
    """Position of the first value of an array that cannot be one of this type; None: all can."""
    if _casts(array, kind):
        return None
    good, bad = 0, len(array)       # as many first values can be such, and as many cannot
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _casts(array.slice(good, middle - good), kind) else (good, middle)
    return good


def _casts(array: pa.Array, kind: pa.DataType) -> bool:
    if pt.is_null(kind):
        return bool(array.null_count == len(array))
    try:
        array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
