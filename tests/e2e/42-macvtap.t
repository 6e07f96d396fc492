#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A pod on a CNI network by a macvtap, in bridge and passthru mode: chosen by the
# configuration, by the pod's annotation, and by "auto" where somebody else's filter is at
# the interface. Packets of every size pass both ways, and the namespace is afterwards what it
# was, addresses, routes and neighbours included; after a kill, too.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 27

story_begin
modprobe macvtap
make_layers
net_up
ip -n "$NETNS" neigh add 10.1.2.3 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
mac=$(ip -n "$NETNS" -j link show eth0 | jq -r '.[0].address')
gw4=$(ip -n "$NETNS" -4 route show default | sed 's/.*via \([^ ]*\).*/\1/')
gw6=$(ip -n "$NETNS" -6 route show default | sed 's/.*via \([^ ]*\).*/\1/')
snapshot > "$WORK/before"
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
head -c 1000000 /dev/urandom > "$WORK/data"
sum=$(md5sum < "$WORK/data" | cut -d' ' -f1)
busybox httpd -f -p 18081 -h "$WORK" &
httpd=$!

in_pod() { podvm exec net "$@"; }
from_pod() { busybox wget -q -O - "http://$1:8080/data" | md5sum | cut -d' ' -f1; }
to_pod() {
	in_pod sh -c "wget -q -O /srv/got http://$1:18081/data; md5sum < /srv/got" | cut -d' ' -f1
}
macvtap_mode() {
	ip -n "$NETNS" -d -j link | jq -r '[.[] | select(.linkinfo.info_kind == "macvtap")][0].linkinfo.info_data.mode'
}
as_before() {
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after"
}

# passes NAME MODE - what a pod on a macvtap must do
passes() {
	ok "$1: mode" is "$(macvtap_mode)" "$2"
	ok "$1: MAC address of the guest" is "$(in_pod cat /sys/class/net/eth0/address)" "$mac"
	ok "$1: no address is left beside it" is \
		"$(ip -n "$NETNS" -o addr show dev eth0 | grep -c inet || :)" 0
	ok "$1: ping, IPv4, full size" ping -q -c 2 -W 5 -M "do" -s 1472 "$IP4"
	ok "$1: ping, IPv6, full size" ping -q -c 2 -W 5 -M "do" -s 1452 "$IP6"
	ok "$1: ping, fragments" ping -q -c 2 -W 5 -s 8000 "$IP4"
	wait_for 60 busybox wget -q -O /dev/null "http://$IP4:8080/data"
	ok "$1: TCP to the pod, IPv4" is "$(to_pod "$gw4")" "$sum"
	ok "$1: TCP to the pod, IPv6" is "$(to_pod "[$gw6]")" "$sum"
	srv=$(in_pod md5sum /srv/data | cut -d' ' -f1)
	ok "$1: TCP from the pod, IPv4" is "$(from_pod "$IP4")" "$srv"
	ok "$1: TCP from the pod, IPv6" is "$(from_pod "[$IP6]")" "$srv"
}

# pod_run NAME JQ - a pod that serves data
pod_run() {
	make_bundle "$1" "$IN_NETNS | $2" \
		sh -c 'head -c 1000000 /dev/urandom > /srv/data; exec httpd -f -p 8080 -h /srv'
	podvm run --detach --bundle "$BUNDLE" net < /dev/null > "$WORK/run.log" 2>&1 || cat "$WORK/run.log"
}
pod_end() {
	podvm delete --force net
	umount "$BUNDLE/rootfs"
}

echo '{ "networkModel": "macvtap" }' > "$PODVM_CONFIG"
pod_run bridge .
passes bridge bridge
pod_end
ok 'bridge: the namespace is as it was' as_before

echo '{ "vcpus": 2 }' > "$PODVM_CONFIG"
pod_run passthru '.annotations["io.podvm.network-model"] = "macvtap-passthru"'
passes passthru passthru
pod_end
ok 'passthru: the namespace is as it was' as_before

# Somebody's filter: auto takes macvtap, and says why; everybody is killed.
tc -n "$NETNS" qdisc add dev eth0 clsact
tc -n "$NETNS" filter add dev eth0 ingress pref 7 protocol ip u32 match u32 0 0 classid 1:1
snapshot > "$WORK/before"
ok 'auto: the plan says why' sh -c \
	"podvm-netplug plan --netns /run/netns/$NETNS | grep -q 'model macvtap: tc cannot be: it has an ingress filter'"
pod_run auto .
ok 'auto: mode' is "$(macvtap_mode)" bridge
ok 'auto: ping' ping -q -c 2 -W 5 "$IP4"
for p in /proc/[0-9]*; do
	case $(cat "$p/comm" 2> /dev/null) in
	podvm | podvm-vmm) kill -9 "${p#/proc/}" 2> /dev/null || : ;;
	esac
done
podvm list > /dev/null
podvm delete --force net 2> /dev/null || :
umount "$BUNDLE/rootfs"
ok 'auto: killed: the namespace is as it was' as_before
ok 'auto: killed: its own stack answers again' ping -q -c 2 -W 5 "$IP4"
kill $httpd
tap_end
