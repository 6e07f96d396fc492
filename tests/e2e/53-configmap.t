#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# configMap, secret and projected volumes, as kubelet writes them: a new content is a
# new directory, to which the link "..data" is renamed. Inside it is seen soon, whole,
# and by whoever waits with inotify.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 26

story_begin
make_layers
net_up
snapshot > "$WORK/before"
V=$WORK/disk/volumes
mkdir -p "$V/config" "$V/secret" "$V/large" "$V/written"

# swap DIRECTORY VERSION - what was put into VERSION is the content now, links and all
swap() {
	(
		cd "$1"
		old=$(readlink ..data || :)
		ln -s "$2" ..data_tmp
		mv -T ..data_tmp ..data
		for f in *; do
			[ -e "..data/$f" ] || rm -f "$f"
		done
		for f in ..data/*; do
			[ -L "${f##*/}" ] || ln -s "$f" "${f##*/}"
		done
		[ -z "$old" ] || rm -rf "$old"
	)
}

mkdir -p "$V/config/..2026_01/nested/deep" "$V/secret/..2026_01" "$V/large/..2026_01" "$V/written/..2026_01"
echo 'colour=blue' > "$V/config/..2026_01/app.conf"
echo 'goes away' > "$V/config/..2026_01/old"
echo 'far below' > "$V/config/..2026_01/nested/deep/file"
touch -d '2020-02-03 04:05:06.789' "$V/config/..2026_01/app.conf"
swap "$V/config" ..2026_01
echo 'secret' > "$V/secret/..2026_01/token"
chmod 440 "$V/secret/..2026_01/token"
chown 0:1000 "$V/secret/..2026_01/token"
swap "$V/secret" ..2026_01
head -c 5000000 /dev/zero > "$V/large/..2026_01/data"
swap "$V/large" ..2026_01
echo 'first' > "$V/written/..2026_01/file"
swap "$V/written" ..2026_01

make_bundle a "$IN_NETNS | $MEMBER
	| $(bind /config "$V/config" rbind rprivate ro)
	| $(bind /secret "$V/secret" rbind rprivate ro)
	| $(bind /large "$V/large" rbind ro)
	| $(bind /written "$V/written" rbind rw)
	| $(bind /one "$V/config/app.conf" bind ro)
	| $(bind /inside "$BIN/tests/inside" bind ro)" sleep 1000
ok 'a container with such volumes is made' podvm run --detach --bundle "$BUNDLE" a < /dev/null
make_bundle b "$IN_NETNS | $MEMBER
	| .process.user = {uid: 1000, gid: 1000}
	| $(bind /etc/config "$V/config" rbind ro)
	| $(bind /etc/secret "$V/secret" rbind ro)" sleep 1000
ok 'and another one with the same' podvm run --detach --bundle "$BUNDLE" b < /dev/null

a_says() { is "$(podvm exec a cat "$1")" "$2"; }
b_says() { is "$(podvm exec b cat "$1")" "$2"; }
podvm timeline a > "$WORK/timeline"
ok 'the timeline tells which are mirrored' grep -q 'container a: 4 volumes shared, 2 mirrored' "$WORK/timeline"
ok 'a file is there' a_says /config/app.conf 'colour=blue'
ok 'also in directories' a_says /config/nested/deep/file 'far below'
ok 'with mode, owner, size and time' is \
	"$(podvm exec a stat -c '%a %u:%g %s %Y' /config/..data/app.conf)" \
	"$(stat -c '%a %u:%g %s %Y' "$V/config/..data/app.conf")"
ok 'as links through ..data' is "$(podvm exec a readlink /config/app.conf)" ..data/app.conf
ok 'a secret of a group' is "$(podvm exec a stat -c '%a %u:%g' /secret/..data/token)" '440 0:1000'
ok 'which its user reads' b_says /etc/secret/token secret
ok 'it cannot be written' exits 1 podvm exec a sh -c 'echo x > /config/app.conf'
ok 'nor anything beside it' exits 1 podvm exec a touch /config/new
ok 'one that is too large is shared' is "$(podvm exec a sh -c 'wc -c < /large/data')" 5000000

# ---- a new content --------------------------------------------------------------
podvm exec a /inside watch /config 200 > "$WORK/events" 2>&1 &
watcher=$!
ok 'somebody waits for a change' wait_for 20 grep -q READY "$WORK/events"
mkdir -p "$V/config/..2026_02/nested"
echo 'colour=red' > "$V/config/..2026_02/app.conf"
echo 'new' > "$V/config/..2026_02/added"
swap "$V/config" ..2026_02
ok 'inotify tells of the new content' wait_for 20 grep -q 'moved-to ..data$' "$WORK/events"
ok 'and of a new name' wait_for 20 grep -q 'moved-to added$' "$WORK/events"
ok 'the content is new' a_says /config/app.conf 'colour=red'
ok 'in the other container, too' b_says /etc/config/app.conf 'colour=red'
ok 'a new file is there' a_says /config/added new
ok 'one that went is gone' exits 1 podvm exec a test -L /config/old
ok 'nothing of the old content is left' wait_for 10 sh -c \
	"[ \"\$(podvm --root $ROOT exec a ls -a /config | grep -c '^[.][.]2026')\" = 1 ]"
ok 'a file by itself stays the one that it was' a_says /one 'colour=blue'
mkdir "$V/written/..2026_02"
echo 'second' > "$V/written/..2026_02/file"
swap "$V/written" ..2026_02
ok 'one that may be written is shared, and new as well' wait_for 10 a_says /written/file second

# ---- many, one after the other -----------------------------------------------------
i=3
while [ $i -le 12 ]; do
	mkdir "$V/config/..2026_$i"
	echo "round=$i" > "$V/config/..2026_$i/app.conf"
	swap "$V/config" "..2026_$i"
	i=$((i + 1))
done
ok 'the last of many is what is seen' wait_for 20 a_says /config/app.conf 'round=12'

# ---- the end ------------------------------------------------------------------------
podvm delete --force a
wait $watcher || :
mkdir "$V/config/..2026_13"
echo 'for b' > "$V/config/..2026_13/app.conf"
swap "$V/config" ..2026_13
ok 'a change after the first container is gone' wait_for 20 b_says /etc/config/app.conf 'for b'
ok 'the host has not been touched' is "$(ls -A "$V/config" | tr '\n' ' ')" '..2026_13 ..data app.conf '
podvm delete --force b
umount "$WORK"/disk/[ab]/rootfs
rm -rf "$V"
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
