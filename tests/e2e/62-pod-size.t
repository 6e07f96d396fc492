#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# One pod without an infra container: an init container, then containers that make the
# machine grow and let it shrink, one that is out of memory, one that is made again, one
# that joins for a look; who sits where on the host. Then a host of cgroup version 1.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 24

story_begin
make_layers
net_up
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
echo '{ "vcpusMax": 2, "memory": { "max": "512M" } }' > "$PODVM_CONFIG"
snapshot > "$WORK/before"

MEMBER="$IN_NETNS | $MEMBER | .linux.cgroupsPath = (\"/story/pod1/\" + \$ARGS.positional[0])"
SHARED='(.linux.namespaces[] | select(.type == "pid")).path = "/proc/1/ns/pid"'
# member NAME JQ-FILTER COMMAND... - a bundle of the pod
member() {
	n=$1
	f=$2
	shift 2
	make_bundle "$n" "$MEMBER | del(.process.args[0]) | $f" "$n" "$@"
}
limit() { echo ".linux.resources.memory.limit = $(($1 * 1048576))"; }
start() {
	podvm run --detach --bundle "$WORK/disk/$1" "$1" < /dev/null > "$WORK/log" 2>&1 ||
		{ cat "$WORK/log"; return 1; }
}
vcpus() { podvm resize "$1" | jq .vcpus.online; }
memory() { podvm resize "$1" | jq '.memory.bytes / 1048576'; }
plugged() { podvm resize "$1" | jq '.memory.plugged / 1048576'; }
in_cgroup() { is "$(sed -n 's/^0:://p' "/proc/$1/cgroup")" "$2"; }
pid_of() {
	for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2> /dev/null)" != "$1" ] || echo "${p#/proc/}"
	done
}

# ---- an init container starts the machine ---------------------------------------
member init "$(limit 64) | .linux.sysctl[\"net.ipv4.ip_unprivileged_port_start\"] = \"81\"" \
	sh -c 'echo ready > /dev/shm/x; exit 3'
ok 'an init container runs to its end' exits 3 \
	podvm run --keep --bundle "$WORK/disk/init" init < /dev/null
ok 'the machine has what it needs' is "$(memory init)" 160
ok 'and lives on' is "$(podvm state init | jq -r .status)" stopped

# ---- the machine grows ---------------------------------------------------------------
member big "$(limit 300) | .linux.resources.cpu = {quota: 150000, period: 100000, shares: 512} | $SHARED" sleep 1000
ok 'a container with limits of its own joins' start big
ok 'for which memory was plugged' is "$(memory big)" 396
ok 'that the guest has' [ "$(podvm exec big awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" -ge 340 ]
ok 'and a processor came' is "$(vcpus big)" 2
ok 'its limit is its own' is "$(podvm exec big cat /sys/fs/cgroup/memory.max)" 314572800
ok 'the sysctl is the pod'"'"'s' is "$(podvm exec big cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" 81

member huge "$(limit 600)" true
ok 'a limit beyond the most is refused by its field and the setting' sh -c \
	"podvm --root $ROOT create --bundle $WORK/disk/huge huge 2>&1 | grep -q '/linux/resources/memory/limit: 600 MiB: .* 448 MiB.*memory.max'"
ok 'and the machine stays' is "$(memory big) $(podvm list -q | tr '\n' ' ')" '396 big init '

# ---- who sits where ---------------------------------------------------------------------
shim=$(podvm state big | jq .pid)
ok 'the shim is in the container'"'"'s cgroup' in_cgroup "$shim" /story/pod1/big
ok 'the monitor is in the pod'"'"'s' in_cgroup "$(pid_of podvm-vmm)" /story/pod1/podvm-pod1/vmm
ok 'and may use what the machine has, and some' is \
	"$(($(cat /sys/fs/cgroup/story/pod1/podvm-pod1/vmm/memory.max) / 1048576))" $((396 + 64 + 12))

# ---- one that joins for a look; one that is out of memory ------------------------------
member look "$SHARED" sleep 1000
start look
ok 'one that joins for a look sees the others'"'"' processes' podvm exec look sh -c 'ps | grep -q "[s]leep 1000"'
podvm delete --force look
member small "$(limit 16)" tail /dev/zero
ok 'one that is out of memory ends with 137' exits 137 \
	podvm run --keep --bundle "$WORK/disk/small" small < /dev/null
ok 'and its bundle says so' [ -f "$WORK/disk/small/oom" ]
ok 'as no other does' [ ! -e "$WORK/disk/init/oom" ]
podvm delete small

# ---- it shrinks, and a container is made again in place -------------------------------------
podvm delete --force big
gone() { [ "$(plugged init) $(vcpus init)" = '0 1' ]; }
ok 'what the container needed goes with it' wait_for 30 gone
umount "$WORK/disk/big/rootfs"
mount_rootfs "$WORK/disk/big"
ok 'it is made again, with its name' start big
ok 'and the machine grows again' is "$(memory big) $(vcpus big)" '396 2'
podvm delete --force big
podvm delete init
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"

# ---- a host of version 1 ---------------------------------------------------------------------
# The node's controllers are all in version 2; systemd's own hierarchy can be had.
cat > "$WORK/v1" << 'END'
mount -t tmpfs v1 /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd v1 /sys/fs/cgroup/systemd
podvm --root "$1" run --detach --bundle "$2" v1 < /dev/null || exit 1
sed -n 's/.*name=systemd://p' "/proc/$(podvm --root "$1" state v1 | jq .pid)/cgroup"
for p in /proc/[0-9]*; do
	[ "$(cat "$p/comm" 2> /dev/null)" != podvm-vmm ] || sed -n 's/.*name=systemd://p' "$p/cgroup"
done
podvm --root "$1" delete --force v1
find /sys/fs/cgroup/systemd -type d
END
make_bundle v1 '.linux.cgroupsPath = "/story/v1"' sleep 1000
ok 'a pod on a host of version 1' sh -c "unshare -m sh $WORK/v1 $ROOT $WORK/disk/v1 > $WORK/v1.out 2>&1"
ok 'has the same places, and leaves none' is "$(tr '\n' ' ' < "$WORK/v1.out")" \
	'/story/v1 /story/podvm-v1/vmm /sys/fs/cgroup/systemd '
umount "$WORK/disk/v1/rootfs"
tap_end
