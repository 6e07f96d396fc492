#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# As many disks as a guest has interrupts for: two for each container, its root file
# system and its scratch disk. One more is refused, by the number; what comes
# goes again. One processor has interrupts for 90; ROUNDS=0 takes three, and 200 disks.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 8

story_begin
make_layers
net_up
snapshot > "$WORK/before"

vcpus=1
max=90
[ "${ROUNDS:-}" != 0 ] || vcpus=3 max=200
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
echo "{ \"vcpus\": $vcpus }" > "$PODVM_CONFIG"
make_bundle keeper "$IN_NETNS | $MEMBER" sleep 10000
podvm run --detach --bundle "$BUNDLE" keeper < /dev/null > "$WORK/log" 2>&1 || cat "$WORK/log"
make_bundle many "$IN_NETNS | $MEMBER" cat /kept
disks() { podvm exec keeper sh -c 'ls -d /sys/block/vd* | wc -l'; }
monitor() { grep -lsa 'podvm-vm[m]' /proc/[0-9]*/cmdline | sed 's|/cmdline||'; }
fds() { ls "$(monitor)/fd" | wc -l; }
# fill N - creates containers c1 to cN
fill() {
	for i in $(seq 1 "$1"); do
		case $i in 1) t1=$(ms) ;; 11) t11=$(ms) ;; $(($1 - 9))) tn=$(ms) ;; esac
		podvm create --bundle "$BUNDLE" "c$i" < /dev/null || return 1
	done
	echo "# ms for the first ten creates: $((t11 - t1)); for the last ten: $(($(ms) - tn))" >&3
}
empty() {
	for i in $(seq 1 "$1"); do
		podvm delete --force "c$i" || return 1
	done
}

n=$((max / 2 - 1)) # containers beside the keeper
exec 3>&1
before=$(disks) fds=$(fds)
ok "$n more containers are created" fill "$n"
ok "the guest has $((n * 2 + 2)) disks" is "$(disks)" $((n * 2 + 2))
ok 'one more is refused, by the number' sh -c "podvm --root $ROOT create --bundle $BUNDLE more < /dev/null 2>&1 | grep -q '$max disks'"
podvm start "c$n"
ok 'the last one runs' wait_for 10 sh -c "podvm --root $ROOT state c$n | grep -q stopped"
ok 'all are deleted' empty "$n"
ok 'the guest has the disks that it had before' is "$(disks)" "$before"
ok 'and the monitor the descriptors' is "$(fds)" "$fds"
podvm delete --force keeper
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
