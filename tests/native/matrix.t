#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every conflist of cni-examples, as it is but for the name of the node's interface, for
# each model and both families: packets of every size, TCP with hashes, fragments, MTUs of
# routes and of paths, from the network, the node, another pod, and through host ports.
# The pod's namespace is afterwards what it was.
set -eu
. "$(dirname "$0")/lib.sh"

native_begin
node_up
MODELS=${MODELS:-tc macvtap}
export PORTMAP POD_MAC NETNS CNI_ID CNI_IF
PORTMAP='[{"hostPort": 18080, "containerPort": 7777, "protocol": "tcp"}]'
POD_MAC=02:70:6f:64:76:01

in_guest() { ip netns exec guest "$@"; }
# The kernel tells up to a second later that nobody holds a tap.
tap_free() {
	[ "$kind" != netplug ] || wait_for 10 sh -c "ip -n pod -br link | grep -q '^tap.*DOWN'"
}
# Where the pod's nearest peer is: the node, or, where the pod is on the node's own
# Ethernet, the network behind it.
near() {
	case $near in
	node) "$@" ;;
	*) ip netns exec "$near" "$@" ;;
	esac
}

# chain_up EXAMPLE POD [INTERFACE] - a namespace by its chain; the result is in $WORK/POD.json
chain_up() {
	CONFLIST=$WORK/$1.conflist
	jq '.plugins |= map(if .master then .master = "node0" else . end)' \
		"$TOP/cni-examples/$1.conflist" > "$CONFLIST"
	NETNS=$2
	CNI_ID=$2
	CNI_IF=${3:-eth0}
	if [ ! -e "/run/netns/$2" ]; then
		ip netns add "$2"
		ip -n "$2" link set lo up
		# One example waits for what the kernel does with link-local addresses; it takes seconds.
		[ "$1" = 10-podvm-bridge ] || ip netns exec "$2" \
			sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'
	fi
	(
		# A second pod has host ports and a MAC address of its own: none.
		[ "$2" = pod ] || unset PORTMAP POD_MAC
		cni ADD "$CONFLIST"
	) > "$WORK/$2.$CNI_IF.json" 2> "$WORK/cni.err" || {
		cat "$WORK/$2.$CNI_IF.json" "$WORK/cni.err"
		return 1
	}
}

chain_down() {
	NETNS=$2
	CNI_ID=$2
	CNI_IF=${3:-eth0}
	cni DEL "$WORK/$1.conflist" > "$WORK/cni.err" 2>&1 || { cat "$WORK/cni.err"; return 1; }
}

# result POD [INTERFACE] FAMILY FIELD - of the chain's result, or nothing
result() {
	jq -r --arg six "$([ "$3" = 6 ] && echo : || echo .)" \
		"[.ips[] | select(.address | contains(\$six)) | .$4] | first // empty | sub(\"/.*\"; \"\")" \
		"$WORK/$1.$2.json"
}

settled() { ! ip -n "$1" addr | grep -q tentative; }

# from_and_to_pod EXAMPLE INTERFACE FAMILY - all traffic of one address family
# shellcheck disable=SC2086 # options
from_and_to_pod() {
	list=$WORK/$1.conflist
	i=$2
	f=$3
	pod_ip=$(result pod "$i" "$f" address)
	[ -n "$pod_ip" ] || return 0
	gw=$(result pod "$i" "$f" gateway)
	here="$what, $i, IPv$f"
	if [ "$f" = 4 ]; then
		head=28
		far=10.148.0.2
		routed=10.150.0.1
		node=10.147.0.2
	else
		head=48
		far=fd6f:6476:6d48::2
		routed=fd6f:6476:6d50::1
		node=fd6f:6476:6d47::2
	fi
	mtu=$(ip -n pod link show "$i" | sed -n 's/.* mtu \([0-9]*\) .*/\1/p')
	# With rules of its own, only what has the pod's address is routed at all.
	source=
	from=
	from2=
	if [ -n "$(table_of pod "$i" "$f")" ]; then
		source="-I $pod_ip"
		from="--source $pod_ip"
		from2="--source $(result pod2 "$i" "$f" address)"
	fi
	ok "$here: ping to the pod, full size, not to be fragmented" \
		near ping -q -c 2 -i 0.01 -W 5 -M "do" -s $((mtu - head)) "$pod_ip"
	ok "$here: ping to the pod, in fragments" near ping -q -c 2 -i 0.01 -W 5 -s 9000 "$pod_ip"
	ok "$here: ping from the pod, full size and in fragments" in_guest sh -c \
		"ping $source -q -c 1 -W 5 -M do -s $((mtu - head)) $gw && ping $source -q -c 1 -W 5 -s 9000 $gw"
	ok "$here: TCP and UDP to the pod" traffic "$near_ns" "$(ns guest)" "$pod_ip"
	ok "$here: TCP and UDP from the pod" traffic $from "$(ns guest)" "$near_ns" "$gw"
	ok "$here: to the network behind, whose path has a smaller MTU" \
		traffic $from --path-mtu 1300 "$(ns guest)" "$(ns far)" "$far"
	ok "$here: by a route with a smaller MTU" \
		traffic $from --path-mtu 1280 "$(ns guest)" "$(ns far)" "$routed"
	if [ -e /run/netns/pod2 ]; then
		pod2_ip=$(result pod2 "$i" "$f" address)
		ok "$here: from a second pod" traffic $from2 "$(ns pod2)" "$(ns guest)" "$pod_ip"
		ok "$here: to a second pod" traffic $from "$(ns guest)" "$(ns pod2)" "$pod2_ip"
	fi
	if grep -q portMappings "$list"; then
		ok "$here: through a host port, from the network" \
			traffic --no-udp --dial 18080 "$(ns net)" "$(ns guest)" "$node"
		ok "$here: through a host port, from a second pod" \
			traffic --no-udp --dial 18080 "$(ns pod2)" "$(ns guest)" "$node"
	fi
	if grep -q hairpinMode "$list"; then
		ok "$here: through a host port, from the pod itself" \
			traffic --no-udp --dial 18080 "$(ns guest)" "$(ns guest)" "$node"
		ok "$here: through a host port, from the node" \
			traffic --no-udp --dial 18080 $NODE "$(ns guest)" "$node"
	fi
}

# table_of POD INTERFACE FAMILY - of the rule that the chain made for the pod's address (sbr), if any
table_of() {
	ip -n "$1" "-$3" rule | sed -n "s/.*from $(result "$1" "$2" "$3" address) lookup \([0-9]*\).*/\1/p"
}

# route_with_mtu INTERFACE FAMILY NET - as an operator or a plugin adds it to the pod
route_with_mtu() {
	gw=$(result pod "$1" "$2" gateway)
	table=$(table_of pod "$1" "$2")
	[ -z "$gw" ] || ip -n pod "-$2" route add "$3" via "$gw" dev "$1" table "${table:-main}" mtu 1280
}

# chains_up EXAMPLE POD, chains_down: the example alone, or, for the second network, both
chains_up() {
	case $1 in
	*-second)
		chain_up 10-podvm-bridge "$2" eth0
		chain_up "$1" "$2" net1
		;;
	*) chain_up "$1" "$2" eth0 ;;
	esac
}
chains_down() {
	case $1 in
	*-second)
		chain_down "$1" "$2" net1
		chain_down 10-podvm-bridge "$2" eth0
		;;
	*) chain_down "$1" "$2" eth0 ;;
	esac
	ip netns del "$2"
}

one() {
	example=$1
	model=$2
	kind=${example##*-}
	what="$example, $model"
	if=eth0
	near=node
	near_ns=$NODE
	pods='pod pod2'
	case $model:$kind in
	# They are on an interface of the node's already, and take no other on top.
	macvtap:macvlan | macvtap:ipvlan | macvtap:l3) return ;;
	esac
	case $kind in
	macvlan | ipvlan | l3 | vlan)
		near=net
		near_ns=$(ns net)
		if ! has_kind "$(echo "$kind" | sed s/l3/ipvlan/)"; then
			echo "SKIP native: $what: this kernel has no $kind"
			return
		fi
		# There is one interface for each VLAN and node.
		[ "$kind" != vlan ] || pods=pod
		;;
	# Whoever is joined already has no stack of its own that could be the second pod's.
	netplug) pods=pod ;;
	firewall) iptables -P FORWARD DROP ;;
	second) if=net1 ;;
	esac
	for pod in $pods; do chains_up "$example" "$pod"; done
	for i in eth0 net1; do
		ip -n pod link show $i > /dev/null 2>&1 || continue
		route_with_mtu $i 4 10.150.0.0/16
		route_with_mtu $i 6 fd6f:6476:6d50::/64
	done
	wait_for 10 settled pod
	tap_free
	netns_state pod > "$WORK/before"
	mac_mtu=$(ip netns exec pod cat "/sys/class/net/$if/address" "/sys/class/net/$if/mtu")
	ok "$what: joined" guest_up pod guest --model "$model"
	[ "$kind" != second ] || from_and_to_pod 10-podvm-bridge eth0 4
	from_and_to_pod "$example" $if 4
	from_and_to_pod "$example" $if 6
	# Whatever passes packets must not be called a fault.
	ok "$what: podvm-netplug check finds nothing" podvm-netplug check pod --root "$WORK/none"
	ok "$what: MAC and MTU" is \
		"$(in_guest cat /sys/class/net/$if/address /sys/class/net/$if/mtu)" \
		"$mac_mtu"
	ok "$what: the guest ends" guest_down guest
	tap_free
	netns_state pod > "$WORK/after"
	ok "$what: the namespace is as it was" diff "$WORK/before" "$WORK/after"
	for pod in $pods; do chains_down "$example" "$pod"; done
	[ "$kind" != firewall ] || iptables -P FORWARD ACCEPT
}

for model in $MODELS; do
	for f in "$TOP"/cni-examples/${MATRIX:-*}.conflist; do
		one "$(basename "$f" .conflist)" "$model"
	done
done
tap_done
