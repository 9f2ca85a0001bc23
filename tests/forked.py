"""Stands for a Python process: ``python -SEI forked.py SOCKET ARGUMENTS OF python...``; see `fork_server`.

Within SOCKET ``%h`` is the name of the host.
"""

import marshal
import os
import signal
import socket
import sys

_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGABRT)

_MOUNTS = "/proc/self/ns/mnt"       # the file systems that this process sees


def main() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.connect(sys.argv[1].replace("%h", socket.gethostname()))
    files = [int(name) for name in os.listdir("/proc/self/fd") if int(name) != server.fileno()]
    files = [file for file in files if _is_open(file)]        # not that of the listing
    asked = marshal.dumps({"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ),
                           "files": files, "mounts": os.readlink(_MOUNTS), "pid": os.getpid()})
    for number in _HANDED_ON:
        signal.signal(number, lambda number, _: _hand_on(server, number))
    socket.send_fds(server, [len(asked).to_bytes(8, "little")], [os.open(_MOUNTS, os.O_RDONLY), *files])
    server.sendall(asked)
    # The files stay open here: a launcher that saw them closed before this process ends would not wait for its code.
    answer = server.recv(4, socket.MSG_WAITALL)
    if not answer:
        sys.exit("the fork server is gone")
    code = int.from_bytes(answer, "little", signed=True)
    if code < 0:
        if -code in _HANDED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _hand_on(server: socket.socket, number: int) -> None:
    try:
        server.sendall(bytes([number]))
    except OSError:         # the child has ended, and its answer is on its way
        return


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


main()
