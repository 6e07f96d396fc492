#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-vmm by hand: a kernel, an initramfs, a disk, a tap and a console port, without
# a supervisor. The guest is a shell script.
# shellcheck disable=SC2016,SC2086
set -eu
. "$(dirname "$0")/lib.sh"
plan 16

story_begin
vmm=$BIN/podvm-vmm
kernel=${KERNEL:-$TOP/${BUILD:-build}/kernel/vmlinux}

# make_init SCRIPT... - an initramfs of busybox whose /init is this script
make_init() {
	rm -rf "$WORK/root"
	mkdir -p "$WORK/root/bin" "$WORK/root/dev" "$WORK/root/proc" "$WORK/root/sys" "$WORK/root/mnt"
	cp /bin/busybox "$WORK/root/bin/busybox"
	chroot "$WORK/root" /bin/busybox --install -s /bin
	{
		echo '#!/bin/sh'
		echo 'mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys'
		echo 'exec < /dev/console > /dev/console 2>&1'
		printf '%s\n' "$@"
		echo 'sync; poweroff -f'
	} > "$WORK/root/init"
	chmod +x "$WORK/root/init"
	(cd "$WORK/root" && find . | cpio -o -H newc --quiet) > "$WORK/initramfs"
}
run() { "$vmm" --kernel "$kernel" --initramfs "$WORK/initramfs" "$@"; }
quiet='console=hvc0 quiet panic=-1'

make_init 'echo hello from $(uname -s)' 'cat /proc/cmdline'
run < /dev/null > "$WORK/out" 2> "$WORK/err"
ok 'the boot is shown from its first line on' grep -q 'Linux version' "$WORK/out"
ok 'and what the program says' grep -q 'hello from Linux' "$WORK/out"

truncate -s 64M "$WORK/disk/image"
mke2fs -q -t ext4 "$WORK/disk/image"
truncate -s 1M "$WORK/disk/second"
make_init 'mount -t ext4 /dev/vda /mnt && echo written > /mnt/file && umount /mnt' \
	'cat /sys/block/vda/serial; echo; cat /sys/block/vdb/ro'
run --cmdline "$quiet" --disk "$WORK/disk/image,serial=scratch" --disk "$WORK/disk/second,readonly" \
	< /dev/null > "$WORK/out" 2> "$WORK/err" || cat "$WORK/err"
mkdir "$WORK/mnt"
mount -o loop,ro "$WORK/disk/image" "$WORK/mnt"
ok 'a disk is written' is "$(cat "$WORK/mnt/file")" written
umount "$WORK/mnt"
ok 'it has the serial that was asked for' grep -q '^scratch' "$WORK/out"
ok 'a second one is read-only' grep -q '^1' "$WORK/out"

ip tuntap add tap-alone mode tap vnet_hdr
ip addr add 192.168.77.1/24 dev tap-alone
ip link set tap-alone up
make_init 'ip link set eth0 up; ip addr add 192.168.77.2/24 dev eth0; ping -c 1 -W 10 192.168.77.1' \
	'cat /sys/class/net/eth0/address'
run --cmdline "$quiet" --tap tap-alone,mac=02:00:00:00:77:02 < /dev/null > "$WORK/out" 2> "$WORK/err"
ok 'the host answers over the tap' grep -q '1 packets received' "$WORK/out"
ok 'the interface has the address that was asked for' grep -q 02:00:00:00:77:02 "$WORK/out"
[ -c /dev/vhost-net ] || modprobe vhost_net
run --cmdline "$quiet" --tap tap-alone,vhost --metrics "$WORK/m.json" < /dev/null > "$WORK/out" 2> "$WORK/err" ||
	cat "$WORK/err"
ok 'with vhost, too' grep -q '1 packets received' "$WORK/out"
ok 'and the monitor moved no packet then' jq -e '.devices[] | select(.kind == "net") | .requests == 0' "$WORK/m.json"
ip link del tap-alone

# What comes before the guest has opened its console is lost, as on a serial line.
make_init 'echo ready; read -r a; echo "got $a"; read -r b; echo "and $b"'
mkfifo "$WORK/in"
run --cmdline "$quiet" < "$WORK/in" > "$WORK/out" 2> "$WORK/err" &
pid=$!
exec 7> "$WORK/in"
wait_for 30 grep -q ready "$WORK/out"
printf 'one\ntwo\n' >&7
exec 7>&-
wait $pid
ok 'the console has input' grep -q 'and two' "$WORK/out"

make_init 'for p in /sys/class/virtio-ports/*; do' \
	'[ "$(cat $p/name 2> /dev/null)" = org.podvm.test ] && port=/dev/${p##*/}; done' \
	'echo "port is $port"; read -r line < $port; echo "heard $line"; echo "said back" > $port; sleep 1'
"$BIN/tests/echo-port" "$WORK/port" 'over the port' > "$WORK/heard" &
peer=$!
wait_for 10 test -S "$WORK/port"
run --cmdline "$quiet" --port "org.podvm.test=$WORK/port" < /dev/null > "$WORK/out" 2> "$WORK/err" || cat "$WORK/err"
wait $peer
ok 'a console port has its name' grep -q 'port is /dev/vport' "$WORK/out"
ok 'and takes input' grep -q 'heard over the port' "$WORK/out"
ok 'and output' is "$(cat "$WORK/heard")" 'said back'

make_init 'echo c > /proc/sysrq-trigger'
ok 'a guest that panics: status 1' exits 1 run --cmdline 'console=hvc0 quiet panic=-1 reboot=t' < /dev/null
ok 'nothing of podvm runs any more' is "$(podvm_processes)" ''

make_init 'echo ready; sleep 1000'
"$vmm" --kernel "$kernel" --initramfs "$WORK/initramfs" --cmdline "$quiet" \
	--metrics "$WORK/m.json" < /dev/null > "$WORK/out" 2> "$WORK/err" &
pid=$!
wait_for 60 grep -q ready "$WORK/out"
kill -TERM $pid
wait $pid || got=$?
ok 'TERM stops it, and the metrics are written' sh -c "[ ${got:-0} = 130 ] && jq -e '.exits.mmio > 0' $WORK/m.json"
tap_end
