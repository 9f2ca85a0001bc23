"""What each rank got of its machine's cores, and what is told of ranks that are in each other's way."""

import pytest

from mpignn.mpi.cores import Machine, lines, problem, spans

ALL = frozenset(range(4))
OMPI, MPICH = "Open MPI's mpirun", "MPICH's mpirun (or srun --mpi=pmi2)"


def machine(*masks, threads=1, cores=4, base=0, name="n1", serves=1):
    """A machine whose first rank serves, if any does, and may run anywhere."""
    masks = [ALL] * serves + [frozenset(mask) for mask in masks]
    trains = [False] * serves + [True] * (len(masks) - serves)
    return Machine(name, cores, range(base, base + len(masks)), trains, masks, [threads] * len(masks))


def test_numbers_are_told_as_spans():
    assert [spans(numbers) for numbers in ([], [3], [0, 1], [0, 1, 2, 5, 7, 8])] == ["", "3", "0-1", "0-2,5,7-8"]


def test_each_rank_is_told_with_role_threads_and_cores():
    assert lines([machine({0, 1}, {2, 3}, threads=2)]) == [
        "n1: rank 0 serves on cores 0-3; rank 1 trains with 2 thread(s) on cores 0-1; rank 2 trains with 2 thread(s) "
        "on cores 2-3"]
    assert lines([machine(ALL, ALL, ALL)]) == ["n1: rank 0 serves on cores 0-3; ranks 1-3 train with 1 thread(s) each "
                                               "on cores 0-3"]


def test_machines_that_are_alike_are_told_once():
    many = [machine(ALL, base=2 * number, name=f"n{number}") for number in range(1000)]
    (line,) = lines(many)
    assert line.startswith("n0 and 999 machine(s) alike: rank 0 serves")
    odd = [machine(*[ALL] * number, base=10 * number, name=f"n{number}") for number in range(1, 8)]
    found = lines(odd)
    assert len(found) == 5 and "other kinds of machines" in found[-1] and found[1].startswith("n2: rank 20 serves")


@pytest.mark.parametrize("fine", [
    machine(ALL), machine(ALL, ALL, ALL, ALL), machine({0}, {1}, {2}), machine({0, 1}, {2, 3}, threads=2),
    machine(ALL, ALL, threads=2), machine(), machine(ALL, serves=0, threads=4)])
def test_ranks_that_have_their_cores_are_fine(fine):
    assert problem(fine, OMPI) is None


@pytest.mark.parametrize(("bad", "launcher", "says"), [
    (machine(ALL, ALL, ALL, ALL, ALL), None, ["5 trainers share 4 core(s) of n1", "no more: start fewer ranks"]),
    (machine({0}, {0}), OMPI, ["2 trainers share 1 core(s)", "which has 4: ask for more", "slot:PE=1 --bind-to core`"]),
    (machine({0}, {0}, {1, 2, 3}), OMPI, ["ranks 1-2 share cores", "others there are free", "slot:PE=1 --bind"]),
    (machine({0}, {0}, {1, 2, 3}), MPICH, ["`mpirun -bind-to core:1`", "--cpu-bind=cores --cpus-per-task=1"]),
    (machine({0}, {1}, threads=2), OMPI, ["rank 1 computes with 2 threads on 1 core(s)", "--map-by slot:PE=2 --bind-to "
                                          "core", "OMP_NUM_THREADS=1"]),
    (machine({0, 1}, {2}, threads=2), "srun", ["rank 2 computes", "srun --cpu-bind=cores --cpus-per-task=2"]),
    (machine(ALL, threads=5, serves=0), None, ["rank 0 computes with 5 threads", "n1: set OMP_NUM_THREADS=4"]),
    (machine(ALL, ALL, threads=3), None, ["2 trainers compute with 6 threads on 4 core(s)", "OMP_NUM_THREADS=2"])])
def test_ranks_in_each_others_way_are_told_with_what_mends_it(bad, launcher, says):
    told = problem(bad, launcher)
    assert told is not None and all(part in told for part in says), told
