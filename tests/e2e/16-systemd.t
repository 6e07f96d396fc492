#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A host whose cgroups are systemd's: pods and containers are its transient scopes in the
# slice that the engine names, and go when they end; what operators do with them by
# systemctl, and all getting their TERM at once as when a host goes down.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
. "$TOP/tests/e2e/systemd.sh"
systemd_begin "$0"
plan 31

story_begin
make_layers
podvm() { "$BIN/podvm" --root "$ROOT" --systemd-cgroup "$@"; }
show() { systemctl show "$1" -p "$2" --value; }
# Of this story, that systemd knows, in any state.
units() { systemctl list-units --all --plain --no-legend 'podvm*.scope' 'story-*.scope' | awk '{ print $1, $4 }' | sort | tr '\n' ' '; }
cgroup_of() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }
has_status() { [ "$(podvm state "$1" | jq -r .status)" = "$2" ]; }
one() { make_bundle "$1" ".linux.cgroupsPath = \"machine.slice:story:$1\" | .linux.resources.cpu.shares = 512" sh -c "$2"; }
start() { podvm run --detach --bundle "$WORK/disk/$1" "$1" < /dev/null > "$WORK/$1.log" 2>&1; }
# What systemd does first when it stops a pod's scope. It cannot here: in a pid namespace the
# kernel thread that KVM puts beside the monitor has no number, at which systemd 252 gives up
# and goes on with KILL.
told() { find "/sys/fs/cgroup/machine.slice/$1" -name cgroup.procs -exec cat {} + | grep -vx 0 | xargs kill -TERM; }
# What a program does that is told to end: a file that has not been written out yet.
POLITE='trap "echo said > /said; exit 7" TERM; while :; do sleep 0.1; done'

# The slice stays, as one of a host does.
systemctl start machine.slice
snapshot > "$WORK/before"

# ---- scopes -----------------------------------------------------------------------------
one a "$POLITE"
one b "$POLITE"
ok 'a container starts' start a
ok 'it and its pod are scopes' is "$(units)" 'podvmpod-a.scope running story-a.scope running '
shim=$(podvm state a | jq .pid)
ok 'the shim is in the container'"'"'s' is "$(cgroup_of "$shim")" /machine.slice/story-a.scope
ok 'the monitor is in the pod'"'"'s' is "$(cgroup_of "$(pgrep -x podvm-vmm)")" /machine.slice/podvmpod-a.scope/vmm
ok 'which has its weight' is "$(show podvmpod-a.scope CPUWeight)" 20
LIMIT=/sys/fs/cgroup/machine.slice/podvmpod-a.scope/vmm/memory.max
limit=$(cat $LIMIT)
systemctl daemon-reload
systemctl set-property --runtime machine.slice CPUWeight=200
ok 'and keeps it when systemd reads its files again' is \
	"$(cat /sys/fs/cgroup/machine.slice/podvmpod-a.scope/cpu.weight)" 20
ok 'as the monitor its limit' is "$(cat $LIMIT)" "$limit"
ok 'which is one' [ "$limit" -gt 0 ]
podvm update --cpu-share 256 a
ok 'update changes it' is "$(show podvmpod-a.scope CPUWeight)" 10
podvm update --cpuset-cpus 0 a
ok 'and on which processors of the host the machine runs' is \
	"$(cat /sys/fs/cgroup/machine.slice/podvmpod-a.scope/vmm/cpuset.cpus)" 0
ok 'exec' podvm exec a true
podvm kill a TERM
ok 'it ends' wait_for 20 has_status a stopped
ok 'delete' podvm delete a
ok 'no unit is left' is "$(units)" ''

# ---- what operators do --------------------------------------------------------------------
start b
ok 'the container'"'"'s scope is stopped' timeout 60 systemctl stop story-b.scope
ok 'which is a TERM to its program' wait_for 20 has_status b stopped
ok 'and what that wrote is on the host' is "$(cat "$WORK/disk/b/rootfs/said")" said
podvm delete b

rm "$WORK/disk/b/rootfs/said"
start b
ok 'all in the pod'"'"'s scope get a TERM' told podvmpod-b.scope
ok 'which is a TERM to its program, too' wait_for 20 has_status b stopped
ok 'and what that wrote is on the host as well' is "$(cat "$WORK/disk/b/rootfs/said")" said
ok 'and why it ended is told' is "$(podvm state b | jq -r '.annotations["io.podvm.ended"]')" \
	'told-to-end: the supervisor got a signal'
ok 'delete' podvm delete b
ok 'no unit is left of it' is "$(units)" ''

rm "$WORK/disk/b/rootfs/said"
start a
start b
ok 'all in the slice get a TERM at once' told .
ok 'which ends a pod' wait_for 30 has_status a stopped
ok 'and another' wait_for 30 has_status b stopped
ok 'in order' is "$(cat "$WORK/disk/a/rootfs/said" "$WORK/disk/b/rootfs/said" | tr '\n' ' ')" 'said said '
podvm delete a
podvm delete b

start a
kill -KILL "$(head -n 1 /sys/fs/cgroup/machine.slice/podvmpod-a.scope/supervisor/cgroup.procs)"
ok 'after a supervisor that was killed' wait_for 20 has_status a stopped
podvm delete a
ok 'no unit is left either' is "$(units)" ''
umount "$WORK"/disk/*/rootfs
rm -rf "$WORK/disk/a" "$WORK/disk/b"
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
ok 'and nothing has failed for systemd' is "$(systemctl --failed --plain --no-legend)" ''
