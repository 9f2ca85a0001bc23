"""What a process may use of its machine, read from files as the kernel writes them."""

import os

import pytest

from mpignn.mpi.host import asked_threads, available_memory, core_share, usable_cores

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    """Writes files below a root; the machine has 8 GiB available."""
    def write(files):
        for name, text in {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:  {8 << 20} kB\n", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path
    return write


def test_without_limits_the_machine_counts(machine):
    assert available_memory(machine({})) == (8 * GIB, "free memory of the machine")


def test_version_2_counts_every_group_around_the_process(machine):
    root = machine({"proc/self/cgroup": "0::/job/step\n",
                    "sys/fs/cgroup/job/step/memory.max": "max\n", "sys/fs/cgroup/job/step/memory.current": "5\n",
                    "sys/fs/cgroup/job/memory.max": f"{3 * GIB}\n", "sys/fs/cgroup/job/memory.current": f"{2 * GIB}\n",
                    "sys/fs/cgroup/job/memory.stat": f"anon 7\ninactive_file {GIB}\n"})
    have, why = available_memory(root)
    assert have == 2 * GIB          # files in the cache are given up first
    assert why.endswith("sys/fs/cgroup/job")


def test_version_1(machine):
    root = machine({"proc/self/cgroup": "4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n",
                    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{GIB}\n",
                    "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1024\n",
                    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                    "sys/fs/cgroup/memory/memory.usage_in_bytes": "4096\n"})
    assert available_memory(root)[0] == GIB - 1024


def test_in_a_container_the_path_may_lie_outside_the_mount(machine):
    root = machine({"proc/self/cgroup": "0::/../../elsewhere\n",
                    "sys/fs/cgroup/memory.max": f"{GIB}\n", "sys/fs/cgroup/memory.current": "0\n"})
    assert available_memory(root)[0] == GIB


def test_a_cpu_quota_takes_cores_away(machine):
    every = frozenset(os.sched_getaffinity(0))
    assert usable_cores(machine({})) == every
    root = machine({"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "100000 100000\n"})
    assert len(usable_cores(root)) == 1
    root = machine({"proc/self/cgroup": "3:cpu,cpuacct:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "20000\n",
                    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"})
    assert len(usable_cores(root)) == 1


def test_cores_are_shared_by_those_that_may_use_them():
    everywhere, left = frozenset({0, 1, 2, 3}), frozenset({0, 1})
    assert core_share([everywhere], 0) == 4
    assert core_share([everywhere] * 8, 3) == 0.5
    assert core_share([left, frozenset({2, 3})], 0) == 2
    assert core_share([left, everywhere], 0) == 1 and core_share([left, everywhere], 1) == 3


@pytest.mark.parametrize(("word", "threads"), [(None, None), ("3", 3), ("4,2", 4), ("", None), ("0", None),
                                               ("x", None)])
def test_threads_are_those_of_the_variable_of_openmp(word, threads):
    assert asked_threads({} if word is None else {"OMP_NUM_THREADS": word}) == threads
