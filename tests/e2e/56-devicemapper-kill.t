#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Supervisor or monitor killed at a random moment of the life of a container on a
# thin snapshot: the next command has the host mount it again, as it was, with all
# that the container was told is written; nobody else has it open; file system and
# pool are whole. ROUNDS (4) counts the kills that hit, spread over victims and moments;
# SEED repeats a run's choices.
# shellcheck disable=SC2016,SC2154
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kill.sh"
. "$(dirname "$0")/devices.sh"
ROUNDS=${ROUNDS:-4}
EVERY=4 # rounds after which the pool is taken down and checked
plan $((ROUNDS + ROUNDS / EVERY + 2))

story_begin
trap devices_end EXIT
pool_up
thin_base
thin_snap podvm-snap 1
SNAP=/dev/mapper/podvm-snap
R=$WORK/disk/victim/rootfs
device_bundle victim $SNAP noatime,nosuid . sh -c \
	'while :; do echo line >> /log; sync; echo line; done'
touch "$R/log"
there=$(mount_of "$R")
# What must be the same after each round; all that a machine has is looked at at the end.
traces() {
	podvm_processes
	cut -d' ' -f5,9- /proc/self/mountinfo | sort
	find "$ROOT" -type f
}
podvm list -q # makes the state directory
traces > "$WORK/before"
snapshot > "$WORK/all-before"
echo "# SEED=$SEED"
life() {
	podvm run --detach --bundle "$BUNDLE" victim < /dev/null > "$WORK/acked" 2>&1 &&
		podvm exec victim true &&
		sleep 1 &&
		podvm delete --force victim
}

# writes - the container has written something, or will not any more
writes() { [ -s "$WORK/acked" ] || ! kill -0 $life 2> /dev/null; }

# Lines that were acknowledged, in all rounds.
told=0
whole() {
	podvm list -q > /dev/null &&
		is "$(mount_of "$R")" "$there" &&
		is "openers $(dmsetup info -c --noheadings -o open podvm-snap)" 'openers 1' || return 1
	podvm delete --force victim
	traces > "$WORK/after"
	diff "$WORK/before" "$WORK/after" || return 1
	written=$(grep -c '^line$' "$R/log")
	[ "$written" -ge "$told" ] || { echo "$told lines were acknowledged, $written are there"; return 1; }
	umount "$R"
	e2fsck -fn $SNAP > "$WORK/fsck" 2>&1 || { cat "$WORK/fsck"; return 1; }
	mount -o noatime,nosuid $SNAP "$R"
}

# The pool's metadata can only be checked while it is down.
pool_whole() {
	umount "$R"
	dm remove podvm-snap podvm-base podvm-pool
	thin_check "$META" > "$WORK/check" 2>&1 || { cat "$WORK/check"; return 1; }
	pool_on
	dm_make podvm-base "0 131072 thin $POOL 0"
	dm_make podvm-snap "0 131072 thin $POOL 1"
	mount -o noatime,nosuid $SNAP "$R"
	is "$(dmsetup status podvm-pool | grep -o 'needs_check')" ''
}

start=$(ms)
life
span=$(($(ms) - start))
told=$(grep -c '^line$' "$WORK/acked")
echo "# an undisturbed life takes $span ms and has $told lines acknowledged"

killed=0
draws=0
while [ $killed -lt "$ROUNDS" ] && [ $draws -lt $((ROUNDS * 4)) ]; do
	who=$(echo supervisor monitor | cut -d' ' -f$((draws % 2 + 1)))
	# Half of them anywhere, half of them while the container writes.
	phase=$((draws / 2 % 2))
	part $((draws / 4)) $(((ROUNDS + 3) / 4)) $((phase ? 1000 : span * 9 / 10))
	delay=$r
	draws=$((draws + 1))
	: > "$WORK/acked"
	life 2> /dev/null &
	life=$!
	[ $phase = 0 ] || wait_for 30 writes || :
	sleep_ms $delay
	pid=$(pid_of "$who")
	while [ -z "$pid" ] && kill -0 $life 2> /dev/null; do
		pid=$(pid_of "$who")
	done
	if [ -n "$pid" ] && kill -9 "$pid" 2> /dev/null; then
		wait $life || :
		told=$((told + $(grep -c '^line$' "$WORK/acked" || :)))
		killed=$((killed + 1))
		ok "$who killed $delay ms after the $(echo start:'first write' | cut -d: -f$((phase + 1)))" whole
		[ $((killed % EVERY)) != 0 ] || ok "the pool is consistent after $killed kills" pool_whole
	else
		wait $life || :
		told=$((told + $(grep -c '^line$' "$WORK/acked" || :)))
		echo "# $who had gone after $delay ms"
	fi
done
snapshot > "$WORK/all-after"
ok 'nothing is left behind' diff "$WORK/all-before" "$WORK/all-after"
echo "# $told lines were acknowledged in all, $(grep -c '^line$' "$R/log") are there"
umount "$R"
dm remove podvm-snap podvm-base podvm-pool
ok 'no device is left open: all can be removed' sh -c '! dmsetup ls | grep podvm-'
tap_end
