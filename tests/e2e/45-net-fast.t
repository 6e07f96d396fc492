#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A pod's network with four pairs of queues, on each path that packets can take: moved
# by the monitor or by the kernel (vhost-net); other stories have one pair. Then what a pod
# does not show: interfaces that come and go, and macvtap. Throughput goes into the log; nothing depends on it.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 28

story_begin
make_layers
# iperf3 and its libraries, into the lowest layer.
for f in /usr/bin/iperf3 $(ldd /usr/bin/iperf3 | grep -o '/[^ ]*'); do
	mkdir -p "$WORK/disk/layers/base$(dirname "$f")"
	cp -L "$f" "$WORK/disk/layers/base$f"
done
net_up
gw4=$(ip -n "$NETNS" -4 route show default | sed 's/.*via \([^ ]*\).*/\1/')
snapshot > "$WORK/before"
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
head -c 3000000 /dev/urandom > "$WORK/data"
sum=$(md5sum < "$WORK/data" | cut -d' ' -f1)

vhosts() { grep -l '^vhost-' /proc/[0-9]*/comm 2> /dev/null | wc -l; }
batch_vhosts() {
	for p in $(grep -l '^vhost-' /proc/[0-9]*/comm 2> /dev/null); do
		chrt -p "$(basename "$(dirname "$p")")"
	done | grep -c SCHED_BATCH
}
monitor() {
	for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2> /dev/null)" != podvm-vmm ] || echo "${p#/proc/}"
	done
}
in_pod() { podvm exec net "$@"; }
the_tap() { ip -n "$NETNS" -br link | sed -n 's/^\(tap[0-9]*\).*/\1/p'; }
# passed tx|rx - bytes and packets that the tap has given to the guest, or got from it
passed() { ip -n "$NETNS" -s -j link show "$(the_tap)" | jq -r ".[0].stats64.$1 | \"\(.bytes) \(.packets)\""; }
# above NUMBER NUMBER
above() { [ "$1" -gt "$2" ] || { echo "$1 is not above $2"; return 1; }; }

# iperf tx|rx NAME OPTION... - the pod serves, data passes the tap that way; notes the figure, and in
# $WORK/frame.tx or .rx the bytes of an average frame. The other way's small answers do not count in.
iperf() {
	way=$1 name=$2
	shift 2
	from=$(passed "$way")
	iperf3 -J -c "$IP4" -t 1 "$@" > "$WORK/iperf" ||
		{ jq -r .error "$WORK/iperf"; return 1; }
	jq -r '.end | (.sum_received // .sum)
		| "\(.bytes) \(.bits_per_second / 1e6 | floor) Mbit/s, \(.lost_percent // 0 | floor) % lost"' \
		"$WORK/iperf" > "$WORK/line"
	# shellcheck disable=SC2046,SC2086 # numbers
	set -- $from $(passed "$way")
	echo $((($3 - $1) / ($4 - $2 + 1))) > "$WORK/frame.$way"
	echo "$path, $queues: $name: $(cut -d' ' -f2- "$WORK/line")" >> "$WORK/figures"
	above "$(cut -d' ' -f1 "$WORK/line")" 100000
}

queues=4
for path in off auto; do
	echo "{ \"vhostNet\": \"$path\", \"vcpus\": $queues }" > "$PODVM_CONFIG"
	want_vhosts=0
	[ "$path" = off ] || want_vhosts=$queues
	path=$([ "$path" = off ] && echo monitor || echo vhost)
	at="$path, $queues pairs"
	make_bundle "b$queues$path" "$IN_NETNS" sh -c 'iperf3 -s > /dev/null & exec httpd -f -p 8080 -h /srv'
	podvm run --detach --bundle "$BUNDLE" net < /dev/null > /dev/null 2>&1

	ok "$at: vhosts" is "$(vhosts)" "$want_vhosts"
	ok "$at: which do not preempt guests" is "$(batch_vhosts)" "$want_vhosts"
	ok "$at: queues of the guest, and of the tap" is \
		"$(in_pod sh -c 'ls -d /sys/class/net/eth0/queues/rx-* | wc -l; nproc'
		ip -n "$NETNS" -d -j link show "$(the_tap)" | jq '.[0].linkinfo.info_data.numqueues // 1')" \
		"$queues
$queues
$queues"
	ok "$at: ping" ping -q -c 3 -i 0.2 -W 5 -s 1400 "$IP4"
	busybox httpd -f -p 18081 -h "$WORK" &
	httpd=$!
	ok "$at: TCP to the pod" is \
		"$(in_pod sh -c "wget -q -O /srv/data http://$gw4:18081/data; md5sum < /srv/data" | cut -d' ' -f1)" "$sum"
	kill $httpd
	ok "$at: TCP from the pod" is \
		"$(busybox wget -q -O - "http://$IP4:8080/data" | md5sum | cut -d' ' -f1)" "$sum"
	ok "$at: TCP, to the pod" iperf tx 'TCP to the pod' -P "$queues"
	ok "$at: TCP, from the pod" iperf rx 'TCP from the pod' -P "$queues" -R
	ok "$at: frames are larger than the MTU to the pod" above "$(cat "$WORK/frame.tx")" 1600
	ok "$at: and from it" above "$(cat "$WORK/frame.rx")" 1600
	ok "$at: UDP" iperf tx 'UDP to the pod' -u -b 20M
	if [ "$path" = vhost ]; then
		kill -9 "$(monitor)"
		gone() { [ -z "$(the_tap)" ] && [ "$(vhosts)" = 0 ]; }
		ok 'a killed monitor leaves no tap and no vhost' wait_for 20 gone
	fi
	podvm delete --force net
	umount "$BUNDLE/rootfs"
done
snapshot > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"

# ---- interfaces that come and go, by the supervisor's functions ------------------
drive() {
	echo "{ \"vhostNet\": \"$1\", \"vmm\": \"$BIN/podvm-vmm\", \"kernel\": \"$TOP/build/kernel/vmlinux\",
		\"initramfs\": \"$BIN/initramfs.cpio\" }" > "$PODVM_CONFIG"
	shift
	"$BIN/tests/nic-drive" "$@" --address 10.9.0.2 /bin/ping -q -c 1 -W 1 10.9.0.2
}
ip tuntap add t0 mode tap multi_queue vnet_hdr
ip addr add 10.9.0.1/24 dev t0
ip link set t0 up
ok 'hot plug, link, unplug: the monitor moves the packets' drive off --tap t0 --queues 2 --rounds 2
ok 'hot plug, link, unplug: the kernel moves them' drive auto --tap t0 --queues 2 --rounds 2
ip link del t0
ip link add w0 type veth peer name w1
ip link add link w0 name mv0 address 02:00:00:00:07:07 type macvtap mode bridge
ip addr add 10.9.0.1/24 dev w1
for l in w0 w1 mv0; do ip link set $l up; done
tap=/dev/tap$(cat /sys/class/net/mv0/ifindex)
ok 'macvtap: the monitor moves the packets' drive off --macvtap "$tap" --queues 2
ok 'macvtap: the kernel moves them' drive auto --macvtap "$tap"
ip link del w0

sed 's/^/# /' "$WORK/figures"
tap_end
