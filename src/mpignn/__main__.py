"""``python -m mpignn``."""

import sys

from mpignn import imports, say, stop
from mpignn.progress import display

stop.listen()       # before anything that takes time: a signal that comes meanwhile shall not end the process
say.set_up()
display.begin_command(sys.argv[1:])

with imports.files_looked_at_once():
    from mpignn.cli import entry

entry()
