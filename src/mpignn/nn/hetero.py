"""Any layer per edge type, and what their results amount to.

Shapes: S sources and D destinations of a node type, F columns in.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.types import EType, etype_key
from mpignn.nn.names import module_key
from mpignn.nn.passing import ACROSS


class HeteroGraphConv(nn.Module):
    """A layer for each edge type; what several types bring to a node type is aggregated.  As DGL's of that name.

    Args:
        mods: Layers by edge type: a relation's name where only one type has it, ``src:rel:dst``, or the triple.  Called
            as ``layer(block, (x_src, x_dst))`` with the part of the block that has the edge type.  ``mods`` and the
            ``state_dict`` have them by `module_key` of what is given here.
        aggregate: sum, mean, max, min, stack, or a function of (list of (D, ...) rows, node type).
    """

    def __init__(self, mods: Mapping[str | EType, nn.Module],
                 aggregate: str | Callable[[list[torch.Tensor], str], torch.Tensor] = "sum") -> None:
        super().__init__()
        if isinstance(aggregate, str) and aggregate not in ACROSS:
            raise ConfigError(f"aggregate {aggregate!r} is not one of: {', '.join(ACROSS)}")
        self._etypes = tuple(mods)
        names = [etype if isinstance(etype, str) else etype_key(etype) for etype in mods]
        self.mods = nn.ModuleDict({module_key(name): mod for name, mod in zip(names, mods.values(), strict=True)})
        self._aggregate = aggregate

    def forward(self, block: Block, x: Mapping[str, torch.Tensor],
                mod_kwargs: Mapping[str | EType, Mapping[str, Any]] | None = None) -> dict[str, torch.Tensor]:
        """One hop.  Not collective.

        Args:
            block: A hop of a batch.
            x: (S, F) rows of the sources of each node type that has any; an edge type is left out where one of its
                ends has none, as after a layer that writes nothing of its type.
            mod_kwargs: More arguments of the layers, by edge type as in ``mods``.

        Returns:
            (D, ...) of each node type that a layer writes.

        Raises:
            UnknownName: The graph has no such edge type.
        """
        found: dict[str, list[torch.Tensor]] = {}
        for name, layer in zip(self._etypes, self.mods.values(), strict=True):
            src, _, dst = etype = block.schema.etype(name)
            if src in x and dst in x:
                rows = x[src], x[dst][:block.num_dst[dst]]
                found.setdefault(dst, []).append(layer(block[etype], rows, **(mod_kwargs or {}).get(name, {})))
        if callable(self._aggregate):
            return {ntype: self._aggregate(parts, ntype) for ntype, parts in found.items()}
        return {ntype: ACROSS[self._aggregate](torch.stack(parts)) for ntype, parts in found.items()}
