"""``python -m mpignn``."""

from mpignn.cli import entry

entry()
