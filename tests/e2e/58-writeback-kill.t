#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Supervisor, monitor or shim killed while a container's changes come back: afterwards
# the upper directory is the old or the new one, whole, nothing is left of the other, and
# what was reported as done is there. ROUNDS (3) counts the kills that hit, spread over
# victims and moments; SEED repeats a run's choices. If they saw one state alone, since
# the way back became slower or quicker, more follow, halfway between the two.
# shellcheck disable=SC2016,SC2154
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kill.sh"
. "$(dirname "$0")/wayback.sh"
ROUNDS=${ROUNDS:-3}
plan $((ROUNDS + 2))

story_begin
victim_begin 300
echo "# SEED=$SEED"

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

# The shim had said nothing to the log: then all is there.
clean() { victim_clean "$done"; }

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
# The latest kill after which the old state was there, the earliest after which the new.
old_at=0
new_at=$span

# strike WHO MS - a life, whose WHO is killed so long after the last write; $pid is empty
# if there was none any more. What became of it is counted.
strike() {
	draws=$((draws + 1))
	begin
	shim=$(cat "$WORK/pid")
	sleep_ms "$2"
	pid=$(pid_of "$1")
	gone=no
	kill -0 "$shim" 2> /dev/null || gone=yes
	# The way back is shorter than it seemed.
	[ $gone = no ] || span=$(($2 + 1))
	[ -n "$pid" ] && kill -9 "$pid" 2> /dev/null || pid=
	while kill -0 "$shim" 2> /dev/null; do sleep 0.02; done
	done=no
	[ "$1" = shim ] || [ -s "$WORK/log" ] || done=yes
	[ $gone = no ] || done=yes
	whole=yes
	clean > "$WORK/unclean" || whole=no
	if [ "$(cat "$BUNDLE/upper/n")" = "$n" ]; then
		old_ones=$((old_ones + 1))
		old_at=$2
	else
		new_ones=$((new_ones + 1))
		new_at=$2
	fi
	n=$(cat "$BUNDLE/upper/n")
}

# whole - what the last kill left
whole() {
	cat "$WORK/unclean"
	[ $whole = yes ]
}

while [ $killed -lt "$ROUNDS" ] && [ $draws -lt $((ROUNDS * 3)) ]; do
	who=$(echo supervisor monitor shim | cut -d' ' -f$((draws % 3 + 1)))
	part $((draws / 3)) $(((ROUNDS + 2) / 3)) $span
	delay=$r
	strike "$who" "$delay"
	[ -n "$pid" ] || continue
	killed=$((killed + 1))
	ok "$who killed $delay ms after the last write" whole
done

# both_states - were seen, and nothing was lost on the way there
both_states() {
	tries=12
	while [ $old_ones -eq 0 ] || [ $new_ones -eq 0 ]; do
		[ $tries -gt 0 ] || return 1
		tries=$((tries - 1))
		# Were all of one kind, the other's moment is a guess, and is moved on.
		[ $old_ones -gt 0 ] || old_at=0
		[ $new_ones -gt 0 ] || [ "$new_at" -gt $((old_at * 2)) ] || new_at=$((old_at * 2 + 100))
		strike supervisor $(((old_at + new_at) / 2))
		whole || return 1
	done
}
ok 'both states were seen' both_states
tap_end
