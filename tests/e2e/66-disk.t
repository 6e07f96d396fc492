#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Disks: what a guest writes is what it reads, by io_uring, without it, and around the
# page cache, by a program of our own and by fio; what it was told is safe survives a
# SIGKILL of the monitor; a host that fails costs single requests; a disk grows while it is
# used.
set -eu
. "$(dirname "$0")/lib.sh"
plan 27

story_begin
DISK=$BIN/tests/disk
KERNEL=${KERNEL:-$TOP/build/kernel/vmlinux}
CMDLINE='console=hvc0 quiet panic=-1 reboot=t tsc=reliable no_timer_check'

# guest COMMANDS [OPTION]... - a machine whose only program does that; its console and the
# monitor's log are in $WORK/console and $WORK/log
guest() {
	commands=$1
	shift
	"$BIN/tests/vmm-boot" --vmm "$BIN/podvm-vmm" --ram 128 --vcpus 2 --timeout 100 \
		--append "$CMDLINE -- $commands" "$@" "$KERNEL" "$BIN/tests/disk.cpio" \
		> "$WORK/console" 2> "$WORK/log"
}

# The guest has done all its commands, and nothing failed.
went_well() {
	tr -d '\r' < "$WORK/console" > "$WORK/lines"
	grep -q '^END 0$' "$WORK/lines" && ! grep -q FAILED "$WORK/lines" && return
	cat "$WORK/console" "$WORK/log"
	return 1
}
says() {
	tr -d '\r' < "$WORK/console" | grep -q "$1" && return
	cat "$WORK/console" "$WORK/log"
	return 1
}

# A file system of its own, where O_DIRECT works.
truncate -s 300M "$WORK/disk/outer"
mkfs.ext4 -q "$WORK/disk/outer"
mkdir "$WORK/outer"
mount -o loop "$WORK/disk/outer" "$WORK/outer"
disk_end() {
	status=$?
	set +e
	umount "$WORK/inner" "$WORK/full" "$WORK/outer" 2> /dev/null
	dmsetup remove podvm-bad 2> /dev/null
	[ -z "${LOOP:-}" ] || losetup -d "$LOOP"
	(exit "$status")
	story_end
}
trap disk_end EXIT

# ---- contents -------------------------------------------------------------------
SEED=${SEED:-$(date +%s)}
echo "# SEED $SEED"
truncate -s 24M "$WORK/disk/a"
guest "queues vda + verify vda 250 $SEED + scatter vda 1000 + discard vda" --disk "$WORK/disk/a" || :
ok 'a random load on a cached file, by io_uring' went_well
ok 'a queue for each vCPU' says '^QUEUES 2$'
ok 'io_uring was there' sh -c "! grep -q 'without io_uring' $WORK/log"
ok 'discarded blocks are freed on the host' is "$(stat -c '%b %s' "$WORK/disk/a")" '0 25165824'

guest "verify vda 250 $SEED" --disk "$WORK/disk/a" --no-io-uring || :
ok 'the same without io_uring' went_well
ok 'which the log says once' is "$(grep -c 'disks do without io_uring' "$WORK/log")" 1

truncate -s 24M "$WORK/outer/a"
guest "verify vda 250 $SEED" --disk "$WORK/outer/a" --direct || :
ok 'the same with O_DIRECT' went_well

# ---- a disk that grows -----------------------------------------------------------
truncate -s 8M "$WORK/disk/grows"
guest "grown vda" --disk "$WORK/disk/grows" &
guest=$!
wait_for 60 grep -q SMALL "$WORK/console"
truncate -s 12M "$WORK/disk/grows"
kill -USR1 "$(pidof vmm-boot)"
wait "$guest" || :
ok 'a guest sees its disk grow, and uses the new end' says '^GROWN 12582912$'
ok 'without a failure' went_well
ok 'which is in the file' test "$(stat -c %b "$WORK/disk/grows")" -gt 0

# ---- a host that fails -------------------------------------------------------------
truncate -s 8M "$WORK/disk/bad"
LOOP=$(losetup -f --show "$WORK/disk/bad")
dmsetup create podvm-bad << END
0 4096 linear $LOOP 0
4096 4096 error
8192 8192 linear $LOOP 8192
END
dmsetup mknodes
guest "errors vda" --disk /dev/mapper/podvm-bad --direct || :
ok 'bad blocks are errors of their requests' says '^ERRORS 32 reads, 32 writes of 128: Input/output error$'
ok 'and the guest goes on' went_well
ok 'the monitor logs some of them' is "$(grep -c 'blk: disk0' "$WORK/log")" 21
mkdir "$WORK/full"
mount -t tmpfs -o size=256k podvm-full "$WORK/full"
truncate -s 8M "$WORK/full/disk"
guest "errors vda" --disk "$WORK/full/disk" || :
ok 'a full host is an error of writes' says '^ERRORS 0 reads, .. writes of 128: Input/output error$'
ok 'and the guest goes on' went_well
umount "$WORK/full"

# ---- SIGKILL ---------------------------------------------------------------------
acked() { grep -c '^ACK .' "$WORK/console"; }
enough() { [ "$(acked)" -ge 60 ]; }
mkdir "$WORK/inner"

# crash FILE [OPTION]... - kill the monitor while its guest makes files
crash() {
	image=$1
	shift
	rm -f "$image"
	truncate -s 64M "$image"
	mkfs.ext4 -q "$image"
	: > "$WORK/console"
	guest "files vda" --disk "$image" "$@" &
	guest=$!
	wait_for 60 enough || cat "$WORK/console" "$WORK/log"
	kill -KILL "$(pidof podvm-vmm)"
	wait "$guest" || :
	tr -d '\r' < "$WORK/console" > "$WORK/acks"
	# The mount replays the journal, as the next boot would.
	mount -o loop "$image" "$WORK/inner"
	"$DISK" check "$WORK/inner" "$WORK/acks" > "$WORK/checked" 2>&1 || :
	umount "$WORK/inner"
	e2fsck -fn "$image" > "$WORK/fsck" 2>&1 || echo "status $?" >> "$WORK/fsck"
}
clean() {
	! grep -q '^status' "$WORK/fsck" && return
	cat "$WORK/fsck"
	return 1
}
whole() {
	grep -q '^CHECKED' "$WORK/checked" && ! grep -q FAILED "$WORK/checked" && return
	cat "$WORK/checked"
	return 1
}
crash "$WORK/disk/b"
ok "a killed monitor: every acknowledged file is there ($(acked) of them)" whole
ok 'and e2fsck finds nothing' clean
crash "$WORK/outer/b" --direct
ok "with O_DIRECT: every acknowledged file is there ($(acked) of them)" whole
ok 'and e2fsck finds nothing' clean

# ---- fio -------------------------------------------------------------------------
# fio and its libraries on a disk of their own, vdb; a script as the guest's program.
for f in /usr/bin/fio $(ldd /usr/bin/fio | grep -o '/[^ ]*'); do
	mkdir -p "$WORK/disk/tools$(dirname "$f")"
	cp -L "$f" "$WORK/disk/tools$f"
done
mkdir "$WORK/disk/tools/dev" "$WORK/disk/tools/tmp"
mkfs.erofs "$WORK/disk/tools.img" "$WORK/disk/tools" > "$WORK/log" 2>&1
rm -rf "$WORK/disk/tools"
# fio_job NAME OFFSET OPTION... - random writes of 4 MiB, each block with a checksum
fio_job() {
	name=$1
	offset=$2
	shift 2
	echo "/usr/bin/fio --name=$name --offset=$offset --size=4m --rw=randwrite --bs=4k --thread" \
		"--verify=crc32c --verify_fatal=1 --randrepeat=1 $*"
}
in_guest='--filename=/dev/vda --ioengine=libaio --iodepth=16 --direct=1 --fsync=64'
mkdir -p "$WORK/disk/root/bin"
cp /bin/busybox "$WORK/disk/root/bin/busybox"
cat > "$WORK/disk/root/init" << END
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir /proc /sys /dev /tools
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t erofs -o ro /dev/vdb /tools; mount --bind /dev /tools/dev; mount -t tmpfs tmp /tools/tmp
step() {
	name=\$1
	shift
	chroot /tools "\$@" > /tools/tmp/out 2>&1 && echo "FIO \$name" && return
	cat /tools/tmp/out
	echo "FAILED: \$name"
}
cd /
step verified $(fio_job verified 0 $in_guest)
step trimmed $(fio_job trimmed 4m $in_guest --rw=randtrimwrite)
step written $(fio_job written 8m $in_guest --do_verify=0 --end_fsync=1)
step endless $(fio_job endless 12m $in_guest --do_verify=0 --time_based --runtime=600)
END
chmod +x "$WORK/disk/root/init"
(cd "$WORK/disk/root" && find . | cpio -o -H newc --quiet) > "$WORK/fio.cpio"
truncate -s 16M "$WORK/outer/f"
: > "$WORK/console"
"$BIN/tests/vmm-boot" --vmm "$BIN/podvm-vmm" --ram 192 --vcpus 2 --timeout 100 --append "$CMDLINE" \
	--disk "$WORK/outer/f" --disk "$WORK/disk/tools.img" "$KERNEL" "$WORK/fio.cpio" \
	> "$WORK/console" 2> "$WORK/log" &
guest=$!
written() { grep -q -e '^FIO written' -e FAILED "$WORK/console"; }
wait_for 90 written || :
sleep 2
kill -KILL "$(pidof podvm-vmm)"
wait "$guest" || :
ok 'fio in the guest: random writes are read back' says '^FIO verified'
ok 'and so are writes to what was discarded' says '^FIO trimmed'
ok 'the monitor is killed when more has been flushed' says '^FIO written'
on_host() {
	sh -c "$(fio_job "$1" "$2" --filename="$WORK/outer/f" --ioengine=psync --verify_only)"
}
ok 'fio on the host finds what it had read back' on_host verified 0
ok 'and what was flushed' on_host written 8m
dd if=/dev/zero of="$WORK/outer/f" bs=4k count=1 seek=2050 conv=notrunc 2> "$WORK/log"
differs() { ! on_host "$@"; }
ok 'and would have found a block that is another' differs written 8m

# ---- in a container ---------------------------------------------------------------
make_layers
mkdir -p "$WORK/disk/layers/middle/opt"
cp "$DISK" "$WORK/disk/layers/middle/opt/disk"
make_bundle load . sh -c "truncate -s 8M /data && /opt/disk verify /data 250 $SEED"
podvm run --bundle "$BUNDLE" load < /dev/null > "$WORK/container" 2>&1 || :
ok 'a random load on a file of a container' grep -q '^VERIFIED' "$WORK/container"
ok 'without a failure' sh -c "! grep FAILED $WORK/container"
tap_end
