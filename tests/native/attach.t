#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-netplug attach, detach, and its CNI plugin behind the real plugins: what they leave
# in the kernel and in their state directory; many at once, many times (CYCLES), and killed.
set -eu
. "$(dirname "$0")/lib.sh"

native_begin
node_up
STATE=/run/podvm/netplug
export NETNS CNI_ID CNI_IF

no_state() { [ -z "$(ls $STATE 2> /dev/null)" ]; }
# Without what follows a carrier a second later.
quiet_state() { netns_state "$1" | sed 's/<.*>//; s/ state [A-Z]*//'; }
attach() { podvm-netplug attach "$@" > "$WORK/attach" 2>&1 || { cat "$WORK/attach"; return 1; }; }
detach() { podvm-netplug detach "$@" > "$WORK/detach" 2>&1 || { cat "$WORK/detach"; return 1; }; }
refused() { ! podvm-netplug "$@" > "$WORK/refused" 2>&1; }

# A pod with two interfaces.
ip netns add pod
ip -n pod link set lo up
for i in 0 1; do
	ip link add veth$i type veth peer name eth$i netns pod
	ip link set veth$i up
	ip -n pod link set eth$i up
	ip -n pod addr add 10.149.$i.2/24 dev eth$i
done
settled() { ! ip -n pod addr | grep -q tentative; }
wait_for 10 settled
quiet_state pod > "$WORK/before"
as_before() { quiet_state pod > "$WORK/after"; diff "$WORK/before" "$WORK/after" && no_state; }

ok 'attach joins all interfaces' attach pod --queues 4 --owner 54321:54322
ok 'it prints tap, queues and MTU' grep -Eq '^eth0 +tap[0-9]+ +4 .* 1500$' "$WORK/attach"
ok 'and the addresses' grep -q 'address 10.149.1.2/24' "$WORK/attach"
taps() { ip -n pod -o link | sed -n 's/^\([0-9]*: [^:]*\):.* alias podvm:/\1 /p'; }
taps > "$WORK/attached"
ok 'attach once more' attach pod --queues 4 --owner 54321:54322 --json
ok 'is JSON' is "$(jq -c '[.ports[].queues, .guest.links[].name]' "$WORK/attach")" '[4,4,"eth0","eth1"]'
again() { taps | diff "$WORK/attached" -; }
ok 'and changes nothing' again
ok 'detach of one interface' detach pod --interface eth1
ok 'says so' grep -Eq '^eth1: tap tap[0-9]+ is gone$' "$WORK/detach"
ok 'detach of the rest' detach pod --json
ok 'in JSON' is "$(jq -c .detached "$WORK/detach")" '["eth0"]'
ok 'the namespace is as it was' as_before
ok 'detach of nothing is fine' detach pod
ok 'one interface, a name' attach pod --interface eth1 --tap vm1
ok 'the name' ip -n pod link show vm1
ok 'another tap for it takes its place' attach pod --interface eth1 --tap vm2
ok 'and the first is gone' sh -c '! ip -n pod link show vm1 2> /dev/null'
ip -n pod link set eth0 down
ok 'nothing is attached if one cannot be' refused attach pod
ok 'the interface is named' grep -q eth0 "$WORK/refused"
ip -n pod link set eth0 up
ok 'detach' detach pod
ok 'a bad owner' refused attach pod --owner root
ok 'too many queues' refused attach pod --queues 257
ok 'no target' refused attach
ok 'an unknown interface' refused attach pod --interface eth9
wait_for 10 settled
ok 'no tap and no file is left' sh -c "! ip -n pod link | grep -q podvm: && ! ls $STATE/* 2> /dev/null"
# Setting eth0 down and up has changed the order of its routes.
quiet_state pod > "$WORK/before"

# Killed at each system call that leaves something, then detached.
killed() {
	for n in 1 2 3 4 5 6 7 8 9 10; do
		( podvm-netplug attach pod > /dev/null 2>&1 & p=$!; sleep 0.00$n; kill -9 $p 2> /dev/null || :; wait $p 2> /dev/null || : )
		detach pod || return 1
		as_before || return 1
	done
}
ok 'killed at any time, then detached' killed
attach pod
ip netns del pod
ip netns add pod
ip -n pod link set lo up
ok 'a file of a namespace that is gone goes with the next command' detach pod
ok 'and no other stays' no_state
ip netns del pod

# ---- behind the real plugins -------------------------------------------------------
# chain NAME MAIN [PLUGIN...] - a conflist; podvm-netplug comes last
chain() {
	CONFLIST=$WORK/$1.conflist
	name=$1
	shift
	printf '%s\n' "$@" '{"type": "podvm-netplug"}' | jq -s --arg n "$name" --arg v "$VERSION_OF" \
		'{cniVersion: $v, name: $n, plugins: .}' > "$CONFLIST"
}
ipam() { printf '"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.151.%s.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}' "$1"; }
add() {
	NETNS=$1
	CNI_ID=$1
	CNI_IF=eth0
	[ -e "/run/netns/$1" ] || ip netns add "$1"
	cni ADD "$CONFLIST" > "$WORK/$1.json" 2> "$WORK/$1.err"
}
del() {
	NETNS=$1
	CNI_ID=$1
	CNI_IF=eth0
	cni DEL "$CONFLIST" > "$WORK/$1.err" 2>&1
}
check() {
	NETNS=$1
	CNI_ID=$1
	CNI_IF=eth0
	cp "$WORK/$1.json" "$WORK/cni.$1.eth0.$(jq -r .name "$CONFLIST").result"
	jq -c '.plugins[-1] + {name: .name, cniVersion: .cniVersion}' "$CONFLIST" > "$WORK/last"
	jq -c --slurpfile r "$WORK/$1.json" --slurpfile l "$CONFLIST" -n \
		'$l[0].plugins[-1] + {name: $l[0].name, cniVersion: $l[0].cniVersion, prevResult: $r[0]}' |
		CNI_COMMAND=CHECK CNI_CONTAINERID=$1 CNI_NETNS=/run/netns/$1 CNI_IFNAME=eth0 \
			CNI_PATH=$CNI_BIN podvm-netplug > "$WORK/check" 2>&1 || { cat "$WORK/check"; return 1; }
}
tap_of() { jq -r '.interfaces[-1].name' "$WORK/$1.json"; }
one_chain() {
	ok "$1, $VERSION_OF: ADD" add pod
	ok "$1: the tap is there" sh -c "ip -n pod link show $(tap_of pod) | grep -q 'alias podvm:eth0'"
	[ "$VERSION_OF" = 0.3.1 ] || ok "$1: CHECK" check pod
	ok "$1: DEL" del pod
	ok "$1: nothing is left" no_state
	ip netns del pod
}
BRIDGE='{"type": "bridge", "bridge": "podvm90", "isGateway": true, '$(ipam 0)'}'
for VERSION_OF in 0.3.1 0.4.0 1.0.0; do
	chain bridge "$BRIDGE"
	one_chain bridge
done
chain ptp "{\"type\": \"ptp\", $(ipam 1)}"
one_chain ptp
if has_kind macvlan; then
	chain macvlan "{\"type\": \"macvlan\", \"master\": \"node0\", $(ipam 2)}"
	one_chain macvlan
else
	echo 'SKIP native: macvlan: this kernel has none'
fi
chain all "$BRIDGE" '{"type": "portmap", "capabilities": {"portMappings": true}}' \
	'{"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.log_martians": "1"}}' \
	'{"type": "bandwidth", "ingressRate": 100000000, "ingressBurst": 1000000, "egressRate": 100000000, "egressBurst": 1000000}' \
	'{"type": "firewall"}' '{"type": "sbr"}'
one_chain 'portmap, tuning, bandwidth, firewall, sbr'

chain bridge "$BRIDGE"
many() {
	pids=
	for i in $(seq 50); do
		( add pod$i ) &
		pids="$pids $!"
	done
	rc=0
	for p in $pids; do wait "$p" || rc=1; done
	return $rc
}
count() { for i in $(seq 50); do ip -n pod$i -d link; done | grep -c 'alias podvm:eth0'; }
ok '50 ADDs at once' many
ok '50 taps' is "$(count)" 50
ok '50 files' is "$(ls $STATE | wc -l)" 50
ip netns del pod50
gc() {
	jq -n --arg n bridge '{cniVersion: "1.1.0", name: $n, type: "podvm-netplug",
		"cni.dev/valid-attachments": [range(1; 25) | {containerID: "pod\(.)", ifname: "eth0"}]}' |
		CNI_COMMAND=GC CNI_PATH=$CNI_BIN podvm-netplug
}
ok 'GC' gc
ok 'the valid ones stay' is "$(ls $STATE | wc -l)" 24
all_gone() { for i in $(seq 50); do del pod$i || return 1; done; }
ok '50 DELs' all_gone
ok 'nothing is left' no_state
for i in $(seq 49); do ip netns del pod$i; done

# The plugin alone, many times in one namespace.
ip netns add pod
add pod
jq -c '{cniVersion, name: "cycles", type: "podvm-netplug", prevResult: (.interfaces |= .[:-1])}' \
	"$WORK/pod.json" > "$WORK/alone"
plugin() {
	CNI_COMMAND=$1 CNI_CONTAINERID=cycles CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 CNI_PATH=$CNI_BIN \
		podvm-netplug < "$WORK/alone" > "$WORK/alone.out" || { cat "$WORK/alone.out"; return 1; }
}
printf '%s' "$(cat "$WORK/alone")" > "$WORK/alone"
CNI_COMMAND=DEL CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 podvm-netplug << EOF
{"cniVersion": "1.0.0", "name": "bridge"}
EOF
quiet_state pod > "$WORK/before"
index() { ip -n pod link show "$1" | sed 's/:.*//;q'; }
cycles() {
	for i in $(seq "$1"); do plugin ADD && plugin DEL || return 1; done
}
CYCLES=${CYCLES:-60}
ok "$CYCLES cycles of ADD and DEL" cycles "$CYCLES"
ok 'and the namespace is as it was' as_before
ok 'the last time' plugin ADD
ok 'each cycle took one index' is "$(($(index "$(jq -r '.interfaces[-1].name' "$WORK/alone.out")") - $(index eth0)))" "$((CYCLES + 2))"
tap_done
