"""The few machine instructions that plain loops do not lead to.  Each says why it is here.

Memory is given by address (``array.ctypes.data``, in bytes) because the users of this file work on rows of any
type.  Nothing is checked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

# numba and llvmlite say nothing of their types: theirs are names here, for the reader.
Values = Sequence[ir.Value]
CodeGen = Callable[[Any, ir.IRBuilder, Any, Values], ir.Value]      # of target context, builder, signature, arguments
Instruction = tuple[Any, CodeGen]       # signature, what emits it
Shaped = Callable[[ir.Type], ir.Type]
_intrinsic: Callable[..., Callable[..., Any]] = intrinsic


def read_only(array: np.ndarray) -> np.ndarray:
    """``array`` as a read-only view: one numba type, hence one compilation, for shared and private memory alike."""
    view = array.view()
    view.flags.writeable = False
    return view


@_intrinsic
def prefetch(typingctx: Any, address: types.Type) -> Instruction:
    """Ask for the cache line at ``address``.

    A row that will be read 8 rows later is then in the cache: without it a random row waits for memory, since
    the hardware foresees only what is sequential.
    """
    return types.void(types.uintp), _prefetch(3)


@_intrinsic
def prefetch_row(typingctx: Any, address: types.Type) -> Instruction:
    """As `prefetch`, into the second cache: what is summed over rows of 400 bytes and more is 1.3 to 1.9 times faster.

    The first one has room for too few of such rows, and the lines that it waits for are few.
    """
    return types.void(types.uintp), _prefetch(2)


def _prefetch(locality: int) -> CodeGen:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        i8p, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [i8p, i32, i32, i32]), "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(args[0], i8p), i32(0), i32(locality), i32(1)])
        return context.get_dummy_value()
    return codegen


@_intrinsic
def full_fence(typingctx: Any) -> Instruction:
    """Memory that processes share: no load or store moves across it."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        builder.fence("seq_cst")
        return context.get_dummy_value()
    return types.void(), codegen


@_intrinsic
def word_at(typingctx: Any, address: types.Type) -> Instruction:
    """The 8 bytes at ``address``, of whatever alignment, as a uint64: texts are hashed by words, not by bytes."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        value = builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        value.align = 1
        return value
    return types.uint64(types.uintp), codegen


@_intrinsic(prefer_literal=True)
def copy(typingctx: Any, target: types.Type, source: types.Type, size: types.Type) -> Instruction:
    """Copy ``size`` bytes, a literal: one load and one store, of whatever alignment."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        _copy(builder, args, size.literal_value)
        return context.get_dummy_value()
    return types.void(types.uintp, types.uintp, size), codegen


@_intrinsic(prefer_literal=True)
def stream(typingctx: Any, target: types.Type, source: types.Type, size: types.Type) -> Instruction:
    """`copy` to an address that is a multiple of ``size``, past the caches.

    A row that is read much later need not be fetched before it is written, nor push out others: 1.2 times faster for
    ascending rows, and 1.4 together with merged runs of ids.
    """
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        store = _copy(builder, args, size.literal_value)
        store.align = size.literal_value
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()
    return types.void(types.uintp, types.uintp, size), codegen


def _copy(builder: ir.IRBuilder, args: Values, size: int) -> ir.Value:
    pointer = ir.VectorType(ir.IntType(8), size).as_pointer()
    value = builder.load(builder.inttoptr(args[1], pointer))
    store = builder.store(value, builder.inttoptr(args[0], pointer))
    value.align = store.align = 1
    return store


@_intrinsic
def widen(typingctx: Any, value: types.Type) -> Instruction:
    """A stored number as one to compute with: bfloat16 (as uint16) and float16 (as int16) become float32.

    numba knows neither type.  Both conversions are one instruction on vectors, and the compiler finds it.
    """
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        return _widen(builder, args[0], value, lambda kind: kind)
    return _wide_type(value)(value), codegen


@_intrinsic
def narrow(typingctx: Any, value: types.Type, like: types.Type) -> Instruction:
    """The inverse of `widen`, to the type of ``like``: rounded to the nearest number, of two the even one."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        return _narrow(builder, args[0], like, lambda kind: kind)
    return like(value, like), codegen


@_intrinsic
def narrow_at_random(typingctx: Any, value: types.Type, like: types.Type, noise: types.Type) -> Instruction:
    """As `narrow`, but a bfloat16 is rounded up as often as it lies near the upper number: right on the average.

    What decides is a hash of the number and of ``noise``, a uint32.
    """
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        if like != types.uint16:
            return _narrow(builder, args[0], like, lambda kind: kind)
        i32 = ir.IntType(32)
        bits = builder.bitcast(args[0], i32)
        word = builder.xor(builder.mul(bits, _number(i32, 0x9E3779B1)), args[2])
        for shift, factor in (15, 0x85EBCA6B), (13, 0xC2B2AE35):       # the mixing of MurmurHash3 (Appleby 2011)
            word = builder.mul(builder.xor(word, builder.lshr(word, _number(i32, shift))), _number(i32, factor))
        rounded = builder.add(bits, builder.lshr(word, _number(i32, 16)))
        known = builder.fcmp_ordered("ord", args[0], args[0])
        kept = builder.select(known, builder.lshr(rounded, _number(i32, 16)), _number(i32, 0x7FC0))
        return builder.trunc(kept, ir.IntType(16))
    return like(value, like, types.uint32), codegen


LANES = 16


class Lanes(types.Type):
    """16 float32 or float64, in registers: one vector, or as many as the machine needs for that.

    Sums of rows that stay in registers are up to 1.4 times faster than those that go through memory at each row.
    """

    def __init__(self, scalar: types.Type) -> None:
        super().__init__(f"Lanes({scalar})")
        self.scalar = scalar


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        scalar = ir.DoubleType() if kind.scalar == types.float64 else ir.FloatType()
        super().__init__(manager, kind, ir.VectorType(scalar, LANES))


@_intrinsic
def lanes(typingctx: Any, address: types.Type, like: types.Type) -> Instruction:
    """`widen` of 16 numbers at ``address`` of the type of ``like``."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        stored = _vector(context.get_value_type(like))
        value = builder.load(builder.inttoptr(args[0], stored.as_pointer()))
        value.align = like.bitwidth // 8
        return _widen(builder, value, like, _vector)
    return Lanes(_wide_type(like))(types.uintp, like), codegen


@_intrinsic
def no_lanes(typingctx: Any, like: types.Type) -> Instruction:
    """16 zeros to which `lanes` of the type of ``like`` can be added."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        return ir.Constant(context.get_value_type(signature.return_type), [0.0] * LANES)
    return Lanes(_wide_type(like))(like), codegen


@_intrinsic
def add_lanes(typingctx: Any, left: types.Type, right: types.Type) -> Instruction:
    """The sum, lane by lane."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        return builder.fadd(*args)
    return left(left, right), codegen


@_intrinsic
def store_lanes(typingctx: Any, address: types.Type, value: types.Type, divisor: types.Type,
                like: types.Type) -> Instruction:
    """Write `narrow` of ``value / divisor`` to ``address``, as numbers of the type of ``like``."""
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
        i32 = ir.IntType(32)
        one = ir.Constant(args[1].type, ir.Undefined)
        one = builder.insert_element(one, args[2], i32(0))
        all_lanes = builder.shuffle_vector(one, one, ir.Constant(_vector(i32), [0] * LANES))
        result = _narrow(builder, builder.fdiv(args[1], all_lanes), like, _vector)
        store = builder.store(result, builder.inttoptr(args[0], result.type.as_pointer()))
        store.align = like.bitwidth // 8
        return context.get_dummy_value()
    return types.void(types.uintp, value, value.scalar, like), codegen


def _vector(kind: ir.Type) -> ir.Type:
    return ir.VectorType(kind, LANES)


def _wide_type(stored: types.Type) -> types.Type:
    return types.float32 if stored in (types.uint16, types.int16) else stored


def _number(kind: ir.Type, value: int) -> ir.Value:
    return ir.Constant(kind, [value] * LANES) if isinstance(kind, ir.VectorType) else ir.Constant(kind, value)


def _widen(builder: ir.IRBuilder, value: ir.Value, stored: types.Type, shaped: Shaped) -> ir.Value:
    """``shaped`` makes the type of one number that of what ``value`` holds: the number, or lanes."""
    f32, i32 = ir.FloatType(), shaped(ir.IntType(32))
    if stored == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(value, i32), _number(i32, 16)), shaped(f32))
    if stored == types.int16:
        return builder.fpext(builder.bitcast(value, shaped(ir.HalfType())), shaped(f32))
    return value


def _narrow(builder: ir.IRBuilder, value: ir.Value, like: types.Type, shaped: Shaped) -> ir.Value:
    i32, i16 = shaped(ir.IntType(32)), shaped(ir.IntType(16))
    if like == types.int16:
        return builder.bitcast(builder.fptrunc(value, shaped(ir.HalfType())), i16)
    if like == types.uint16:
        bits = builder.bitcast(value, i32)
        odd = builder.and_(builder.lshr(bits, _number(i32, 16)), _number(i32, 1))
        rounded = builder.lshr(builder.add(builder.add(bits, _number(i32, 0x7FFF)), odd), _number(i32, 16))
        known = builder.fcmp_ordered("ord", value, value)
        return builder.trunc(builder.select(known, rounded, _number(i32, 0x7FC0)), i16)
    return value
