"""Where a job of a test is, for those in which something happens there."""

import sys
from collections.abc import Callable
from contextlib import contextmanager

import mpignn.log


def on_entering(where: str, act: Callable[[], object]) -> None:
    """Call ``act()`` whenever this process enters a phase, whichever module begins it and is loaded already or not."""
    phase = mpignn.log.phase

    @contextmanager
    def acting(name: str, *how, **more):
        with phase(name, *how, **more):
            if name == where:
                act()
            yield

    for name, module in list(sys.modules.items()):
        if name.startswith("mpignn.") and getattr(module, "phase", None) is phase:
            module.phase = acting
