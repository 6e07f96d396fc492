# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories that kill podvm's processes; sourced after lib.sh, not run. Their
# container is called "victim". SEED repeats a run's choices.
# shellcheck shell=sh

SEED=${SEED:-$(date +%s)}
seed=$SEED

# rnd N - a number below N in $r
rnd() {
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	r=$((seed / 65536 % $1))
}

# part I N SPAN - a moment in $r: anywhere in the I-th of N equal parts of SPAN, where I
# counts on. So few rounds see the whole of it.
part() {
	rnd 1000
	r=$(($3 * ($1 % $2 * 1000 + r) / ($2 * 1000)))
}

# pid_of supervisor|monitor|shim - its process id, or nothing; one process, so that it
# is quick
pid_of() {
	case $1 in
	supervisor) pattern='podvm.--root.*.supervisor.victi[m]' ;;
	monitor) pattern='podvm-vm[m]' ;;
	shim) pattern='podvm-shi[m].shim' ;;
	esac
	found=$(grep -lsaE "$pattern" /proc/[0-9]*/cmdline) || return 0
	found=${found%%/cmdline*}
	echo "${found#/proc/}"
}

# sleep_ms MS
sleep_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
