#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Conflists of cni-examples, each as it is but for the name of the node's interface: a pod
# on an ipvlan, in L2 and L3 mode, and on a vlan, with policy routing, with routes to several gateways and
# routes that refuse. Packets of every size pass both ways, and the namespace is
# afterwards what it was. tests/native/matrix.t has all the others, without a guest.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 35

UP=podvm-uplink # namespace of the network behind the node
story_begin
kinds_end() {
	status=$?
	net_down 2> /dev/null || :
	ip netns del "$UP" 2> /dev/null || :
	ip link del podvm-up0 2> /dev/null || :
	(exit "$status")
	story_end
}
trap kinds_end EXIT
for m in ipvlan 8021q; do modprobe "$m"; done
make_layers

# The node's interface, and a gateway behind it for each example; the vlan's is tagged.
ip netns add "$UP"
ip link add podvm-up0 type veth peer name up0 netns "$UP"
ip link set podvm-up0 up
ip -n "$UP" link set up0 up
ip -n "$UP" link add link up0 name up0.100 type vlan id 100
ip -n "$UP" link set up0.100 up
for n in 3 4; do
	dev=up0
	[ $n != 4 ] || dev=up0.100
	ip -n "$UP" addr add 10.146.$n.1/24 dev $dev
	ip -n "$UP" addr add "fd6f:6476:6d0$n::1/64" dev $dev nodad
done
# Pods in L3 mode are behind the node: it is the way to them, and knows the way on.
ip addr add 10.146.20.2/24 dev podvm-up0
ip addr add fd6f:6476:6d20::2/64 dev podvm-up0 nodad
ip -n "$UP" addr add 10.146.20.1/24 dev up0
ip -n "$UP" addr add fd6f:6476:6d20::1/64 dev up0 nodad
ip -n "$UP" link set lo up
ip -n "$UP" addr add 10.146.12.1/32 dev lo
ip -n "$UP" addr add fd6f:6476:6d12::1/128 dev lo nodad
ip route add 10.146.12.1 via 10.146.20.1
ip -6 route add fd6f:6476:6d12::1 via fd6f:6476:6d20::1
ip -n "$UP" route add 10.146.12.0/24 via 10.146.20.2
ip -n "$UP" -6 route add fd6f:6476:6d12::/64 via fd6f:6476:6d20::2 src fd6f:6476:6d20::1

in_pod() { podvm exec net "$@"; }
# Where the pod's peers are: behind the uplink, or on the node.
there() {
	case $kind in
	ipvlan | l3 | vlan) ip netns exec "$UP" "$@" ;;
	*) "$@" ;;
	esac
}

# pod_up EXAMPLE - a namespace by its chain, and a pod in it that serves data
pod_up() {
	CONFLIST=$WORK/conflist
	jq '.plugins |= map(if .master then .master = "podvm-up0" else . end)' \
		"$TOP/cni-examples/$1.conflist" > "$CONFLIST"
	kind=${1##*-}
	net_up
	"${2:-:}"
	snapshot > "$WORK/before"
	make_bundle "b$kind" "$IN_NETNS" \
		sh -c 'head -c 1000000 /dev/urandom > /srv/data; exec httpd -f -p 8080 -h /srv'
	podvm run --detach --bundle "$BUNDLE" net < /dev/null > "$WORK/run.log" 2>&1 || cat "$WORK/run.log"
	gw4=$(jq -r '[.ips[].gateway | select(contains(":") | not)][0]' "$WORK/cni.result")
}

pod_down() {
	podvm delete --force net
	umount "$WORK/disk/b$kind/rootfs"
	snapshot > "$WORK/after"
	ok "$kind: the namespace is as it was" diff "$WORK/before" "$WORK/after"
	net_down
}

fetch() { there busybox wget -q -O - "http://$1:8080/data" | md5sum; }

# passes - full-size packets, fragments and streams, both ways, IPv4 and IPv6
passes() {
	wait_for 60 there busybox wget -q -O /dev/null "http://$IP4:8080/data"
	sum=$(in_pod md5sum /srv/data | cut -d' ' -f1)
	ok "$kind: ping to the pod, IPv4, full size" there ping -c 1 -W 5 -M "do" -s 1472 "$IP4"
	ok "$kind: ping to the pod, IPv6, full size" there ping -c 1 -W 5 -M "do" -s 1452 "$IP6"
	ok "$kind: ping to the pod, fragments" there ping -c 1 -W 5 -s 8000 "$IP4"
	ok "$kind: ping from the pod" in_pod ping -I "$IP4" -c 1 -W 5 "$gw4"
	ok "$kind: TCP from the pod, IPv4" is "$(fetch "$IP4")" "$sum  -"
	ok "$kind: TCP from the pod, IPv6" is "$(fetch "[$IP6]")" "$sum  -"
	ok "$kind: MAC address" is "$(in_pod cat /sys/class/net/eth0/address)" \
		"$(ip -n "$NETNS" -j link show eth0 | jq -r '.[0].address')"
}

for example in 31-podvm-ipvlan 32-podvm-vlan 33-podvm-ipvlan-l3; do
	pod_up $example
	passes
	pod_down
done

# The gateway of the pod's own table, as sbr makes it, and more of each kind.
more_routes() {
	ip -n "$NETNS" rule add fwmark 7 blackhole pref 50
	ip -n "$NETNS" route add 10.200.0.0/16 \
		nexthop via 10.146.5.1 dev eth0 weight 2 onlink nexthop via 10.146.5.9 dev eth0 onlink
	ip -n "$NETNS" route add unreachable 10.201.0.0/16
	ip -n "$NETNS" -6 route add blackhole 2001:db8:5::/64
}
pod_up 40-podvm-bridge-sbr more_routes
passes
table=$(ip -n "$NETNS" rule | sed -n "s/.*from $IP4 lookup \([0-9]*\).*/\1/p")
ok 'sbr: the rule of the pod' sh -c "podvm --root $ROOT exec net ip rule | grep -q 'from $IP4 .*lookup $table'"
ok 'sbr: and its table' sh -c "podvm --root $ROOT exec net ip route show table $table | grep -q 'default via 10.146.5.1'"
ok 'a route that refuses' sh -c "podvm --root $ROOT exec net ping -c 1 -W 1 10.201.0.1 2>&1 | grep -q 'No route to host'"
pod_down
tap_end
