#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Shares: a file-system load over virtio-fs against the same load on the host, name by
# name; the tree that it leaves, seen from both sides; a read-only share; a share
# that is plugged and unplugged while the guest runs.
set -eu
. "$(dirname "$0")/lib.sh"
plan 13

KERNEL=${KERNEL:-$TOP/build/kernel/vmlinux}
story_begin
snapshot > "$WORK/before"

# tmpfs of this kernel has no user attributes.
truncate -s 192M "$WORK/disk/image"
mkfs.ext4 -q -E lazy_itable_init=1 "$WORK/disk/image"
mkdir "$WORK/disk/fs"
mount -o loop "$WORK/disk/image" "$WORK/disk/fs"
cd "$WORK/disk/fs"
mkdir host guest ro hot
echo 'a file of the host' > ro/file
echo 'a file of the host' > hot/file
echo 'not for the guest' > secret
ln -s ../secret ro/out

"$BIN/tests/share-load" run host > "$WORK/host.run"
status=0
"$BIN/tests/share-boot" --vmm "$BIN/podvm-vmm" --vcpus 2 --share load=guest --share ro:ro:always=ro --hot hot:none=hot \
	"$KERNEL" "$BIN/tests/share-load.cpio" > "$WORK/console" 2> "$WORK/log" || status=$?
cat "$WORK/log" "$WORK/console" > "$WORK/all"
part() { sed -n "s/^$1|//p" "$WORK/console"; }
part run > "$WORK/guest.run"
part list > "$WORK/guest.list"
part more > "$WORK/more"

ended() {
	cat "$WORK/log"
	[ "$status" = 0 ] || tail -n 40 "$WORK/console"
	is "$status" 0
}
ok 'the guest ran, and switched itself off' ended
ok 'the load ran to its end' grep -q '^end: of the load' "$WORK/guest.run"
ok 'of more than 250 results, each is as on the host' diff "$WORK/host.run" "$WORK/guest.run"
ok 'they are more than 250' test "$(wc -l < "$WORK/host.run")" -gt 250

"$BIN/tests/share-load" list guest > "$WORK/guest.seen"
ok 'guest and host see the same tree, owners, times and hashes' \
	diff "$WORK/guest.list" "$WORK/guest.seen"
without_times() { "$BIN/tests/share-load" list "$1" | sed 's/ mtime .*//'; }
without_times host > "$WORK/host.tree"
without_times guest > "$WORK/guest.tree"
ok 'it is the tree that the load leaves on the host' diff "$WORK/host.tree" "$WORK/guest.tree"
ok 'with more than 150 lines' test "$(wc -l < "$WORK/host.tree")" -gt 150

cat > "$WORK/want" << 'END'
mount: ok
mount read-only: ok
read: ok
it says: a file of the host

create: EROFS
open for writing: EROFS
unlink: EROFS
chmod: EROFS
rename: EROFS
look up a link out: ENOENT
no tag of that name: EINVAL
unmount: ok
mount again: ok
read again: ok
a device cannot be made: EPERM
mount a share that was plugged: ok
read it: ok
it says: a file of the host

write it: ok
unmount it: ok
it cannot be mounted any more: EINVAL
END
grep -v '^$' "$WORK/want" > "$WORK/want.lines"
ok 'read-only and plugged shares do what they should' diff "$WORK/want.lines" "$WORK/more"
ok 'the read-only share is unchanged' is "$(ls ro) $(cat ro/file)" 'file
out a file of the host'
ok 'the host reads what the guest wrote' is "$(head -c 5 hot/file)" guest
ok 'no device was broken' sh -c "! grep -v ' 0 broken\$' $WORK/log | grep 'share-boot: .* broken'"

cd /
umount "$WORK/disk/fs"
rm -r "$WORK/disk/image" "$WORK/disk/fs"
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
ok 'no process of it either' is "$(podvm_processes)" ''
tap_end
