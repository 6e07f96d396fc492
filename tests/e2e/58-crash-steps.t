#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A whole life of a container, from mapping its root file system to the way back of what
# it changed and the release, in which whoever makes its n-th call that makes, moves or
# takes away something of the host is killed right there: command, supervisor, monitor or
# shim. The next command cleans up; the upper directory is the old or the new one, whole,
# and the new one if the command had said nothing else. ROUNDS (4) steps spread over
# all; 0 takes every step. SEED repeats a run's choices.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kill.sh"
. "$(dirname "$0")/wayback.sh"
ROUNDS=${ROUNDS:-4}

story_begin
victim_begin 20

CALLS=mkdir,mkdirat,unlink,unlinkat,rmdir,rename,renameat,renameat2,linkat,mknodat,symlinkat
CALLS=$CALLS,openat2,mount,umount2,fsopen,fsconfig,fsmount,open_tree,move_mount,mount_setattr
CALLS=$CALLS,setns,unshare,clone3,ftruncate,memfd_create,sendmsg,fsync,fdatasync,syncfs,pwrite64

# life STRACE-OPTION... - under strace; nothing of it is left running
life() {
	timeout 120 strace -f -qq -e "trace=$CALLS" "$@" \
		"$BIN/podvm" --root "$ROOT" run --bundle "$BUNDLE" victim < /dev/null > "$WORK/out" 2>&1
}

# Whoever is not told anything else finds all of it.
clean() {
	cat "$WORK/out"
	all=no
	[ "$said" != 0 ] || [ "$(cat "$WORK/out")" != written ] || all=yes
	victim_clean $all
}

said=0
life -ff -o "$WORK/trace" || said=$?
steps=$(grep -c '(' "$WORK"/trace.* | sed 's/.*://' | sort -n | tail -n 1)
rm -f "$WORK"/trace.*
[ "$ROUNDS" != 0 ] || ROUNDS=$steps
plan $((ROUNDS + 3))
echo "# SEED=$SEED, $steps steps"
ok 'an undisturbed life' is "$said" 0
ok 'leaves its changes and nothing else' clean
n=1
i=0
old_ones=0
while [ $i -lt "$ROUNDS" ]; do
	step=$((1 + (i * steps + SEED % steps) / ROUNDS))
	[ $step -le "$steps" ] || step=$steps
	said=0
	life -o /dev/null -e "inject=$CALLS:signal=KILL:when=$step" || said=$?
	ok "killed at step $step" clean
	new=$(cat "$BUNDLE/upper/n")
	[ "$new" != "$n" ] || old_ones=$((old_ones + 1))
	n=$new
	i=$((i + 1))
done
echo "# $old_ones old states, $((ROUNDS - old_ones)) new ones"
ok 'old states were seen' test $old_ones -gt 0
tap_end
