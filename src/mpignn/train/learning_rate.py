"""How the learning rate changes over a run."""

import math

SCHEDULES = ("constant", "linear", "cosine")


def rate(schedule: str, step: int, steps: int, warmup: int) -> float:
    """The share of the learning rate that a step uses.  Not collective.

    It rises evenly over the warm-up; after that it stays, falls evenly, or along half a cosine (Loshchilov and Hutter
    2017), to 0 at the end.

    Args:
        schedule: One of `SCHEDULES`.
        step: Counted from 0 over the whole run.
        steps: Number of steps of the whole run.
        warmup: Steps of the warm-up.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if schedule == "linear":
        return max(0.0, 1 - done)
    if schedule == "cosine":
        return (1 + math.cos(math.pi * min(1.0, done))) / 2
    return 1.0
