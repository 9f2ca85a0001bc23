"""A hash table from the users' ids to row numbers.

An id becomes a tag of 64 bits, which is compared, and a home of 32 bits, which says where to look.  An integer is its
own tag, and so is a text that is written as an integer is.  Any other text has two hashes as tag and home, which do not
depend on each other; each chains the finaliser of splitmix64 over the words of the text.

The table is open, with linear probing: Knuth 1973, section 6.4.

Shapes: K ids asked about, B bytes of text, N rows known, S slots of the table.
"""

from typing import Any

import numpy as np

from mpignn.kernels.compiled import helper, inlined, kernel
from mpignn.kernels.rng import mix
from mpignn.kernels.simd import prefetch, word_at

MISSING, SMALL, NEGATIVE, HUGE, TEXT = 0, 1, 2, 3, 4
"""Kinds of ids: none; integers by the range they are in, 0 to 2**63 the small ones; other texts."""

EMPTY = np.uint32(2**32 - 1)

_U64, _U32 = np.uint64, np.uint32
_I64: Any = np.int64        # what type checkers take for an int
_0, _1, _4, _8, _10, _16, _32, _63 = map(_U64, (0, 1, 4, 8, 10, 16, 32, 63))
_TAG, _HOME, _OTHER = _U64(0x243F6A8885A308D3), _U64(0x13198A2E03707344), _U64(0xA4093822299F31D0)      # digits of pi
_HIGH, _LOW, _SIXES = _U64(0xF0F0F0F0F0F0F0F0), _U64(0x0F0F0F0F0F0F0F0F), _U64(0x0606060606060606)
_DIGITS, _8_DIGITS = _U64(0x3333333333333333), _U64(10**8)
_MOST_TENTH, _MOST_DIGIT = _U64((2**64 - 1) // 10), _U64((2**64 - 1) % 10)
_AHEAD = 24         # ids whose slot is asked for before it is needed
_NEAR = 12          # ids whose row's tag is, by then its slot is here


@kernel
def integer_keys(bits: np.ndarray, unsigned: bool, missing: np.ndarray, tags: np.ndarray, homes: np.ndarray,
                 kinds: np.ndarray) -> int:
    """Tags and homes of integers.

    Args:
        bits: (K,) uint64: the integers, in two's complement where they have a sign.
        unsigned: Whether they have none.
        missing: (K,) bool, or (0,) if none is missing.
        tags: (K,) uint64, written.
        homes: (K,) uint32, written.
        kinds: (K,) uint8, written.

    Returns:
        The kinds that there are, a bit for each.
    """
    found = 0
    for i in range(bits.shape[0]):
        kind = SMALL if bits[i] >> _63 == _0 else HUGE if unsigned else NEGATIVE
        if missing.shape[0] and missing[i]:
            kind = MISSING
        tags[i] = bits[i]
        homes[i] = home_of(bits[i])
        kinds[i] = kind
        found |= 1 << kind
    return found


@kernel
def text_keys(data: np.ndarray, bounds: np.ndarray, missing: np.ndarray, tags: np.ndarray, homes: np.ndarray,
              kinds: np.ndarray) -> int:
    """Tags and homes of texts; an empty text is missing.

    Args:
        data: (B,) uint8.
        bounds: (K + 1,) int32: text i is ``data[bounds[i]:bounds[i + 1]]``.
        missing: (K,) bool, or (0,) if none is missing.
        tags: (K,) uint64, written.
        homes: (K,) uint32, written.
        kinds: (K,) uint8, written.

    Returns:
        The kinds that there are, a bit for each.
    """
    found = 0
    for i in range(bounds.shape[0] - 1):
        first, last = _I64(bounds[i]), _I64(bounds[i + 1])
        if first == last or (missing.shape[0] and missing[i]):
            kind = MISSING
        else:
            kind, tag = TEXT, _0
            if data[first] <= 57:       # else no integer
                kind, tag = _integer(data, first, last)
            if kind == TEXT:
                tags[i], homes[i] = _hashes(data, first, last)
            else:
                tags[i], homes[i] = tag, home_of(tag)
        kinds[i] = kind
        found |= 1 << kind
    return found


@kernel
def set_apart(kind: int, tags: np.ndarray, homes: np.ndarray, kinds: np.ndarray) -> None:
    """Give the ids of a kind other tags and homes, since there are others whose bits are the same.

    Args:
        kind: NEGATIVE or HUGE.
        tags: (K,) uint64, changed in place.
        homes: (K,) uint32, changed in place.
        kinds: (K,) uint8.
    """
    for i in range(tags.shape[0]):
        if kinds[i] == kind:
            tags[i] = mix(tags[i] ^ _OTHER)
            homes[i] = home_of(tags[i])


@kernel
def find(slots: np.ndarray, row_bits: int, known: np.ndarray, tags: np.ndarray, homes: np.ndarray, kinds: np.ndarray,
         out: np.ndarray) -> None:
    """Rows of ids.

    Args:
        slots: (S,) uint32, EMPTY or a row and bits of its home; at least one is empty.
        row_bits: How many bits of a slot are the row.
        known: (N,) or longer, uint64 tags of the rows.
        tags: (K,) uint64.
        homes: (K,) uint32.
        kinds: (K,) uint8.
        out: (K,) int64, written: -1 for what is missing or not in the table.
    """
    for i in range(tags.shape[0]):
        _look_ahead(slots, row_bits, known, homes, i)
        out[i] = -1
        if kinds[i] != MISSING:
            held = slots[_slot(slots, row_bits, known, tags[i], homes[i])]
            if held != EMPTY:
                out[i] = _row(held, row_bits)


@kernel
def grow(slots: np.ndarray, row_bits: int, known: np.ndarray, known_homes: np.ndarray, num_known: int,
         tags: np.ndarray, homes: np.ndarray, kinds: np.ndarray, out: np.ndarray) -> int:
    """Rows of ids, new ones for those that are not in the table; there must be room for K more.

    Args:
        slots: (S,) uint32, changed in place.
        row_bits: How many bits of a slot are the row.
        known: (N + K,) or longer, uint64 tags of the rows; new ones are written.
        known_homes: (N + K,) or longer, uint32; new ones are written.
        num_known: N.
        tags: (K,) uint64.
        homes: (K,) uint32.
        kinds: (K,) uint8.
        out: (K,) int64, written: -1 for what is missing.

    Returns:
        How many rows there are now.
    """
    for i in range(tags.shape[0]):
        _look_ahead(slots, row_bits, known, homes, i)
        if kinds[i] == MISSING:
            out[i] = -1
            continue
        slot = _slot(slots, row_bits, known, tags[i], homes[i])
        if slots[slot] == EMPTY:
            slots[slot] = _held(num_known, homes[i], row_bits)
            known[num_known], known_homes[num_known] = tags[i], homes[i]
            num_known += 1
        out[i] = _row(slots[slot], row_bits)
    return num_known


@kernel
def place(slots: np.ndarray, row_bits: int, homes: np.ndarray) -> None:
    """Put rows into an empty table.

    Args:
        slots: (S,) uint32, all EMPTY, written.
        row_bits: How many bits of a slot are the row: S is below two to their number.
        homes: (N,) uint32.
    """
    for row in range(homes.shape[0]):
        if row + _AHEAD < homes.shape[0]:
            prefetch(slots.ctypes.data + _begin(slots, homes[row + _AHEAD]) * 4)
        slot = _begin(slots, homes[row])
        while slots[slot] != EMPTY:
            slot = _next(slots, slot)
        slots[slot] = _held(row, homes[row], row_bits)


@inlined
def home_of(tag: np.uint64) -> np.uint32:
    """Where to look for an integer."""
    return _U32(mix(tag ^ _HOME) >> _32)


@inlined
def _begin(slots: np.ndarray, home: np.uint32) -> int:
    begin: int = _I64((_U64(home) * _U64(slots.shape[0])) >> _32)
    return begin


@inlined
def _next(slots: np.ndarray, slot: int) -> int:
    return slot + 1 if slot + 1 < slots.shape[0] else 0


# A slot has room for bits that a row does not need, and there are those of the home that are below its slot: whoever
# passes the slot on the way to another can tell, nearly always, without a look at the row's tag, which is elsewhere.

@inlined
def _held(row: int, home: np.uint32, row_bits: int) -> np.uint32:
    return _U32(_U64(row) | _U64(home) << _U64(row_bits))


@inlined
def _row(held: np.uint32, row_bits: int) -> int:
    row: int = _I64(_U64(held) & ((_1 << _U64(row_bits)) - _1))
    return row


@inlined
def _may_be(held: np.uint32, home: np.uint32, row_bits: int) -> bool:
    same: bool = _U64(held) >> _U64(row_bits) == _U64(_U32(_U64(home) << _U64(row_bits))) >> _U64(row_bits)
    return same


@inlined
def _look_ahead(slots: np.ndarray, row_bits: int, known: np.ndarray, homes: np.ndarray, i: int) -> None:
    if i + _AHEAD < homes.shape[0]:
        prefetch(slots.ctypes.data + _begin(slots, homes[i + _AHEAD]) * 4)
    if i + _NEAR < homes.shape[0]:
        home = homes[i + _NEAR]
        slot = _begin(slots, home)
        while slots[slot] != EMPTY and not _may_be(slots[slot], home, row_bits):
            slot = _next(slots, slot)
        if slots[slot] != EMPTY:
            prefetch(known.ctypes.data + _row(slots[slot], row_bits) * 8)


@inlined
def _slot(slots: np.ndarray, row_bits: int, known: np.ndarray, tag: np.uint64, home: np.uint32) -> int:
    """The slot that holds the row with this tag, or the empty one where it belongs."""
    slot = _begin(slots, home)
    while slots[slot] != EMPTY and not (_may_be(slots[slot], home, row_bits)
                                        and known[_row(slots[slot], row_bits)] == tag):
        slot = _next(slots, slot)
    return slot


@helper
def _hashes(data: np.ndarray, first: int, last: int) -> tuple[np.uint64, np.uint32]:
    """Two hashes of a text that is not empty."""
    size = _U64(last - first)
    tag, home = mix(size ^ _TAG), mix(size ^ _HOME)
    address = data.ctypes.data
    at = first
    while at + 8 <= last:
        word = word_at(address + at)
        tag, home = mix(tag ^ word), mix(home ^ word)
        at += 8
    if at < last:
        word = _0
        if last - first >= 8:
            word = word_at(address + last - 8)
        else:
            for j in range(at, last):
                word = word << _8 | _U64(data[j])
        tag, home = mix(tag ^ word), mix(home ^ word)
    return tag, _U32(home >> _32)


@helper
def _integer(data: np.ndarray, first: int, last: int) -> tuple[int, np.uint64]:
    """Kind and tag of a text that may be an integer, in the one way to write it."""
    negative = data[first] == 45
    at = first + 1 if negative else first
    if at == last or last - at > 20 or (data[at] == 48 and (negative or last - at > 1)):
        return TEXT, _0
    value = _0
    while at + 8 <= last:       # at most twice: 16 digits overflow nothing
        word = word_at(data.ctypes.data + at)
        if (word & _HIGH) | ((word + _SIXES & _HIGH) >> _4) != _DIGITS:
            return TEXT, _0
        value = value * _8_DIGITS + _eight_digits(word)
        at += 8
    while at < last:
        digit = _U64(data[at]) - _U64(48)
        if digit >= _10 or value > _MOST_TENTH or (value == _MOST_TENTH and digit > _MOST_DIGIT):
            return TEXT, _0
        value = value * _10 + digit
        at += 1
    if negative:
        return (NEGATIVE, ~value + _1) if value <= _1 << _63 else (TEXT, _0)
    return (SMALL, value) if value >> _63 == _0 else (HUGE, value)


@inlined
def _eight_digits(word: np.uint64) -> np.uint64:
    """The number that eight bytes write: pairs, fours, then all are put together at once."""
    word = (word & _LOW) * _U64(10 << 8 | 1) >> _8
    word = (word & _U64(0x00FF00FF00FF00FF)) * _U64(100 << 16 | 1) >> _16
    return (word & _U64(0x0000FFFF0000FFFF)) * _U64(10000 << 32 | 1) >> _32
