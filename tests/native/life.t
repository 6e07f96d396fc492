#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The life of pods in numbers, with a program in the place of the monitor and its guest
# (tests/native/monitor.c): parallel commands on one pod and on many, cycles, and processes
# killed at random. CYCLES (25) pods one after the other, INSIDE (25) containers in one pod,
# ROUNDS (20) kills over PODS (6) pods; SEED repeats a run's choices.
# shellcheck disable=SC2016,SC2154
set -eu
# Processes of our own alone, so that one that stays is seen; they end with us.
if [ "${INNER:-}" != 1 ]; then
	INNER=1 exec unshare --pid --fork --mount-proc --kill-child "$0"
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/pods.sh"
. "$(dirname "$0")/../e2e/kill.sh"
CYCLES=${CYCLES:-25}
INSIDE=${INSIDE:-25}
PODS=${PODS:-6}
ROUNDS=${ROUNDS:-20}

pods_begin life

member() { printf '.annotations["io.kubernetes.cri-o.ContainerType"] = "container"
	| .annotations["io.kubernetes.cri-o.SandboxID"] = "%s"
	| (.linux.namespaces[] | select(.type == "ipc" or .type == "uts")).path = "/proc/1/ns/x"
	| (.linux.namespaces[] | select(.type == "network")).path = "/run/netns/life"' "$1"; }


echo "# SEED=$SEED"
bundle one . sleep 100
bundle stubborn . stubborn
bundle quick . true
bundle said . exit 7
bundle fail . fail
snap > "$WORK/before"

# ---- one of each, to know that the stand-in stands -----------------------------------------
ok 'a container runs, and its end is its own' exits 7 podvm run --bundle "$WORK/disk/said" said < /dev/null
up one
ok "ps(1) and engines call its process by its name" is "$(cat "/proc/$(podvm state one | jq .pid)/comm")" podvm-shim
ok "and the pod's" is "$(cat "/proc/$(pgrep -f '^podvm.*superviso[r]')/comm")" podvm-pod
ok 'exec' podvm exec one true
ok 'exec, with its exit status' exits 3 podvm exec one exit 3
podvm kill one TERM
stopped() { [ "$(podvm state "$1" | jq -r .status)" = stopped ]; }
ok 'kill' wait_for 20 stopped one
ok 'nothing says that its machine has ended' sh -c "! '$BIN/podvm' --root '$ROOT' state one | grep io.podvm.ended"
down one
snap > "$WORK/after"
ok 'nothing is left' diff "$WORK/before" "$WORK/after"

# ---- what dies, and what is told ---------------------------------------------------------------
dies() {
	: > "$WORK/engine.log"
	podvm --log "$WORK/engine.log" create --bundle "$WORK/disk/one" one < /dev/null > /dev/null 2>&1
	podvm start one
	shim=$(podvm state one | jq .pid)
	kill "-$2" "$(victim "$1")"
	# By itself, with its word: a command that finds a dead supervisor would end it.
	wait_for 20 sh -c "! kill -0 $shim" || return
	wait_for 20 stopped one || return
	is "$(podvm state one | jq -r '.annotations["io.podvm.ended"] // ""')" "$3" || return
	[ -z "$4" ] || wait_for 20 grep -q "container one: $4" "$WORK/engine.log" || return
	down one
}
ok 'the monitor is killed' dies monitor KILL 'monitor-lost: the monitor was killed by signal 9' \
	"its pod's machine has ended: monitor-lost: the monitor was killed by signal 9"
ok 'the supervisor is killed' dies supervisor KILL "supervisor-lost: the pod's supervisor was killed" \
	'the machine is lost under its process'
ok 'the supervisor is told to end' dies supervisor TERM 'told-to-end: the supervisor got a signal' \
	"its pod's machine has ended: told-to-end"
# told TIMES NAME: the exit status of its engine's shim, and how long it took in seconds
told() {
	podvm run --keep --bundle "$WORK/disk/$2" "$2" < /dev/null > /dev/null 2>> "$WORK/log" &
	shim=$!
	wait_for 20 sh -c "'$BIN/podvm' --root '$ROOT' state $2 | grep -q '\"running\"'"
	sup=$(victim supervisor)
	began=$(ms)
	for i in $(seq "$1"); do
		kill -TERM "$sup"
		sleep 0.2
	done
	status=0
	wait $shim || status=$?
	took=$((($(ms) - began) / 1000))
	why=$(podvm state "$2" | jq -r '.annotations["io.podvm.ended"]')
	down "$2"
}
told 1 one
ok 'told so, containers are told by TERM and end as they do' is "$status, $why" \
	'143, told-to-end: the supervisor got a signal'
told 1 stubborn
ok 'one that does not is killed' is "$status, $why" '137, told-to-end: the supervisor got a signal'
ok 'after ten seconds' [ $took -ge 10 ]
told 2 stubborn
ok 'a second signal does not wait for it' [ $took -lt 10 ]
ok 'and leaves its status unknown' is "$status, $why" '255, told-to-end: the supervisor got a signal'
ok 'the shim is killed' dies shim KILL '' ''
snap > "$WORK/after"
ok 'nothing is left of them' diff "$WORK/before" "$WORK/after"

# An engine deletes at once what could not be started, and has to see by then that it has ended.
start_fails() {
	podvm create --bundle "$WORK/disk/fail" fail < /dev/null > /dev/null 2>> "$WORK/log" || return
	shim=$(victim shim)
	kill -STOP "$shim"
	{ sleep 1; kill -CONT "$shim"; } &
	! podvm start fail 2>> "$WORK/log" || return
	is "$(victim shim)" ''
}
ok 'a start that fails returns behind the end of its shim' start_fails
podvm delete fail
snap > "$WORK/after"
ok 'and leaves nothing' diff "$WORK/before" "$WORK/after"

# Somebody else's process in a container's cgroup keeps nothing but that, until its end.
up one
sleep 1000 &
stranger=$!
echo $stranger > "/sys/fs/cgroup/$LIFE/one/cgroup.procs"
ok 'a pod whose cgroup is in use is deleted' down one
ok 'which is not listed any more' is "$(podvm list -q)" ''
ok 'who is in it is told' grep -q "cgroup /sys/fs/cgroup/$LIFE/one: still has processes: $stranger;" "$ROOT/pods/one/supervisor.log"
ok 'and lives' kill $stranger
wait $stranger 2> /dev/null || :
podvm list -q
snap > "$WORK/after"
ok 'the next command leaves nothing' diff "$WORK/before" "$WORK/after"

# ---- at once -------------------------------------------------------------------------------------
same() { podvm create --bundle "$WORK/disk/one" one < /dev/null > /dev/null 2>&1; }
at_once 6 same
ok 'of six that create the same one wins' is $good 1
podvm start one
an_exec() { exits "$1" podvm exec one exit "$1" > /dev/null 2>&1; }
at_once 8 an_exec
ok 'eight exec, each gets its own status' is $good 8
a_kill() { podvm kill one KILL > /dev/null 2>&1 || :; }
at_once 6 a_kill
ok 'six kill' wait_for 20 stopped one
a_delete() { podvm delete --force one > /dev/null 2>&1; }
at_once 6 a_delete
ok 'six delete, and all are content' is $good 6
snap > "$WORK/after"
ok 'nothing is left of these' diff "$WORK/before" "$WORK/after"

ip netns add life
for n in 1 2 3 4 5 6; do bundle "m$n" "$(member shared)" sleep 100; done
snap > "$WORK/before"
a_member() { up "m$1"; }
at_once 6 a_member
ok 'six that start their pod at once share it' is $good 6
ok 'of which there is one' is "$(ls "$ROOT/pods")" shared
gone() { down "m$1"; }
at_once 6 gone
ok 'and end it at once' is $good 6
# One is made while the last one goes: it gets a pod in any case.
chase() {
	up "m$1" && podvm exec "m$1" true > /dev/null 2>> "$WORK/log" && down "m$1" &&
		up "m$1" && down "m$1"
}
at_once 6 chase
ok 'who creates while the pod ends gets one' is $good 6
snap > "$WORK/after"
ok 'nothing is left of the shared pod' diff "$WORK/before" "$WORK/after"

# ---- cycles ----------------------------------------------------------------------------------------
cycles() {
	for i in $(seq "$1"); do
		podvm run --bundle "$WORK/disk/quick" "q$i" < /dev/null > /dev/null 2>> "$WORK/log" || return
	done
}
ok "$CYCLES pods one after the other" cycles "$CYCLES"
snap > "$WORK/after"
ok 'nothing is left of those' diff "$WORK/before" "$WORK/after"

# figures PID - descriptors, threads, KiB of memory of its own
figures() {
	echo "$(find "/proc/$1/fd" | wc -l) $(find "/proc/$1/task" -maxdepth 1 | wc -l) $(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status")"
}
# still PID - its figures when they do not change any more: it closes what a command had open
# some time after the command's end
still() {
	now=$(figures "$1")
	while
		was=$now
		sleep 0.5
		now=$(figures "$1")
		[ "$now" != "$was" ]
	do :; done
	echo "$now"
}
inside() {
	for i in $(seq "$1"); do
		up m2 && podvm exec m2 true > /dev/null && podvm kill m2 KILL && down m2 || return
	done
}
up m1
inside 3
first=$(still "$(victim supervisor)")
ok "$INSIDE containers in one pod" inside "$INSIDE"
last=$(still "$(victim supervisor)")
echo "# supervisor: descriptors, threads, KiB: $first, then $last"
ok 'its supervisor has as many descriptors and threads' is "${last% *}" "${first% *}"
ok 'and no more memory than a journal and a timeline take' [ "${last##* }" -lt $((${first##* } + 512)) ]
down m1
snap > "$WORK/after"
ok 'nothing is left of that' diff "$WORK/before" "$WORK/after"

# ---- killed at random ---------------------------------------------------------------------------------
for n in $(seq "$PODS"); do bundle "v$n" . sleep 100; done
snap > "$WORK/before"
sweep "$ROUNDS" "$PODS" v 60
echo "# killed: $(sort "$WORK/killed" | uniq -c | tr -s ' \n' ' ')"
ok "$ROUNDS processes were killed under load" is "$killed" "$ROUNDS"
all_down() { for n in $(seq "$PODS"); do down "v$n" || return; done; }
ok 'all pods can be deleted' all_down
# One whose starter was killed before it created anything waits for others for half a minute.
no_pods() { podvm list -q > /dev/null && [ -z "$(ls "$ROOT/pods")" ]; }
ok 'pods without a container end by themselves' wait_for 90 no_pods
ok 'none is listed' is "$(podvm list -q)" ''
snap > "$WORK/after"
ok 'nothing is left after the kills' diff "$WORK/before" "$WORK/after"
all_up() { for n in $(seq "$PODS"); do up "v$n" && podvm exec "v$n" true > /dev/null && down "v$n" || return; done; }
ok 'and all of them work' all_up
[ "$tap_failed" = 0 ] || sed 's/^/# log: /' "$WORK/log" | tail -n 30
tap_done
