#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Limits of a running container: update and events, as the guest's kernel has them.
# shellcheck disable=SC2016 # $ is for the shell in the container
set -eu
. "$(dirname "$0")/lib.sh"
plan 20

story_begin
make_layers
make_bundle one '.linux.resources.memory.limit = 100663296
	| .linux.resources.pids.limit = 50' sleep 1000
podvm run --detach --bundle "$BUNDLE" one < /dev/null > /dev/null 2>&1
has() {
	podvm exec one sh -c 'cd /sys/fs/cgroup && for f; do echo "$f $(cat $f)"; done' sh \
		memory.max cpu.max pids.max cpu.weight | xargs
}
ok 'limits of config.json' is "$(has)" 'memory.max 100663296 cpu.max max 100000 pids.max 50 cpu.weight 100'
ok 'update with options' podvm update --memory 64M --pids-limit 40 --cpu-quota 50000 --cpu-period 200000 one
ok 'the guest has them' is "$(has)" 'memory.max 67108864 cpu.max 50000 200000 pids.max 40 cpu.weight 100'
ok 'update with an object, from standard input' sh -c \
	"echo '{\"memory\":{\"limit\":50331648},\"cpu\":{\"quota\":20000,\"shares\":1024}}' | podvm --root $ROOT update --resources - one"
new='memory.max 50331648 cpu.max 20000 200000 pids.max 40 cpu.weight 39'
ok 'the guest has them, and what was not given stayed' is "$(has)" "$new"
ok 'the pod on the host has the weight of its only container' is \
	"$(cat /sys/fs/cgroup/podvm/podvm-one/cpu.weight)" 39
podvm state one | jq -c '.resources | [.memory.limit, .cpu.quota, .cpu.period, .pids.limit]' > "$WORK/limits"
ok 'state has them' is "$(cat "$WORK/limits")" '[50331648,20000,200000,40]'
# The guest takes the memory before it finds that it has no such file.
podvm update --resources - one 2> "$WORK/err" << 'X' || echo refused >> "$WORK/err"
{"memory":{"limit":67108864},"unified":{"nothing.max":"1"}}
X
ok 'what the guest refuses is told' grep -q 'nothing.max' "$WORK/err"
ok 'and leaves all as it was' is "$(has) $(podvm state one | jq -c .resources.memory.limit)" "$new 50331648"

# Processors are the host's: the machine runs on those that its containers name together.
vmm=/sys/fs/cgroup/podvm/podvm-one/vmm
ok 'update names processors of the host' podvm update --cpuset-cpus 0 --cpuset-mems 0 one
ok 'the machine runs on them' is "$(cat $vmm/cpuset.cpus $vmm/cpuset.mems | xargs)" '0 0'
podvm update --cpuset-cpus 1000 one 2> "$WORK/err" || echo refused >> "$WORK/err"
ok 'those that the host does not have are told' grep -q '/linux/resources/cpu/cpus: 1000: ' "$WORK/err"
ok 'and leave all as it was' is "$(cat $vmm/cpuset.cpus) $(podvm state one | jq -r .resources.cpu.cpus)" '0 0'

# What it uses, and that it ran out of memory. Its own process is not the one to go.
podvm update --cpu-quota -1 one
podvm events --stats one > "$WORK/stats"
ok 'events --stats is a line' is "$(wc -l < "$WORK/stats")" 1
ok 'with the limits of the guest' is \
	"$(jq -c '[.type, .id, .data.memory.usage.limit, .data.pids.limit, .data.pids.current]' "$WORK/stats")" \
	'["stats","one",50331648,40,1]'
ok 'and what the container uses, less than it may' is \
	"$(jq '.data | .cpu.usage.total > 0 and .memory.usage.usage > 0 and .memory.usage.usage <= 50331648' "$WORK/stats")" true
podvm events --interval 1s one > "$WORK/events" &
events=$!
ok 'statistics come in intervals' wait_for 20 grep -q '"stats"' "$WORK/events"
ok 'a process that takes too much memory is killed' exits 137 \
	podvm exec one dd if=/dev/zero of=/dev/null bs=100M count=1
ok 'which is an event while the container runs on' wait_for 10 grep -qx '{"type":"oom","id":"one"}' "$WORK/events"
podvm kill one KILL
ended() { wait $events; }
ok 'events end with the container' ended
tap_end
