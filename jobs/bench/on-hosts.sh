#!/usr/bin/env bash
# Run a benchmark on two hosts of tests/testbed, two ranks on each, with one MPI.  Needs root.
#
#   jobs/bench/on-hosts.sh mpich|openmpi SCRIPT [ARGUMENTS]     such as: jobs/bench/on-hosts.sh mpich jobs/bench/access.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mpi=$1; shift
bed=tests/testbed
hosts=$(HOSTS_COUNT=2 HOSTS_SLOTS=2 HOSTS_TTL=600 $bed/hosts-up.sh)
trap '$bed/hosts-down.sh "$hosts"' EXIT
trap 'exit 1' INT TERM
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
if [ "$mpi" = openmpi ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    bin=$PWD/.venv-openmpi/bin
    launch=("$bin/mpirun" --prtemca plm_ssh_agent "$hosts/rsh" --hostfile "$hosts/hostfile" -np 4 --bind-to none
            --mca osc ^ucx)
else
    bin=$PWD/.venv/bin
    launch=("$bin/mpiexec" -launcher ssh -launcher-exec "$hosts/rsh" -f "$hosts/machinefile" -n 4)
fi
timeout -k 5 200 "$hosts/on" h1 "${launch[@]}" "$bin/python" "$@"
