#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A guest takes all its virtio devices from their drivers and gives them back, thirty
# times, with requests under way: each works afterwards, and the monitor holds neither
# more descriptors nor more memory than before. rebind-init is what the guest does.
# One vCPU, and quick grace periods: a round takes the guest a second otherwise. ROUNDS can
# be set (30).
set -eu
. "$(dirname "$0")/lib.sh"
plan 11

story_begin
ROUNDS=${ROUNDS:-30}
rebind_end() {
	status=$?
	[ -z "${pinger:-}" ] || kill "$pinger" 2> /dev/null || :
	ip link del rebind1 2> /dev/null || :
	ip link del rebind2 2> /dev/null || :
	(exit "$status")
	story_end
}
trap rebind_end EXIT
[ -c /dev/vhost-net ] || modprobe vhost_net

mkdir -p "$WORK/root/bin" "$WORK/disk/share"
cp /bin/busybox "$WORK/root/bin/busybox"
cp "$TOP/tests/e2e/rebind-init" "$WORK/root/init"
(cd "$WORK/root" && find . | cpio -o -H newc --quiet) > "$WORK/initramfs"
truncate -s 8M "$WORK/disk/image"
head -c 200000 /dev/urandom > "$WORK/disk/share/data"
for n in 1 2; do
	ip tuntap add dev rebind$n mode tap vnet_hdr
	ip addr add 10.9.$n.1/24 dev rebind$n
	ip link set rebind$n up
done
# The guest gets packets while it has a driver for them, and while it has none.
(while :; do
	ping -q -c 20 -i 0.05 -W 1 10.9.1.2
	ping -q -c 20 -i 0.05 -W 1 10.9.2.2
done) > /dev/null 2>&1 &
pinger=$!

status=0
"$BIN/tests/share-boot" --vmm "$BIN/podvm-vmm" --ram 128 --vcpus 1 --hotplug 128 --timeout 250 \
	--append "console=hvc0 quiet panic=-1 reboot=t tsc=reliable no_timer_check rcupdate.rcu_expedited=1 rounds=$ROUNDS" \
	--disk "$WORK/disk/image" --tap rebind1 --tap rebind2,vhost --port org.podvm.test \
	--share share="$WORK/disk/share" \
	"${KERNEL:-$TOP/build/kernel/vmlinux}" "$WORK/initramfs" \
	> "$WORK/console" 2> "$WORK/log" < /dev/null || status=$?

ended() {
	cat "$WORK/log"
	tail -n 30 "$WORK/console"
	is "$status" 0 && grep -q "^ALL $ROUNDS rounds" "$WORK/console"
}
ok "the guest has done $ROUNDS rounds" ended
ok 'with every kind of device' grep -q '^DEVICES virtio_balloon virtio_blk virtio_console virtio_mem virtio_net virtio_net virtio_rng virtiofs vmw_vsock_virtio_transport ' "$WORK/console"
checked=$({ seq 0 5 $((ROUNDS - 1)); echo $((ROUNDS - 1)); } | uniq)
lines() { tr -d '\r' < "$WORK/console" | sed -n "s/^$1//p"; }
ok 'its console had a line of each fifth round' is "$(lines 'ROUND ')" "$checked"
ok 'and so had its port' is "$(lines 'port|round ')" "$checked"
ok 'the host finds on the disk what the guest finds' is \
	"$(lines 'SUM ')" \
	"$(head -c $((ROUNDS * 65536)) "$WORK/disk/image" | md5sum | cut -d ' ' -f 1)"
ok 'and in the share what it wrote' is "$(cat "$WORK/disk/share/round")" $((ROUNDS - 1))

count() { sed -n "s/^share-boot: $1.* \([0-9]*\) $2.*/\1/p" "$WORK/log"; }
ok 'no driver broke a rule' is "$(count '' broken | sort -u)" 0
# The console's driver and the like reset their devices before the first round, too.
few() { for n in $(count '' resets); do [ "$n" -ge "$ROUNDS" ] || echo "$n"; done; }
ok 'each device was reset in each round' is "$(few)" ''

looks() { sed -n "s/^look: .*\b\([0-9][0-9]*\) $1.*/\1/p" "$WORK/log"; }
ok 'as many descriptors at the end as at the beginning' sh -c \
	"cat $WORK/log; [ $(looks descriptors | wc -l) = 2 ] && [ $(looks descriptors | sort -u | wc -l) = 1 ]"
# shellcheck disable=SC2046 # two numbers
set -- $(looks KiB)
echo "# private memory: ${1:-none} KiB, then ${2:-none} KiB"
ok 'and no more memory than a little' test "${2:-100000}" -le $((${1:-0} + 256))
ok 'nothing of podvm runs any more' is "$(podvm_processes)" ''
tap_end
