#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What people look at pods with: doctor, podvm pod list, inspect, stats, timeline, logs,
# console, a shell in the guest, and the metrics of all pods.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 21

story_begin
make_layers
net_up
make_bundle one "$IN_NETNS | $SANDBOX | .annotations[\"io.podvm.debug-shell\"] = \"on\"" sleep 1000
podvm run --detach --bundle "$BUNDLE" pod1 < /dev/null > "$WORK/log" 2>&1 || cat "$WORK/log"
make_bundle two "$IN_NETNS | $MEMBER" sh -c 'sleep 1000 & sleep 1000'
podvm run --detach --bundle "$BUNDLE" two < /dev/null > "$WORK/log" 2>&1 || cat "$WORK/log"

podvm doctor --json > "$WORK/json" || :
ok 'doctor: KVM and images are well' jq -e 'all(.findings[] | select(.check == "kvm" or .check == "images");
	.severity == "ok")' "$WORK/json"
ok 'doctor finds nothing stale' jq -e 'any(.findings[]; .check == "stale" and .severity == "ok")' "$WORK/json"

ok 'the list has the pod in a line' sh -c \
	"podvm() { $BIN/podvm --root $ROOT \"\$@\"; }; podvm pod list | grep -E '^pod1 +running +2/2 +1 .* CRI-O +$IP4/'"
podvm pod list --json > "$WORK/json"
ok 'and as JSON' jq -e '.pods | length == 1 and .[0].id == "pod1" and .[0].engine == "CRI-O" and .[0].state == "running" and
	([.[0].containers[].status] == ["running", "running"]) and .[0].memory.now > 1e8 and .[0].uptimeSeconds > 0' "$WORK/json"

podvm pod inspect two > "$WORK/json"
ok 'inspect by a container: its pod, machine, disks, records, timeline' jq -e '.id == "pod1" and
	(.details.machine.cmdline | test("console=hvc0")) and (.details.containers | length == 2) and
	all(.details.containers[]; (.disks | length == 2) and .rootfsKind == "overlay as disks") and
	(.records | length == 2) and any(.timeline.events[]; .what | test("pod is ready")) and
	.counters.exits.mmio > 0' "$WORK/json"
ok 'what the guest says of itself' jq -e '.guest | .memoryTotal > 1e8 and .memoryAvailable > 0 and
	.memoryAvailable < .memoryTotal and .uptimeSeconds > 0' "$WORK/json"
ok 'the agent takes less than 2 MiB' jq -e '.guest.agentMemory > 0 and .guest.agentMemory <= 2097152' "$WORK/json"
ok 'and of its containers' jq -e '[.containers[] | {(.id): .guest.processes}] | add | .pod1 == 1 and .two == 2' "$WORK/json"
ok 'processes on the host use something' jq -e '.processes | .monitor.residentBytes > 1e7 and .monitor.cpuMs > 0 and
	.supervisor.pid > 0 and .shims.residentBytes > 0' "$WORK/json"
ok 'statistics as a table' sh -c "$BIN/podvm --root $ROOT pod stats | grep -E '^pod1 +[0-9.]+ +[0-9]+ +[0-9]+ +[0-9]+/[0-9]+ '"

podvm metrics > "$WORK/om"
ok 'metrics: containers, machine, guest' sh -c "
	grep -q '^podvm_container_state{pod=\"pod1\",container=\"two\",state=\"running\"} 1' $WORK/om &&
	grep -q '^podvm_container_processes{pod=\"pod1\",container=\"two\"} 2' $WORK/om &&
	grep -q '^podvm_vmm_exits_total{pod=\"pod1\",reason=\"mmio\"} [1-9]' $WORK/om &&
	test \"\$(tail -n 1 $WORK/om)\" = '# EOF'"
ok "a shell in the guest sees all containers' processes" sh -c "
	echo 'ps; cat /proc/1/comm' | $BIN/podvm --root $ROOT pod shell two > $WORK/shell 2>&1
	cat $WORK/shell; test \"\$(grep -c 'sleep 1000' $WORK/shell)\" -ge 3 && tail -n 1 $WORK/shell | grep -qx podvm-agent"
ok 'it exits as its command did' exits 7 podvm pod shell pod1 sh -c 'exit 7'
ok 'and with a terminal, which is in the guest' sh -c "
	script -qec \"$BIN/podvm --root $ROOT pod shell two tty\" /dev/null < /dev/null | grep /dev/pts/"
ok 'the log of the host tells of it' sh -c "$BIN/podvm --root $ROOT pod logs --source host two | grep 'a shell is opened in the guest: .* sh -c exit 7'"
ok "the guest kernel's log" sh -c "$BIN/podvm --root $ROOT pod logs --source kernel two | grep 'Linux version'"
echo '{"debugShell": "off"}' > "$WORK/off.json"
ok 'no shell where the configuration forbids it' sh -c "PODVM_CONFIG=$WORK/off.json $BIN/podvm --root $ROOT pod shell two 2>&1 | grep 'forbids shells'"
podvm pod shell two sh -c "printf 'a\\033[31mb\\n' > /dev/hvc0"
ok 'what a guest writes does not drive the terminal' wait_for 10 sh -c "$BIN/podvm --root $ROOT pod console two | grep 'a?\\[31mb'"

kill -STOP "$(jq .processes.supervisor.pid "$WORK/json")"
ok 'a pod that stands still is counted, and keeps nobody' sh -c "$BIN/podvm --root $ROOT metrics --timeout 500 > $WORK/om &&
	grep -q '^podvm_pods{state=\"silent\"} 1' $WORK/om && grep -q '^podvm_pod_up{pod=\"pod1\"} 0' $WORK/om"
kill -CONT "$(jq .processes.supervisor.pid "$WORK/json")"
kill -KILL "$(jq .processes.supervisor.pid "$WORK/json")"
wait_for 10 sh -c "$BIN/podvm --root $ROOT doctor | grep -q 'pod pod1: its supervisor has died'"
ok 'doctor names what a killed supervisor has left' sh -c "$BIN/podvm --root $ROOT doctor | grep -A 1 '^stale *warning' | grep 'mend: podvm'"
ok 'the list cleans up' is "$(podvm pod list -q)" ''
podvm delete --force two
podvm delete --force pod1
tap_end
