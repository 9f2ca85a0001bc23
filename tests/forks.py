"""The fork servers of a test session, one per MPI library, started when first asked for; see `fork_server`."""

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_HERE = Path(__file__).parent
_START_S = 300      # on a busy machine that imports torch for the first time


class Forks:
    """Starts and ends the servers.

    Attributes:
        servers: Those that run, by interpreter, and ``@`` and the host if they are not on this one.
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
        self._serve(python, environment, {"": []})
        return [python, "-SEI", str(_HERE / "forked.py"), str(self._socket(python))]

    def words_on(self, hosts: Mapping[str, Sequence[str]], python: str, environment: Mapping[str, str]) -> list[str]:
        """The same for an interpreter that a launcher starts on several hosts, with a server on each of them.

        Args:
            hosts: By name, what to write before a command that is to run there.
            python, environment: As for `words`.
        """
        self._serve(python, environment, {f"@{name}": before for name, before in hosts.items()})
        return [python, "-SEI", str(_HERE / "forked.py"), str(self._socket(f"{python}@%h"))]

    def _serve(self, python: str, environment: Mapping[str, str], hosts: Mapping[str, Sequence[str]]) -> None:
        """Start the servers that do not run yet, and wait for them."""
        for host, before in hosts.items():
            if python + host not in self.servers:
                self.servers[python + host] = subprocess.Popen(
                    [*before, python, _HERE / "fork_server.py", self._socket(python + host)], env=environment,
                    stdin=subprocess.PIPE, start_new_session=True)
        end = time.monotonic() + _START_S
        for name in (python + host for host in hosts):
            while not self._socket(name).exists():
                code = self.servers[name].poll()
                assert code is None and time.monotonic() < end, f"the fork server of {name} did not start: {code}"
                time.sleep(0.05)

    def close(self) -> None:
        """End the servers and all that they have forked."""
        for server in self.servers.values():
            server.stdin.close()
            server.wait(60)
        self.servers.clear()

    def _socket(self, name: str) -> Path:
        path, _, host = name.partition("@")
        return Path(self._folder.name, f"{Path(path).parent.parent.name}@{host}")       # the environment's name


FORKS = Forks()
