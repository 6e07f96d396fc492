#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# One pod with two networks, each IPv4 and IPv6: eth0 by tc, net1 by a macvtap, since
# somebody's filter is in tc's place there. The guest's own stack answers and calls: packets
# of every size, TCP with hashes, datagrams in fragments, MTUs of routes and of paths; the
# other ends are the host, a second pod, and a network behind a link with a smaller MTU;
# and ports of the host lead to the pod.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 33

FAR=podvm-far
story_begin
servers=
far_end() {
	status=$?
	# shellcheck disable=SC2086 # words
	kill $servers 2> /dev/null || :
	CNI_ID=podvm-story CNI_IF=net1 cni DEL "$SECOND" > /dev/null 2>&1 || :
	net_down 2> /dev/null || :
	for n in $FAR podvm-second; do ip netns del $n 2> /dev/null || :; done
	(exit "$status")
	story_end
}
trap far_end EXIT
PATH=$BIN/tests:$PATH
modprobe macvtap
make_layers
cp "$BIN/tests/traffic" "$WORK/disk/layers/base/bin/"
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad

# ---- the networks ---------------------------------------------------------------------
SECOND=$TOP/cni-examples/60-podvm-second.conflist
export PORTMAP
PORTMAP='[{"hostPort": 18080, "containerPort": 7777, "protocol": "tcp"}]'
net_up
(unset PORTMAP && CNI_ID=podvm-story CNI_IF=net1 cni ADD "$SECOND") > "$WORK/net1.json"
one4=$(jq -r '.ips[].address | select(contains(":") | not) | sub("/.*"; "")' "$WORK/net1.json")
one6=$(jq -r '.ips[].address | select(contains(":")) | sub("/.*"; "")' "$WORK/net1.json")
# What is behind the host, by a link whose MTU is smaller than the pod's.
ip netns add $FAR
ip link add podvm-far0 mtu 1300 type veth peer name far1 mtu 1300 netns $FAR
ip link set podvm-far0 up
ip -n $FAR link set lo up
ip -n $FAR link set far1 up
for n in 48 49 50; do
	ip addr add 10.1$n.0.1/24 dev podvm-far0
	ip addr add "fd6f:6476:6d$n::1/64" dev podvm-far0 nodad
	ip -n $FAR addr add 10.1$n.0.2/24 dev far1
	ip -n $FAR addr add "fd6f:6476:6d$n::2/64" dev far1 nodad
done
ip -n $FAR route add default via 10.148.0.1
ip -n $FAR -6 route add default via fd6f:6476:6d48::1
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
# A second pod on both networks; it needs no machine.
ip netns add podvm-second
ip -n podvm-second link set lo up
ip link add pod2e0 type veth peer name eth0 netns podvm-second
ip link add pod2n1 type veth peer name net1 netns podvm-second
ip link set pod2e0 master podvm0 up
ip link set pod2n1 master podvm6 up
ip -n podvm-second link set eth0 up
ip -n podvm-second link set net1 up
ip -n podvm-second addr add 10.145.255.200/16 dev eth0
ip -n podvm-second addr add fd6f:6476:6d00::ffff/64 dev eth0 nodad
ip -n podvm-second addr add 10.146.11.200/24 dev net1
ip -n podvm-second addr add fd6f:6476:6d11::ffff/64 dev net1 nodad

# table IP - of the rule that sbr has made for it
table() { ip -n "$NETNS" "$2" rule | sed -n "s/.*from $1 lookup \\([0-9]*\\).*/\\1/p"; }
gw4=$(jq -r '[.ips[].gateway | select(contains(":") | not)][0]' "$WORK/cni.result")
gw6=$(jq -r '[.ips[].gateway | select(contains(":"))][0]' "$WORK/cni.result")
gate4=$(jq -r '[.ips[].gateway | select(contains(":") | not)][0]' "$WORK/net1.json")
gate6=$(jq -r '[.ips[].gateway | select(contains(":"))][0]' "$WORK/net1.json")
ip -n "$NETNS" route add 10.150.0.0/16 via "$gw4" dev eth0 mtu 1280
ip -n "$NETNS" -6 route add fd6f:6476:6d50::/64 via "$gw6" dev eth0 mtu 1280
ip -n "$NETNS" route add 10.150.0.0/16 via "$gate4" dev net1 table "$(table "$one4" -4)" mtu 1280
ip -n "$NETNS" -6 route add fd6f:6476:6d50::/64 via "$gate6" dev net1 table "$(table "$one6" -6)" mtu 1280
# Somebody's filter, for which "auto" takes a macvtap.
tc -n "$NETNS" qdisc add dev net1 clsact
tc -n "$NETNS" filter add dev net1 ingress pref 7 protocol ip u32 match u32 0 0 classid 1:1
snapshot > "$WORK/before"

# ---- the pod ---------------------------------------------------------------------------
make_bundle net "$IN_NETNS" traffic --serve
podvm run --detach --bundle "$BUNDLE" net < /dev/null > "$WORK/run.log" 2>&1 || cat "$WORK/run.log"
traffic --serve < /dev/null &
servers=$!
ip netns exec $FAR traffic --serve < /dev/null &
servers="$servers $!"
in_pod() { podvm exec net "$@"; }
second() { ip netns exec podvm-second "$@"; }
kinds() { ip -n "$NETNS" -d -j link | jq -r '[.[] | select(.ifalias // "" | startswith("podvm:"))
	| "\(.ifalias) \(.linkinfo.info_kind)"] | sort | join(", ")'; }
ok 'eth0 by a tap, net1 by a macvtap' is "$(kinds)" 'podvm:eth0 tun, podvm:net1 macvtap'

# passes NAME ADDRESS GATEWAY FAR ROUTED - what each network must do in each family
passes() {
	case $2 in
	*:*) head=48 ;;
	*) head=28 ;;
	esac
	ok "$1: ping to the pod, full size, not to be fragmented" ping -q -c 2 -i 0.2 -W 5 -M "do" -s $((1500 - head)) "$2"
	ok "$1: ping to the pod, in fragments" ping -q -c 2 -i 0.2 -W 5 -s 9000 "$2"
	ok "$1: TCP and UDP to the pod" traffic --bytes 200000 - - "$2"
	ok "$1: from a second pod" second traffic --bytes 200000 - - "$2"
	ok "$1: TCP and UDP from the pod" in_pod traffic --bytes 200000 --source "$2" - - "$3"
	ok "$1: to a network whose path has a smaller MTU" \
		in_pod traffic --bytes 200000 --source "$2" --path-mtu 1300 - - "$4"
	ok "$1: by a route with a smaller MTU" \
		in_pod traffic --bytes 200000 --source "$2" --path-mtu 1280 - - "$5"
}
wait_for 20 traffic --no-udp --bytes 1 - - "$IP4"
passes 'eth0, IPv4' "$IP4" "$gw4" 10.148.0.2 10.150.0.2
passes 'eth0, IPv6' "$IP6" "$gw6" fd6f:6476:6d48::2 fd6f:6476:6d50::2
passes 'net1, IPv4' "$one4" "$gate4" 10.149.0.2 10.150.0.2
passes 'net1, IPv6' "$one6" "$gate6" fd6f:6476:6d49::2 fd6f:6476:6d50::2
far() { ip netns exec $FAR traffic --no-udp --bytes 200000 --dial 18080 - - "$1"; }
ok 'through a host port, from the network, IPv4' far 10.148.0.1
ok 'through a host port, from the network, IPv6' far fd6f:6476:6d48::1
ok 'through a host port, from a second pod' \
	second traffic --no-udp --bytes 200000 --dial 18080 - - "$gw4"

podvm delete --force net
umount "$BUNDLE/rootfs"
# shellcheck disable=SC2086 # words
kill $servers
wait
snapshot > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"
tap_end
