#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A root file system that is mounted from a block device: the guest gets the device,
# and the host has it again afterwards, with what the guest wrote. Thin snapshots as
# snapshotters make them, linear and loop devices; and all that is refused.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/devices.sh"
plan 50

story_begin
trap devices_end EXIT
pool_up
thin_base
thin_snap podvm-snap 1
SNAP=/dev/mapper/podvm-snap
ip netns add "$NETNS"
MEMBER="$IN_NETNS | $MEMBER"

mounted() { is "$(mount_of "$WORK/disk/$1/rootfs")" "$2"; }

# ---- a thin snapshot: there and back ----------------------------------------------
device_bundle thin $SNAP nosuid,noatime,discard "$MEMBER" sh -c \
	'echo new > /made; rm /gone; dd if=/dev/zero of=/big bs=1M count=8 2> /dev/null; while [ ! -e /end ]; do sleep 0.1; done'
there=$(mount_of "$WORK/disk/thin/rootfs")
R=$WORK/disk/thin/rootfs
ok 'inspect names target, pool and state' sh -c "podvm-storage inspect $R > $WORK/out && grep -q '^block device *thin' $WORK/out && grep -q '^thin pool *.podvm-pool.: rw' $WORK/out && grep -q '^can be mapped' $WORK/out || { cat $WORK/out; false; }"
ok 'plan says what would be done' sh -c "podvm-storage plan $R | grep -q 'hand-over *exclusive'"
ok 'also in JSON' is "$(podvm-storage plan --json "$R" | jq -r '.handOver.mode, .block.thinPool.mode, .block.dmName' | tr '\n' ' ')" 'exclusive rw podvm-snap '
ok 'and has done nothing' mounted thin "$there"
ok 'a container runs on it' in_pod thin
ok 'its root is the ext4 on a disk' podvm exec thin grep -q ' / / .*noatime.* - ext4 /dev/vd' /proc/self/mountinfo
ok 'the host has no mount there' mounted thin ''
ok 'a second opener is refused: mount' exits 32 mount $SNAP /mnt
ok 'and another file system maker' sh -c "! mkfs.ext4 -F -q $SNAP 2> /dev/null"
pid=$(podvm state thin | jq .pid)
podvm exec thin touch /end
while kill -0 "$pid" 2> /dev/null; do
	sleep 0.01
done
# What engines wait for is the end of that process.
ok 'with the end of the container the mount is back, as it was' mounted thin "$there"
ok 'and the container counts as stopped' stopped thin
ok 'and reads what the guest wrote' is "$(cat "$R/made") $(stat -c %s "$R/big")" 'new 8388608'
ok 'a removed file is gone' test ! -e "$R/gone"
umount "$R"
podvm delete thin
ok 'deletion does not mount it again' mounted thin ''
ok 'the file system is clean' e2fsck -fn $SNAP
ok 'nobody has the device open' is "$(dmsetup info -c --noheadings -o open podvm-snap)" 0

# ---- what is refused; a keeper saves the pod's boot -----------------------------------
thin_snap podvm-keep 2
device_bundle keep /dev/mapper/podvm-keep noatime "$MEMBER" sleep 10000
ok 'a keeper for the pod' in_pod keep

device_bundle thin $SNAP nosuid,noatime "$MEMBER" sleep 1000
there=$(mount_of "$R")
# shellcheck disable=SC2217 # it holds it open
sleep 1000 < $SNAP &
opener=$!
ok 'refused: a device that somebody has open' refused thin "open elsewhere, by .sleep. (pid $opener)"
kill $opener
ok 'the mount is back' mounted thin "$there"
(cd "$R" && exec sleep 1000) &
user=$!
wait_for 10 sh -c "readlink /proc/$user/cwd | grep -q rootfs"
ok 'refused: a mount that is in use' refused thin "in use by .*(pid $user)"
kill $user
unshare -m --propagation private sleep 1000 &
copy=$!
wait_for 10 grep -q podvm-snap "/proc/$copy/mountinfo"
ok 'refused: a copy of the mount in another namespace' refused thin "mounted in the mount namespace of .*(pid $copy)"
kill $copy
ok 'the mount is back' mounted thin "$there"
mkdir "$WORK/mnt" "$WORK/mnt/second"
mount $SNAP "$WORK/mnt/second"
ok 'refused: mounted elsewhere, too' refused thin 'mounted at .*mnt/second'
umount "$WORK/mnt/second"
mount -t tmpfs none "$R/tmp"
ok 'refused: a mount inside' refused thin 'rootfs/tmp.* is mounted inside'
umount "$R/tmp"
dm suspend podvm-snap
ok 'refused: a suspended device, without waiting for it' refused thin 'podvm-snap.* is suspended'
dm resume podvm-snap
dm suspend podvm-pool
ok 'refused: a suspended pool' refused thin 'podvm-pool.* is suspended'
dm resume podvm-pool
dm remove --deferred podvm-snap
ok 'refused: a device that is to be removed' refused thin 'deferred remove'
dm message podvm-snap 0 @cancel_deferred_remove
ok 'the mount was never touched' mounted thin "$there"
umount "$R"

mkfs.ext2 -q -F $SNAP
mount -t ext2 $SNAP "$R"
ok 'refused: a file system that the guest does not know, by name' refused thin 'file system .ext2.: the guest'
umount "$R"

# A directory on a volume of the host's is not the volume.
thin_snap podvm-vol 3
mkdir "$WORK/mnt/vol"
mount /dev/mapper/podvm-vol "$WORK/mnt/vol"
mkdir -p "$WORK/disk/dir" "$WORK/mnt/vol/sub"
ln -s "$WORK/mnt/vol/sub" "$WORK/disk/dir/rootfs"
bundle_config dir "$MEMBER | .root.path = \"$WORK/mnt/vol/sub\"" true
volume=$(mount_of "$WORK/mnt/vol")
in_pod dir || :
ok 'a directory does not hand its volume over' is "$(mount_of "$WORK/mnt/vol")" "$volume"
podvm delete --force dir
rm "$WORK/disk/dir/rootfs"
umount "$WORK/mnt/vol"

# ---- other devices ------------------------------------------------------------------
truncate -s 32M "$WORK/disk/lin.img"
loop_of "$WORK/disk/lin.img"
dm_make podvm-lin "0 65536 linear $DEV 0"
mkfs.ext4 -q /dev/mapper/podvm-lin
mount /dev/mapper/podvm-lin "$WORK/base"
small_root "$WORK/base"
umount "$WORK/base"
device_bundle lin /dev/mapper/podvm-lin defaults "$MEMBER" sh -c 'echo linear > /made'
ok 'a linear device' in_pod lin
wait_for 20 stopped lin
podvm delete lin
ok 'comes back with what was written' is "$(cat "$WORK/disk/lin/rootfs/made")" linear
umount "$WORK/disk/lin/rootfs"
ok 'and is clean' e2fsck -fn /dev/mapper/podvm-lin

device_bundle lin /dev/mapper/podvm-lin defaults "$MEMBER | .root.readonly = true" sleep 1000
ok 'a read-only root' in_pod lin
ok 'is given as a read-only disk' sh -c "podvm --root $ROOT exec lin grep -q ' - ext4 .*' /proc/self/mountinfo; podvm --root $ROOT exec lin grep -q ' / / ro' /proc/self/mountinfo"
ok 'cannot be written' sh -c "! podvm --root $ROOT exec lin touch /new"
podvm delete --force lin
umount "$WORK/disk/lin/rootfs"
mount /dev/mapper/podvm-lin -o ro,noload "$WORK/disk/lin/rootfs"
ok 'and was not' test ! -e "$WORK/disk/lin/rootfs/new"
umount "$WORK/disk/lin/rootfs"

# What nobody can write needs no owner.
dm remove podvm-lin
dm create podvm-lin --readonly --table "0 65536 linear $DEV 0"
dmsetup mknodes podvm-lin
device_bundle lin /dev/mapper/podvm-lin ro "$MEMBER" sleep 1000
there=$(mount_of "$WORK/disk/lin/rootfs")
ok 'a read-only device is shared' in_pod lin
ok 'guest and host read it' is "$(podvm exec lin cat /made) $(cat "$WORK/disk/lin/rootfs/made")" 'linear linear'
ok 'and the mount stays' mounted lin "$there"
ok 'the root is read-only, as the mount is' sh -c "! podvm --root $ROOT exec lin touch /new"
podvm delete --force lin
umount "$WORK/disk/lin/rootfs"

truncate -s 32M "$WORK/disk/loop.img"
mkfs.ext4 -q "$WORK/disk/loop.img"
mount -o loop "$WORK/disk/loop.img" "$WORK/base"
small_root "$WORK/base"
umount "$WORK/base"
device_bundle loop "$WORK/disk/loop.img" loop "$MEMBER" sh -c 'echo loop > /made'
there=$(mount_of "$WORK/disk/loop/rootfs")
ok 'a loop device that goes with its mount' in_pod loop
wait_for 20 stopped loop
podvm delete loop
ok 'is mounted again' mounted loop "$there"
ok 'with what was written' is "$(cat "$WORK/disk/loop/rootfs/made")" loop
umount "$WORK/disk/loop/rootfs"
ok 'and goes with its mount' sh -c "! losetup -a | grep loop.img"

mkdir "$WORK/tree"
small_root "$WORK/tree"
mkfs.erofs "$WORK/disk/image.erofs" "$WORK/tree" > /dev/null 2>&1
device_bundle image "$WORK/disk/image.erofs" loop,ro "$MEMBER" sleep 1000
there=$(mount_of "$WORK/disk/image/rootfs")
ok 'a read-only EROFS image' in_pod image
ok 'is read beside the host' is "$(podvm exec image cat /kept) $(cat "$WORK/disk/image/rootfs/kept")" 'from the base from the base'
ok 'whose mount stays' mounted image "$there"
podvm delete --force image
umount "$WORK/disk/image/rootfs"
ok 'and whose loop device goes' sh -c "! losetup -a | grep image.erofs"

podvm delete --force keep
ok 'with the pod the last mount is back' is "$(mount_of "$WORK/disk/keep/rootfs" | cut -d' ' -f3)" "$WORK/disk/keep/rootfs"
umount "$WORK/disk/keep/rootfs"
dm remove podvm-snap podvm-keep podvm-vol podvm-lin podvm-base podvm-pool
tap_end
