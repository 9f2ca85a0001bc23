"""``python -m mpignn``."""

import sys

from mpignn import say, stop
from mpignn.progress import display

stop.listen()       # before anything that takes time: a signal that comes meanwhile shall not end the process
say.set_up()
display.begin_command(sys.argv[1:])

from mpignn.cli import entry  # noqa: E402

entry()
