#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Pods that begin as copies of a saved machine: they work as those that have booted, have
# nothing in common that must not be, and start all the same when the template is broken, or who
# makes it is killed.
# shellcheck disable=SC2016,SC2154
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kill.sh"
plan 39

story_begin
make_layers
STORE=$ROOT/templates
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
# settings [MEMBERS]
settings() { echo "{ \"templates\": true, \"vcpusMax\": 2, \"memory\": { \"max\": \"512M\" } ${1:+, $1} }" > "$PODVM_CONFIG"; }
settings

# network NAME - a namespace that CNI has filled
network() {
	NETNS=podvm-$1
	ip netns add "$NETNS"
	ip -n "$NETNS" link set lo up
	CNI_ID=$1 CNI_IF=eth0 cni ADD "$CONFLIST" > "$WORK/net.$1"
}
no_networks() {
	for n in a b; do
		NETNS=podvm-$n
		CNI_ID=$n CNI_IF=eth0 cni DEL "$CONFLIST" > /dev/null 2>&1 || :
		ip netns del "$NETNS" 2> /dev/null || :
	done
}
trap 'status=$?; no_networks; (exit $status); story_end' EXIT
address() { jq -r '.ips[].address | select(contains(":") | not) | sub("/.*"; "")' "$WORK/net.$1"; }

network a
make_bundle a "$IN_NETNS | $MEMBER" sleep 1000
network b
make_bundle b "$IN_NETNS | .hostname = \"host-b\"" sleep 1000
make_bundle c '.hostname = "host-c"' sleep 1000
make_bundle big "$MEMBER | (.linux.namespaces[] | select(.type == \"network\")).path = \"/run/netns/podvm-a\"
	| .linux.resources = {memory: {limit: 314572800}, cpu: {quota: 150000, period: 100000}}" sleep 1000
snapshot > "$WORK/before"

up() { podvm run --detach --bundle "$WORK/disk/$1" "$1" < /dev/null >> "$WORK/log" 2>&1; }
down() { podvm delete --force "$1"; }
keys() { podvm template list --json | jq -r '.templates[].key'; }
# what the timeline of a pod says of templates
story() {
	podvm timeline "$1" |
		grep -oE 'template [0-9a-f]{16} made|restored from template [0-9a-f]{16}|no template: .*' |
		sed -E 's/template [0-9a-f]{16}/template KEY/' | xargs -d '\n'
}
WARM='restored from template KEY'
NEW="template KEY made $WARM"
logs() { podvm pod logs --source host "$1"; }

# ---- two at once ---------------------------------------------------------------------------
at_once() {
	up a & first=$!
	up b & second=$!
	wait $first && wait $second
}
ok 'two pods start at once' at_once
{ story a; story b; } | sort > "$WORK/stories"
ok 'one of them makes a template, and both are restored from it' is "$(cat "$WORK/stories")" "$(printf '%s\n%s' "$WARM" "$NEW" | sort)"
key=$(keys)
ok 'which is one' is "$(ls "$STORE")" "$key"
ok 'the list has it, and takes less than the memory has' sh -c \
	"podvm --root $ROOT template list --json | jq -e '.templates[0] | (.damaged | not) and .ramBytes == 268435456 and .vcpus == 2 and
	.memoryBytes > 4000000 and .memoryBytes < 200000000'"
ok 'and the table' sh -c "podvm --root $ROOT template list | grep -qE '^$key +256M +2 +[0-9]+M '"
podvm template list | sed 's/^/# /'
up c
ok 'so is a third one' is "$(story c)" "$WARM"

# ---- what is each pod's own -------------------------------------------------------------------
differ() {
	for p in a b c; do podvm exec $p "$@"; done > "$WORK/values"
	cat "$WORK/values"
	is "$(sort -u "$WORK/values" | grep -c .)" 3
}
ok 'boot ids differ' differ cat /proc/sys/kernel/random/boot_id
ok 'UUIDs differ' differ cat /proc/sys/kernel/random/uuid
ok 'random bytes differ' differ sh -c 'head -c 16 /dev/urandom | md5sum'
ok 'addresses of programs differ' differ sh -c 'grep -m 1 stack /proc/self/maps'
ok 'names' is "$(podvm exec b hostname) $(podvm exec c hostname)" 'host-b host-c'
clock() {
	for p in a b c; do
		off=$(($(podvm exec $p date +%s) - $(date +%s)))
		echo "$p: $off s"
		[ $off -ge -2 ] && [ $off -le 2 ] || return
	done
}
ok 'clocks are those of the host' clock
mac() { ip -n "podvm-$1" -j link show eth0 | jq -r '.[0].address'; }
in_guest() { podvm exec "$1" cat /sys/class/net/eth0/address; }
ok 'MAC addresses' is "$(in_guest a) $(in_guest b)" "$(mac a) $(mac b)"
ok 'the network of one' ping -c 2 -W 5 "$(address a)"
ok 'and of the other' ping -c 2 -W 5 "$(address b)"
ok 'from one to the other' podvm exec a ping -c 2 -W 5 "$(address b)"

# ---- containers work ----------------------------------------------------------------------------
ok 'the root file system is the overlay' is "$(podvm exec a cat /etc/motd /kept | xargs)" 'top from the middle layer'
write() { podvm exec a sh -c 'echo mine > /mine && sync && cat /mine' && ! podvm exec b ls /mine; }
ok 'it is written, by one' write
ok 'exec, with its exit status' exits 5 podvm exec b sh -c 'exit 5'
ok 'a container whose limits need more joins' up big
podvm resize big > "$WORK/size"
ok 'memory and a processor have come' is "$(jq -c '[.memory.bytes / 1048576, .vcpus.online]' "$WORK/size")" '[512,2]'
ok 'the guest has them' sh -c "podvm() { '$BIN/podvm' --root '$ROOT' \"\$@\"; }
	[ \$(podvm exec big awk '/^MemTotal/ { print int(\$2 / 1024) }' /proc/meminfo) -ge 340 ] && [ \$(podvm exec big nproc) = 2 ]"
ok 'and uses them' podvm exec big sh -c 'for n in 1 2; do dd if=/dev/zero of=/dev/null bs=120M count=4 & done; wait'
podvm template remove "$key"
ok 'the template goes' is "$(keys)" ''
ok 'and the pods live' podvm exec c sh -c 'head -c 20000000 /dev/zero | md5sum'
# What a pod costs until it is set up, with a template and without.
ready() { podvm timeline "$1" | sed -n 's/^ *\([0-9.]*\) .*guest set up.*/\1/p'; }
echo "# ready after $(ready c) ms"
for p in big a b c; do down $p; done
echo '{ "vcpusMax": 2, "memory": { "max": "512M" } }' > "$PODVM_CONFIG"
up c
echo "# ready after $(ready c) ms by itself"
ok 'without the setting it boots' is "$(story c)" ''
down c

# ---- what it depends on ---------------------------------------------------------------------------
settings '"cmdline": "loglevel=6"'
up c
ok 'another command line, another template' is "$(story c)" "$NEW"
ok 'the console begins empty' sh -c "! grep -q 'Linux version' $ROOT/pods/c/console.log"
down c
settings
up c
down c
settings '"vcpus": 2'
up c
ok 'a machine with two processors' is "$(story c) $(podvm exec c nproc)" "$NEW 2"
down c
settings
ok 'there are three' is "$(keys | wc -l)" 3
podvm template remove --all

# ---- what is broken ---------------------------------------------------------------------------------
# broken FILE COMMAND... - in the template's folder; a pod starts without it, the next makes one
broken() {
	file=$1
	shift
	up c && down c || return
	(cd "$STORE/$(keys)" && "$@") || return
	up c || return
	logs c > "$WORK/log.c"
	grep "$file" "$WORK/log.c"
	grep -q 'it starts without a template: ' "$WORK/log.c" || return
	is "$(podvm exec c cat /etc/motd)" top || return
	down c
	up c || return
	is "$(story c)" "$NEW" || return
	down c
}
ok 'the state is cut' broken '' truncate -s -1 state
ok 'the state is something else' broken '' sh -c 'head -c $(stat -c %s state) /dev/urandom > x && mv x state'
ok 'the memory is missing' broken 'memory' rm memory
ok 'the memory is nothing but zeros' broken '' sh -c 's=$(stat -c %s memory) && truncate -s 0 memory && truncate -s $s memory'
podvm template remove --all

# ---- who dies ------------------------------------------------------------------------------------------
one() { found=$(grep -lsaE "$1" /proc/[0-9]*/cmdline) || return; found=${found%%/cmdline*}; echo "${found#/proc/}"; }
making() { ls "$STORE"/new.*/machine.json && one 'podvm-vm[m]'; }
maker_dies() {
	up c & who=$!
	wait_for 30 making || return
	kill -KILL "$(one 'podvm-vm[m]')"
	wait $who || return
	logs c | grep 'it starts without a template: .*not made' || return
	is "$(keys)" '' && down c
}
ok 'the maker is killed: the pod boots' maker_dies
supervisor_dies() {
	up c & who=$!
	wait_for 30 making || return
	kill -KILL "$(one 'podvm.--root.*.superviso[r].c')"
	! wait $who || return
	podvm list -q || return
	is "$(ls "$STORE" 2> /dev/null)" '' || return
	is "$(podvm_processes)" ''
}
ok 'the supervisor is killed while it makes one: nothing is left' supervisor_dies
up c
ok 'and the next pod makes one' is "$(story c)" "$NEW"
down c
podvm template remove --all
ok 'remove --all' is "$(keys)" ''
# The pods' common parent is nobody's: who finds it in use leaves it.
rmdir /sys/fs/cgroup/podvm 2> /dev/null || :
snapshot > "$WORK/after"
ok 'nothing is left' diff "$WORK/before" "$WORK/after"
tap_end
