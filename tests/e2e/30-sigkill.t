#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Supervisor, monitor or shim killed at a random moment of the life of a pod with
# volumes: the next delete --force and list leave a clean machine. ROUNDS (6) counts
# the kills that hit, spread over victims and that life; SEED repeats a run's choices.
# shellcheck disable=SC2016,SC2154
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kill.sh"
ROUNDS=${ROUNDS:-6}
plan "$ROUNDS"

story_begin
make_layers
net_up
V=$WORK/disk/volumes
mkdir -p "$V/data" "$V/config/..v1"
echo 'colour=blue' > "$V/config/..v1/app.conf"
ln -s ..v1 "$V/config/..data"
ln -s ..data/app.conf "$V/config/app.conf"
make_bundle victim "$IN_NETNS | .mounts += [
	{destination: \"/data\", type: \"bind\", source: \"$V/data\", options: [\"rbind\"]},
	{destination: \"/config\", type: \"bind\", source: \"$V/config\", options: [\"rbind\", \"ro\"]}]" \
	sh -c 'while :; do sleep 1; done'
snapshot > "$WORK/before"
echo "# SEED=$SEED"

life() {
	podvm create --bundle "$BUNDLE" victim < /dev/null > /dev/null 2>&1 &&
		podvm start victim &&
		podvm exec victim true &&
		podvm kill victim KILL &&
		podvm delete --force victim
}

clean() {
	podvm delete --force victim
	is "$(podvm list -q)" '' || return 1
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after"
}

life # the first one reads programs and kernel, which those below find in memory
start=$(ms)
life
span=$(($(ms) - start))
echo "# an undisturbed life takes $span ms"

# A moment before the victim's birth waits for the birth; one after its end
# misses, and is drawn again: lives are shorter than that.
killed=0
draws=0
while [ $killed -lt "$ROUNDS" ] && [ $draws -lt $((ROUNDS * 4)) ]; do
	who=$(echo supervisor monitor shim | cut -d' ' -f$((draws % 3 + 1)))
	part $((draws / 3)) $(((ROUNDS + 2) / 3)) $span
	delay=$r
	draws=$((draws + 1))
	life > /dev/null 2>&1 &
	life=$!
	sleep_ms $delay
	pid=$(pid_of "$who")
	while [ -z "$pid" ] && kill -0 $life 2> /dev/null; do
		pid=$(pid_of "$who")
	done
	if [ -n "$pid" ] && kill -9 "$pid" 2> /dev/null; then
		wait $life || :
		killed=$((killed + 1))
		ok "$who killed after $delay ms" clean
	else
		wait $life
		echo "# $who had gone after $delay ms"
		span=$delay
	fi
done
tap_end
