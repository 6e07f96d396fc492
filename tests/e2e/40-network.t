#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A pod on a CNI network: what the guest has is what the namespace has, and
# packets of every size pass both ways.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 17

story_begin
make_layers
export PORTMAP
PORTMAP='[{"hostPort": 18080, "containerPort": 8080, "protocol": "tcp"}]'
net_up
ip -n "$NETNS" neigh add 10.1.2.3 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
snapshot > "$WORK/before"
make_bundle net "$IN_NETNS" \
	sh -c 'head -c 2000000 /dev/urandom > /srv/data; exec httpd -f -p 8080 -h /srv'
podvm run --detach --bundle "$BUNDLE" net < /dev/null > /dev/null 2>&1
in_pod() { podvm exec net "$@"; }
gw4=$(ip -n "$NETNS" -4 route show default | sed 's/.*via \([^ ]*\).*/\1/')
gw6=$(ip -n "$NETNS" -6 route show default | sed 's/.*via \([^ ]*\).*/\1/')

# lines of `ip addr` and `ip route` that both sides must share
addresses() { sed -n 's/.*inet6\{0,1\} \([^ ]*\) .*scope global.*/\1/p' | sort; }
ok 'MAC address' is "$(in_pod cat /sys/class/net/eth0/address)" \
	"$(ip -n "$NETNS" -j link show eth0 | jq -r '.[0].address')"
ok 'MTU' is "$(in_pod cat /sys/class/net/eth0/mtu)" \
	"$(ip -n "$NETNS" -j link show eth0 | jq -r '.[0].mtu')"
ok 'addresses' is "$(in_pod ip addr show eth0 | addresses)" \
	"$(ip -n "$NETNS" addr show eth0 | addresses)"
ok 'IPv4 default route' sh -c "podvm --root $ROOT exec net ip route | grep -q 'default via $gw4 dev eth0'"
ok 'IPv6 default route' sh -c "podvm --root $ROOT exec net ip -6 route | grep -q 'default via $gw6 dev eth0'"
ok 'permanent neighbour' sh -c "podvm --root $ROOT exec net ip neigh | grep -q '10.1.2.3.*02:00:00:00:00:99.*PERMANENT'"
ok 'ping host to pod, IPv4, full size' ping -c 2 -W 5 -M "do" -s 1472 "$IP4"
ok 'ping host to pod, IPv6, full size' ping -c 2 -W 5 -M "do" -s 1452 "$IP6"
ok 'ping host to pod, IPv4, fragments' ping -c 2 -W 5 -s 8000 "$IP4"
ok 'ping pod to gateway, IPv4' in_pod ping -c 2 -W 5 "$gw4"
ok 'ping pod to gateway, IPv6' in_pod ping -6 -c 2 -W 5 "$gw6"
wait_for 10 busybox wget -q -O "$WORK/data" "http://$IP4:8080/data"
sum=$(in_pod md5sum /srv/data | cut -d' ' -f1)
ok 'TCP pod to host, IPv4' is "$(md5sum < "$WORK/data" | cut -d' ' -f1)" "$sum"
busybox wget -q -O "$WORK/data6" "http://[$IP6]:8080/data"
ok 'TCP pod to host, IPv6' is "$(md5sum < "$WORK/data6" | cut -d' ' -f1)" "$sum"
busybox httpd -f -p 18081 -h "$WORK" &
httpd=$!
ok 'TCP host to pod' is "$(in_pod sh -c "wget -q -O - http://$gw4:18081/data | md5sum" | cut -d' ' -f1)" "$sum"
kill $httpd
ok 'through the host port of portmap' sh -c "busybox wget -q -O - http://$gw4:18080/data | md5sum | grep -q $sum"
ok 'podvm-netplug show names the path' sh -c "podvm-netplug show --netns /run/netns/$NETNS | grep -q eth0"
podvm delete --force net
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"
tap_end
