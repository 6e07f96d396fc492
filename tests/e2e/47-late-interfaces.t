#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Interfaces that come and go, addresses and routes that change, while a pod runs: what the
# namespace has now the container has, and packets pass through the new interface; what
# has gone is gone there, too, and nothing is left behind.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 12

ROUNDS=${ROUNDS:-3}
story_begin
make_layers
net_up
snapshot > "$WORK/before"
make_bundle net "$IN_NETNS" sleep 1000
podvm run --detach --bundle "$BUNDLE" net < /dev/null > "$WORK/run.log" 2>&1 || cat "$WORK/run.log"
in_pod() { podvm exec net "$@"; }
in_netns() { ip -n "$NETNS" "$@"; }

# What the guest's kernel has generated is the pod's, and is used at once.
ll=$(in_netns -6 -o addr show dev eth0 scope link | sed 's/.*inet6 \([^ /]*\).*/\1/')
ok 'the link-local address' sh -c "podvm --root $ROOT exec net ip -6 addr show dev eth0 | grep -q '$ll/64'"
ok 'the link-local address answers' wait_for 20 ping -c 1 -W 5 "$ll%podvm0"

# plug N - an interface with an address and a route
plug() {
	ip link add late0 type veth peer name eth1 netns "$NETNS"
	ip addr add 10.77.0.1/24 dev late0
	ip link set late0 up
	in_netns addr add 10.77.0.2/24 dev eth1
	in_netns link set eth1 up
	in_netns route add "10.78.$1.0/24" via 10.77.0.1
}
absent() { ! in_pod ip link show dev eth1 > /dev/null 2>&1; }
has_route() { in_pod ip route show dev eth1 | grep -q "10.78.$1.0/24 via 10.77.0.1"; }

round() {
	plug "$1"
	wait_for 30 has_route "$1" || return 1
	in_pod ping -c 1 -W 10 10.77.0.1 || return 1
	[ "$(in_pod cat /sys/class/net/eth1/address)" = \
		"$(in_netns -j link show dev eth1 | jq -r '.[0].address')" ] || return 1
	in_netns link del eth1
	wait_for 30 absent
}
come_and_go() {
	for n in $(seq "$ROUNDS"); do
		round "$n" || return 1
	done
}
ok "an interface comes and goes $ROUNDS times" come_and_go

plug 99
ok 'it is there once more' wait_for 30 has_route 99
ok 'an address and a route more' sh -c "
	ip -n $NETNS addr add 10.79.0.2/24 dev eth1 && ip -n $NETNS route add 10.80.0.0/16 via 10.79.0.1"
ok 'the container has them' wait_for 20 sh -c "
	podvm --root $ROOT exec net ip addr show dev eth1 | grep -q 10.79.0.2/24 &&
	podvm --root $ROOT exec net ip route | grep -q '10.80.0.0/16 via 10.79.0.1'"
in_netns addr del 10.79.0.2/24 dev eth1
ok 'and has them no more' wait_for 20 sh -c "
	! podvm --root $ROOT exec net ip addr show dev eth1 | grep -q 10.79.0.2/24"
ok 'the first interface was never touched' sh -c "podvm --root $ROOT exec net ip route | grep -q 'default via'"
ip -n "$NETNS" link add br9 type bridge
ip -n "$NETNS" link set br9 up
ok 'what cannot be joined is named, and the pod lives' wait_for 20 podvm exec net true
in_netns link del br9
ok 'the timeline tells of it' sh -c "podvm --root $ROOT timeline net | grep -q 'interface eth1 is joined'"
in_netns link del eth1
ok 'gone for good' wait_for 30 absent
podvm delete --force net
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"
tap_end
