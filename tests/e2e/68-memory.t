#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Memory and processors of a pod's machine while it runs: what a container frees
# goes back to the host; memory grows and shrinks; processors come and go; pods
# that may be merged share pages; reserved huge pages.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 22

KSM=/sys/kernel/mm/ksm
HUGE=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages

# These belong to the whole machine: it gets them back as they were.
pages_to_scan=$(cat $KSM/pages_to_scan)
ksm_run=$(cat $KSM/run)
huge=$(cat $HUGE)
restore() {
	status=$?
	echo "$ksm_run" > $KSM/run
	echo "$pages_to_scan" > $KSM/pages_to_scan
	echo "$huge" > $HUGE
	return $status
}

story_begin
trap 'restore || story_end; story_end' EXIT
make_layers
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG

# start NAME COMMAND... - a container in a machine of its own
start() {
	podvm run --detach --bundle "$WORK/disk/$1" "$1" < /dev/null > "$WORK/log" 2>&1 ||
		{ cat "$WORK/log"; return 1; }
}
vmm_pid() {
	for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2> /dev/null)" != podvm-vmm ] || echo "${p#/proc/}"
	done
}
# MiB of the monitor's private pages, guest RAM among them
dirty() { awk '/^Private_Dirty/ { kb += $2 } END { print int(kb / 1024) }' "/proc/$(vmm_pid)/smaps"; }
dirty_below() { [ "$(dirty)" -lt "$1" ]; }
total() { podvm exec one awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }
free() { podvm exec one awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo; }
size() { podvm resize one | jq ".$1"; }

# ---- one pod that can grow ------------------------------------------------------
echo '{ "ram": "256M", "vcpusMax": 3, "memory": { "max": "512M" } }' > "$PODVM_CONFIG"
SHM='(.mounts[] | select(.destination == "/dev/shm")).options = ["size=150m"]'
make_bundle one "$SHM" sleep 1000
snapshot > "$WORK/before"
ok 'a pod that can grow starts' start one
ok 'its size is told' is "$(podvm resize one | jq -c '[.memory.boot, .memory.max, .vcpus.online, .vcpus.max]')" \
	'[268435456,536870912,1,3]'

wait_for 20 sh -c "podvm --root $ROOT resize one | jq -e '.memory.reported > 100000000'"
before=$(dirty)
podvm exec one dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2> /dev/null
during=$(dirty)
podvm exec one rm /dev/shm/x
ok '100 MB that a container allocates are in the monitor' [ "$during" -ge $((before + 90)) ]
ok 'and most of it goes back when the container frees it' wait_for 60 dirty_below $((during - 70))
echo "# monitor's private memory: $before MiB, $during with 100 MB in use, $(dirty) after they were freed"

boot=$(total)
ok 'memory grows' podvm resize --memory 512M one
ok 'which the guest sees' [ "$(total)" -ge $((boot + 250)) ]
ok 'and uses, for disks too' podvm exec one sh -c \
	'head -c 20000000 /dev/urandom > /f && cp /f /g && cmp /f /g'
ok 'it shrinks again, all of it' podvm resize --memory 256M one
ok 'which the guest sees' is "$(total)" "$boot"
ok 'what was written in between is what it was' podvm exec one cmp /f /g
had=$(free)
ok 'it shrinks below what it began with' podvm resize --memory 192M one
ok 'which the guest feels' [ "$(free)" -le $((had - 55)) ]
ok 'and grows back' podvm resize --memory 256M one
ok 'the guest tells how much it has' [ "$(size memory.guest.total)" -gt 200000000 ]
ok 'more than the setting is refused by its name' sh -c \
	"podvm --root $ROOT resize --memory 1G one 2>&1 | grep -q 'memory.max'"

ok 'processors come' sh -c "podvm --root $ROOT resize --vcpus 3 one > /dev/null && [ \$(podvm --root $ROOT exec one nproc) = 3 ]"
ok 'and go' sh -c "podvm --root $ROOT resize --vcpus 1 one > /dev/null && [ \$(podvm --root $ROOT exec one nproc) = 1 ]"
ok 'more than the setting is refused by its name' sh -c \
	"podvm --root $ROOT resize --vcpus 4 one 2>&1 | grep -q 'vcpusMax'"
podvm delete --force one

# ---- two pods that share pages --------------------------------------------------
echo '{ "ram": "128M", "memory": { "merge": true, "hugepages": "never" } }' > "$PODVM_CONFIG"
make_bundle two . sleep 1000
make_bundle three . sleep 1000
start two
start three
echo 20000 > $KSM/pages_to_scan
echo 1 > $KSM/run
shared() { [ "$(cat "$KSM/pages_sharing")" -gt 1000 ]; }
ok 'pods that may be merged share pages' wait_for 90 shared
echo "# KSM: $(cat "$KSM/pages_shared") pages stand for $(cat "$KSM/pages_sharing") more"
podvm delete --force three
podvm delete --force two

# ---- reserved pages ----------------------------------------------------------------
echo '{ "ram": "128M", "memory": { "hugepages": "2M" } }' > "$PODVM_CONFIG"
make_bundle four . cat /kept
echo 0 > $HUGE
ok 'too few reserved pages: the error says where to reserve them' sh -c \
	"podvm --root $ROOT run --bundle $WORK/disk/four four 2>&1 < /dev/null | grep -q 'has not 64 free pages of 2 MiB.*nr_hugepages'"
echo 64 > $HUGE
ok 'a pod of reserved pages runs' is "$(podvm run --bundle "$WORK/disk/four" four < /dev/null)" \
	'from the middle layer'
umount "$WORK"/disk/two/rootfs "$WORK"/disk/three/rootfs "$WORK"/disk/four/rootfs
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
