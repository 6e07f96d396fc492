#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Pods that begin from templates, with a program in the place of the monitor and its guest
# (tests/native/monitor.c): that they do, that one is made once, and that whatever fails a pod
# starts all the same and nothing half is left. SEED repeats a run's choices.
# shellcheck disable=SC2016,SC2154
set -eu
# Processes of our own alone, so that one that stays is seen; they end with us.
if [ "${INNER:-}" != 1 ]; then
	INNER=1 exec unshare --pid --fork --mount-proc --kill-child "$0"
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/pods.sh"
. "$(dirname "$0")/../e2e/kill.sh"

pods_begin template
STORE=$ROOT/templates
ON='"templates": true'
settings "$ON"
for n in 1 2 3 4; do bundle "p$n" . sleep 100; done
snap > "$WORK/before"

# ids of templates, and what the pod $1 says of its own
keys() { podvm template list --json | jq -r '.templates[].key'; }
story() { podvm timeline "$1" | grep -o -e 'template [0-9a-f]* made' -e 'restored from template [0-9a-f]*' -e 'no template: .*' | sed 's/template [0-9a-f]\{16\}/template KEY/' | xargs -d '\n'; }
says() { grep -q "$2" "$ROOT/pods/$1/supervisor.log"; }
once() { up "$1" && story "$1" && down "$1"; }

# ---- the first one makes it, others use it ----------------------------------------------------
ok 'no template is listed' is "$(keys)" ''
ok 'which makes no folder' [ ! -e "$STORE" ]
up p1
ok 'the first pod makes one and is restored from it' is "$(story p1)" 'template KEY made restored from template KEY'
up p2
ok 'the second one is restored from it' is "$(story p2)" 'restored from template KEY'
ok 'both run' podvm exec p1 true
key=$(keys)
ok 'it is one' is "$(ls "$STORE")" "$key"
ok 'for root alone' is "$(stat -c %a "$STORE" "$STORE/$key" "$STORE/$key/memory" "$STORE/$key/state" | xargs)" '700 700 600 600'
ok 'list' sh -c "'$BIN/podvm' --root '$ROOT' template list | grep -qE '^$key +256M +1 +0M +0m[0-9]+s +0m[0-9]+s\$'"
ok 'list --json' is "$(podvm template list --json | jq -c '.templates[0] | [.damaged, .ramBytes, .vcpus, .memoryBytes]')" '[false,268435456,1,4096]'
ok 'no record of the maker is left in the journal' sh -c "! grep -q '\"template\"' '$ROOT/pods/p1/journal'"
podvm template remove "$key"
ok 'remove, while it is used' [ ! -e "$STORE" ]
ok 'and the pods live' podvm exec p2 true
podvm template remove "$key" 2> "$WORK/err" || echo refused >> "$WORK/err"
ok 'what is not there is named' is "$(cat "$WORK/err")" "podvm: there is no template $key; see podvm template list
refused"
down p1
down p2
ok 'one of KEY and --all' sh -c "! '$BIN/podvm' --root '$ROOT' template remove 2> /dev/null && ! '$BIN/podvm' --root '$ROOT' template remove --all x 2> /dev/null"
snap > "$WORK/after"
ok 'nothing is left' diff "$WORK/before" "$WORK/after"

settings "$ON, \"cmdline\": \"slow\""
a_pod() { up "p$1"; }
at_once 4 a_pod
ok 'four that start at once' is $good 4
ok 'make one' is "$(for n in 1 2 3 4; do podvm timeline p$n; done | grep -c 'template .* made')" 1
ok 'from which all are restored' is "$(for n in 1 2 3 4; do podvm timeline p$n; done | grep -c 'restored from template')" 4
for n in 1 2 3 4; do down p$n; done

# ---- what it depends on ------------------------------------------------------------------------
settings "$ON"
once p1 > /dev/null
ok 'another command line makes another one' is "$(keys | wc -l)" 2
settings "$ON, \"ram\": \"128M\""
once p1 > /dev/null
ok 'so does another size' is "$(keys | wc -l)" 3
for m in 130M 132M 134M 136M 138M 140M; do
	settings "$ON, \"ram\": \"$m\""
	once p1 > /dev/null
done
ok 'eight are kept' is "$(keys | wc -l)" 8
settings "$ON"
ok 'of which one that was used lately is there' is "$(once p1)" 'restored from template KEY'
for what in '"prefault": true' '"hugepages": "2M"'; do
	settings "$ON, \"memory\": { $what }"
	ok "with $what there is none" is "$(once p1)" ''
done
settings
ok 'nor without the setting' is "$(once p1)" ''
settings "$ON"
podvm template remove --all
ok 'remove --all leaves nothing' [ ! -e "$STORE" ]

# ---- what fails --------------------------------------------------------------------------------
# cold WORD WHY - a pod starts without one, and says why
cold() {
	settings "$ON, \"bootTimeoutMs\": 2000, \"cmdline\": \"$1\""
	up p1 || return
	story p1 | grep -q 'no template: ' || return
	says p1 "it starts without a template: $2" || { cat "$ROOT/pods/p1/supervisor.log"; return 1; }
	podvm exec p1 true && down p1
}
ok 'the machine cannot be saved' cold nosave 'template .*: not made: monitor: it cannot be saved'
ok 'its agent does not call' cold nocall "template .*: not made: .*the guest's agent did not call within 2000 ms"
ok 'which leaves nothing' [ ! -e "$STORE" ]
ok 'it cannot be restored' cold norestore 'template .*: monitor: it cannot be restored'
ok 'it does not call once it is restored' cold mute ".*the guest's agent did not call within 2000 ms"
ok 'such templates go' [ ! -e "$STORE" ]

# broken WHY COMMAND... - in the template's folder; a pod starts without it, the next makes one
settings "$ON"
broken() {
	why=$1
	shift
	once p1 > /dev/null || return
	(cd "$STORE/$(keys)" && "$@") || return
	up p1 || return
	says p1 "it starts without a template: template .*: $why" || { cat "$ROOT/pods/p1/supervisor.log"; return 1; }
	says p1 'template .*: removed' || return
	is "$(keys)" '' || return
	down p1
	is "$(once p1)" 'template KEY made restored from template KEY'
}
ok 'the memory is missing' broken 'memory: ' rm memory
ok 'the state is missing' broken 'state: ' rm state
ok 'the state is empty' broken 'state: ' truncate -s 0 state
ok 'the state is cut' broken 'monitor: state: of another machine' truncate -s 100 state
ok 'the state is another' broken 'monitor: state: of another machine' sh -c 'head -c 2096 /dev/urandom > state'
ok 'the memory is cut' broken 'monitor: memory: it has no kernel' truncate -s 4096 memory
ok 'a link in its place' broken 'state: ' sh -c 'rm state && ln -s /etc/passwd state'
full() {
	podvm template remove --all
	mkdir -p "$STORE" && mount -t tmpfs -o size=1m podvm-life "$STORE" || return
	once p1 > "$WORK/story"
	umount "$STORE"
	rmdir "$STORE"
	grep -q 'no template: .*MiB are free' "$WORK/story"
}
ok 'no room' full
podvm template remove --all
snap > "$WORK/after"
ok 'nothing is left of all that' diff "$WORK/before" "$WORK/after"

# ---- what dies ---------------------------------------------------------------------------------
settings "$ON, \"cmdline\": \"slow\""
making() { [ -n "$(ls -d "$STORE"/new.*/machine.json 2> /dev/null)" ] && [ -n "$(victim monitor)" ]; }
maker_dies() {
	up p1 &
	wait_for 20 making || return
	kill -KILL "$(victim monitor)"
	wait $! || return
	says p1 'it starts without a template: template .*: not made: the monitor has ended' || return
	is "$(ls "$STORE" 2> /dev/null)" '' && down p1
}
ok 'the maker is killed: the pod starts' maker_dies
supervisor_dies() {
	up p1 &
	wait_for 20 making || return
	monitor=$(victim monitor)
	kill -STOP "$monitor"
	kill -KILL "$(victim supervisor)"
	! wait $! || return
	podvm list > /dev/null
	is "$(ls "$STORE")" '' || return
	is "$(ls "/proc/$monitor/cmdline" 2> /dev/null)" ''
}
ok 'the supervisor is killed while it makes one: the next command clears up' supervisor_dies
ok 'and the next pod makes one' is "$(once p1)" 'template KEY made restored from template KEY'
podvm template remove --all
# Nobody calls podvm for that pod again: the next maker finds what is there.
mkdir -p "$STORE/new.0123456789abcdef"
echo x > "$STORE/new.0123456789abcdef/memory"
once p1 > /dev/null
ok 'what was left is removed by the next maker' is "$(ls "$STORE")" "$(keys)"
podvm template remove --all
snap > "$WORK/after"
ok 'nothing is left of those' diff "$WORK/before" "$WORK/after"

settings "$ON"
bundle v1 . sleep 100
bundle v2 . sleep 100
snap > "$WORK/before"
sweep "${ROUNDS:-12}" 2 v 20
echo "# killed: $(sort "$WORK/killed" | uniq -c | tr -s ' \n' ' ')"
for n in 1 2; do down v$n; done
no_pods() { podvm list -q > /dev/null && [ -z "$(ls "$ROOT/pods")" ]; }
ok 'after kills at random' wait_for 90 no_pods
podvm template remove --all
snap > "$WORK/after"
ok 'nothing is left' diff "$WORK/before" "$WORK/after"
[ "$tap_failed" = 0 ] || sed 's/^/# log: /' "$WORK/log" | tail -n 30
tap_done
