#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories about block devices; sourced after lib.sh, not run. A thin
# pool on loop devices, devices in it, and bundles whose rootfs is mounted from one.
# shellcheck shell=sh disable=SC2154

LOOPS=

# loop_of FILE - a loop device for it in $DEV, taken down by devices_end
loop_of() {
	DEV=$(losetup -f --show "$1")
	LOOPS="$LOOPS $DEV"
}

dm() { dmsetup --noudevrules --noudevsync "$@"; }

# dm_make NAME TABLE - a device; its node without udev
dm_make() {
	dm create "$1" --table "$2" && dmsetup mknodes "$1"
}

# pool_up - $POOL, on files in $WORK/disk
POOL=/dev/mapper/podvm-pool
pool_up() {
	truncate -s 8M "$WORK/disk/pool.meta"
	truncate -s 192M "$WORK/disk/pool.data"
	loop_of "$WORK/disk/pool.meta"
	META=$DEV
	loop_of "$WORK/disk/pool.data"
	DATA=$DEV
	pool_on
}
pool_on() { dm_make podvm-pool "0 393216 thin-pool $META $DATA 128 0 1 skip_block_zeroing"; }

# thin_base - device 0 of the pool, 64 MiB, /dev/mapper/podvm-base: a small root
# file system in ext4
thin_base() {
	dm message podvm-pool 0 create_thin 0
	dm_make podvm-base "0 131072 thin $POOL 0"
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/podvm-base
	mkdir -p "$WORK/base"
	mount /dev/mapper/podvm-base "$WORK/base"
	small_root "$WORK/base"
	umount "$WORK/base"
}

# small_root DIR - busybox, with few of its names
small_root() (
	cd "$1" || exit
	mkdir -p bin etc proc sys dev tmp
	cp /bin/busybox bin/busybox
	for name in sh cat echo ls sleep touch mkdir rm sync grep dd true test stat od blockdev mount; do
		ln bin/busybox "bin/$name"
	done
	echo 'root:x:0:0:root:/:/bin/sh' > etc/passwd
	echo 'from the base' > kept
	echo 'to be removed' > gone
)

# thin_snap NAME NUMBER - a snapshot of the base, as a snapshotter makes them
thin_snap() {
	dm suspend podvm-base
	dm message podvm-pool 0 "create_snap $2 0"
	dm resume podvm-base
	dm_make "$1" "0 131072 thin $POOL $2"
}

# device_bundle NAME DEVICE OPTIONS JQ-FILTER [ARG...] - a bundle with DEVICE mounted
device_bundle() {
	mkdir -p "$WORK/disk/$1/rootfs"
	mount -o "$3" "$2" "$WORK/disk/$1/rootfs"
	db_name=$1
	shift 3
	bundle_config "$db_name" "$@"
}

# in_pod NAME - a container of pod1, which a keeper holds up
in_pod() {
	podvm run --detach --bundle "$WORK/disk/$1" "$1" < /dev/null > "$WORK/run.log" 2>&1 && return
	cat "$WORK/run.log"
	return 1
}
# refused NAME WORDS - it is not created, and the message has the words
refused() {
	if in_pod "$1" > /dev/null; then
		echo "it runs"
		return 1
	fi
	grep -q "$2" "$WORK/run.log" || { cat "$WORK/run.log"; return 1; }
}
stopped() { podvm state "$1" | grep -q '"status": "stopped"'; }

# mount_of DIR - its line of mountinfo without what changes: ids
mount_of() { sed -n "s|^[0-9]* [0-9]* \\([0-9:]* / $1 .*\\)|\\1|p" /proc/self/mountinfo | sed 's/shared:[0-9]*/shared/'; }

devices_end() {
	status=$?
	set +e
	for c in $(podvm list -q 2> /dev/null); do
		podvm delete --force "$c"
	done
	# Twice: what is stacked, and what is below.
	for m in "$WORK"/disk/*/rootfs "$WORK/base" "$WORK"/mnt/* "$WORK"/disk/*/rootfs; do
		umount "$m" 2> /dev/null
	done
	dmsetup ls 2> /dev/null | sed -n 's/^\(podvm-[^ \t]*\).*/\1/p' | grep -v '^podvm-pool' |
		while read -r d; do
			dm resume "$d"
			dm remove --retry "$d"
		done
	dm remove --retry podvm-pool 2> /dev/null
	for l in $LOOPS; do
		losetup -d "$l"
	done
	(exit "$status")
	story_end
}
