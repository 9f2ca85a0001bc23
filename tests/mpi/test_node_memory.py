"""The memory that the ranks of a node share."""

import gc
from pathlib import Path

import numpy as np
import pytest

from mpignn.errors import ResourceError
from mpignn.roles import Role

pytestmark = pytest.mark.each_library

SHAPES = {"ranks_per_node": (None, 2)}


def mappings() -> list[str]:
    """The lines that the kernel has about segments that this process maps."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:mpignn" in line]


def fill_and_compare(world, segment):
    """The first server of a node writes, all of them read."""
    first_server = world.topology.server_ranks[world.topology.servers_of(world.node_id)[0]]
    if world.rank == first_server:
        segment.bytes[:] = np.arange(segment.bytes.size) % 251
    world.node.barrier()
    assert (segment.bytes == np.arange(segment.bytes.size) % 251).all()
    assert segment.bytes.ctypes.data % 64 == 0
    world.node.barrier()


@pytest.mark.ranks(1, 3, 4, **SHAPES)
@pytest.mark.parametrize("kind", ["memfd", "window"])
def test_what_a_server_writes_all_ranks_of_the_node_read(world, kind):
    from mpignn.mpi.segment import Segment
    for nbytes in (1, 4096, 1 << 20):
        segment = Segment(world, nbytes, kind if kind == "window" else None)
        assert segment.kind == kind
        fill_and_compare(world, segment)
        segment.free()


@pytest.mark.ranks(3)
@pytest.mark.parametrize("kind", ["memfd", "window"])
def test_what_a_server_stores_is_there_for_all_and_its_file_is_closed(world, kind):
    import os

    from mpignn.mpi.segment import Segment
    segment = Segment(world, 3 << 20, kind if kind == "window" else None)
    piece = (np.arange(1_500_001) % 249).astype(np.uint8)
    if Role.SERVER in world.role:
        segment.store(segment.bytes[4095:4095 + piece.size], piece)
        segment.bytes[0] = 7        # by the other way, in the same page
    files = len(os.listdir("/proc/self/fd"))
    segment.seal()
    assert files - len(os.listdir("/proc/self/fd")) == (Role.SERVER in world.role and kind == "memfd")
    world.node.barrier()
    assert np.array_equal(segment.bytes[4095:4095 + piece.size], piece)
    assert segment.bytes[0] == 7 and not segment.bytes[1:4095].any() and not segment.bytes[4095 + piece.size:].any()
    world.node.barrier()
    segment.free()


@pytest.mark.ranks(2)
def test_storing_where_no_memory_is_left_is_told(world):
    import errno
    import os

    from mpignn.mpi.segment import Segment
    segment = Segment(world, 4096)
    original = os.pwrite

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.pwrite = full
    try:
        if Role.SERVER in world.role:
            with pytest.raises(ResourceError, match="No space left.*more nodes"):
                segment.store(segment.bytes[:1], np.zeros(1, np.uint8))
    finally:
        os.pwrite = original
    segment.free()


@pytest.mark.ranks(3)
def test_trainers_cannot_write(world):
    import ctypes
    import mmap

    from mpignn.mpi.segment import Segment
    before = mappings()         # of other tests in this process, that nobody has collected yet
    segment = Segment(world, 4096)
    libc = ctypes.CDLL(None, use_errno=True)
    pages = [line.split()[1] for line in mappings() if line not in before]
    if Role.TRAINER in world.role:
        assert not segment.bytes.flags.writeable
        assert pages == ["r--s"]
        address = ctypes.c_void_p(segment.bytes.ctypes.data)    # nor can the protection be lifted
        assert libc.mprotect(address, 4096, mmap.PROT_READ | mmap.PROT_WRITE) == -1
    else:
        assert pages == ["rw-s"]
    segment.free()


@pytest.mark.ranks(2)
def test_memory_is_gone_with_its_last_array(world):
    from mpignn.mpi.segment import Segment
    gc.collect()        # other tests in this process
    before = mappings()
    segment = Segment(world, 1 << 16)
    part = segment.bytes[100:200]
    segment.free()
    assert set(mappings()) > set(before)
    del part
    assert set(mappings()) <= set(before)


@pytest.mark.ranks(2, 3, **SHAPES)
def test_what_does_not_fit_is_refused_with_the_numbers_on_all_ranks(world):
    from mpignn.mpi.segment import Segment
    nodes = len(world.topology.nodes)
    with pytest.raises(ResourceError, match=rf"needs {nodes * 1e15 / 1e9:.2f} GB of memory on this machine") as raised:
        Segment(world, 10 ** 15)
    assert raised.value.agreed


@pytest.mark.ranks(3)
def test_a_limit_on_one_rank_stops_all(world):
    from mpignn.mpi import segment
    original = segment.available_memory
    segment.available_memory = lambda: (1000, "a test") if world.rank == 1 else original()
    try:
        with pytest.raises(ResourceError, match=r"rank 1: .* \(a test\)"):
            segment.Segment(world, 1001)
    finally:
        segment.available_memory = original


@pytest.mark.ranks(3)
def test_where_proc_leads_elsewhere_the_window_takes_over(world):
    from mpignn.mpi import segment
    original = segment._identity
    segment._identity = lambda fd: (world.rank, *original(fd))      # as if the number meant another file here
    try:
        made = segment.Segment(world, 4096)
    finally:
        segment._identity = original
    assert made.kind == "window"
    fill_and_compare(world, made)
    made.free()


@pytest.mark.ranks(3)
def test_a_small_shared_folder_is_noticed_before_it_kills(world):
    import os
    from types import SimpleNamespace

    from mpignn.mpi.segment import Segment
    original = os.statvfs
    os.statvfs = lambda path: SimpleNamespace(f_bavail=1, f_frsize=4096)
    try:
        with pytest.raises(ResourceError, match="/dev/shm"):
            Segment(world, 4097, "window")
    finally:
        os.statvfs = original
