#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What a container changed is in its engine's upper directory when its shim has ended,
# as if overlayfs of this host had written it; and what must not come does not.
# shellcheck disable=SC2016,SC2012
set -eu
. "$(dirname "$0")/lib.sh"
plan 29

story_begin
make_layers
snapshot > "$WORK/before"

# remount NAME - as engines do between two starts
remount() {
	umount "$WORK/disk/$1/rootfs"
	mount_rootfs "$WORK/disk/$1"
}

# script NAME SCRIPT - what the container runs from now on
script() {
	jq --arg s "$2" '.process.args = ["sh", "-ec", $s]' "$WORK/disk/$1/config.json" > "$WORK/c"
	cp "$WORK/c" "$WORK/disk/$1/config.json"
}

changes='echo new > /made; echo more >> /etc/motd; rm /kept; chmod 4711 /bin/busybox
	mkdir -p /a/b/c; ln /made /a/b/link; ln -s ../made /a/sym; mkfifo /a/fifo
	rm -r /opt/tool; mkdir /opt/tool; echo only > /opt/tool/only; mv /root /root2
	chown 12:34 /srv; touch -d "2001-02-03 04:05:06" /srv; dd if=/dev/zero of=/big bs=1M count=3 2> /dev/null
	truncate -s 100M /sparse'
list='find . -xdev ! -path ./proc ! -path ./sys ! -path ./dev ! -path "./dev/*" \
	-exec stat -c "%N|%F|%a|%u:%g|%Y|%t:%T" {} + | sort'

make_bundle wb . sh
script wb "$changes; cd /; $list"
podvm run --bundle "$BUNDLE" wb < /dev/null > "$WORK/guest.list" 2> "$WORK/err"
ok 'the run ends well' is "$(cat "$WORK/err")" ''
remount wb
up=$BUNDLE/upper
(cd "$BUNDLE/rootfs" && busybox sh -c "$list") > "$WORK/host.list"
ok 'the host sees the tree that the guest had' diff "$WORK/guest.list" "$WORK/host.list"
ok 'contents are there' is "$(cat "$up/made" "$up/etc/motd" "$up/opt/tool/only")" "new
top
more
only"
ok 'a removed file is a whiteout' is "$(stat -c '%F %t:%T' "$up/kept")" 'character special file 0:0'
ok 'hard links are links' is "$(stat -c %i "$up/made")" "$(stat -c %i "$up/a/b/link")"
ok 'holes stay holes' test "$(stat -c %b "$up/sparse")" -lt 100
ok 'only what changed is there' is "$(ls -A "$up" | tr '\n' ' ')" \
	"$(printf '%s ' a big bin etc kept made opt root root2 sparse srv; [ ! -e "$up/dev" ] || :)"
ok 'no staging directory is left' is "$(ls -A "$BUNDLE" | tr '\n' ' ')" 'config.json rootfs upper work '

script wb 'cat /made; test ! -e /kept; test "$(ls /opt/tool)" = only; rm /made; echo two > /second; test -p /a/fifo'
ok 'a second start sees what the first one wrote' is "$(podvm run --bundle "$BUNDLE" wb < /dev/null)" new
remount wb
ok 'and what it removed is gone, without a whiteout' test ! -e "$up/made" -a -e "$up/second"
ok 'its other name is there' is "$(cat "$up/a/b/link")" new

# by steps: the exit is not seen before the changes are
script wb 'echo three > /third; sleep 1; exit 5'
podvm --log "$WORK/log" create --bundle "$BUNDLE" --pid-file "$WORK/pid" wb < /dev/null > /dev/null 2>&1
podvm start wb
shim=$(cat "$WORK/pid")
while kill -0 "$shim" 2> /dev/null; do sleep 0.05; done
ok 'when the shim has gone, the changes are there' is "$(cat "$up/third")" three
ok 'and the container is stopped' is "$(podvm state wb | jq -r .status)" stopped
ok 'the timeline tells it' sh -c "podvm --root $ROOT timeline wb | grep -q 'changes are back'"
ok 'the log has nothing to say' is "$(cat "$WORK/log")" ''
podvm delete wb
remount wb

# a killed container's changes come back, too
script wb 'echo four > /fourth; kill -STOP $$; while :; do sleep 1; done'
podvm run --detach --bundle "$BUNDLE" wb < /dev/null > /dev/null 2>&1
wait_for 20 podvm exec wb test -s /fourth
podvm kill wb KILL
wait_for 20 sh -c "[ \"\$(podvm --root $ROOT state wb | jq -r .status)\" = stopped ]"
ok 'so do those of a killed one' is "$(cat "$up/fourth")" four
podvm delete wb
remount wb

# policy
script wb 'echo no > /fifth'
jq '.annotations["io.podvm.write-back"] = "off"' "$BUNDLE/config.json" > "$WORK/c" && cp "$WORK/c" "$BUNDLE/config.json"
podvm run --bundle "$BUNDLE" wb < /dev/null
ok 'an annotation turns it off' test ! -e "$up/fifth"
jq '.annotations["io.podvm.write-back"] = "no"' "$BUNDLE/config.json" > "$WORK/c"
cp "$BUNDLE/config.json" "$WORK/good"; cp "$WORK/c" "$BUNDLE/config.json"
ok 'a wrong one is refused by name' sh -c "podvm --root $ROOT run --bundle $BUNDLE wb 2>&1 < /dev/null | grep -q 'io.podvm.write-back: must be auto, on or off'"
jq 'del(.annotations["io.podvm.write-back"])' "$WORK/good" > "$BUNDLE/config.json"
echo '{"writeBack": "off"}' > "$WORK/off.json"
PODVM_CONFIG=$WORK/off.json podvm run --bundle "$BUNDLE" wb < /dev/null
ok 'so does the configuration' test ! -e "$up/fifth"
echo '{"writeBackTimeoutMs": 1}' > "$WORK/short.json"
: > "$WORK/log"
PODVM_CONFIG=$WORK/short.json podvm --log "$WORK/log" run --bundle "$BUNDLE" wb < /dev/null
ok 'what takes longer than it may leaves the old state' test ! -e "$up/fifth"
ok 'and says so' grep -q 'as before the start: .*longer than they may' "$WORK/log"
jq ".root.readonly = true | .process.args = [\"true\"]" "$BUNDLE/config.json" > "$WORK/c"
cp "$BUNDLE/config.json" "$WORK/good"; cp "$WORK/c" "$BUNDLE/config.json"
ok 'a read-only root has nothing to bring' podvm run --bundle "$BUNDLE" wb < /dev/null
cp "$WORK/good" "$BUNDLE/config.json"

# Kubernetes does not start containers again
jq "$SANDBOX" "$BUNDLE/config.json" > "$WORK/c" && cp "$WORK/c" "$BUNDLE/config.json"
podvm run --bundle "$BUNDLE" wb < /dev/null
ok 'a container of a Kubernetes pod brings nothing back' test ! -e "$up/fifth"
cp "$WORK/good" "$BUNDLE/config.json"

# a mount that is tied to its upper directory
umount "$BUNDLE/rootfs"
rm -rf "$BUNDLE/work"; mkdir "$BUNDLE/work"
l=$WORK/disk/layers
mount -t overlay overlay -o "index=on,lowerdir=$l/top:$l/middle:$l/base,upperdir=$up,workdir=$BUNDLE/work" "$BUNDLE/rootfs"
podvm --log "$WORK/log" run --bundle "$BUNDLE" wb < /dev/null
ok 'a mount with an index keeps the old state' test ! -e "$up/fifth"
ok 'and the log says why' grep -q 'write-back is off:.*index=on' "$WORK/log"
umount "$BUNDLE/rootfs"
rm -rf "$BUNDLE/work"; mkdir "$BUNDLE/work"
mount -t overlay overlay -o "lowerdir=$l/top:$l/middle:$l/base,upperdir=$up,workdir=$BUNDLE/work" "$BUNDLE/rootfs"

# what does not fit
script wb 'cd /; i=0; mkdir deep; cd deep; while [ $i -lt 450 ]; do mkdir d; cd d; i=$((i + 1)); done; exit 3'
: > "$WORK/log"
ok 'what is refused does not change the exit status' exits 3 podvm --log "$WORK/log" run --bundle "$BUNDLE" wb < /dev/null
ok 'the log says why, and what holds now' grep -q 'as before the start: .*inside each other' "$WORK/log"
ok 'and the old state is in place' test ! -e "$up/deep" -a -e "$up/fourth"

umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
