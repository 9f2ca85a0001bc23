"""``python -m mpignn``."""

from mpignn import stop

stop.listen()       # before anything that takes time: a signal that comes meanwhile shall not end the process

from mpignn.cli import entry  # noqa: E402

entry()
