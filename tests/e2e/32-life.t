#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Death of a real guest: its kernel panics, and it hangs. What is loaded, paused or stopped
# does not count as hung. Then processes of podvm killed at random while pods come and go:
# ROUNDS (3) kills over PODS (2) pods; SEED repeats a run's choices.
# shellcheck disable=SC2016,SC2154
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kill.sh"
ROUNDS=${ROUNDS:-3}
PODS=${PODS:-2}
plan 12

story_begin
make_layers
PERIOD=1000
LIMIT=8000
cat > "$WORK/podvm.json" <<-END
	{ "watchdogPeriodMs": $PERIOD, "watchdogLimitMs": $LIMIT,
	  "cmdline": "sysctl.kernel.sched_rt_runtime_us=-1" }
END
export PODVM_CONFIG="$WORK/podvm.json"
OPEN='del(.linux.readonlyPaths, .linux.maskedPaths) | .root.readonly = true'
make_bundle panic "$OPEN" sh -c 'echo c > /proc/sysrq-trigger; sleep 100'
# Nobody else gets the machine's one processor.
make_bundle hang "$OPEN"' | .process.scheduler = {policy: "SCHED_FIFO", priority: 99}
	| (.process.capabilities | .bounding, .effective, .permitted) += ["CAP_SYS_NICE"]' \
	sh -c 'while :; do :; done'
make_bundle busy "$OPEN" sh -c 'for i in 1 2 3 4; do (while :; do :; done) & done; wait'
for n in $(seq "$PODS"); do make_bundle "v$n" . sleep 100; done
# The pods' common parent is nobody's: who finds it in use leaves it.
mkdir -p /sys/fs/cgroup/podvm
snapshot > "$WORK/before"
echo "# SEED=$SEED"

stopped() { [ "$(podvm state "$1" | jq -r .status)" = stopped ]; }
ended() { podvm state "$1" | jq -r '.annotations["io.podvm.ended"]'; }

: > "$WORK/engine.log"
podvm --log "$WORK/engine.log" run --keep --bundle "$WORK/disk/panic" panic < /dev/null > /dev/null 2>&1 && rc=0 || rc=$?
ok 'a guest that panics: the exit status says that nobody knows' is $rc 255
ok 'the state says why' is "$(ended panic)" 'guest-panic: sysrq triggered crash'
ok 'and so does the log' grep -q "container panic: its pod's machine has ended: guest-panic" "$WORK/engine.log"
podvm delete panic

podvm create --bundle "$WORK/disk/busy" busy < /dev/null > /dev/null 2>&1
podvm start busy
# All of them are there for longer than the limit.
podvm pause busy
kill -STOP "$(pid_of monitor)"
sleep $((LIMIT / 1000 + 2))
kill -CONT "$(pid_of monitor)"
ok 'one that was stopped, and paused, goes on' podvm resume busy
ok 'and answers, loaded as it is' podvm exec busy true
ok 'it is no hung one' is "$(podvm state busy | jq -r .status)" running
podvm delete --force busy

podvm create --bundle "$WORK/disk/hang" hang < /dev/null > /dev/null 2>&1
podvm start hang > "$WORK/log" 2>&1 || :
ok 'a guest that hangs is given up' wait_for 60 stopped hang
ok 'the state says why it was' is "$(ended hang)" "guest-hang: the agent has not answered for $LIMIT ms"
podvm delete --force hang
snapshot > "$WORK/after"
ok 'nothing is left of them' diff "$WORK/before" "$WORK/after"

sweep "$ROUNDS" "$PODS" v 3000
echo "# killed: $(sort "$WORK/killed" | uniq -c | tr -s ' \n' ' ')"
ok "$ROUNDS processes were killed under load" is "$killed" "$ROUNDS"
all_down() { for n in $(seq "$PODS"); do podvm delete --force "v$n" || return; done; }
# One whose starter was killed before it created anything waits for others for half a minute.
no_pods() { podvm list -q > /dev/null && [ -z "$(ls "$ROOT/pods")" ]; }
ok 'all pods can be deleted' all_down
wait_for 90 no_pods || :
snapshot > "$WORK/after"
ok 'nothing is left after the kills' diff "$WORK/before" "$WORK/after"
tap_end
