# SPDX-License-Identifier: Apache-2.0
#
# Shared by the tests of tools; sourced, not run. TAP and helpers are those of the
# stories; a tree with layers is in $WORK/disk, on the file system of $TMPDIR, which
# must have trusted attributes (ext4, xfs, btrfs, tmpfs).
# shellcheck shell=sh
. "$(dirname "$0")/../e2e/lib.sh"

tool_begin() {
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/podvm-tools.XXXXXX")
	ROOT=$WORK/state
	RUN=$WORK/run
	mkdir "$WORK/disk" "$RUN"
	mount -t tmpfs -o size=512m podvm-tools "$WORK/disk"
	# What podvm-storage keeps on a host, of this test alone.
	mkdir -p /run/podvm-storage
	mount -t tmpfs podvm-tools /run/podvm-storage
	TMPDIR=$WORK/disk
	export TMPDIR
	trap tool_end EXIT
	trap 'exit 1' INT TERM
}

tool_end() {
	status=$?
	trap - EXIT
	[ -z "${server:-}" ] || kill "$server" 2> /dev/null
	cut -d ' ' -f 5 /proc/self/mountinfo | grep "^$WORK/" | sort -r | while read -r m; do
		umount "$m" 2> /dev/null || umount -l "$m"
	done
	rm -rf "$WORK"
	exit "$status"
}

# fails STATUS PATTERN COMMAND... - one line on standard error, this status
fails() {
	want=$1
	pattern=$2
	shift 2
	code=0
	"$@" > "$WORK/out" 2> "$WORK/fails" || code=$?
	is "exit $code, $(wc -l < "$WORK/fails") line" "exit $want, 1 line" || { cat "$WORK/fails"; return 1; }
	grep -q -e "$pattern" "$WORK/fails" || { echo "does not say $pattern:"; cat "$WORK/fails"; return 1; }
}

# tool_layers - two layers, an upper one, and the overlay of them at $WORK/disk/m
tool_layers() {
	d=$WORK/disk
	mkdir -p "$d/low/etc" "$d/mid/bin" "$d/up" "$d/work" "$d/m"
	echo base > "$d/low/etc/motd"
	echo gone > "$d/low/gone"
	head -c 3000001 /dev/urandom > "$d/low/big"
	truncate -s 200M "$d/low/sparse"
	echo tail >> "$d/low/sparse"
	ln "$d/low/big" "$d/low/hard"
	mknod "$d/mid/gone" c 0 0
	echo mid > "$d/mid/bin/tool"
	chmod 4755 "$d/mid/bin/tool"
	ln -s ../etc/motd "$d/mid/bin/link"
	touch "$d/mid/$(printf 'new\nline\377')"
	mount -t overlay overlay -o "lowerdir=$d/mid:$d/low,upperdir=$d/up,workdir=$d/work" "$d/m"
	echo changed > "$d/m/etc/motd"
}

# tool_stale - an overlay at $WORK/disk/stale whose lower directory is another one by now
tool_stale() {
	d=$WORK/disk
	mkdir -p "$d/s" "$d/s-up" "$d/s-work" "$d/stale"
	echo x > "$d/s/file"
	mount -t overlay overlay -o "lowerdir=$d/s,upperdir=$d/s-up,workdir=$d/s-work" "$d/stale"
	mv "$d/s" "$d/s-was"
	mkdir -m 700 "$d/s"
	echo y > "$d/s/other"
}
