#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-storage by itself where machines and devices are: its tests of the overlay
# driver with a guest, of device mapper, and its disk as a block device by nbd-client.
set -eu
. "$(dirname "$0")/lib.sh"
plan 17

story_begin
make_layers
make_bundle tool . true
m=$BUNDLE/rootfs
TMPDIR=$WORK/disk
export TMPDIR
snapshot > "$WORK/before"
row() { jq -e --arg n "$2" '.checks[] | select(.name == $n) | .result == "pass"' "$WORK/$1"; }

podvm-storage test --driver overlay --json > "$WORK/overlay" || :
jq -r '.checks[] | "# \(.name): \(.result): \(.text)"' "$WORK/overlay"
ok 'overlay: no check fails' jq -e '.failed == 0' "$WORK/overlay"
for check in 'same tree' 'guest boot' 'guest tree' 'guest writes' 'guest I/O'; do
	ok "overlay: $check" row overlay "$check"
done
podvm-storage test --driver devmapper --json > "$WORK/dm" || :
jq -r '.checks[] | "# \(.name): \(.result): \(.text)"' "$WORK/dm"
ok 'devmapper: no check fails' jq -e '.failed == 0' "$WORK/dm"
ok 'devmapper: a thin snapshot is found out' row dm 'found out'

# ---- tests that are killed ----------------------------------------------------------
# What was killed a moment ago may hold its lock still, and a loop device goes a moment
# after its last user.
clean() { wait_for 20 same; }
same() {
	podvm-storage gc --json > "$WORK/gc"
	jq -e '.failed == 0' "$WORK/gc" > /dev/null || { cat "$WORK/gc"; return 1; }
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after" && ! ls -d "$TMPDIR"/podvm-test.* 2> /dev/null &&
		[ -z "$(ls -A /run/podvm-storage/test)" ]
}
sweep() {
	podvm-storage test --driver devmapper > /dev/null 2>&1 &
	tester=$!
	wait_for 60 test -e /sys/block/dm-0 || return 1
	kill -KILL $tester
	wait $tester || :
	clean || { echo 'after its first device'; return 1; }
	for s in 0.1 0.2 0.3 0.5 0.7 1 1.5 2; do
		timeout -s KILL $s podvm-storage test --driver devmapper > /dev/null 2>&1 || :
		clean || { echo "after $s s"; return 1; }
	done
}
ok 'devmapper: what a KILL leaves is removed by gc, at nine points of time' sweep
killed_with_guest() {
	podvm-storage test --driver overlay > /dev/null 2>&1 &
	tester=$!
	wait_for 60 pgrep -x podvm-vmm
	kill -KILL $tester
	wait $tester || :
	pgrep -x podvm-vmm
}
ok 'overlay: a test is killed, its machine lives on' killed_with_guest
ok 'overlay: gc ends the machine and removes the rest' clean
ok 'overlay: no process is left' is "$(podvm_processes)" ''

# ---- NBD by the kernel's client -------------------------------------------------
modprobe nbd max_part=0
podvm-storage serve "$m" --socket "$WORK/nbd" > "$WORK/said" 2>&1 &
server=$!
wait_for 20 grep -q serving "$WORK/said"
mkdir "$WORK/disk/nbd"
mount_nbd() {
	nbd-client -unix "$WORK/nbd" /dev/nbd0 -readonly -b 4096
	mount -t erofs -o ro /dev/nbd0 "$WORK/disk/nbd"
}
ok 'nbd-client: the kernel mounts the disk' mount_nbd
list='find . -exec busybox stat -c "%N|%f|%u:%g|%Y|%t:%T" {} + | sort; find . -type f -exec md5sum {} + | sort'
(cd "$m" && sh -c "$list") > "$WORK/a"
(cd "$WORK/disk/nbd" && sh -c "$list") > "$WORK/b"
ok 'nbd-client: the same tree and contents' diff "$WORK/a" "$WORK/b"
ok 'nbd-client: nothing can be written' sh -c '! dd if=/dev/zero of=/dev/nbd0 bs=4096 count=1 conv=fsync'
umount "$WORK/disk/nbd"
nbd-client -d /dev/nbd0 > /dev/null 2>&1
kill -TERM $server
code=0
wait $server || code=$?
ok 'nbd-client: the server ends in order' is $code 0
rmdir "$WORK/disk/nbd"
rmmod nbd 2> /dev/null || :
snapshot > "$WORK/after"
ok 'nothing is left' sh -c "diff $WORK/before $WORK/after && ! ls -d $TMPDIR/podvm-test.* && [ -z \"\$(ls -A /run/podvm-storage/test)\" ]"
tap_end
