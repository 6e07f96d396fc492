#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Block devices of the host among a container's devices (Kubernetes: volumeDevices):
# disks in the guest, under the path, mode and owner that were asked for, and nobody
# else's meanwhile.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/devices.sh"
plan 27

story_begin
trap devices_end EXIT
make_layers
ip netns add "$NETNS"
truncate -s 16M "$WORK/disk/a.img" "$WORK/disk/b.img"
loop_of "$WORK/disk/a.img"
A=$DEV
loop_of "$WORK/disk/b.img"
B=$DEV
printf 'from the host' | dd of="$A" conv=notrunc 2> /dev/null

# device PATH DEV ACCESS - a jq filter that adds it, with a rule, as CRI runtimes do
device() {
	echo ".linux.devices = ((.linux.devices // []) + [{path: \"$1\", type: \"b\",
		major: $(stat -c '0x%t' "$2" | xargs printf %d), minor: $(stat -c '0x%T' "$2" | xargs printf %d),
		fileMode: 416, uid: 1000, gid: 6}])
		| .linux.resources.devices += [{allow: true, type: \"b\", access: \"$3\",
		major: .linux.devices[-1].major, minor: .linux.devices[-1].minor}]"
}
IN="$IN_NETNS | $MEMBER"
node() { podvm exec "$1" stat -c "%F %a %u:%g" "$2"; }
held() { ! mkfs.ext4 -F -q "$1" 2> /dev/null; }

make_bundle one "$IN | $(device /dev/vol/a "$A" rwm)" sleep 10000
ok 'a container with a volume runs' in_pod one
ok 'the node is as it was asked for' is "$(node one /dev/vol/a)" 'block special file 640 1000:6'
ok 'with the numbers of a disk of the guest' podvm exec one sh -c \
	'want=$(stat -c %t:%T /dev/vol/a | sed "s/\([^:]*\):\(.*\)/0x\1 0x\2/"); want=$(printf "%d:%d" $want); grep -q "^$want$" /sys/block/vd*/dev'
ok 'it has the size of the device' is "$(podvm exec one busybox blockdev --getsize64 /dev/vol/a)" 16777216
ok 'and its content' is "$(podvm exec one sh -c 'dd if=/dev/vol/a bs=13 count=1 2> /dev/null')" 'from the host'
podvm exec one sh -c 'printf "from the guest" | dd of=/dev/vol/a bs=512 seek=8 conv=notrunc,fsync 2> /dev/null'
ok 'what it writes is on the device' is "$(dd if="$A" bs=512 skip=8 count=1 2> /dev/null | tr -d '\0')" 'from the guest'
ok 'nobody on the host can claim it' held "$A"
ok 'other disks of the pod are out of reach' podvm exec one sh -c \
	'for d in /sys/block/vd*; do n=$(tr : " " < $d/dev); rm -f /n; mknod /n b $n; [ $(cat $d/size) = 32768 ] || ! dd if=/n of=/dev/null count=1 2> /dev/null || exit 1; done'

make_bundle two "$IN | $(device /dev/same "$A" rwm)" sleep 10000
ok 'another container of the pod may share it' in_pod two
ok 'and sees the same' is "$(podvm exec two sh -c 'dd if=/dev/same bs=512 skip=8 count=1 2> /dev/null | tr -d "\\0"')" 'from the guest'

make_bundle reader "$IN | $(device /dev/b "$B" rm)" sleep 10000
ok 'a volume that may only be read' in_pod reader
ok 'can be read' podvm exec reader dd if=/dev/b of=/dev/null count=1
ok 'but not written' sh -c "! podvm --root $ROOT exec reader dd if=/dev/zero of=/dev/b count=1"
make_bundle writer "$IN | $(device /dev/b "$B" rwm)" sleep 10000
ok 'refused: to write what another one has read-only' refused writer 'read-only'

truncate -s 24M "$WORK/disk/a.img"
losetup -c "$A"
ok 'a device that grows grows in the guest' wait_for 20 sh -c \
	"[ \$(podvm --root $ROOT exec one busybox blockdev --getsize64 /dev/vol/a) = 25165824 ]"

podvm kill one KILL
wait_for 20 stopped one
ok 'the claim stays while another container has it' held "$A"
podvm kill two KILL
wait_for 20 stopped two
ok 'with the last one that runs the claim goes' mkfs.ext4 -F -q "$A"
ok 'and the pod lives on' podvm exec reader true
podvm delete one
podvm delete two

mkdir -p "$WORK/mnt"
mount "$A" "$WORK/mnt"
ok 'refused: a device that the host has mounted' refused two 'block device 7:[0-9]*: .*open elsewhere'
umount "$WORK/mnt"
dm_make podvm-lin "0 32768 linear $A 0"
ok 'refused: a device that another one is made of' refused two 'dm-0'
dm remove podvm-lin
ok 'when it is free it is taken' in_pod two
podvm delete --force two

make_bundle rule "$IN | .linux.resources.devices += [{allow: true, type: \"b\", major: 7, minor: 0, access: \"rw\"}]" true
ok 'refused: a rule for a device of the host that is not there' refused rule '/linux/resources/devices: block device 7:0'
make_bundle gone "$IN | $(device /dev/x "$A" rwm) | (.linux.devices[], .linux.resources.devices[-1]).minor = 9999" true
ok 'refused: a device that does not exist' refused gone '/linux/devices/0: block device 7:9999.*gone'

dm_make podvm-lin "0 32768 linear $A 0"
make_bundle dm "$IN | $(device /dev/x /dev/mapper/podvm-lin rwm)" sleep 10000
dm suspend podvm-lin
ok 'refused: a suspended device, without waiting' refused dm 'suspended'
dm resume podvm-lin
ok 'a device of the device mapper' in_pod dm
ok 'is held' is "$(dmsetup info -c --noheadings -o open podvm-lin)" 1
podvm delete --force dm
podvm delete --force reader
ok 'and let go with its pod' dm remove podvm-lin
umount "$WORK"/disk/*/rootfs
tap_end
