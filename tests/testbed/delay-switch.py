#!/usr/bin/env python3
"""A switch in user space that delays and loses Ethernet frames, for kernels without netem.

hosts-up.sh starts it where HOSTS_DELAY or HOSTS_LOSS is set.  It makes a TAP device for each host, eth0 there, and
passes frames between them, each after the delay: 20,000 to 40,000 frames a second in one process, so take a large
HOSTS_MTU where bandwidth matters.
"""

import argparse
import collections
import fcntl
import os
import random
import select
import struct
import subprocess
import time
from pathlib import Path

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
QUEUE = 20_000          # frames under way at most; more are lost, as in any switch
AT_ONCE = 64            # frames read from a device before the others get their turn


def main() -> None:
    parser = argparse.ArgumentParser(description="pass Ethernet frames between hosts, late or never")
    parser.add_argument("--state", required=True, help="state directory of hosts-up.sh")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--delay", type=seconds, default=0.0, help="one way, such as 200us or 2ms")
    parser.add_argument("--loss", type=float, default=0.0, help="percent")
    parser.add_argument("hosts", nargs="+")
    args = parser.parse_args()
    devices = [open_tap(args.state, host, args.mtu) for host in args.hosts]
    print("ready", flush=True)
    forward(devices, args.delay, args.loss / 100)


def seconds(text: str) -> float:
    for unit, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def open_tap(state: str, host: str, mtu: int) -> int:
    """File descriptor of a TAP device that is eth0 in the host's network namespace."""
    pids = dict(reversed(line.split()) for line in Path(state, "pids").read_text().splitlines())
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"tb{host}"[:15]
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "netns", pids[host], "name", "eth0", "mtu", str(mtu)], check=True)
    return device


def forward(devices: list[int], delay: float, loss: float) -> None:
    """Pass frames for ever."""
    poll = select.epoll()
    for device in devices:
        poll.register(device, select.EPOLLIN)
    device_of: dict[bytes, int] = {}                                    # by MAC address
    waiting: collections.deque[tuple[float, int, bytes]] = collections.deque()   # (due, device, frame) in order of due
    while True:
        ahead = waiting[0][0] - time.monotonic() if waiting else None
        # epoll's milliseconds are too coarse for short times: then look again at once.
        for device, _ in poll.poll(ahead if ahead is None or ahead > 0.0015 else 0):
            for frame in frames(device):
                device_of[frame[6:12]] = device
                target = device_of.get(frame[:6])
                if target == device or len(waiting) >= QUEUE or (loss and random.random() < loss):
                    continue
                due = time.monotonic() + delay
                targets = [target] if target is not None else [other for other in devices if other != device]
                waiting.extend((due, other, frame) for other in targets)
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, device, frame = waiting.popleft()
            try:
                os.write(device, frame)
            except OSError:
                continue                        # the host is slow or gone, and the frame is lost


def frames(device: int):
    """Frames that have come in, some at a time."""
    for _ in range(AT_ONCE):
        try:
            yield os.read(device, 65_600)
        except BlockingIOError:
            return


if __name__ == "__main__":
    main()
