#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What a pod's machine counts, in three formats (podvm stats is short for podvm pod stats --devices), and where its monitor is on the host:
# its cgroup, its user, its capabilities, its filters.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 18

story_begin
make_layers
make_bundle one . sleep 1000
podvm run --detach --bundle "$BUNDLE" one < /dev/null > "$WORK/log" 2>&1 || cat "$WORK/log"

podvm stats --format json one > "$WORK/json"
ok 'JSON has the exits by reason' jq -e '.exits.mmio > 100 and .exits.fail_entry == 0' "$WORK/json"
ok 'the stages of the boot in order' jq -e '.boot | .start_ns < .configured_ns and
	.configured_ns < .guest_entered_ns and .guest_entered_ns < .guest_called_ns' "$WORK/json"
ok 'each device once' is "$(jq -r '[.devices[].kind] | sort | join(" ")' "$WORK/json")" \
	'balloon blk blk console rng vsock'
ok 'the root file system was read' jq -e 'any(.devices[]; .kind == "blk" and .in_bytes > 100000)' "$WORK/json"
ok 'no driver broke a rule' jq -e 'all(.devices[]; .broken == 0 and .status == 15)' "$WORK/json"

podvm metrics one > "$WORK/om"
ok 'OpenMetrics ends as it must' is "$(tail -n 1 "$WORK/om")" '# EOF'
ok 'every sample has a value' is \
	"$(grep -v '^#' "$WORK/om" | grep -c -v -E '^podvm_[a-z_]+\{(pod|state)="[^"]+"(,.*)?\} [0-9.]+$')" 0
disk=$(jq -r '[.devices[] | select(.kind == "blk")][0].name' "$WORK/json")
ok 'both tell the same of the first disk' is \
	"$(sed -n "s/^podvm_vmm_device_resets_total{.*kind=\"blk\",name=\"$disk\"} //p" "$WORK/om")" \
	"$(jq '[.devices[] | select(.kind == "blk")][0].resets' "$WORK/json")"
ok 'the table has a line for each device' is "$(podvm stats one | grep -c -E '^(blk|console|rng|vsock) ')" 5
podvm exec one sh -c 'cat /bin/busybox > /dev/null'
ok 'counters grow' jq -e --argjson before "$(jq '[.devices[].requests] | add' "$WORK/json")" \
	'[.devices[].requests] | add > $before' <<EOF
$(podvm stats --format json one)
EOF
ok 'an unknown format is refused by name' sh -c "podvm --root $ROOT stats --format xml one 2>&1 | grep -q 'table or json; podvm metrics'"
ok 'an unknown container, too' exits 1 podvm stats nobody

monitor=$(for p in /proc/[0-9]*; do
	[ "$(cat "$p/comm" 2> /dev/null)" != podvm-vmm ] || echo "${p#/proc/}"
done)
ok 'the monitor has a cgroup of its own' grep -q 'podvm-.*/vmm$' "/proc/$monitor/cgroup"
# threads FIELD - its values in all threads of the monitor, each once
threads() { sed -n "s/^$1:[ 	]*//p" /proc/"$monitor"/task/*/status | sort -u; }
ok 'no capability in any thread' is "$(for c in CapInh CapPrm CapEff CapAmb; do threads $c; done | sort -u)" \
	0000000000000000
ok 'a filter and no_new_privs in every thread' is "$(threads Seccomp) $(threads NoNewPrivs)" '2 1'
ok 'a user of its own, and no groups' is "$(threads Uid | awk '$1 == $2 && $2 == $3 && $3 == $4 && $1 > 2000000000 { print "own" }') $(threads Groups)" 'own '
# proc(5), stat; sched.h: 0 is SCHED_OTHER, which only the I/O thread is not (vmm/batch.c)
# shellcheck disable=SC2046 # words
ok 'processors of a guest are no batch threads' is "$(cat $(grep -l '^vcpu' /proc/"$monitor"/task/*/comm | sed 's/comm$/stat/') |
	awk '{ print $41 }' | sort -u)" 0
ok 'an empty root' is "$(ls -A "/proc/$monitor/root/")" ''

podvm delete --force one
tap_end
