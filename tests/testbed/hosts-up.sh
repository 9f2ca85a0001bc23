#!/usr/bin/env bash
# Make several "hosts" out of namespaces on this machine: each with its own network
# stack and address, host name, System V IPC and /dev/shm, and with the
# file system in common (like a cluster's shared home). See README.md.
#
#   hosts-up.sh [STATE_DIR]        prints the state directory; then:
#     STATE_DIR/on HOST COMMAND...    run a command on a host
#     STATE_DIR/rsh HOST COMMAND...   the same as ssh would (a remote-shell stand-in for mpirun)
#     STATE_DIR/link HOST ...         impair a host's link (see: link without arguments)
#     STATE_DIR/addr HOST             its address
#     STATE_DIR/hostfile              "h1 slots=N" lines (Open MPI);  machinefile: "h1:N" (MPICH)
#     STATE_DIR/env.sh                HOSTS_STATE, HOSTS_NAMES, HOSTS_SUBNET
#
# Environment:
#   HOSTS_COUNT  number of hosts, named h1, h2, ...        (default 2; at most 32)
#   HOSTS_SLOTS  ranks per host, for the host files        (default 2)
#   HOSTS_SUBNET first three bytes of the hosts' addresses (default 10.231.77)
#   HOSTS_MTU    of the links                              (default 1500)
#   HOSTS_DELAY  one-way delay, e.g. 200us or 2ms; HOSTS_LOSS percent of frames lost, e.g. 0.5:
#                with either one, frames go through delay-switch.py instead of the
#                kernel's bridge (works without the netem module; slower, takes CPU)
#   HOSTS_TTL    seconds after which the hosts end by themselves (default 7200)
#   HOSTS_PRIVATE_TMP=1  a /tmp of its own for each host
#
# Exit code 3: this machine does not allow it; standard error says why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${1:-$(mktemp -d "${TMPDIR:-/tmp}/hosts.XXXXXX")}
count=${HOSTS_COUNT:-2} slots=${HOSTS_SLOTS:-2} net=${HOSTS_SUBNET:-10.231.77} mtu=${HOSTS_MTU:-1500}
ttl=${HOSTS_TTL:-7200} delay=${HOSTS_DELAY:-} loss=${HOSTS_LOSS:-} ptmp=${HOSTS_PRIVATE_TMP:-0}
die() { echo "hosts-up: $*" >&2; exit 1; }
unavailable() { echo "hosts-up: $*" >&2; exit 3; }
[ "$count" -ge 1 ] && [ "$count" -le 32 ] || die "HOSTS_COUNT: 1 to 32"
[ "$(id -u)" = 0 ] || unavailable "must be run as root"
for c in ip nsenter unshare; do command -v $c >/dev/null || unavailable "$c is missing (packages iproute2, util-linux)"; done
unshare --net --mount --uts --ipc --propagation private \
  sh -c 'mount -t sysfs sysfs /sys && hostname h1 && ip link add type veth' 2>/dev/null || unavailable "no namespaces here"

mkdir -p "$state"; state=$(cd "$state" && pwd)
chmod 0755 "$state"
[ -e "$state/pids" ] && "$here/hosts-down.sh" --keep "$state"
: > "$state/pids"
trap '[ $? = 0 ] || "$here/hosts-down.sh" --keep "$state"' EXIT

names=(); for i in $(seq 1 "$count"); do names+=("h$i"); done
{ echo "127.0.0.1 localhost"; for i in $(seq 1 "$count"); do echo "$net.$i h$i"; done; } > "$state/hosts"
: > "$state/hostfile"; : > "$state/machinefile"
for n in "${names[@]}"; do echo "$n slots=$slots" >> "$state/hostfile"; echo "$n:$slots" >> "$state/machinefile"; done
cat > "$state/env.sh" <<EOF
export HOSTS_STATE=$state HOSTS_NAMES="${names[*]}" HOSTS_SUBNET=$net
EOF
for f in on rsh link; do install -m 0755 "$here/hosts-$f.sh" "$state/$f"; done
printf '#!/bin/sh\nawk -v h="$1" '\''$2 == h { print $1; f = 1 } END { exit !f }'\'' "%s"\n' "$state/hosts" > "$state/addr"
chmod 0755 "$state/addr"

# A keeper process holds each host's namespaces. Nothing is named in /run/netns, so
# nothing can be left behind there: when the last process of a host ends, so does it.
keeper() {  # name
  # shellcheck disable=SC2016
  setsid unshare --net --mount --uts --ipc --propagation private sh -ec '
      hostname "$1"
      mount -t tmpfs -o mode=1777 shm /dev/shm
      mount --bind "$2/hosts" /etc/hosts
      [ "$4" = 0 ] || mount -t tmpfs -o mode=1777 tmp /tmp
      # A /sys with the network devices of this host; the cgroups stay as they were.
      mkdir -p "$2/cgroup"
      mount --rbind /sys/fs/cgroup "$2/cgroup"
      mount -t sysfs sysfs /sys
      mount --rbind "$2/cgroup" /sys/fs/cgroup
      ip link set lo up
      sleep "$3" & trap "kill $!" TERM
      : > "$2/ready.$1"
      wait' sh "$1" "$state" "$ttl" "$ptmp" </dev/null >"$state/$1.log" 2>&1 &
  local pid=$!
  echo "$pid $1" >> "$state/pids"
  for _ in $(seq 100); do
    [ -e "$state/ready.$1" ] && { rm -f "$state/ready.$1"; return 0; }
    sleep 0.05
  done
  cat "$state/$1.log" >&2; die "host $1 did not start"
}
pid_of() { awk -v h="$1" '$2 == h { print $1 }' "$state/pids"; }
in_net() { local p; p=$(pid_of "$1"); shift; nsenter -t "$p" -n -- "$@"; }

rm -f "$state"/ready.*
keeper switch
for n in "${names[@]}"; do keeper "$n"; done
sw=$(pid_of switch)
if [ -z "$delay$loss" ]; then
  in_net switch ip link add br0 type bridge forward_delay 0
  in_net switch ip link set br0 mtu "$mtu" up
  for i in $(seq 1 "$count"); do
    p=$(pid_of "h$i")
    nsenter -t "$p" -n ip link add eth0 mtu "$mtu" type veth peer name "p$i" netns "$sw" mtu "$mtu"
    in_net switch ip link set "p$i" master br0 up
  done
else
  setsid nsenter -t "$sw" -n -u -- "$(command -v python3)" "$here/delay-switch.py" --state "$state" --mtu "$mtu" \
    --delay "${delay:-0}" --loss "${loss:-0}" "${names[@]}" </dev/null >"$state/delay-switch.log" 2>&1 &
  for _ in $(seq 100); do grep -q ready "$state/delay-switch.log" && break; sleep 0.05; done
  grep -q ready "$state/delay-switch.log" || { cat "$state/delay-switch.log" >&2; die "delay-switch.py did not start"; }
fi
for i in $(seq 1 "$count"); do
  in_net "h$i" sh -c "ip link set eth0 up && ip addr add $net.$i/24 dev eth0"
done
# A port that nobody listens on is refused at once where the link works.
for i in $(seq 2 "$count"); do
  r=$("$state/on" h1 timeout 5 bash -c "</dev/tcp/$net.$i/9" 2>&1 || true)
  case $r in *refused*) ;; *) die "h1 does not reach h$i: $r" ;; esac
done
echo "$state"
