#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-netplug check and show where a real guest answers: a sound pod by each of its
# names, faults of the guest and of the host that need a real kernel on the other side,
# each found and mended by running what was printed, and what a killed supervisor leaves.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 15

story_begin
make_layers
net_up
snapshot > "$WORK/before"
echo 'nameserver 192.0.2.53' > "$WORK/resolv.conf"
make_bundle net "$IN_NETNS | .annotations += {} | $(bind /etc/resolv.conf "$WORK/resolv.conf" bind rw)
	| (.process.capabilities | .bounding, .effective, .permitted) += [\"CAP_NET_ADMIN\"]" sleep 1000
podvm run --detach --bundle "$BUNDLE" net < /dev/null > /dev/null 2>&1
in_pod() { podvm exec net "$@"; }
netplug() { podvm-netplug "$@" --root "$ROOT"; }

# codes TARGET - of all findings that are no notes
codes() {
	netplug check "$1" --json > "$WORK/check.json" || [ $? = 1 ] || return 2
	jq -r '.findings[] | select(.severity != "note") | .code' "$WORK/check.json" | sort -u | xargs
}
# mended - runs what was printed, until nothing is found
mended() {
	for _ in 1 2 3 4; do
		jq -r '.findings[] | select(.severity != "note") | .mend' "$WORK/check.json" | sort -u > "$WORK/mend"
		cat "$WORK/mend"
		sh -e "$WORK/mend" || return 1
		left=$(codes net)
		[ -n "$left" ] || return 0
	done
	echo "left: $left"
	jq . "$WORK/check.json"
	return 1
}
ok 'a sound pod: nothing is found' is "$(codes net; jq -c '[.guest, .pod, .findings]' "$WORK/check.json")" '
[true,"net",[]]'
jq -S 'del(.findings)' "$WORK/check.json" > "$WORK/first"
pid=$(podvm state net | jq .pid)
same() { codes "$1" > /dev/null && jq -S 'del(.findings)' "$WORK/check.json" | diff "$WORK/first" -; }
ok 'the same by the name of its namespace' same "$NETNS"
ok 'by its path' same "/run/netns/$NETNS"
by_pid() { codes "$pid" > /dev/null && is "$(jq -c '[.guest, .pod]' "$WORK/check.json")" '[true,"net"]'; }
ok 'by a process of it' by_pid
ok 'show names the queue and the guest' sh -c "podvm-netplug show net --root $ROOT --json | jq -e '.interfaces[0] |
	.state == \"joined\" and .guest.name == \"eth0\" and .guest.rxPackets > 0 and .queue.queues >= 1'"

peer=$(ip -j link show type veth | jq -r '.[] | select(.link_netns != null or .link_netnsid != null) | .ifname' | head -n 1)
bridge=$(ip -j link show "$peer" | jq -r '.[0].master')
# Five faults at once, of the guest and of the host.
in_pod ip route del default
in_pod ip link set eth0 mtu 1400
: > "$WORK/resolv.conf"
tc -n "$NETNS" qdisc replace dev eth0 root fq
ip link set "$bridge" type bridge vlan_filtering 1
bridge vlan del dev "$peer" vid 1
codes net > "$WORK/codes"
for c in guest-route guest-mtu dns-none link-qdisc port-vlan; do
	ok "$c is found" grep -w -e "$c" "$WORK/codes"
done
ok 'all are mended by what is printed' mended
ok 'and packets pass again' ping -c 1 -W 5 "$IP4"
ip link set "$bridge" type bridge vlan_filtering 0

# ---- what a killed supervisor leaves ---------------------------------------------
for p in /proc/[0-9]*; do
	[ "$({ tr '\0' ' ' < "$p/cmdline"; } 2> /dev/null | cut -d ' ' -f 4)" != supervisor ] || kill -9 "${p#/proc/}"
done
stale() { codes "$NETNS" | grep -qw stale-pod || { jq . "$WORK/check.json"; return 1; }; }
ok 'a killed supervisor is named' stale
jq -r '.findings[] | select(.code == "stale-pod") | .mend' "$WORK/check.json" > "$WORK/mend"
ok 'and cleaned up by what is printed' sh -c "sh -e $WORK/mend && podvm-netplug check $NETNS --root $ROOT"
podvm delete --force net > /dev/null 2>&1 || :
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"
tap_end
