#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The pod's localhost: an engine that dials it in the network namespace reaches what
# listens on the guest's, and nothing else; the guest resolves names by the DNS stub that
# an engine has there, behind a rule as docker's.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 15

story_begin
make_layers
net_up
in_ns() { ip netns exec "$NETNS" "$@"; }
in_ns iptables -t nat -A OUTPUT -d 127.0.0.11 -p udp --dport 53 -j DNAT --to 127.0.0.11:40053
in_ns iptables -t nat -A OUTPUT -d 127.0.0.11 -p tcp --dport 53 -j DNAT --to 127.0.0.11:40053
in_ns "$BIN/tests/dns-stub" 127.0.0.11 40053 > "$WORK/stub.log" &
stub=$!
wait_for 10 grep -q ready "$WORK/stub.log"
in_ns busybox httpd -f -p 127.0.0.1:8090 -h "$WORK" &
httpd=$!
echo host > "$WORK/data"
echo 'nameserver 127.0.0.11' > "$WORK/resolv.conf"
sockets() { in_ns ss -Hltun | awk '{print $1, $5}' | sort; }
snapshot > "$WORK/before"
sockets >> "$WORK/before"
make_bundle net "$IN_NETNS | $(bind /etc/resolv.conf "$WORK/resolv.conf" rbind ro)" sh -c '
	head -c 3000000 /dev/urandom > /srv/data
	httpd -p 127.0.0.1:8080 -h /srv
	httpd -p "[::1]:8081" -h /srv
	httpd -p 0.0.0.0:8090 -h /srv
	exec sleep 1000'
podvm run --detach --bundle "$BUNDLE" net < /dev/null > /dev/null 2>&1

fetch() { in_ns busybox wget -q -O - "http://$1/data" | md5sum | cut -d' ' -f1; }
refused() { in_ns busybox wget -O /dev/null "http://$1/" 2>&1 | grep 'Connection refused'; }
wait_for 30 in_ns busybox wget -q -O /dev/null http://127.0.0.1:8080/data
wait_for 10 in_ns busybox wget -q -O /dev/null 'http://[::1]:8081/data'
sum=$(podvm exec net md5sum /srv/data | cut -d' ' -f1)
ok 'a server on 127.0.0.1 of the guest' is "$(fetch 127.0.0.1:8080)" "$sum"
ok 'a server on ::1 of the guest' is "$(fetch '[::1]:8081')" "$sum"
ok 'it is not reached by IPv4: refused' refused 127.0.0.1:8081
ok 'nor the other by IPv6' refused '[::1]:8080'
ok 'a port that nobody serves is refused' refused 127.0.0.1:8082
ok "a port of the host in the namespace stays the host's" is "$(in_ns busybox wget -q -O - http://127.0.0.1:8090/data)" host
podvm exec net sh -c 'httpd -f -p 127.0.0.1:8082 -h /srv > /dev/null 2>&1 < /dev/null & echo $! > /run/pid'
ok 'a server that comes later' wait_for 10 in_ns busybox wget -q -O /dev/null http://127.0.0.1:8082/data
podvm exec net sh -c 'kill $(cat /run/pid)'
ok 'and that goes' wait_for 10 refused 127.0.0.1:8082
ok 'several at a time' sh -c "
	for i in 1 2 3 4 5 6 7 8; do
		ip netns exec $NETNS busybox wget -q -O $WORK/data.\$i http://127.0.0.1:8080/data & pids=\"\$pids \$!\"
	done
	for p in \$pids; do wait \$p || exit 1; done
	md5sum $WORK/data.* | grep -c $sum | grep -qx 8"
ok "names by the engine's stub" sh -c "podvm --root $ROOT exec net nslookup db.engine | grep -q 192.0.2.53"
ok 'the guest reaches nothing else there' sh -c "! podvm --root $ROOT exec net nslookup db.engine 127.0.0.11:40053"
ok 'the timeline tells of it' is "$(podvm timeline net | grep -c 'relay: ')" 2
kill -9 "$(pgrep -x podvm-relay)"
ok 'a relay that was killed is started again' wait_for 10 in_ns busybox wget -q -O /dev/null http://127.0.0.1:8080/data
ok 'and names are resolved again' wait_for 10 sh -c "podvm --root $ROOT exec net nslookup db.engine | grep -q 192.0.2.53"

kill -9 "$(pgrep -f 'podvm --root .* supervisor net ')"
podvm delete --force net
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
sockets >> "$WORK/after"
ok 'supervisor killed: the namespace is as it was' diff "$WORK/before" "$WORK/after"
kill $stub $httpd
tap_end
