#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Hot plug and unplug: containers that come and go in a pod leave none of their
# disks on the guest's bus, in the monitor or in the supervisor.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 7

story_begin
make_layers
net_up
snapshot > "$WORK/before"

make_bundle keeper "$IN_NETNS | $MEMBER" sleep 1000
podvm run --detach --bundle "$BUNDLE" keeper < /dev/null > "$WORK/log" 2>&1 || cat "$WORK/log"
make_bundle guest "$IN_NETNS | $MEMBER" cat /kept

bus() { podvm exec keeper ls /sys/bus/pci/devices; }
pid_by_name() {
	for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2> /dev/null)" != "$1" ] || echo "${p#/proc/}"
	done
}
fds() { ls "/proc/$(pid_by_name podvm-vmm)/fd" | wc -l; }

# What the first one makes for good, later ones must not make again.
podvm run --bundle "$BUNDLE" first > /dev/null < /dev/null
bus > "$WORK/bus"
fds > "$WORK/fds"

come_and_go() {
	for round in 1 2 3 4 5 6; do
		is "$(podvm run --bundle "$BUNDLE" "c$round" < /dev/null)" 'from the middle layer' ||
			return 1
	done
}
ok 'six containers come and go' come_and_go
ok 'the bus is as it was' sh -c "podvm --root $ROOT exec keeper ls /sys/bus/pci/devices | diff $WORK/bus -"
ok "the monitor's descriptors are as many as before" is "$(fds)" "$(cat "$WORK/fds")"
ok 'the disks of the one that stayed are read' podvm exec keeper grep -q middle /kept
ok 'and written' podvm exec keeper sh -c 'echo x > /x && sync && rm /x'

podvm delete --force keeper
umount "$WORK"/disk/*/rootfs
ok 'the last delete ends the pod' is "$(podvm list -q)" ''
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
