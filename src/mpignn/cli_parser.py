"""The parser of the command line: errors that are ours, and help in two lengths."""

import argparse
from collections.abc import Collection
from typing import Any, NoReturn

from mpignn import say
from mpignn.errors import ConfigError

HELPS = ("-h", "--help", "--help-all")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `ConfigError`, and whose ``--help`` leaves out the options that few need."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)
        self._rare: frozenset[str] = frozenset()

    def set_rare(self, names: Collection[str]) -> None:
        """Name the options that only ``--help-all`` shows.  Not collective."""
        self._rare = frozenset(names)
        self.usage = " ".join(["%(prog)s", *map(_place, self._places), "[options]"])
        self.add_argument("--help-all", action=_HelpAll, nargs=0, dest=argparse.SUPPRESS,
                          help=f"show {len(names)} more options, in groups, and exit")

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")

    def format_help(self) -> str:
        if not self._rare:
            return super().format_help()
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        flags = [action for action in self._actions if action.option_strings and action.dest not in self._rare]
        flags.sort(key=lambda action: action.option_strings[-1] not in HELPS)
        for title, actions in (("arguments", self._places), ("options", flags)):
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    @property
    def _places(self) -> list[argparse.Action]:
        return [action for action in self._actions if not action.option_strings]

    def format_all_help(self) -> str:
        """What ``--help-all`` shows.  Not collective."""
        return super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        say.deliver(message, end="")


class _HelpAll(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        assert isinstance(parser, Parser)
        say.deliver(parser.format_all_help(), end="")
        parser.exit()


def _place(action: argparse.Action) -> str:
    """How the usage shows an argument that is no option."""
    return f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
