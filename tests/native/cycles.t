#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Attached and detached 500 times, and 50 at once: the namespaces are what they were, and
# no interface, descriptor or memory is left. A guest that is killed leaves what the next
# command undoes.
set -eu
. "$(dirname "$0")/lib.sh"

native_begin
# Without caches of freed blocks, so that memory is counted exactly.
attach() {
	GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0 "$BIN/tests/native-attach" "$@"
}
PODS=50

# pods FIRST LAST - namespaces on a bridge, as a CNI plugin leaves them: no queue length
pods() {
	for n in $(seq "$1" "$2"); do ip netns add "pod$n"; done
	for n in $(seq "$1" "$2"); do
		echo "link add name veth$n type veth peer name eth0 netns pod$n"
		echo "link set veth$n master br0 up"
	done | ip -batch -
	for n in $(seq "$1" "$2"); do
		ip -n "pod$n" -batch - <<-END
			link set lo up
			link set eth0 txqueuelen 0 up
			addr add 10.1.$((n / 200)).$((n % 200 + 1))/16 dev eth0
			addr add fd00::$n/64 dev eth0 nodad
		END
	done
}

all_states() {
	for n in $(seq 1 $PODS); do
		echo "== pod$n"
		netns_state "pod$n"
	done
}
paths() { for n in $(seq 1 "$1"); do ns "pod$n"; done; }
settled() { ! ip -n "pod$1" addr | grep -q -e tentative -e DOWN; }

echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
ip link add br0 type bridge
ip link set br0 up
pods 1 $PODS
for n in $(seq 1 $PODS); do wait_for 10 settled "$n"; done
all_states > "$WORK/before"
ip -br link | sort > "$WORK/host.before"

ok '500 cycles' attach --cycles 500 "$WORK" "$(ns pod1)"
ok 'with 4 pairs of queues' attach --cycles 5 --queues 4 "$WORK" "$(ns pod2)"
# shellcheck disable=SC2046 # words
ok '50 in turn' attach "$WORK" $(paths $PODS)
# shellcheck disable=SC2046 # words
ok '50 at once' attach --at-once "$WORK" $(paths $PODS)
all_states > "$WORK/after"
ok 'the namespaces are as they were' diff "$WORK/before" "$WORK/after"
ip -br link | sort > "$WORK/host.after"
ok 'and so are the interfaces of the node' diff "$WORK/host.before" "$WORK/host.after"
ok 'no journal has a record' sh -c "[ -z \"\$(find $WORK -name 'journal*' -size +0)\" ]"

# killed - a guest that has no time to undo anything
# shellcheck disable=SC2154 # guest_up sets it
killed() {
	guest_up pod1 guest "$@"
	kill -9 "$guest_pid"
	wait "$guest_pid" || :
	ip netns del guest
	"$BIN/tests/native-guest" --dir "$WORK/guest" --undo
}
netns_state pod1 > "$WORK/before"
ok 'what a killed guest left is undone' killed
netns_state pod1 > "$WORK/after"
ok 'the namespace is as it was' diff "$WORK/before" "$WORK/after"
tap_done
