#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Volumes: bind mounts of directories and files as engines write them, read-only ones,
# nested mounts, two containers with one volume, twenty mounts in one container, sources
# that are hostile or cannot be shared; a root file system that is a plain directory;
# and nothing left behind.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 48

story_begin
make_layers
net_up
snapshot > "$WORK/before"
V=$WORK/disk/volumes
mkdir -p "$V/data/dir" "$V/ro" "$V/nested/inner" "$V/many"
echo 'from the host' > "$V/data/file"
echo 'do not touch' > "$V/ro/file"
echo '10.0.0.9 somewhere' > "$V/hosts"
mount -t tmpfs inner "$V/nested/inner"
echo 'on the mount inside' > "$V/nested/inner/file"
mkdir "$V/shm"
mount -t tmpfs -o size=2m,mode=1777 shm "$V/shm"
ln -s data "$V/link"
chown 1000:1000 "$V/data/dir"
i=1
while [ $i -le 20 ]; do
	mkdir "$V/many/$i"
	echo "$i" > "$V/many/$i/number"
	i=$((i + 1))
done
many=$(seq 1 20 | jq -sc --arg v "$V/many" \
	'map({destination: "/many/\(.)", type: "bind", source: "\($v)/\(.)", options: ["rbind", "ro"]})')

make_bundle a "$IN_NETNS | $MEMBER
	| del(.mounts[] | select(.destination == \"/dev/shm\"))
	| $(bind /data "$V/data" rbind rprivate rw)
	| $(bind /ro "$V/ro" rbind rprivate ro nosuid)
	| $(bind /etc/hosts "$V/hosts" bind rprivate)
	| $(bind /new/deep/file "$V/hosts" bind ro)
	| $(bind /nested "$V/nested" rbind rslave)
	| $(bind /flat "$V/nested" bind)
	| $(bind /by-link "$V/link" rbind)
	| $(bind /relative ../volumes/ro rbind)
	| $(bind /dev/shm "$V/shm" rbind rprivate)
	| $(bind /nothing /dev/null bind)
	| $(bind /inside "$BIN/tests/inside" bind ro)
	| .mounts += $many" sleep 1000
ok 'a container with 30 volumes is made' podvm run --detach --bundle "$BUNDLE" a < /dev/null
make_bundle b "$IN_NETNS | $MEMBER
	| .process.user = {uid: 1000, gid: 1000}
	| del(.mounts[] | select(.destination == \"/dev/shm\"))
	| $(bind /elsewhere "$V/data" rbind)
	| $(bind /inside "$BIN/tests/inside" bind ro)
	| $(bind /dev/shm "$V/shm" rbind)" sleep 1000
ok 'and another one with two of them' podvm run --detach --bundle "$BUNDLE" b < /dev/null

in_a() { podvm exec a "$@"; }
in_b() { podvm exec b "$@"; }
says() { is "$(cat "$1")" "$2"; }
a_says() { is "$(podvm exec a cat "$1")" "$2"; }
b_says() { is "$(podvm exec b cat "$1")" "$2"; }

ok 'a file of the host is there' a_says /data/file 'from the host'
in_a sh -c 'echo "from the guest" > /data/new; mkdir /data/made; ln -s new /data/link; chmod 640 /data/new'
ok 'what the guest writes is on the host' says "$V/data/new" 'from the guest'
ok 'with mode and owner' is "$(stat -c '%a %u:%g' "$V/data/new")" '640 0:0'
ok 'directories and links, too' test -d "$V/data/made" -a -L "$V/data/link"
echo 'later' > "$V/data/later"
ok 'what the host writes later is in the guest' wait_for 5 a_says /data/later later
ok 'a removed file is gone' sh -c "podvm --root $ROOT exec a rm /data/new && [ ! -e $V/data/new ]"
in_b sh -c 'echo b > /elsewhere/dir/of-b'
ok 'a user of the guest is that user on the host' is "$(stat -c '%u:%g' "$V/data/dir/of-b")" '1000:1000'
ok 'who may not write there cannot' exits 1 podvm exec b sh -c 'echo x > /elsewhere/file' 
in_a sh -c 'echo one > /data/both; chmod 666 /data/both'
ok 'one container sees at once what the other wrote' b_says /elsewhere/both one
in_b sh -c 'echo two > /elsewhere/both'
ok 'and the other way' a_says /data/both two
ok 'it is one file for both' is "$(in_a stat -c %i /data/both)" "$(in_b stat -c %i /elsewhere/both)"
in_a /inside lock /data/both sh -c 'touch /data/locked; sleep 3; echo first >> /data/order' &
wait_for 10 test -e "$V/data/locked"
in_b /inside lock /elsewhere/both cat /elsewhere/order > "$WORK/order" || :
wait $!
ok 'a lock of one holds the other up' says "$WORK/order" first
ok 'read-only refuses writes' exits 1 podvm exec a sh -c 'echo x > /ro/file'
ok 'and new files' exits 1 podvm exec a touch /ro/new
ok 'and the host has it unchanged' says "$V/ro/file" 'do not touch'
ok 'it is mounted so, with its options' sh -c \
	"podvm --root $ROOT exec a grep ' /ro ' /proc/self/mountinfo | grep -q ' ro,nosuid'"
ok '/etc/hosts is the file' a_says /etc/hosts '10.0.0.9 somewhere'
ok 'and can be written' sh -c "podvm --root $ROOT exec a sh -c 'echo more >> /etc/hosts' && grep -q more $V/hosts"
ok 'a mount point that was missing is made, as a file' a_says /new/deep/file '10.0.0.9 somewhere
more'
ok 'rbind shows the mount inside' a_says /nested/inner/file 'on the mount inside'
ok 'bind does not' exits 1 podvm exec a cat /flat/inner/file
ok 'a source by a symbolic link' a_says /by-link/file 'from the host'
ok 'a relative source starts in the bundle' a_says /relative/file 'do not touch'
ok 'twenty mounts in one container, each its own' is \
	"$(in_a sh -c 'cat /many/*/number' | sort -n | tr '\n' ' ')" "$(seq 1 20 | tr '\n' ' ')"
ok '/dev/shm is memory of the given size' is "$(in_a df -k /dev/shm | awk 'NR == 2 {print $2}')" 2048
in_a sh -c 'echo shared > /dev/shm/x'
ok 'that the pod has together' b_says /dev/shm/x shared
ok 'null is the null device' podvm exec a sh -c 'echo x > /nothing && [ -c /nothing ]'
ok 'inode numbers of two file systems do not meet' is \
	"$(in_a stat -c %i /data/file /ro/file /etc/hosts /nested/inner/file | sort -u | wc -l)" 4

# ---- what is refused ------------------------------------------------------------
python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("'"$V"'/socket")' 2> /dev/null ||
	busybox nc -l -U "$V/socket" > /dev/null 2>&1 &
wait_for 10 test -S "$V/socket"
mkfifo "$V/fifo"
refused() { # SOURCE WORDS [OPTION]
	make_bundle bad "$IN_NETNS | $MEMBER | $(bind /x "$1" bind "${3:-ro}")" true
	n=$(jq '.mounts | length - 1' "$BUNDLE/config.json")
	status=0
	podvm create --bundle "$BUNDLE" bad < /dev/null > "$WORK/out" 2>&1 || status=$?
	umount "$BUNDLE/rootfs"
	cat "$WORK/out"
	[ $status != 0 ] && grep -q "mounts/$n.*$2" "$WORK/out"
}
ok 'a source that is not there' refused "$V/nowhere" 'No such file'
ok 'a dangling link' sh -c "ln -s nowhere $V/dangling"
ok 'is not there, too' refused "$V/dangling" 'No such file'
ok 'a socket' refused "$V/socket" socket
ok 'a FIFO' refused "$V/fifo" FIFO
ok 'the kernel of the host' refused /proc/sys 'kernel'
ok 'a magic link' refused /proc/self/cwd 'symbolic links'
ok 'the host'"'"'s devices' refused /dev/kvm 'device'
ok 'shared propagation' refused "$V/data" 'shared' rshared

# ---- swapped after the creation -------------------------------------------------
mv "$V/ro" "$V/away"
ln -s /etc "$V/ro"
ok 'a source that is swapped is what it was' a_says /ro/file 'do not touch'
rm "$V/ro"
mv "$V/away" "$V/ro"

# ---- plain directories ------------------------------------------------------------
mkdir -p "$WORK/disk/plain"
cp -a "$WORK/disk/layers/base" "$WORK/disk/plain/rootfs"
make_bundle like "$IN_NETNS | $MEMBER" sleep 1000
umount "$BUNDLE/rootfs"
cp "$BUNDLE/config.json" "$WORK/disk/plain"
podvm run --detach --bundle "$WORK/disk/plain" plain < /dev/null > "$WORK/out" 2>&1 || cat "$WORK/out"
ok 'a plain directory is a root file system' is "$(podvm exec plain cat /etc/motd)" base
podvm exec plain sh -c 'echo changed > /etc/motd' || :
ok 'and what is changed is changed' says "$WORK/disk/plain/rootfs/etc/motd" changed
podvm timeline plain > "$WORK/timeline"
ok 'the timeline says why' grep -q 'rootfs shared: is a ' "$WORK/timeline"
podvm delete --force plain
jq '.root.readonly = true' "$BUNDLE/config.json" > "$WORK/disk/plain/config.json"
podvm run --detach --bundle "$WORK/disk/plain" plain < /dev/null > "$WORK/out" 2>&1 || cat "$WORK/out"
ok 'a read-only one is that' sh -c "podvm --root $ROOT exec plain cat /etc/motd && ! podvm --root $ROOT exec plain touch /x 2> /dev/null"

# ---- the end ------------------------------------------------------------------------
podvm delete --force plain
podvm delete --force a
ok 'the volume lives on with the other container' b_says /elsewhere/both two
make_bundle keep "$IN_NETNS | $MEMBER" sleep 1000
podvm run --detach --bundle "$BUNDLE" keep < /dev/null > /dev/null 2>&1
podvm delete --force b
make_bundle d "$IN_NETNS | $MEMBER | $(bind /data "$V/data" rbind)
	| $(bind /etc/resolv.conf "$V/hosts" bind)" sleep 1000
ln -s ../run/systemd/stub.conf "$BUNDLE/rootfs/etc/resolv.conf"
podvm run --detach --bundle "$BUNDLE" d < /dev/null > "$WORK/out" 2>&1 || cat "$WORK/out"
ok 'when all volumes are gone, the next one is there' is "$(podvm exec d cat /data/both)" two
ok 'a file goes where a dangling link of the image leads' is \
	"$(podvm exec d head -n 1 /run/systemd/stub.conf)" '10.0.0.9 somewhere'
umount "$WORK"/disk/[abd]/rootfs "$WORK/disk/keep/rootfs"
supervisor=$(grep -lsaE 'podvm.--root.*.supervisor.pod[1]' /proc/[0-9]*/cmdline | head -n 1)
kill -KILL "$(echo "$supervisor" | cut -d/ -f3)"
podvm delete --force d
podvm delete --force keep
umount "$V/nested/inner" "$V/shm"
rm -rf "$V" "$WORK/disk/plain"
snapshot > "$WORK/after"
ok 'nothing is left behind, after SIGKILL of the supervisor' diff "$WORK/before" "$WORK/after"
tap_end
