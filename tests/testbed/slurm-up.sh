#!/usr/bin/env bash
# Start a private Slurm (munged, slurmctld, one slurmd per virtual node) on this
# machine, without systemd and without cgroups. See README.md.
#
#   slurm-up.sh [STATE_DIR]        prints the state directory; then:  . STATE_DIR/env.sh
#
# Environment:
#   SLURM_NODES  virtual nodes on this machine            (default 2; at most 16)
#   SLURM_CPUS   CPUs that each node declares             (default 4; may exceed the real ones)
#   SLURM_HOSTS  state directory of a running hosts-up.sh: one slurmd on each of its hosts
#                instead of SLURM_NODES on this one, slurmctld on the first; sbatch and the
#                rest must then be run on one of them:  $SLURM_ON sbatch job.sbatch
#   SLURM_PORT   first of the TCP ports used              (default 16817)
#   SLURM_PMIX=1     for srun --mpi=pmix (Open MPI), one more package, if it can be had
#   SLURM_INSTALL=0  never call apt-get
#
# Exit code 3: this machine does not allow it; standard error says why.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${1:-$(mktemp -d "${TMPDIR:-/tmp}/slurm.XXXXXX")}
nodes=${SLURM_NODES:-2} cpus=${SLURM_CPUS:-4} port=${SLURM_PORT:-16817}
hosts=${SLURM_HOSTS:-}; [ -z "$hosts" ] || hosts=$(cd "$hosts" && pwd)
die() { echo "slurm-up: $*" >&2; exit 1; }
unavailable() { echo "slurm-up: $*" >&2; exit 3; }
[ "$(id -u)" = 0 ] || unavailable "must be run as root"
[ "$nodes" -ge 1 ] && [ "$nodes" -le 16 ] || die "SLURM_NODES: 1 to 16"

# --- packages -----------------------------------------------------------------
need=()
command -v munged    >/dev/null || need+=(munge)
command -v slurmctld >/dev/null || need+=(slurmctld)
command -v slurmd    >/dev/null || need+=(slurmd)
command -v sbatch    >/dev/null || need+=(slurm-client)
if [ ${#need[@]} -gt 0 ]; then
  [ "${SLURM_INSTALL:-1}" = 1 ] || unavailable "missing packages: ${need[*]}"
  command -v apt-get >/dev/null || unavailable "missing packages, and no apt-get: ${need[*]}"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -y --no-install-recommends "${need[@]}" ||
    { apt-get update && apt-get install -y --no-install-recommends "${need[@]}"; }
  } >&2 </dev/null || unavailable "apt-get could not install: ${need[*]}"
fi

# srun --mpi=pmix opens libpmix.so, the development link.
if [ "${SLURM_PMIX:-0}" = 1 ] && [ ! -e "/usr/lib/$(uname -m)-linux-gnu/pmix2/lib/libpmix.so" ]; then
  if [ "${SLURM_INSTALL:-1}" = 0 ] || ! command -v apt-get >/dev/null ||
      ! DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libpmix-dev >&2 </dev/null; then
    echo "slurm-up: no libpmix-dev: srun --mpi=pmix will not work" >&2
  fi
fi

# --- start afresh -------------------------------------------------------------
mkdir -p "$state"; state=$(cd "$state" && pwd)
[ -e "$state/pids" ] && "$here/slurm-down.sh" --keep "$state"
rm -rf "$state/spool" "$state/ctld" "$state/tmp"
mkdir -p "$state"/{ctld,log,spool}
# munged wants every folder on the way to its socket passable for all, and none
# writable by others (a sticky one like /tmp may be).
chmod 0755 "$state" "$state"/{ctld,log,spool}
: > "$state/pids"

# --- configuration ------------------------------------------------------------
ctlhost=$(hostname) ctladdr=127.0.0.1 nodelines='' names=() ctl=()
if [ -n "$hosts" ]; then
  # shellcheck disable=SC1091
  . "$hosts/env.sh"
  ctlhost=${HOSTS_NAMES%% *}; ctladdr=$("$hosts/addr" "$ctlhost"); ctl=("$hosts/on" "$ctlhost")
  for h in $HOSTS_NAMES; do
    names+=("$h")
    nodelines+="NodeName=$h NodeHostname=$h NodeAddr=$("$hosts/addr" "$h") Port=$((port+2)) CPUs=$cpus State=UNKNOWN"$'\n'
  done
else
  for i in $(seq 1 "$nodes"); do
    names+=("n$i")
    nodelines+="NodeName=n$i NodeHostname=$ctlhost NodeAddr=127.0.0.1 Port=$((port+1+i)) CPUs=$cpus State=UNKNOWN"$'\n'
  done
fi
list=$(IFS=,; echo "${names[*]}")
for n in "${names[@]}"; do mkdir -p "$state/tmp/$n"; done

cat > "$state/slurm.conf" <<EOF
ClusterName=testbed
SlurmctldHost=$ctlhost($ctladdr)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job is held back for this long (default 120 s, at least 5).
AuthInfo=socket=$state/munge.socket,cred_expire=5
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool/%n
# PMIx makes a folder of the same name for a step on each of its nodes.
TmpFS=$state/tmp/%n
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
# No cgroups, no binding of tasks: works in any sandbox.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# Declared CPUs count, not those found: nodes may have more than the machine.
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
# Take a node back by itself after a fault.
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=3600
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,sched_min_interval=100000,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$state/log/jobs.txt
$nodelines
PartitionName=test Nodes=$list Default=YES MaxTime=60 DefaultTime=10 OverSubscribe=NO State=UP
EOF

# Named, for slurmd would look for one, and end where none is mounted.
echo "CgroupPlugin=cgroup/v1" > "$state/cgroup.conf"
cat > "$state/env.sh" <<EOF
export SLURM_CONF=$state/slurm.conf
export SLURM_TESTBED=$state
export SLURM_ON="${ctl[*]}"
EOF

# --- daemons ------------------------------------------------------------------
note() { echo "$1 $2" >> "$state/pids"; }            # pid name
wait_for() {                                         # seconds command...
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}

if [ ! -s "$state/munge.key" ]; then
  (umask 077; head -c 1024 /dev/urandom > "$state/munge.key")
fi
chmod 0600 "$state/munge.key"
setsid munged --foreground --force --key-file="$state/munge.key" --socket="$state/munge.socket" \
  --pid-file="$state/munged.pid" --seed-file="$state/munge.seed" --log-file="$state/log/munged.log" \
  --num-threads=2 </dev/null >"$state/log/munged.out" 2>&1 &
note $! munged
wait_for 10 test -S "$state/munge.socket" || { cat "$state"/log/munged.* >&2; die "munged did not start"; }

export SLURM_CONF="$state/slurm.conf"
: > "$state/log/jobs.txt"
setsid "${ctl[@]}" slurmctld -D -c -f "$SLURM_CONF" </dev/null >"$state/log/slurmctld.out" 2>&1 &
note $! slurmctld
wait_for 20 "${ctl[@]}" scontrol ping || { tail -20 "$state"/log/slurmctld.* >&2; die "slurmctld did not start"; }

for n in "${names[@]}"; do
  run=()
  [ -n "$hosts" ] && run=("$hosts/on" "$n")
  setsid "${run[@]}" slurmd -D -N "$n" -f "$SLURM_CONF" </dev/null >"$state/log/slurmd.$n.out" 2>&1 &
  note $! "slurmd-$n"
done
up() { [ "$("${ctl[@]}" sinfo -h -N -t idle -o %N | sort -u | wc -l)" = ${#names[@]} ]; }
wait_for 30 up || { "${ctl[@]}" sinfo -N -l >&2; tail -5 "$state"/log/slurmd.*.log >&2; die "nodes did not come up"; }
echo "$state"
