"""Making the samplers that a job can ask for by name."""

import importlib
from collections.abc import Sequence
from typing import Any

from mpignn.config import SamplingConfig
from mpignn.samplers import find_sampler, values_of
from mpignn.sampling.block_sampler import BlockSampler


def make_sampler(settings: SamplingConfig, fanouts: Sequence[int], mask: str | None = None,
                 **options: Any) -> BlockSampler:
    """The sampler that the settings name.  Not collective.

    Args:
        settings: Name one of `mpignn.samplers.SAMPLERS`, and what else its class is given.
        fanouts: In-edges of each destination, input layer first; -1 keeps all.
        mask: Edge data that is true on edges that may be drawn, for a sampler that takes such.
        options: Those of `BlockSampler`.

    Raises:
        ConfigError: No such sampler, or fanouts or arguments that it does not take.
    """
    sampler = find_sampler(settings.sampler)
    module, _, name = sampler.made_by.partition(":")
    kind = getattr(importlib.import_module(module), name)
    if sampler.arguments:
        options |= values_of(settings)
    if sampler.takes_mask:
        options["mask"] = mask
    if sampler.takes_times:
        options["edge_timestamp_attr_name"] = settings.edge_time
    made: BlockSampler = kind(fanouts, **options)
    return made
