"""The fork servers of a test session, one per MPI library, started when first asked for; see `fork_server`."""

import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_HERE = Path(__file__).parent
_START_S = 300      # on a busy machine that imports torch for the first time


class Forks:
    """Starts and ends the servers.

    Attributes:
        servers: Those that run, by interpreter.
    """

    def __init__(self):
        self.servers: dict[str, subprocess.Popen] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="mpignn-forks-")

    def words(self, python: str, environment: Mapping[str, str]) -> list[str]:
        """What to write in a command for an interpreter, so that its process is forked.

        Args:
            python: The interpreter.
            environment: That of its server, if that is started by this call; it holds for what is read at import.
        """
        if python not in self.servers:
            self.servers[python] = subprocess.Popen([python, _HERE / "fork_server.py", self._socket(python)],
                                                    env=environment, stdin=subprocess.PIPE, start_new_session=True)
        end = time.monotonic() + _START_S
        while not self._socket(python).exists():
            code = self.servers[python].poll()
            assert code is None and time.monotonic() < end, f"the fork server of {python} did not start: {code}"
            time.sleep(0.05)
        return [python, "-SEI", str(_HERE / "forked.py"), str(self._socket(python))]

    def close(self) -> None:
        """End the servers and all that they have forked."""
        for server in self.servers.values():
            server.stdin.close()
            server.wait(60)
        self.servers.clear()

    def _socket(self, python: str) -> Path:
        return Path(self._folder.name, Path(python).parent.parent.name)         # the environment's name


FORKS = Forks()
