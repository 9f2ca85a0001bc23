#!/usr/bin/env bash
# Train on this machine: one rank serves the graph, the others train.
#
#   jobs/local.sh                                           # 3 ranks, the bundled data set
#   jobs/local.sh 4 graphs/products-8 --config jobs/configs/products.toml --epochs 5
#
#   PYTHON    interpreter that has mpignn                   (python)
#   LAUNCHER  mpirun of the MPI that mpi4py in PYTHON uses  (mpirun)
#
# Arguments after the number of ranks go to `mpignn train`.
set -eu
ranks=${1:-3}
shift || true

# More ranks than cores is normal here.  Open MPI refuses that unless told (4.1 by the first name, 5 by the second);
# MPICH does not mind and does not read these.
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
exec ${LAUNCHER:-mpirun} -np "$ranks" "${PYTHON:-python}" -m mpignn train "$@"
