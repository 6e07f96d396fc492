# SPDX-License-Identifier: Apache-2.0
#
# Shared by the native tests; sourced, not run. A test runs in network and mount
# namespaces of its own: its network namespace is the node, and /run/netns and what CNI's
# plugins keep in /var/lib/cni are its alone. TAP and the CNI chain are those of the stories.
#
#	pods --- node --- net (the network behind it) --- far (behind a link of MTU 1300)
#
# shellcheck shell=sh
. "$(dirname "$0")/../e2e/lib.sh"

# shellcheck disable=SC2034 # of the tests
NODE=/proc/self/ns/net
ns() { echo "/run/netns/$1"; }
traffic() { "$BIN/tests/native-traffic" "$@"; }

native_begin() {
	WORK=$(mktemp -d /tmp/podvm-native.XXXXXX)
	mkdir -p /run/netns /run/podvm /var/lib/cni
	mount -t tmpfs podvm-native /run/netns
	mount -t tmpfs podvm-native /run/podvm
	mount -t tmpfs podvm-native /var/lib/cni
	guests=
	trap native_end EXIT
	trap 'exit 1' INT TERM
}

native_end() {
	status=$?
	trap - EXIT
	for g in $guests; do
		kill "$g" 2> /dev/null && wait "$g" || :
	done
	rm -rf "$WORK"
	exit "$status"
}

# has_kind KIND - whether this kernel makes interfaces of this kind
has_kind() {
	case $1 in
	vlan) set -- vlan "id 9" ;;
	*) set -- "$1" "" ;;
	esac
	# shellcheck disable=SC2086 # words
	ip link add link node0 name kind0 type "$1" $2 2> /dev/null || return 1
	ip link del kind0
}

# node_up - the node's interface node0, and the networks behind it
node_up() {
	ip link set lo up
	# Nobody else is here whose addresses could clash.
	echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
	for n in net far; do
		ip netns add $n
		ip -n $n link set lo up
		ip netns exec $n sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward
			echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
	done
	ip link add node0 type veth peer name net0 netns net
	ip link set node0 up
	ip -n net link set net0 up
	ip -n net link add far0 mtu 1300 type veth peer name far1 mtu 1300 netns far
	ip -n net link set far0 up
	ip -n far link set far1 up
	ip addr add 10.147.0.2/24 dev node0
	ip addr add fd6f:6476:6d47::2/64 dev node0 nodad
	ip -n net addr add 10.147.0.1/24 dev net0
	ip -n net addr add fd6f:6476:6d47::1/64 dev net0 nodad
	ip -n net addr add 10.148.0.1/24 dev far0
	ip -n net addr add fd6f:6476:6d48::1/64 dev far0 nodad
	ip -n far addr add 10.148.0.2/24 dev far1
	ip -n far addr add fd6f:6476:6d48::2/64 dev far1 nodad
	ip -n far addr add 10.150.0.1/32 dev lo
	ip -n far addr add fd6f:6476:6d50::1/128 dev lo nodad
	ip route add default via 10.147.0.1
	ip -6 route add default via fd6f:6476:6d47::1
	ip -n net route add 10.144.0.0/14 via 10.147.0.2
	ip -n net -6 route add fd6f:6476:6d00::/40 via fd6f:6476:6d47::2
	ip -n net route add 10.150.0.0/16 via 10.148.0.2
	ip -n net -6 route add fd6f:6476:6d50::/64 via fd6f:6476:6d48::2
	ip -n far route add default via 10.148.0.1
	ip -n far -6 route add default via fd6f:6476:6d48::1
	# Beyond the node, of pods in L3 mode.
	ip -n net addr add 10.146.12.1/32 dev lo
	ip -n net addr add fd6f:6476:6d12::1/128 dev lo nodad
	# Gateways of the examples whose pods are on the node's own Ethernet.
	if has_kind vlan; then
		ip -n net link add link net0 name net0.100 type vlan id 100
		ip -n net link set net0.100 up
	fi
	for n in 2 3 4; do
		dev=net0
		[ $n != 4 ] || dev=net0.100
		ip -n net link show $dev > /dev/null 2>&1 || continue
		ip -n net addr add 10.146.$n.1/24 dev $dev
		ip -n net addr add fd6f:6476:6d0$n::1/64 dev $dev nodad
	done
}

# netns_state NAME - all that ip(8) and tc(8) say of it
netns_state() {
	ip -n "$1" -d link
	ip -n "$1" -d addr
	ip -n "$1" -d route show table all
	ip -n "$1" -d -6 route show table all
	ip -n "$1" rule
	ip -n "$1" -6 rule
	ip -n "$1" neigh show nud permanent | sort
	tc -n "$1" -d qdisc
	for link in $(ip -n "$1" -br link | sed 's/[@ ].*//'); do
		tc -n "$1" filter show dev "$link" ingress
		tc -n "$1" filter show dev "$link" egress
	done
}

# guest_up POD GUEST [OPTION...] - joins the namespace POD to a guest, in the namespace GUEST
guest_up() {
	pod=$1
	guest=$2
	shift 2
	ip netns add "$guest"
	mkdir -p "$WORK/$guest"
	"$BIN/tests/native-guest" --dir "$WORK/$guest" "$@" "$(ns "$pod")" "$(ns "$guest")" \
		> "$WORK/$guest/out" 2>&1 &
	guest_pid=$!
	guests="$guests $guest_pid"
	until grep -q ready "$WORK/$guest/out"; do
		kill -0 $guest_pid 2> /dev/null || { cat "$WORK/$guest/out"; return 1; }
		sleep 0.02
	done
}

# guest_down GUEST
guest_down() {
	kill "$guest_pid"
	wait "$guest_pid"
	ip netns del "$1"
}
