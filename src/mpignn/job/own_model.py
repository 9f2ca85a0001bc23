"""A model of the user's own in a job: trainers import its class, servers are told what they must know of it."""

import logging
from typing import TYPE_CHECKING

from mpignn import imports
from mpignn.config import Config
from mpignn.log import phase
from mpignn.models import find_model, is_own, remember

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

log = logging.getLogger(__name__)

IMPORTS = "import the model"        # the phase in which a user's module runs


def share(world: "World", config: Config) -> None:
    """Let all ranks know the user's own class that a job names, if it names one.  Collective over the world.

    Raises:
        ConfigError: On all ranks: there is no such class, it cannot be imported, or is no model.
    """
    name = config.model.model
    if not is_own(name):
        return
    found = None
    with world.all.all_or_none():
        if world.trainers is not None:
            own = imports.with_torch("mpignn.nn.own")
            with phase(IMPORTS):
                own.know(config.model)
            found = find_model(name)
    known = [model for model in world.all.allgather(found) if model is not None]
    remember(known[0])
    if world.rank == 0:
        log.info("model %s takes %s; the memory plan guesses the size of its layers", name,
                 ", ".join(known[0].settings) or "no setting")
