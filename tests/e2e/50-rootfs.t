#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tree in the guest is the tree that overlayfs shows on the host, and
# writes stay in the guest.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 12

story_begin
make_layers
(
	cd "$WORK/disk/layers/middle"
	mkdir -p many deep/a/b/c/d
	i=0
	while [ $i -lt 500 ]; do
		echo "$i" > "many/file-$i"
		i=$((i + 1))
	done
	head -c 5000001 /dev/urandom > big
	truncate -s 3000000 sparse
	echo tail >> sparse
	ln big hard
	ln -s ../kept deep/link
	ln -s /no/where dangling
	mkfifo fifo
	mknod node c 1 3
	mkdir empty
	touch "$(printf 'new\nline')" "$(printf '\377\376')" -- '-dash' ' blank'
	chmod 4755 kept
	chown 1000:2000 many/file-7
	touch -d '2001-02-03 04:05:06.789' many/file-8
)
make_bundle tree . sleep 1000
echo upper > "$BUNDLE/rootfs/in-upper"
rm "$BUNDLE/rootfs/many/file-9"
rm -r "$BUNDLE/rootfs/deep/a"
mkdir "$BUNDLE/rootfs/deep/a"
podvm run --detach --bundle "$BUNDLE" tree < /dev/null > /dev/null 2>&1
run() { podvm exec tree "$@"; }

# name, type, mode, owner, size (of files), time, target of every entry
list='find . -xdev ! -path ./proc ! -path ./sys ! -path ./dev ! -path "./dev/*" ! -path . \
	! -path ./run ! -path ./tmp -exec stat -c "%N|%F|%a|%u:%g|%Y|%t:%T" {} + | sort'
(cd "$BUNDLE/rootfs" && busybox sh -c "$list") > "$WORK/host.list"
run sh -c "cd / && $list" > "$WORK/guest.list"
ok 'the same entries with the same attributes' diff "$WORK/host.list" "$WORK/guest.list"
ok 'more than 500 of them' test "$(wc -l < "$WORK/host.list")" -gt 500
sums='find . -xdev -type f ! -path "./dev/*" ! -path "./proc/*" ! -path "./sys/*" -exec md5sum {} + | sort'
(cd "$BUNDLE/rootfs" && busybox sh -c "$sums") > "$WORK/host.sums"
run sh -c "cd / && $sums" > "$WORK/guest.sums"
ok 'the same contents' diff "$WORK/host.sums" "$WORK/guest.sums"
ok 'hard links are one file' run sh -c '[ "$(stat -c %i /big)" = "$(stat -c %i /hard)" ]'
ok 'the root file system is overlayfs on EROFS' run grep -q ' / / .* - overlay ' /proc/self/mountinfo

run sh -c 'echo new > /made; rm /kept; echo changed >> /etc/motd; mv /many /moved; dd if=/dev/zero of=/zeros bs=1M count=20 2>/dev/null; sync'
ok 'a written file can be read' is "$(run cat /made)" new
ok 'a removed file is gone' run test ! -e /kept
ok 'a changed file is changed' run grep -q changed /etc/motd
ok 'a directory can be renamed' run test -e /moved/file-1
ok 'the host sees none of it' test -e "$BUNDLE/rootfs/kept" -a ! -e "$BUNDLE/rootfs/made"
ok 'podvm-storage inspect names the layers' sh -c "podvm-storage inspect $BUNDLE/rootfs | grep -q layers/middle"
ok 'podvm-storage plan copies nothing' sh -c "podvm-storage plan --json $BUNDLE/rootfs | grep -qi copied"
podvm delete --force tree
tap_end
