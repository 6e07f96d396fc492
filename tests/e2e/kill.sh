# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories that kill podvm's processes; sourced after lib.sh, not run. Their
# container is called "victim" where they kill one process of one pod. SEED repeats a run's
# choices.
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

# any_pid - one of all processes of podvm by chance, in $pid; empty: there is none
any_pid() {
	found=$(grep -lsaE '^podvm|/podvm' /proc/[0-9]*/cmdline) || found=
	# shellcheck disable=SC2086 # words
	set -- $found
	pid=
	[ $# -gt 0 ] || return 0
	rnd $#
	# shellcheck disable=SC2154 # rnd sets it
	shift "$r"
	pid=${1#/proc/}
	pid=${pid%/cmdline}
}

# churn ID - lives of a container, one after the other, while $WORK/churn is there
churn() {
	while [ -e "$WORK/churn" ]; do
		podvm create --bundle "$WORK/disk/$1" "$1" < /dev/null || :
		podvm start "$1" || :
		podvm exec "$1" true || :
		podvm kill "$1" KILL || :
		podvm delete --force "$1" || :
	done > /dev/null 2>&1
}

# sweep N PODS NAME MS - kill N processes of podvm, one every MS at most, while containers
# NAME1 to NAMEn come and go; how many it were is in $killed, what in $WORK/killed
sweep() {
	touch "$WORK/churn"
	workers=
	for n in $(seq "$2"); do
		churn "$3$n" &
		workers="$workers $!"
	done
	killed=0
	tries=0
	while [ $killed -lt "$1" ] && [ $tries -lt $(($1 * 50)) ]; do
		tries=$((tries + 1))
		rnd "$4"
		sleep_ms "$r"
		any_pid
		[ -n "$pid" ] || continue
		name=$(tr '\0' ' ' 2> /dev/null < "/proc/$pid/cmdline") || continue
		kill -9 "$pid" || continue
		killed=$((killed + 1))
		name=${name%% *}
		echo "${name##*/}" >> "$WORK/killed"
	done 2> /dev/null # some end before they are killed
	rm "$WORK/churn"
	for w in $workers; do wait "$w" || :; done
}
