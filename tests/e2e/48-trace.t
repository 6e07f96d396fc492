#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-netplug trace and capture where a real guest is at the end: each hop sees each
# packet, with one clock, and a flow that dies in the guest, or on the host in front of
# it, is found there.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 10

story_begin
make_layers
net_up
snapshot > "$WORK/before"
make_bundle net "$IN_NETNS | (.process.capabilities | .bounding, .effective, .permitted) += [\"CAP_NET_ADMIN\"]" \
	sleep 1000
podvm run --detach --bundle "$BUNDLE" net < /dev/null > /dev/null 2>&1
gw4=$(ip -n "$NETNS" -4 route show default | sed 's/.*via \([^ ]*\).*/\1/')
netplug() { podvm-netplug "$@" --root "$ROOT"; }

# traced STATUS JQ-FILTER OPTION... - what trace says, by its status and its JSON
traced() {
	want=$1
	filter=$2
	shift 2
	code=0
	netplug trace net --json "$@" > "$WORK/trace.json" || code=$?
	is "$code" "$want" && jq -e "$filter" "$WORK/trace.json" > "$WORK/jq" && return
	jq . "$WORK/trace.json"
	return 1
}

ok 'an echo from the host passes all hops' traced 0 '.outcome == "passes" and
	[.hops[] | .hop, .toGuest.packets, .fromGuest.packets] == ["host", 3, 3, "pod", 3, 3, "tap", 3, 3, "guest", 3, 3]' --ping
ok 'IPv6' traced 0 '.outcome == "passes"' --ping --to "$IP6"
ok 'TCP from the guest to the gateway' traced 0 '.outcome == "passes" and (.hops | length) == 4' \
	--probe --to "$gw4:9/tcp"

podvm-netplug capture net --root "$ROOT" -w "$WORK/all.pcapng" --filter "icmp and host $IP4" --json 2> "$WORK/summary.json" &
capture=$!
wait_for 20 test -s "$WORK/all.pcapng"
ping -q -c 3 -i 0.2 -W 5 "$IP4" > "$WORK/ping"
kill -INT $capture
ok 'capture ends cleanly' wait $capture
ok 'it has each packet at each hop' sh -c "jq -e '[.hops[].packets] == [6, 6, 6, 6] and .written == 24' $WORK/summary.json &&
	tcpdump -n -r $WORK/all.pcapng 2> $WORK/tcpdump.err | wc -l | grep -qx 24 || { cat $WORK/summary.json; exit 1; }"
ok 'and knows the clock of the guest' jq -e '.hops[3] | .hop == "guest" and .clockWithinNs < 1000000000' "$WORK/summary.json"

tap=$(ip -n "$NETNS" -br link | sed -n 's/^\(tap[0-9]*\).*/\1/p')
ip -n "$NETNS" link set "$tap" down
ok 'a tap that is down' traced 1 '.at == "tap" and .way == "toGuest"' --ping
ip -n "$NETNS" link set "$tap" up
podvm exec net ip addr flush dev eth0
ok 'a guest that does not answer' traced 1 '.at == "guest" and .way == "fromGuest"' --ping
tc -n "$NETNS" filter del dev eth0 ingress pref 1
ok 'a redirect that is gone' sh -c "podvm-netplug trace net --root $ROOT --ping | tee $WORK/text | grep -q 'at tc, on its way to the guest' ||
	{ cat $WORK/text; exit 1; }"
podvm delete --force net
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"
tap_end
