#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Supervisor, monitor or shim killed at a random moment of a pod's life: the
# next delete --force and list leave a clean machine. ROUNDS (50) and SEED can
# be set.
set -eu
. "$(dirname "$0")/lib.sh"
ROUNDS=${ROUNDS:-50}
plan "$ROUNDS"

story_begin
make_layers
net_up
make_bundle victim "$IN_NETNS" sh -c 'while :; do sleep 1; done'
snapshot > "$WORK/before"
SEED=${SEED:-$(date +%s)}
echo "# SEED=$SEED"
seed=$SEED
# rnd N - a number below N in $r
rnd() {
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	r=$((seed / 65536 % $1))
}

life() {
	podvm create --bundle "$BUNDLE" victim < /dev/null > /dev/null 2>&1 &&
		podvm start victim &&
		podvm exec victim true &&
		podvm kill victim KILL &&
		podvm delete --force victim
}

pid_of() {
	for p in /proc/[0-9]*; do
		[ -r "$p/cmdline" ] || continue
		case $(tr '\0' ' ' < "$p/cmdline" 2> /dev/null) in
		*"$1"*) echo "${p#/proc/}" && return ;;
		esac
	done
}

clean() {
	podvm delete --force victim
	is "$(podvm list -q)" '' || return 1
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after"
}

round=0
while [ $round -lt "$ROUNDS" ]; do
	round=$((round + 1))
	rnd 3
	case $r in
	0) who=supervisor what="$ROOT supervisor" ;;
	1) who=monitor what=podvm-vmm ;;
	2) who=shim what='podvm-shim shim' ;;
	esac
	rnd "${SPAN_MS:-6000}"
	delay=$r
	life > /dev/null 2>&1 &
	life=$!
	sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
	pid=$(pid_of "$what")
	hit='was not there'
	[ -z "$pid" ] || { kill -9 "$pid" 2> /dev/null && hit=killed; } || :
	wait $life || :
	ok "$who $hit after $delay ms" clean
done
tap_end
