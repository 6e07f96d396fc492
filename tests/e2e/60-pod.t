#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Pods: containers by the annotations of CRI-O and containerd share one
# machine; each has its own processes, files and limits.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
plan 22

story_begin
make_layers
net_up
snapshot > "$WORK/before"

# CRI-O drops the infra container: an unknown sandbox id starts the machine
make_bundle a "$IN_NETNS | $MEMBER | .hostname = \"pod-host\"" sh -c 'exec httpd -f -p 8080 -h /etc'
podvm run --detach --bundle "$BUNDLE" a < /dev/null > /dev/null 2>&1
make_bundle b "$IN_NETNS | $MEMBER
	| .linux.resources.pids.limit = 20
	| .linux.resources.memory.limit = 67108864
	| .process.user = {uid: 1000, gid: 1000, additionalGids: [5, 6]}
	| .process.env += [\"COLOUR=blue\"]
	| .process.cwd = \"/home\"
	| .process.rlimits = [{type: \"RLIMIT_NOFILE\", soft: 100, hard: 200}]
	| .process.noNewPrivileges = true
	| .mounts += [{destination: \"/scratch\", type: \"tmpfs\", source: \"tmpfs\",
		options: [\"nosuid\", \"size=1m\", \"mode=1777\"]}]
	| .linux.readonlyPaths += [\"/etc\"]
	| .root.readonly = true" sleep 1000
podvm run --detach --bundle "$BUNDLE" b < /dev/null > /dev/null 2>&1
boot() { podvm exec "$1" cat /proc/sys/kernel/random/boot_id; }
ok 'both are in one machine' is "$(boot a)" "$(boot b)"
ok 'they reach each other on localhost' \
	wait_for 10 podvm exec b wget -q -O - http://localhost:8080/motd
ok 'both have the pod as theirs' is "$(podvm state a | jq -r .pod) $(podvm state b | jq -r .pod)" 'pod1 pod1'
ok 'processes are not shared' is "$(podvm exec b sh -c 'ps | grep -c "[h]ttpd"')" 0
ok 'the files are not shared' sh -c "podvm --root $ROOT exec a touch /only-a && podvm --root $ROOT exec b test ! -e /only-a"
ok 'user and groups' is "$(podvm exec b id)" 'uid=1000(user) gid=1000 groups=5,6'
ok 'environment and working directory' is "$(podvm exec b sh -c 'echo $COLOUR $PWD')" 'blue /home'
ok 'rlimit' is "$(podvm exec b sh -c 'ulimit -n; ulimit -Hn' | tr '\n' ' ')" '100 200 '
ok 'no_new_privs' podvm exec b grep -q 'NoNewPrivs:.1' /proc/self/status
ok 'tmpfs with its size' is "$(podvm exec b df -k /scratch | awk 'NR == 2 {print $2}')" 1024
ok 'and its permissions' podvm exec b touch /scratch/x
ok 'a read-only root refuses writes' exits 1 podvm exec --user 0 b touch /y
ok 'a masked path is empty' is "$(podvm exec --user 0 a sh -c 'cat /proc/kcore | wc -c')" 0
ok 'the pids limit holds' is "$(podvm exec b cat /sys/fs/cgroup/pids.max)" 20
ok 'the memory limit holds' is "$(podvm exec b cat /sys/fs/cgroup/memory.max)" 67108864
ok 'capabilities are the ones of config.json' is \
	"$(podvm exec a sed -n 's/^CapBnd:.0*//p' /proc/self/status)" \
	"$(podvm exec a sed -n 's/^CapPrm:.0*//p' /proc/self/status)"
ok 'devices: null is there, the disks are not' podvm exec a sh -c 'echo > /dev/null && ! ls /dev/vd* 2> /dev/null'
ok 'a device that is made is denied by the cgroup' \
	sh -c "! podvm --root $ROOT exec -c CAP_MKNOD a sh -c 'mknod /tmp/disk b 254 0 && cat /tmp/disk' 2> /dev/null"

podvm kill a KILL
wait_for 10 sh -c "podvm --root $ROOT state a | grep -q stopped"
podvm delete a
ok 'the pod lives on without its first container' podvm exec b true
make_bundle c "$IN_NETNS
	| .annotations[\"io.kubernetes.cri.container-type\"] = \"container\"
	| .annotations[\"io.kubernetes.cri.sandbox-id\"] = \"pod1\"" sleep 1000
podvm run --detach --bundle "$BUNDLE" c < /dev/null > /dev/null 2>&1
ok 'containerd'"'"'s annotations join it too' is "$(boot c)" "$(boot b)"
podvm delete --force b
podvm delete --force c
umount "$WORK"/disk/*/rootfs
ok 'the last delete ends the pod' is "$(podvm list -q)" ''
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
