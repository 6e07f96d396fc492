#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The writable disk: its size is what configuration and annotation say, a full one is
# ENOSPC in the container, what is deleted gives its space back to the host at once, and
# a host without space is an error of the one who writes, not the end of the pod.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 12

story_begin
make_layers
make_bundle disk . sh -c 'while :; do sleep 1; done'
jq '.annotations["io.podvm.scratch-size"] = "64M"' "$BUNDLE/config.json" > "$WORK/c"
cp "$WORK/c" "$BUNDLE/config.json"
run() { podvm exec disk "$@"; }
# used - kilobytes that the engine's volume has in use
used() { df -k "$WORK/disk" | awk 'NR == 2 { print $3 }'; }

podvm run --detach --bundle "$BUNDLE" disk < /dev/null > /dev/null 2>&1
kb=$(run df -k / | awk 'END { print $2 }')
echo "# df in the container: $kb KB"
ok 'the annotation decides the size' test "$kb" -gt 50000 -a "$kb" -le 65536
before=$(used)
ok 'a full disk is "No space left on device"' sh -c \
	"podvm --root $ROOT exec disk dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -q 'No space left on device'"
run sync
full=$(used)
echo "# in use on the host: $before KB, then $full KB"
ok 'what it holds is taken from the host' test $((full - before)) -gt 45000
run rm /big
run sync
after=$(used)
echo "# after the deletion: $after KB"
ok 'what is deleted goes back at once' test $((after - before)) -lt 4000
ok 'a file can be written again' run sh -c 'echo x > /again && sync && test "$(cat /again)" = x'
podvm delete --force disk
ok 'the disk has gone with its container' test $(($(used) - before)) -lt 1000
for bad in 1K 0 -1 many 17000G; do
	jq --arg s "$bad" '.annotations["io.podvm.scratch-size"] = $s' "$BUNDLE/config.json" > "$WORK/c"
	mkdir -p "$WORK/bad/rootfs"
	cp "$WORK/c" "$WORK/bad/config.json"
	podvm run --bundle "$WORK/bad" disk < /dev/null 2>> "$WORK/refused" || :
done
ok 'bad sizes are refused by name' is "$(grep -c 'io.podvm.scratch-size: must be a size' "$WORK/refused")" 5

# a host without space: the volume has less than the disk promises
umount "$BUNDLE/rootfs"
mkdir "$WORK/small"
mount -t tmpfs -o size=24m podvm-small "$WORK/small"
mkdir "$WORK/small/upper" "$WORK/small/work"
l=$WORK/disk/layers
mount -t overlay overlay -o "lowerdir=$l/top:$l/middle:$l/base,upperdir=$WORK/small/upper,workdir=$WORK/small/work" "$BUNDLE/rootfs"
jq '.annotations["io.podvm.scratch-size"] = "1G" | .process.args = ["sh", "-c", "while [ ! -e /stop ]; do sleep 1; done; exit 4"]' \
	"$BUNDLE/config.json" > "$WORK/c"
cp "$WORK/c" "$BUNDLE/config.json"
: > "$WORK/log"
podvm --log "$WORK/log" run --detach --bundle "$BUNDLE" disk < /dev/null > /dev/null 2>&1
ok 'where the host is full, who writes is told' sh -c \
	"! podvm --root $ROOT exec disk dd if=/dev/zero of=/big bs=1M count=60 conv=fsync 2> $WORK/dd"
sed 's/^/# /' "$WORK/dd"
ok 'by an error that names it' grep -q -e 'No space left' -e 'I/O error' -e 'Input/output error' "$WORK/dd"
ok 'the pod lives' run true
run rm -f /big
ok 'and writes again when there is space' wait_for 20 run sh -c 'echo ok > /small.txt && sync /small.txt'
run touch /stop
wait_for 60 sh -c "[ \"\$(podvm --root $ROOT state disk | jq -r .status)\" = stopped ]"
sed 's/^/# /' "$WORK/log"
ok 'changes of a disk that lost writes do not come back, and the log says so' grep -q 'lost writes' "$WORK/log"
podvm delete --force disk
umount "$BUNDLE/rootfs" "$WORK/small"
tap_end
