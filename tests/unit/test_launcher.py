"""Rank and number of processes, by the variables of every launcher."""

import pytest

from mpignn.launcher import batch_job, launched

PID = 77
SRUN = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4", "SLURM_TASK_PID": str(PID)}
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "9", "SLURM_TASK_PID": "5"}
PTY = {"SLURM_PTY_PORT": "40000", "SLURM_PTY_WIN_COL": "80"}

ENVIRONMENTS = {
    "none": ({}, None),
    "Open MPI": ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3", "PMIX_RANK": "1"}, (1, 3)),
    "Open MPI, whose daemons srun started": (
        {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", **SRUN}, (5, 8)),
    "MPICH": ({"PMI_RANK": "2", "PMI_SIZE": "3"}, (2, 3)),
    "MPICH in a batch script": ({"PMI_RANK": "2", "PMI_SIZE": "3", **BATCH}, (2, 3)),
    "MPICH with one rank, started by srun": ({"PMI_RANK": "0", "PMI_SIZE": "1", **SRUN}, (0, 1)),
    "srun --mpi=pmi2": ({"PMI_RANK": "2", "PMI_SIZE": "4", **SRUN}, (2, 4)),
    "srun --mpi=pmix": ({"PMIX_RANK": "2", **SRUN}, (2, 4)),
    "srun": (SRUN, (2, 4)),
    "srun of a script, which starts Python": ({**SRUN, "SLURM_TASK_PID": "5"}, (2, 4)),
    "srun --pty of Python": ({**SRUN, **PTY}, (2, 4)),
    "a shell of srun --pty": ({**SRUN, **PTY, "SLURM_PROCID": "0", "SLURM_TASK_PID": "5"}, None),
    "mpirun in a shell of srun --pty": ({**SRUN, **PTY, "SLURM_TASK_PID": "5", "PMI_RANK": "1", "PMI_SIZE": "2"},
                                        (1, 2)),
    "a batch script": (BATCH, None),
    "what a step left behind": ({"SLURM_PROCID": "1"}, None),
    "PMIx alone": ({"PMIX_RANK": "3"}, (3, None)),
    "no numbers": ({"OMPI_COMM_WORLD_RANK": "", "OMPI_COMM_WORLD_SIZE": "", "PMI_RANK": "x", "PMI_SIZE": "3"}, None),
    "a rank beyond the size": ({"PMI_RANK": "3", "PMI_SIZE": "3"}, None),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_rank_and_size_are_those_of_the_innermost_launcher(name):
    environ, expected = ENVIRONMENTS[name]
    found = launched(environ, PID)
    assert (None if found is None else (found.rank, found.size)) == expected


@pytest.mark.parametrize(("environ", "told"), [
    ({}, {}), ({"SLURM_JOB_NAME": "x"}, {}),
    (BATCH | {"SLURM_JOB_NAME": "x", "SLURM_JOB_ACCOUNT": ""}, {"scheduler": "Slurm", "id": "9", "name": "x"}),
    ({"PBS_JOBID": "7[2].host", "PBS_ARRAY_INDEX": "2"}, {"scheduler": "PBS", "id": "7[2].host", "task": "2"}),
    ({"LSB_JOBID": "7", "LSB_QUEUE": "long"}, {"scheduler": "LSF", "id": "7", "partition": "long"})])
def test_the_job_of_a_scheduler_is_told(environ, told):
    assert batch_job(environ) == told
