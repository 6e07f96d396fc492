#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-storage inspect, plan, export: JSON, tables, errors, and an image that is whole
# or not there.
set -eu
. "$(dirname "$0")/lib.sh"
plan 41

tool_begin
tool_layers
d=$WORK/disk
s() { podvm-storage "$@"; }
j() { s "$@" | jq -e "$q" > /dev/null; }

q='.supported and .kind == "overlay" and (.layers | length) == 3 and .layers[0].role == "upper"
	and .layers[2].names == 7 and .fsType == "overlay" and .workDir == "'$d/work'"'
ok 'inspect --json' j inspect "$d/m" --json
q='.supported == false and .kind == "plain-directory" and (.reason | length) > 0'
ok 'inspect of a plain directory tells the reason' j inspect --json "$d/low/etc"
ok 'inspect as a table' sh -c "podvm-storage inspect $d/m | grep -q 'can be mapped'"
bad=$d/$(printf 'b\377d')
mkdir "$bad"
q='.pathHex != null and (.path | endswith("d"))'
ok 'a name that is not UTF-8 is valid JSON' j inspect --json "$bad"
ok 'inspect without a path' fails 2 'needs a path' s inspect
ok 'inspect of two paths' fails 2 'more than one' s inspect a b
ok 'inspect of nothing' fails 1 'No such file' s inspect /no/such
ok 'an unknown command' fails 2 'unknown command' s frobnicate
ok 'an unknown option' fails 2 'unknown option' s inspect --frob /

# ---- plan ------------------------------------------------------------------------
q='.supported and .path == "'$d/m'" and .bundle == null and (.disks | length) == 1
	and .disks[0].readonly and .stats.copiedBytes == 0 and .stats.files == 4'
ok 'plan --json of a path' j plan "$d/m" --json
mkdir -p "$d/b"
bundle() { printf '{"ociVersion": "1.0.2", "root": %s}' "$1" > "$d/b/config.json"; }
bundle "{\"path\": \"$d/m\"}"
q='.supported and .bundle == "'$d/b'" and .path == "'$d/m'" and .readonly == false
	and (.disks | length) == 2 and .disks[1].sizeBytes == 67108864'
ok 'plan --json of a bundle' j plan --json --scratch 64M "$d/b"
bundle "{\"path\": \"$d/m\", \"readonly\": true}"
q='.readonly and (.disks | length) == 1'
ok 'a read-only bundle' j plan --json "$d/b"
ok 'no scratch disk for it' fails 2 'root/readonly' s plan "$d/b" --scratch 64M
bundle '{"path": "../m"}'
ok 'a path out of the bundle' fails 1 '/root/path' s plan "$d/b"
ln -s ../m "$d/b/link"
bundle '{"path": "link"}'
ok 'a symbolic link out of the bundle' fails 1 '/root/path' s plan "$d/b"
bundle '{"path": 7}'
ok 'a path of a wrong type' fails 1 '/root/path' s plan "$d/b"
echo '{' > "$d/b/config.json"
ok 'a config.json that ends early' fails 1 'config.json' s plan "$d/b"
echo '{"root": {"path": "/"}}' > "$d/m/config.json"
q='.bundle == null and .path == "'$d/m'"'
ok "an image's own config.json leads nowhere" j plan "$d/m" --json
rm "$d/m/config.json"
tool_stale
code=0
s plan --json "$d/stale" > "$WORK/plan" 2> /dev/null || code=$?
ok 'what cannot be mapped is a failure' is "$code" 1
ok 'and the JSON tells the reason' jq -e '.supported == false and (.reason | length) > 0' "$WORK/plan"

# ---- export ----------------------------------------------------------------------
i=$WORK/disk/img
files() { ls -A "$d" | sort; }
ok 'export' s export "$d/m" -o "$i"
ok 'fsck.erofs accepts it' fsck.erofs "$i"
ok 'it is sparse' test "$(du -k "$i" | cut -f 1)" -lt 10000
ok 'only our user can read it' is "$(stat -c %a "$i")" 600
mkdir "$d/e"
ok 'it can be mounted' mount -t erofs -o loop,ro "$i" "$d/e"
list='find . -printf "%P|%y|%m|%U:%G|%T@|%l\n" | LC_ALL=C sort'
(cd "$d/m" && sh -c "$list") > "$WORK/a"
(cd "$d/e" && sh -c "$list") > "$WORK/b"
ok 'the same entries' diff "$WORK/a" "$WORK/b"
sums='find . -type f -exec md5sum {} + | LC_ALL=C sort'
(cd "$d/m" && sh -c "$sums") > "$WORK/a"
(cd "$d/e" && sh -c "$sums") > "$WORK/b"
ok 'the same contents' diff "$WORK/a" "$WORK/b"
umount "$d/e"
sum=$(md5sum < "$i")
ok 'an image that is there is kept' fails 1 'force' s export "$d/m" -o "$i"
ok 'as it was' is "$(md5sum < "$i")" "$sum"
ino=$(stat -c %i "$i")
ok 'replaced with --force' s export --force "$d/m" -o "$i"
ok 'by another file' test "$ino" != "$(stat -c %i "$i")"
s export "$d/m" -o - > "$d/stream"
ok 'standard output gets the same bytes' cmp "$i" "$d/stream"
ok 'a closed pipe is a failure' sh -c "! { podvm-storage export $d/m -o - 2> $WORK/err; echo \$? > $WORK/code; } | head -c 100 > /dev/null; is() { [ \"\$1\" = \"\$2\" ]; }; is \$(cat $WORK/code) 1"
ln -s "$i" "$d/symlink"
ok 'a symbolic link is not written through' fails 1 'no regular file' s export --force "$d/m" -o "$d/symlink"
ok 'nor is a device' fails 1 'no regular file' s export --force "$d/m" -o /dev/null
ok 'a directory that is not there' fails 1 'directory of' s export "$d/m" -o "$d/none/img"
rm "$d/symlink" "$d/stream" "$i"
files > "$WORK/a"
mkdir "$WORK/small"
mount -t tmpfs -o size=1m small "$WORK/small"
ok 'a full disk is a failure' fails 1 'No space' s export "$d/m" -o "$WORK/small/img"
ok 'that leaves nothing' is "$(ls -A "$WORK/small")" ''

# ends SIGNAL - at twenty points of time: a whole image or nothing
mkdir "$d/slow"
ends() {
	i=10
	while [ $i -lt 30 ]; do
		timeout -s "$1" "0.0$i" podvm-storage export "$d/m" -o "$d/slow/img" > "$WORK/out" 2>&1 || :
		[ ! -e "$d/slow/img" ] || fsck.erofs "$d/slow/img" || return 1
		rm -f "$d/slow/img"
		is "$(ls -A "$d/slow")" '' || return 1
		i=$((i + 1))
	done
}
ok 'INT leaves a whole image or nothing' ends INT
ok 'KILL leaves a whole image or nothing' ends KILL
rmdir "$d/slow"
files > "$WORK/b"
ok 'no other file is there' diff "$WORK/a" "$WORK/b"
tap_end
