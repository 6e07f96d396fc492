#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Supervisor, monitor or shim killed while a container's changes come back: afterwards
# the upper directory is the old or the new one, whole, nothing is left of the other, and
# what was reported as done is there. ROUNDS (20) counts the kills that hit; SEED repeats
# a run's choices.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
ROUNDS=${ROUNDS:-20}
plan $((ROUNDS + 2))

story_begin
make_layers
make_bundle victim . sh -ec 'n=$(cat /n); mkdir -p /d; i=0; while [ $i -lt 300 ]; do echo $((n + 1)) > /d/$i; i=$((i + 1)); done
	rm -rf /gone-$n; mkdir /gone-$((n + 1)); echo $((n + 1)) > /n; echo written'
echo 0 > "$BUNDLE/upper/n"
umount "$BUNDLE/rootfs"
l=$WORK/disk/layers
mount_it() {
	mount -t overlay overlay \
		-o "lowerdir=$l/top:$l/middle:$l/base,upperdir=$BUNDLE/upper,workdir=$BUNDLE/work" \
		"$BUNDLE/rootfs"
}
mount_it
snapshot > "$WORK/before"
SEED=${SEED:-$(date +%s)}
echo "# SEED=$SEED"
seed=$SEED
rnd() {
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	r=$((seed / 65536 % $1))
}
ms() { echo $(($(date +%s%N) / 1000000)); }

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

# begin - a life up to the moment at which the container has written all
begin() {
	: > "$WORK/out"
	: > "$WORK/log"
	# On a machine without a free processor a monitor may be too slow to start.
	tries=3
	until podvm --log "$WORK/log" create --bundle "$BUNDLE" --pid-file "$WORK/pid" victim \
		< /dev/null > "$WORK/out" 2>&1; do
		sed 's/^/# /' "$WORK/out"
		tries=$((tries - 1))
		[ $tries -gt 0 ]
		: > "$WORK/log"
		: > "$WORK/out"
	done
	podvm start victim
	until [ -s "$WORK/out" ]; do sleep 0.02; done
}

# whole N - the upper directory is that of N
whole() {
	u=$BUNDLE/upper
	is "$(cat "$u/n")" "$1" || return 1
	[ "$1" = 0 ] || {
		is "$(cat "$u"/d/* | sort | uniq -c | tr -s ' ')" " 300 $1" || return 1
		[ -d "$u/gone-$1" ] || { echo "no gone-$1"; return 1; }
	}
	is "$(find "$u" -name 'gone-*' | grep -vxc "$u/gone-$1" || :)" 0
}

clean() {
	podvm delete --force victim || return 1
	umount "$BUNDLE/rootfs"
	is "$(ls -A "$BUNDLE" | tr '\n' ' ')" 'config.json rootfs upper work ' || return 1
	new=$(cat "$BUNDLE/upper/n")
	mount_it
	whole "$new" || return 1
	# The shim had said nothing to the log: then all is there.
	[ "$done" = no ] || is "$new" $((n + 1)) || return 1
	[ "$new" = "$n" ] || [ "$new" = $((n + 1)) ] || { echo "$n became $new"; return 1; }
	is "$(podvm list -q)" '' || return 1
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after"
}

n=0
begin
start=$(ms)
shim=$(cat "$WORK/pid")
while kill -0 "$shim" 2> /dev/null; do sleep 0.02; done
span=$(($(ms) - start + 50))
done=yes
ok 'an undisturbed way back is done when the shim has gone' clean
n=$(cat "$BUNDLE/upper/n")
echo "# it takes $span ms"

killed=0
draws=0
old_ones=0
new_ones=0
while [ $killed -lt "$ROUNDS" ] && [ $draws -lt $((ROUNDS * 3)) ]; do
	draws=$((draws + 1))
	rnd 3
	who=$(echo supervisor monitor shim | cut -d' ' -f$((r + 1)))
	rnd $span
	delay=$r
	begin
	shim=$(cat "$WORK/pid")
	sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
	pid=$(pid_of "$who")
	gone=no
	kill -0 "$shim" 2> /dev/null || gone=yes
	[ -n "$pid" ] && kill -9 "$pid" 2> /dev/null || pid=
	while kill -0 "$shim" 2> /dev/null; do sleep 0.02; done
	done=no
	[ "$who" = shim ] || [ -s "$WORK/log" ] || done=yes
	[ $gone = no ] || done=yes
	if [ -n "$pid" ]; then
		killed=$((killed + 1))
		ok "$who killed $delay ms after the last write" clean
	else
		clean > /dev/null || :
	fi
	if [ "$(cat "$BUNDLE/upper/n")" = "$n" ]; then
		old_ones=$((old_ones + 1))
	else
		new_ones=$((new_ones + 1))
	fi
	n=$(cat "$BUNDLE/upper/n")
done
echo "# $old_ones old states, $new_ones new ones"
ok 'both states were seen' test $old_ones -gt 0 -a $new_ones -gt 0
tap_end
