#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A container's life by the OCI verbs: states, stdio, exit codes, signals, exec.
# shellcheck disable=SC2016 # $ is for the shell in the container
set -eu
. "$(dirname "$0")/lib.sh"
plan 51

story_begin
make_layers
snapshot > "$WORK/before"
status() { podvm state "$1" | jq -r .status; }

# one container, by steps
make_bundle one . sh -c 'echo out; echo err >&2; read x; echo "got $x"; exit 7'
mkfifo "$WORK/in"
sleep 300 > "$WORK/in" &
holder=$!
podvm create --bundle "$BUNDLE" --pid-file "$WORK/pid" one \
	< "$WORK/in" > "$WORK/out" 2> "$WORK/err"
ok 'create leaves the state "created"' is "$(status one)" created
ok 'the pid file names a live process' kill -0 "$(cat "$WORK/pid")"
ok 'state tells the same pid' is "$(podvm state one | jq .pid)" "$(cat "$WORK/pid")"
ok 'nothing of the program has run' is "$(cat "$WORK/out")" ''
ok 'a second create with this id is refused' exits 1 podvm create --bundle "$BUNDLE" one
podvm start one
ok 'start makes it "running"' is "$(status one)" running
ok 'start of a running container is refused' exits 1 podvm start one
ok 'delete of a running container is refused' exits 1 podvm delete one
echo hello > "$WORK/in"
ok 'it stops by itself' wait_for 10 sh -c "[ \"\$(podvm --root $ROOT state one | jq -r .status)\" = stopped ]"
ok 'standard output came through' is "$(cat "$WORK/out")" 'out
got hello'
ok 'standard error came apart from it' is "$(cat "$WORK/err")" err
ok 'kill of a stopped container says so' sh -c "podvm --root $ROOT kill one TERM 2>&1 | grep -q 'not running'"
ok 'delete' podvm delete one
ok 'state of a deleted container fails' exits 1 podvm state one
ok 'delete of a missing container fails' exits 1 podvm delete one
ok 'delete --force of a missing container is content' podvm delete --force one
kill $holder

# run: exit codes and signals
make_bundle run . sh -c 'exit 42'
ok 'run exits as the program did' exits 42 podvm run --bundle "$BUNDLE" run < /dev/null
jq '.process.args = ["sh", "-c", "kill -9 $$; sleep 9"] | .process.args[2] = "sleep 100 & kill -9 $!; wait $!"' \
	"$BUNDLE/config.json" > "$WORK/c" && cp "$WORK/c" "$BUNDLE/config.json"
ok 'a signal in the container is 128 and its number' exits 137 podvm run --bundle "$BUNDLE" run < /dev/null
jq '.process.args = ["cat"]' "$BUNDLE/config.json" > "$WORK/c" && cp "$WORK/c" "$BUNDLE/config.json"
head -c 3000000 /dev/urandom > "$WORK/data"
podvm run --bundle "$BUNDLE" run < "$WORK/data" > "$WORK/echo"
ok '3 MB through standard input and output arrive whole' cmp "$WORK/data" "$WORK/echo"
jq '.process.args = ["no-such-program"]' "$BUNDLE/config.json" > "$WORK/c" && cp "$WORK/c" "$BUNDLE/config.json"
podvm create --bundle "$BUNDLE" run < /dev/null 2> "$WORK/err" || podvm_processes > "$WORK/left"
ok 'a program that is not there fails create, by name' grep -q 'no-such-program.*not found' "$WORK/err"
ok 'and leaves no process' is "$(cat "$WORK/left")" ''
ok 'and leaves no container' exits 1 podvm state run

# exec
make_bundle two . sleep 1000
podvm create --bundle "$BUNDLE" two < /dev/null > /dev/null 2>&1
ok 'exec into a created container is refused' exits 1 podvm exec two true
podvm start two
ok 'exec exits as its command did' exits 3 podvm exec two sh -c 'exit 3'
ok 'exec of a missing command fails by name' sh -c "podvm --root $ROOT exec two nothing-here 2>&1 | grep -q nothing-here"
ok 'exec with user, cwd, environment' is \
	"$(podvm exec --user 1000:1000 --cwd /tmp --env A=b two sh -c 'echo $(id -u):$(id -g) $PWD $A')" \
	'1000:1000 /tmp b'
ok 'exec with one group more' is "$(podvm exec --user 1000:1000 -g 77 two -- id -G | tr ' ' '\n' | grep -x 77)" 77
ok 'exec reads standard input' is "$(echo text | podvm exec two cat)" text
jq '.process | .args = ["sh", "-c", "echo from a file; exit 5"]' "$BUNDLE/config.json" > "$WORK/process.json"
ok 'exec --process' exits 5 podvm exec --process "$WORK/process.json" two
podvm exec --detach --pid-file "$WORK/exec.pid" two sleep 500 < /dev/null > /dev/null 2>&1
ok 'exec --detach leaves a live process on the host' kill -0 "$(cat "$WORK/exec.pid")"
ok 'ps lists both processes of the guest' is "$(podvm ps two | tail -n +2 | wc -l)" 2
ok 'and, as JSON, what the host has of them' is "$(podvm ps --format json two | jq -c sort)" \
	"$(jq -nc --argjson a "$(podvm state two | jq .pid)" --argjson b "$(cat "$WORK/exec.pid")" '[$a, $b] | sort')"
kill -9 "$(cat "$WORK/exec.pid")"
ok 'killing its shim kills it in the guest' wait_for 10 sh -c "[ \$(podvm --root $ROOT ps two | wc -l) = 2 ]"
ok 'exec -t has a terminal' sh -c "script -qec 'podvm --root $ROOT exec -t two tty' /dev/null < /dev/null | grep -q /dev/pts"
ok 'list shows it' sh -c "podvm --root $ROOT list -q | grep -qx two"
podvm kill two KILL
ok 'kill KILL stops it' wait_for 10 sh -c "[ \"\$(podvm --root $ROOT state two | jq -r .status)\" = stopped ]"
ok 'exec into a stopped container is refused' exits 1 podvm exec two true
podvm delete two

# pause and resume
make_bundle three . sh -c 'while :; do echo tick; sleep 0.02; done'
podvm run --detach --bundle "$BUNDLE" three < /dev/null > "$WORK/ticks" 2> /dev/null
ticks() { wc -l < "$WORK/ticks"; }
more() { [ "$(ticks)" -gt "$1" ]; }
wait_for 10 more 3
ok 'resume of a running container is refused' exits 1 podvm resume three
ok 'pause' podvm pause three
ok 'makes it "paused"' is "$(status three)" paused
sleep 0.5
before=$(ticks)
sleep 1
ok 'and it stands still' is "$(ticks)" "$before"
ok 'exec into it is refused, and says what to do' \
	sh -c "podvm --root $ROOT exec three true 2>&1 | grep -q 'paused; podvm resume'"
ok 'a second pause and a delete are refused' sh -c "! podvm --root $ROOT pause three && ! podvm --root $ROOT delete three"
ok 'resume' podvm resume three
ok 'it runs again' wait_for 10 more "$before"
podvm pause three
podvm kill three KILL
ok 'a paused one can be killed' wait_for 10 sh -c "[ \"\$(podvm --root $ROOT state three | jq -r .status)\" = stopped ]"
ok 'pause of a stopped container says so' sh -c "podvm --root $ROOT pause three 2>&1 | grep -q 'stopped: cannot pause'"
podvm delete three
umount "$BUNDLE/rootfs"
make_bundle three . sleep 1000
podvm run --detach --bundle "$BUNDLE" three < /dev/null > /dev/null 2>&1
podvm pause three
ok 'delete --force of a paused one' podvm delete --force three
ok 'and it is gone' exits 1 podvm state three

umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
ok 'version and features are silent on standard error' \
	is "$( (podvm --version; podvm features) 2>&1 > /dev/null)" ''
tap_end
