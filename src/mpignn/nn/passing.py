"""Messages by name: what `Block.update_all`, `Block.multi_update_all` and `Block.apply_edges` do.

Built-in functions go to the fused kernels where there is one; the rest makes a row per edge.

Shapes: S sources, D destinations, E edges; ``...`` is any shape of a row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.function import Message, Reducer
from mpignn.graph.csc import CSC
from mpignn.graph.types import ByEType, EType, Kind, etype_key
from mpignn.nn import device, edges, message
from mpignn.unique import unique

if TYPE_CHECKING:       # a block brings this module in when it is asked to send
    from mpignn.graph.block import Block, Frame

Fields = dict[str, torch.Tensor]
MessageFunction = Message | Callable[["EdgeBatch"], Mapping[str, torch.Tensor]]
ReduceFunction = Reducer | Callable[["NodeBatch"], Mapping[str, torch.Tensor]]
ApplyFunction = Callable[["NodeBatch"], Mapping[str, torch.Tensor]]

_OPERATORS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
ACROSS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    # Not amax and amin, whose gradients need their results, which ReLU may follow in place.
    "sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0), "max": lambda x: x.max(0).values,
    "min": lambda x: x.min(0).values, "stack": lambda x: x.transpose(0, 1)}
"""How rows of several edge types, (types, D, ...), become one for each destination."""


class EdgeBatch:
    """What a user's message function sees.

    Attributes:
        src, dst: Fields of the sources and of the destinations, one row per edge, brought when they are asked for.
        data: Fields of the edges.
    """

    def __init__(self, block: "Block", etype: EType) -> None:
        csc = block.csc[etype]
        self.src = _Along(_frame(block.src_frames, etype[0]), lambda x: _brought(csc, "u", x))
        self.dst = _Along(_frame(block.dst_frames, etype[2]), lambda x: _brought(csc, "v", x))
        self.data: Frame = _frame(block.edge_frames, etype)
        self._csc = csc

    def batch_size(self) -> int:
        """E."""
        return self._csc.num_edges


class NodeBatch:
    """What a user's reducer sees: destinations that have equally many in-edges, N of them with K each.

    Attributes:
        data: Fields of these destinations, (N, ...).
        mailbox: Their messages, (N, K, ...), in the order of the in-edges.
        nodes: (N,) int64 positions among the destinations.
    """

    def __init__(self, data: Mapping[str, torch.Tensor], mailbox: Fields, nodes: torch.Tensor) -> None:
        self.data, self.mailbox, self.nodes = data, mailbox, nodes

    def batch_size(self) -> int:
        """N."""
        return self.nodes.shape[0]


class _Along(Mapping[str, torch.Tensor]):
    """Fields of nodes, seen from edges or from some of the nodes."""

    def __init__(self, frame: "Frame", bring: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._frame, self._bring = frame, bring

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._bring(self._frame[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame)

    def __len__(self) -> int:
        return len(self._frame)


def apply_edges(block: "Block", func: MessageFunction, etype: str | EType | None = None) -> None:
    """Compute a field of the edges of a type.  See `Block.apply_edges`."""
    etype = block.schema.etype(etype)
    _frame(block.edge_frames, etype).update(_messages(block, etype, func))


def update_all(block: "Block", message_func: MessageFunction, reduce_func: ReduceFunction,
               apply_node_func: ApplyFunction | None = None, etype: str | EType | None = None) -> None:
    """Send along the edges of a type and reduce.  See `Block.update_all`."""
    etype = block.schema.etype(etype)
    _frame(block.dst_frames, etype[2]).update(_reduced(block, etype, message_func, reduce_func))
    _apply(block, etype[2], apply_node_func)


def multi_update_all(block: "Block", etype_dict: ByEType[Sequence[Any]], cross_reducer: str,
                     apply_node_func: ApplyFunction | None = None) -> None:
    """Send along the edges of several types, reduce each, then across the types.  See `Block.multi_update_all`."""
    if cross_reducer not in ACROSS:
        raise ConfigError(f"cross reducer {cross_reducer!r} is not one of: {', '.join(ACROSS)}")
    found: dict[str, dict[str, list[torch.Tensor]]] = {}
    for name, (message_func, reduce_func, *own_apply) in etype_dict.items():
        etype = block.schema.etype(name)
        fields = _reduced(block, etype, message_func, reduce_func)
        if own_apply and own_apply[0] is not None:
            every = torch.arange(block.num_dst[etype[2]])
            fields |= own_apply[0](NodeBatch({**_frame(block.dst_frames, etype[2]), **fields}, {}, every))
        for field, rows in fields.items():
            found.setdefault(etype[2], {}).setdefault(field, []).append(rows)
    for ntype, reduced in found.items():
        for field, parts in reduced.items():
            _frame(block.dst_frames, ntype)[field] = ACROSS[cross_reducer](torch.stack(parts))
        _apply(block, ntype, apply_node_func)


def to_device(block: "Block", where: torch.device | str) -> "Block":
    """See `Block.to`."""
    return block.with_frames(lambda frame: {field: device.sent(rows, where) for field, rows in frame.items()})


def _apply(block: "Block", ntype: str, func: ApplyFunction | None) -> None:
    if func is not None:
        frame = _frame(block.dst_frames, ntype)
        frame.update(func(NodeBatch(frame, {}, torch.arange(block.num_dst[ntype]))))


def _messages(block: "Block", etype: EType, func: MessageFunction) -> Fields:
    if not isinstance(func, Message):
        made = dict(func(EdgeBatch(block, etype)))
        for name, rows in made.items():
            if rows.shape[:1] != (block.csc[etype].num_edges,):
                raise DataError(f"message {name!r} has {tuple(rows.shape)} rows, but {etype_key(etype)} has "
                                f"{block.csc[etype].num_edges} edges")
        return made
    operands = [_brought(block.csc[etype], target, _operand(block, etype, target, field))
                for target, field in func.operands]
    if func.operator == "copy":
        return {func.out: operands[0]}
    left, right = _aligned(*operands)
    if func.operator == "dot":
        if left.ndim == 1:
            left, right = left[:, None], right[:, None]
        return {func.out: (left * right).sum(-1, keepdim=True)}
    return {func.out: _OPERATORS[func.operator](left, right)}


def _reduced(block: "Block", etype: EType, message_func: MessageFunction, reduce_func: ReduceFunction) -> Fields:
    csc = block.csc[etype]
    if isinstance(message_func, Message) and isinstance(reduce_func, Reducer):
        if reduce_func.message != message_func.out:
            raise UnknownName(f"the reducer reads message {reduce_func.message!r}, but the message function makes "
                              f"{message_func.out!r}")
        fused = _fused(block, etype, message_func, reduce_func)
        if fused is not None:
            return {reduce_func.out: fused}
    messages = _messages(block, etype, message_func)
    if not isinstance(reduce_func, Reducer):
        return _reduced_by(block, etype, messages, reduce_func)
    if reduce_func.message not in messages:
        raise UnknownName(f"the reducer reads message {reduce_func.message!r}, but the message function makes "
                          f"{', '.join(messages) or 'none'}")
    return {reduce_func.out: edges.reduce_edges(csc, messages[reduce_func.message], reduce_func.how)}


def _fused(block: "Block", etype: EType, message_func: Message, reduce_func: Reducer) -> torch.Tensor | None:
    """The reduced messages without a row per edge, where there is a kernel for it."""
    csc, how, operands = block.csc[etype], reduce_func.how, dict(message_func.operands)
    if message_func.operator == "copy" and "u" in operands:
        x = _operand(block, etype, "u", operands["u"])
        flat = x.reshape(x.shape[0], int(np.prod(x.shape[1:])))
        return message.reduce_copies(csc, flat, how).view(csc.num_dst, *x.shape[1:])
    if message_func.operator == "mul" and operands.keys() == {"u", "e"} and how in ("sum", "mean"):
        x, weights = (_operand(block, etype, target, operands[target]) for target in "ue")
        heads = _heads(x.shape[1:], weights.shape[1:])
        if heads is None or x.dtype != weights.dtype:
            return None
        columns = int(np.prod(x.shape[1:])) // max(heads, 1)
        out = edges.weighted_sum(csc, x.reshape(x.shape[0], heads, columns), weights.reshape(csc.num_edges, heads))
        if how == "mean":
            out = out / message.in_degrees(csc, x).clamp_(min=1)[:, :, None]
        return out.reshape(csc.num_dst, *x.shape[1:])
    return None


def _heads(row: torch.Size, weight: torch.Size) -> int | None:
    """How many leading parts of a row the weights are for, one each; None if they do not lie so."""
    if len(weight) > len(row):
        return None
    sizes = (1,) * (len(row) - len(weight)) + tuple(weight)
    for split in range(len(row) + 1):
        if sizes[:split] == tuple(row[:split]) and all(size == 1 for size in sizes[split:]):
            return int(np.prod(row[:split]))
    return None


def _reduced_by(block: "Block", etype: EType, messages: Fields,
                func: Callable[["NodeBatch"], Mapping[str, torch.Tensor]]) -> Fields:
    """What a user's reducer makes of the messages, destinations of one in-degree at a time; 0 without in-edges."""
    csc, frame = block.csc[etype], _frame(block.dst_frames, etype[2])
    first, degrees = np.asarray(csc.indptr[:-1]), np.diff(np.asarray(csc.indptr))
    out: Fields = {}
    for degree in unique(degrees[degrees > 0]).tolist():
        nodes = torch.from_numpy(np.flatnonzero(degrees == degree))
        places = torch.from_numpy(first)[nodes][:, None] + torch.arange(degree)
        mailbox = {name: rows[places] for name, rows in messages.items()}
        made = func(NodeBatch(_Along(frame, partial(_picked, nodes)), mailbox, nodes))
        for name, rows in made.items():
            whole = out.get(name, rows.new_zeros(csc.num_dst, *rows.shape[1:]))
            out[name] = whole.index_copy(0, nodes, rows)
    return out


def _picked(places: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return rows[places]


def _operand(block: "Block", etype: EType, target: str, field: str) -> torch.Tensor:
    frame, whose, expected = {
        "u": (_frame(block.src_frames, etype[0]), f"sources of type {etype[0]}", block.num_src_nodes(etype[0])),
        "v": (_frame(block.dst_frames, etype[2]), f"destinations of type {etype[2]}", block.num_dst[etype[2]]),
        "e": (_frame(block.edge_frames, etype), f"edges of type {etype_key(etype)}", block.csc[etype].num_edges),
    }[target]
    if field not in frame:
        raise UnknownName(f"the {whose} have no field {field!r}; there are: {', '.join(frame) or 'none'}")
    if frame[field].shape[:1] != (expected,):
        raise DataError(f"field {field!r} of the {whose} is {tuple(frame[field].shape)}, but there are {expected}")
    rows: torch.Tensor = frame[field]
    return rows


def _aligned(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of equally many axes, the columns' last axes together."""
    axes = max(left.ndim, right.ndim)
    left, right = (x.reshape(x.shape[0], *[1] * (axes - x.ndim), *x.shape[1:]) for x in (left, right))
    return left, right


def _brought(csc: CSC, target: str, x: torch.Tensor) -> torch.Tensor:
    """A field of sources, destinations or edges, one row per edge; of any type, but only numbers have gradients."""
    if target == "e":
        return x
    if x.is_floating_point():
        return edges.from_src(csc, x) if target == "u" else edges.from_dst(csc, x)
    return x[edge_index(csc).to(x.device)[0 if target == "u" else 1]]


def edge_index(csc: CSC) -> torch.Tensor:
    """(2, E) int64 positions of the source and of the destination of each edge."""
    dst = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
    return torch.from_numpy(np.stack([csc.indices, dst], dtype=np.int64))


def _frame(frames: "dict[Kind, Frame]", key: Kind) -> "Frame":
    return frames.setdefault(key, {})
