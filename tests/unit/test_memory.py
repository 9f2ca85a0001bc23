"""Memory of tensors is used again, so that no step touches fresh pages."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from mpignn.nn.reused_memory import keep_freed
def faults():
    for step in range(20):
        if step == 10:      # a few places in the heap take turns
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2_500_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
without = faults()
keep_freed()
print(without, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults and mallopt are those of Linux")
def test_what_is_freed_is_kept():
    """10 MB are 2,441 pages of 4 KiB; without, they are mapped anew for each tensor where glibc is told to."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100,
                          env={"MALLOC_MMAP_THRESHOLD_": "131072", "PYTHONPATH": ":".join(sys.path)})
    without, kept = map(int, done.stdout.split())
    assert kept < 10_000 < 20_000 < without
