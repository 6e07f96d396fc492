#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The configuration of engines in cni-examples/ is what these read: syntax, the names that
# must be the same in several files, and what podman makes of its own. (The stories with
# engines run some of them; the README says which.)
set -eu
. "$(dirname "$0")/lib.sh"
plan 9

tool_begin
cd "$TOP/cni-examples"
# toml FILE PYTHON-EXPRESSION - of the file's content d
toml() {
	/usr/bin/python3 -c 'import sys, tomllib
d = tomllib.load(open(sys.argv[1], "rb"))
print(eval(sys.argv[2]))' "$@"
}
yaml() {
	/usr/bin/python3 -c 'import sys, yaml
d = yaml.safe_load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$@"
}
named() {
	for f in *; do
		grep -qF -e "\`${f%.conflist}\`" -e "\`$f\`" README.md || [ "$f" = README.md ] || { echo "README.md: no $f"; return 1; }
	done
}
PODVM=/usr/local/bin/podvm

ok 'the README names every file' named
ok 'CRI-O: the runtime of the RuntimeClass' is "$(toml crio-podvm.conf 'd["crio"]["runtime"]["runtimes"]["podvm"]["runtime_path"]')" $PODVM
ok 'CRI-O, old wording: the runtime for what is not trusted' \
	is "$(toml crio-podvm-untrusted.conf 'd["crio"]["runtime"]["runtime_untrusted_workload"]')" $PODVM
ok 'containerd: the runtime of the RuntimeClass' is "$(toml containerd.toml \
	'd["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]["podvm"]["options"]["BinaryName"]')" $PODVM
ok 'RuntimeClass: their handler' is "$(yaml podvm-runtimeclass.yaml 'd["handler"] + " " + d["metadata"]["name"]')" 'podvm podvm'
ok 'a pod: of that RuntimeClass' is "$(yaml pod.yaml 'd["spec"]["runtimeClassName"]')" podvm
ok 'a pod: not trusted' is "$(yaml pod-untrusted.yaml 'd["metadata"]["annotations"]["io.kubernetes.cri-o.TrustedSandbox"]')" false
ok 'docker: the runtime' is "$(jq -r .runtimes.podvm.path docker-daemon.json)" $PODVM
ok 'podman: reads it' is "$(CONTAINERS_CONF=podman.conf podman --root "$WORK/graph" --runroot "$WORK/runroot" --storage-driver vfs \
	info --format '{{.Host.CgroupManager}}')" cgroupfs
tap_end
