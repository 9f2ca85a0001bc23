"""What can go around the layers of any model: residual connections, layer normalization, jumping knowledge, a readout.

Shapes: S sources and D destinations of a node type, L layers, F columns in, G columns out.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn.functional import layer_norm

from mpignn.graph.block import Block
from mpignn.kernels.rng import derive
from mpignn.models import CAT, LAST, MAX
from mpignn.nn.dense import Linear
from mpignn.nn.stack import Ends, Rows, Stack


class Around(Stack):
    """A model's layers with more around them, in the order of PyTorch Geometric's `BasicGNN`.

    A layer gives ``z = f(x) + R x_v``, where R is learnt if F is not G; then come normalization of the row, activation
    and dropout, after the last layer only where more follows it.  The output is that of linear layers on the rows that
    the layers have given a node: the last one's, those of all side by side (``cat``), or the greatest of each column
    (``max``: Xu et al. 2018), with activation and dropout between them.

    Between two layers a row is followed, or led, by those of the layers before that the output needs.

    Attributes:
        inner: The model, of which the layers are used.
        readout: The linear layers; none if the last layer makes the output.

    Args:
        inner: As above; its last layer has ``hidden`` columns if there is a readout.
        num_types: Node types of the graph.
        columns: F and G of each layer.
        num_classes: Columns of the output.
        residual, layer_norm: Whether there are such.
        jk: One of `mpignn.models.JUMPS`.
        out_layers: Linear layers, at least 1 unless ``jk`` is last.
    """

    def __init__(self, inner: Stack, num_types: int, columns: Sequence[tuple[int, int]], num_classes: int,
                 residual: bool, layer_norm: bool, jk: str, out_layers: int) -> None:
        last = len(columns) - 1
        super().__init__([_After(num_types, pair, residual, layer_norm and (number < last or out_layers > 0))
                          for number, pair in enumerate(columns)],
                         inner.dropout.p, inner.input_dropout.p, inner.activation)
        hidden = columns[last][1]
        widths = [len(columns) * hidden if jk == CAT else hidden, *[hidden] * (out_layers - 1), num_classes]
        self.inner, self._jk, self._hidden = inner, jk, hidden
        self.readout = nn.ModuleList(Linear(*pair) for pair in zip(widths, widths[1:], strict=False) if out_layers)

    @property
    def needs_source_info(self) -> bool:
        return self.input_dropout.p > 0 or self.inner.needs_source_info

    def entering(self, block: Block, x: Rows) -> Rows:
        return self.inner.entering(block, x)

    def convolve(self, number: int, block: Block, x: Rows | Ends, key: int) -> Rows:
        assert not isinstance(x, tuple), "sources and destinations share their rows"

        def after(ntype: str, rows: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layers[number](block.schema.ntypes.index(ntype), rows, *_own(block, ntype, [x]))
            return found
        return _each(block, self.inner.convolve(number, block, x, key), after)

    def forward(self, blocks: list[Block], x: Rows, key: int | None = None) -> Rows:
        """As `Stack.forward`."""
        self.check_blocks(blocks)
        key = blocks[-1].key if key is None else key
        seen = []
        for number, block in enumerate(blocks):
            x = self._layer(number, block, x, key)
            seen.append(x)
        return self._read_out(blocks[-1], seen, key)

    def forward_layer(self, number: int, block: Block, x: Rows, key: int | None = None) -> Rows:
        """As `Stack.forward_layer`, but that rows between layers bring those of earlier ones with them."""
        key = block.key if key is None else key
        earlier = [] if number == 0 or self._jk == LAST else self._parted(x)
        found = self._layer(number, block, earlier[-1] if earlier else x, key)
        if number == self.num_layers - 1:
            return self._read_out(block, [*earlier, found], key)

        def follow(ntype: str, rows: torch.Tensor) -> torch.Tensor:
            before = _own(block, ntype, earlier)
            if before and self._jk == MAX:
                before = [_greatest(before)]
            return torch.cat([*before, rows], 1) if before else rows
        return _each(block, found, follow)

    def _layer(self, number: int, block: Block, x: Rows, key: int) -> Rows:
        """(D, G) of one layer with all that follows it before the readout."""
        found = super().forward_layer(number, block, x, key)
        if number == self.num_layers - 1 and len(self.readout):
            found = self.leaving(number, block, found, key)
        return found

    def _parted(self, x: Rows) -> list[Rows]:
        """Rows between two layers, taken apart: those of earlier layers, and last those of the one before."""
        if isinstance(x, torch.Tensor):
            return [part.contiguous() for part in x.split(self._hidden, 1)]
        parts = {ntype: rows.split(self._hidden, 1) for ntype, rows in x.items()}
        count = max((len(of_type) for of_type in parts.values()), default=0)
        return [{ntype: of_type[n].contiguous() for ntype, of_type in parts.items()} for n in range(count)]

    def _read_out(self, block: Block, seen: Sequence[Rows], key: int) -> Rows:
        """(D, G) the output, of what each layer has given at least the destinations of the last block."""
        def read(ntype: str, rows: torch.Tensor) -> torch.Tensor:
            if self._jk != LAST:
                own = _own(block, ntype, seen)
                rows = torch.cat(own, 1) if self._jk == CAT else _greatest(own)
            for number, linear in enumerate(self.readout):
                if number:
                    rows = (self.activation or torch.relu)(rows)
                    drawn = derive(key, self.num_layers + number, block.schema.ntypes.index(ntype))
                    rows = self.dropout(rows, drawn, block.dst_orig[ntype])
                rows = linear(rows)
            return rows
        return _each(block, seen[-1], read)


class _After(nn.Module):
    """What comes between a layer and its activation: a residual connection and normalization, of each node type."""

    def __init__(self, num_types: int, columns: tuple[int, int], residual: bool, normalizes: bool) -> None:
        super().__init__()
        before, after = columns
        self.res_fc = nn.ModuleList(nn.Identity() if before == after else Linear(before, after, bias=False)
                                    for _ in range(num_types) if residual)
        self.norm = nn.ModuleList(LayerNorm(after) for _ in range(num_types) if normalizes)

    def forward(self, number: int, x: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """(D, G) of (D, G) rows of the node type of that number, of which the layer got (D, F) ``own``."""
        if len(self.res_fc):
            x = x + self.res_fc[number](own)
        return self.norm[number](x) if len(self.norm) else x


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` of rows of any type: those of 16 bits are normalized as float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.float() if x.dtype.itemsize == 2 else x
        return layer_norm(rows, self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


def _each(block: Block, x: Rows, do: Callable[[str, torch.Tensor], torch.Tensor]) -> Rows:
    """What is made of the rows of each node type."""
    return do(block.schema.ntype(), x) if isinstance(x, torch.Tensor) else {t: do(t, rows) for t, rows in x.items()}


def _own(block: Block, ntype: str, parts: Sequence[Rows]) -> list[torch.Tensor]:
    """(D, ...) rows of the destinations of a type, which are the first of each part."""
    return [(part[ntype] if isinstance(part, Mapping) else part)[:block.num_dst[ntype]] for part in parts]


def _greatest(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).max(0).values
