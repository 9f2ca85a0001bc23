"""The few machine instructions that plain loops do not lead to.  Each says why it is here.

Memory is given by address (``array.ctypes.data``, in bytes) because the users of this file work on rows of any
type.  Nothing is checked.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def read_only(array: np.ndarray) -> np.ndarray:
    """``array`` as a read-only view: one numba type, hence one compilation, for windows and private arrays alike."""
    view = array.view()
    view.flags.writeable = False
    return view


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at ``address``.

    A row that will be read 8 rows later is then in the cache: without it a random row waits for memory, since
    the hardware foresees only what is sequential.
    """
    def codegen(context, builder, signature, args):
        i8p, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [i8p, i32, i32, i32]), "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(args[0], i8p), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()
    return types.void(types.uintp), codegen


@intrinsic(prefer_literal=True)
def copy(typingctx, target, source, size):
    """Copy ``size`` bytes, a literal: one load and one store, of whatever alignment."""
    def codegen(context, builder, signature, args):
        _copy(builder, args, size.literal_value)
        return context.get_dummy_value()
    return types.void(types.uintp, types.uintp, size), codegen


@intrinsic(prefer_literal=True)
def stream(typingctx, target, source, size):
    """`copy` to an address that is a multiple of ``size``, past the caches.

    A row that is read much later need not be fetched before it is written, nor push out others: 1.2 times faster for
    ascending rows, and 1.4 together with merged runs of ids.
    """
    def codegen(context, builder, signature, args):
        store = _copy(builder, args, size.literal_value)
        store.align = size.literal_value
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()
    return types.void(types.uintp, types.uintp, size), codegen


def _copy(builder, args, size: int):
    pointer = ir.VectorType(ir.IntType(8), size).as_pointer()
    value = builder.load(builder.inttoptr(args[1], pointer))
    store = builder.store(value, builder.inttoptr(args[0], pointer))
    value.align = store.align = 1
    return store


@intrinsic
def widen(typingctx, value):
    """A stored number as one to compute with: bfloat16 (as uint16) and float16 (as int16) become float32.

    numba knows neither type.  Both conversions are one instruction on vectors, and the compiler finds it.
    """
    def codegen(context, builder, signature, args):
        f32, i32 = ir.FloatType(), ir.IntType(32)
        if value == types.uint16:
            return builder.bitcast(builder.shl(builder.zext(args[0], i32), i32(16)), f32)
        if value == types.int16:
            return builder.fpext(builder.bitcast(args[0], ir.HalfType()), f32)
        return args[0]
    return (types.float32 if value in (types.uint16, types.int16) else value)(value), codegen


@intrinsic
def narrow(typingctx, value, like):
    """The inverse of `widen`, to the type of ``like``: rounded to the nearest number, of two the even one."""
    def codegen(context, builder, signature, args):
        i32, i16 = ir.IntType(32), ir.IntType(16)
        if like == types.int16:
            return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), i16)
        if like == types.uint16:
            bits = builder.bitcast(args[0], i32)
            odd = builder.and_(builder.lshr(bits, i32(16)), i32(1))
            rounded = builder.lshr(builder.add(builder.add(bits, i32(0x7FFF)), odd), i32(16))
            known = builder.fcmp_ordered("ord", args[0], args[0])
            return builder.trunc(builder.select(known, rounded, i32(0x7FC0)), i16)
        return args[0]
    return like(value, like), codegen
