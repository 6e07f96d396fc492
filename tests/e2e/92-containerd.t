#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# containerd's ctr cannot tell podvm from crun: the same script with both, step by step.
# Sections: run run-more task; ROUNDS chooses.
# shellcheck disable=SC2016,SC2034
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/image.sh"
. "$(dirname "$0")/containerd.sh"
. "$(dirname "$0")/compare.sh"
SECTIONS='task'
ON_PTY=$TOP/tests/e2e/on-pty.py
NAMESPACE=story
IMAGE=podvm.test/base:1

story_begin
make_layers
ROOT=/run/containerd/runc/$NAMESPACE
cat > "$WORK/config.toml" << X
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
X
containerd_begin "$WORK/config.toml"

program() {
	case $RUNTIME in
	podvm) echo "$BIN/podvm" ;;
	*) command -v "$RUNTIME" ;;
	esac
}
c() { ctr -n "$NAMESPACE" "$@"; }
run() { c run --runtime io.containerd.runc.v2 --runc-binary "$(program)" "$@"; }
silent() { "$@" 2> /dev/null; }
status() { c task ls | awk -v id="$1" '$1 == id { print $3 }'; }

runs() {
	section run || return 0
	step 'run: output and status' run --rm --env A=b --cwd /home "$IMAGE" one sh -c 'echo out; echo err >&2; echo "$A"; pwd; id; exit 3'
	step 'run: limits' run --rm --memory-limit 67108864 --cpus 0.5 --read-only --cap-drop CAP_CHOWN --seccomp "$IMAGE" one sh -c '
		cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max; touch /x 2> /dev/null || echo refused
		grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status'
	section run-more || return 0
	step 'run: no such program' silent run --rm "$IMAGE" one no-such-program
	step 'run: mount' run --rm --mount "type=bind,src=$WORK/disk/layers/middle,dst=/m,options=rbind:ro" "$IMAGE" one sh -c 'cat /m/kept; touch /m/x 2> /dev/null || echo refused'
	step 'run -t' "$ON_PTY" 40x100 'ready\r*\n' 'hello\r' -- ctr -n "$NAMESPACE" run --rm -t --runtime io.containerd.runc.v2 \
		--runc-binary "$(program)" "$IMAGE" one sh -c "$(sized 40 100)"'; tty; echo ready; read x; echo "got $x"; exit 5'
}

tasks() {
	section task || return 0
	step 'run -d' run -d "$IMAGE" two sh -c 'trap "exit 9" TERM; sleep 1000 & wait'
	step 'task ls' status two
	step 'task exec' c task exec --exec-id x1 two sh -c 'echo out; echo err >&2; exit 4'
	step 'task exec: directory, user' c task exec --exec-id x2 --cwd /var --user 1000 two sh -c 'pwd; id'
	step 'task pause' c task pause two
	step 'task ls, paused' status two
	step 'task resume' c task resume two
	step 'task ps' sh -c 'ctr -n "$1" task ps two | wc -l' - "$NAMESPACE"
	step 'task metrics' sh -c 'ctr -n "$1" task metrics two | grep -c -E "^(memory.usage_in_bytes|memory.usage|pids.current|cpu.usage_usec) "' - "$NAMESPACE"
	step 'task kill' c task kill --signal TERM two
	step 'its end' wait_for 30 sh -c 'ctr -n "$1" task ls | grep -q "two.*STOPPED"' - "$NAMESPACE"
	step 'task rm' c task rm two
	step 'container rm' c container rm two
	step 'nothing is left' c task ls -q
}

script() {
	runs
	tasks
}
compare script
compared
ok 'the list of differences names steps' differences_named
ok 'no process of podvm is left' is "$(podvm_processes)" ''
ok 'and no container' is "$(podvm list -q)" ''
containerd_end
tap_done
