"""Memory of tensors is used again, so that no step touches fresh pages."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from mpignn.nn.memory import keep_freed
{}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(60):
    if step == 40:      # a few places in the heap take turns
        before = faults()
    torch.ones(2_500_000)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults and mallopt are those of Linux")
def test_what_is_freed_is_kept():
    """10 MB are 2,441 pages of 4 KiB; without, they are mapped anew for each tensor where glibc is told to."""
    found = []
    for call in ("", "keep_freed()"):
        done = subprocess.run([sys.executable, "-c", PROGRAM.format(call)], capture_output=True, text=True, timeout=100,
                              env={"MALLOC_MMAP_THRESHOLD_": "131072", "PYTHONPATH": ":".join(sys.path)})
        found.append(int(done.stdout))
    assert found[1] < 20_000 < 40_000 < found[0]
