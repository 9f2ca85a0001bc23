"""The samplers that a job can ask for: one record each, for settings, checks, memory plan and making.

No class is imported here: all ranks read the records, and only trainers draw.  `tests/unit/test_samplers.py` holds them
against the classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpignn.arguments import named_values
from mpignn.errors import ConfigError

Settings = Any      # the section `sampling` of the configuration, which reads this file
Values = Mapping[str, Any]      # what ``sampler_args`` says
Kept = Callable[[float, float, Values], float]
Expected = Callable[[Any], str | None]      # None if a value will do; else what it must be


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _at_least(low: int) -> Expected:
    return lambda value: None if type(value) is int and value >= low else f"a whole number of at least {low}"


def _no_more_than_there_are(fanout: float, degree: float, values: Values) -> float:
    return min(fanout, degree)


def _some_again(fanout: float, degree: float, values: Values) -> float:
    return fanout if values.get("replace") else min(fanout, degree)


def _alike(fanout: float, degree: float, values: Values) -> float:
    return min(1.0, fanout / degree)


def _alike_or_again(fanout: float, degree: float, values: Values) -> float:
    return 1 - (1 - 1 / degree) ** fanout if values.get("replace") else min(1.0, fanout / degree)


def _less_of_hubs(fanout: float, degree: float, values: Values) -> float:
    return min(1.0, (min(fanout, values.get("keep", 2)) if degree > values.get("degree", 100) else fanout) / degree)


@dataclass(frozen=True)
class Sampler:
    """What a job must know of a sampler before it makes one.

    Attributes:
        name: As the configuration has it.
        text: What it does, as the help says it.
        made_by: ``module:class``; see `mpignn.sampling.named.make_sampler` for what the class is given.
        arguments: What it may be given by the setting ``sampler_args``, by name, and what that must be.
        takes_mask: Whether it draws only edges that the setting ``edge_mask`` marks.
        takes_times: Whether it draws only edges that are older than the seed, by the setting ``edge_time``.
        whole_rows: Whether it reads all in-edges of the nodes to expand, and not only those that it keeps.
        kept: In-edges that it keeps of a node, on average, by fanout, in-degree and arguments.
        chance: Probability that it keeps a given one of these, by the same; the fanout is infinite where all are kept.
    """

    name: str
    text: str
    made_by: str
    arguments: Mapping[str, Expected] = field(default_factory=dict)
    takes_mask: bool = False
    takes_times: bool = False
    whole_rows: bool = False
    kept: Kept = _no_more_than_there_are
    chance: Kept = _alike


def find_sampler(name: str) -> Sampler:
    """The record of a sampler.  Not collective.

    Raises:
        ConfigError: There is no such sampler.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"sampler {name!r} is not one of: {', '.join(SAMPLERS)}")
    return SAMPLERS[name]


def positions_bytes(num_nodes: int, ids: float) -> float:
    """Bytes that a thread takes to give the nodes of a type their positions in a block.  Not collective.

    Args:
        num_nodes: Those that the graph has.
        ids: Destinations of the block, and edges from nodes of the type.
    """
    return num_nodes * 34 / 8 if num_nodes <= MOST_IN_BITMAPS else 16 * ids


def samplers_with_arguments() -> tuple[str, ...]:
    """Names of the samplers that ``sampler_args`` has an effect on.  Not collective."""
    return tuple(sampler.name for sampler in SAMPLERS.values() if sampler.arguments)


def values_of(settings: Settings) -> dict[str, Any]:
    """What ``sampler_args`` gives a constructor, by name.  Not collective; raises as `named_values`."""
    return named_values(settings.sampler_args, "sampler-args")


def check_sampler(settings: Settings) -> None:
    """Raise `ConfigError` if a sampler cannot do what the other settings ask of it.  Not collective."""
    sampler, given = find_sampler(settings.sampler), values_of(settings)
    for flag, value, can in (("--edge-mask", settings.edge_mask, "takes_mask"),
                             ("--edge-time", settings.edge_time, "takes_times")):
        if value is not None and not getattr(sampler, can):
            others = " or ".join(other.name for other in SAMPLERS.values() if getattr(other, can))
            raise ConfigError(f"{flag} {value}: sampler {sampler.name} draws from all edges; leave it out, or choose "
                              f"--sampler {others}")
    for name, value in given.items() if sampler.arguments else ():
        if name not in sampler.arguments:
            raise ConfigError(f"sampler-args: sampler {sampler.name} does not take {name}; it takes: "
                              f"{', '.join(sampler.arguments)}")
        expected = sampler.arguments[name](value)
        if expected is not None:
            raise ConfigError(f"sampler-args: {name}={value}: it must be {expected}")


SAMPLERS = {sampler.name: sampler for sampler in (
    Sampler("neighbor", "of each node some at random", "mpignn.sampling.neighbor:NeighborSampler", {"replace": _truth},
            takes_mask=True, takes_times=True, kept=_some_again, chance=_alike_or_again),
    Sampler("labor", "about as many, on which the nodes of a batch agree, so that it reads fewer rows",
            "mpignn.sampling.labor:LaborSampler", whole_rows=True),
    Sampler("hub", "as neighbor, but few of a node with many in-edges", "mpignn.sampling.hub:HubSampler",
            {"degree": _at_least(1), "keep": _at_least(0)}, takes_mask=True,
            chance=_less_of_hubs),
)}
USUAL = "neighbor"
MOST_IN_BITMAPS = 1 << 22       # nodes, for which bitmaps and sorting 200,000 edges take equally long
