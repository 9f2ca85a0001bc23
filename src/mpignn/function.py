"""Built-in message functions and reducers, with DGL's names.

``copy_u(field, out)`` and ``copy_e(field, out)`` bring a row along an edge.  ``u_add_v(u_field, v_field, out)`` and the
like combine two of an edge's three: its source ``u``, its destination ``v`` and itself ``e``; the operators are add,
sub, mul, div and dot.  Columns broadcast as in NumPy; dot sums over the last axis and keeps it with length 1.
``sum``, ``mean``, ``max`` and ``min(message, out)`` reduce the messages of each destination, to 0 where there are none.
"""

from collections.abc import Callable
from dataclasses import dataclass

OPERATORS = ("add", "sub", "mul", "div", "dot")
REDUCERS = ("sum", "mean", "max", "min")


@dataclass(frozen=True)
class Message:
    """What is made on each edge.

    Attributes:
        operator: ``copy``, or one of `OPERATORS`.
        operands: (``u``, ``v`` or ``e``; name of its field), one for copy, else two.
        out: Name of the message.
    """

    operator: str
    operands: tuple[tuple[str, str], ...]
    out: str


@dataclass(frozen=True)
class Reducer:
    """What is made of the messages of each destination.

    Attributes:
        how: One of `REDUCERS`.
        message: Name of the message.
        out: Name of the destinations' field.
    """

    how: str
    message: str
    out: str


def copy_u(u: str, out: str) -> Message:
    """The source's row."""
    return Message("copy", (("u", u),), out)


def copy_e(e: str, out: str) -> Message:
    """The edge's row."""
    return Message("copy", (("e", e),), out)


def _binary(lhs: str, operator: str, rhs: str) -> Callable[[str, str, str], Message]:
    def make(lhs_field: str, rhs_field: str, out: str) -> Message:
        return Message(operator, ((lhs, lhs_field), (rhs, rhs_field)), out)
    make.__name__ = make.__qualname__ = f"{lhs}_{operator}_{rhs}"
    make.__doc__ = f"The {operator} of a field of {lhs} and one of {rhs}."
    return make


def _reducer(how: str) -> Callable[[str, str], Reducer]:
    def make(message: str, out: str) -> Reducer:
        return Reducer(how, message, out)
    make.__name__ = make.__qualname__ = how
    make.__doc__ = f"The {how} of the messages of each destination."
    return make


_MADE = [_binary(lhs, operator, rhs) for lhs in "uve" for operator in OPERATORS for rhs in "uve" if lhs != rhs]
globals().update({function.__name__: function for function in [*_MADE, *map(_reducer, REDUCERS)]})
