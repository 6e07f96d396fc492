#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A malformed bundle: one clear line on standard error that names the field,
# exit status 1, nothing left behind.
set -eu
. "$(dirname "$0")/lib.sh"
plan 26

story_begin
make_layers
make_bundle good . true
GOOD=$BUNDLE
mkdir "$WORK/disk/bad"
snapshot > "$WORK/before"

# refused WHAT PATTERN - create with $WORK/disk/bad fails as it must
refused() {
	code=0
	podvm create --bundle "$WORK/disk/bad" x < /dev/null > "$WORK/out" 2> "$WORK/err" || code=$?
	is "exit $code, $(wc -l < "$WORK/err") line" 'exit 1, 1 line' || { cat "$WORK/err"; return 1; }
	is "$(cat "$WORK/out")" '' || return 1
	grep -q -e "$1" "$WORK/err" || { echo "does not name $1:"; cat "$WORK/err"; return 1; }
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after"
}

# bad WHAT PATTERN JQ-FILTER
bad() {
	jq ".root.path = \"$GOOD/rootfs\" | $3" "$GOOD/config.json" > "$WORK/disk/bad/config.json"
	ok "$1" refused "$2"
}

rm -f "$WORK/disk/bad/config.json"
ok 'no config.json' refused config.json
echo '{ "ociVersion": "1.0.2", ' > "$WORK/disk/bad/config.json"
ok 'JSON that ends early' refused 'not valid JSON'
: > "$WORK/disk/bad/config.json"
ok 'an empty config.json' refused config.json
echo '[]' > "$WORK/disk/bad/config.json"
ok 'JSON that is no object' refused object
bad 'no ociVersion' ociVersion 'del(.ociVersion)'
bad 'ociVersion of the future' ociVersion '.ociVersion = "2.0.0"'
bad 'no root' root 'del(.root)'
bad 'a rootfs that is not there' root.path '.root.path = "/no/such/rootfs"'
bad 'a rootfs that is a file' root.path '.root.path = "/etc/passwd"'
bad 'a path out of the bundle' root.path '.root.path = "../good/rootfs"'
bad 'a rootfs that is the kernel' root/path '.root.path = "/sys"'
bad 'no process' process 'del(.process)'
bad 'no process.args' process/args 'del(.process.args)'
bad 'empty process.args' process/args '.process.args = []'
bad 'process.args of a wrong type' process/args '.process.args = "sh"'
bad 'a relative cwd' process/cwd '.process.cwd = "tmp"'
bad 'an unknown scheduling policy' process/scheduler/policy '.process.scheduler.policy = "SCHED_X"'
bad 'an unknown rlimit' rlimits '.process.rlimits = [{"type": "RLIMIT_FUN", "soft": 1, "hard": 1}]'
bad 'an unknown namespace type' linux/namespaces '.linux.namespaces += [{"type": "dream"}]'
bad 'the host network' network 'del(.linux.namespaces[] | select(.type == "network"))'
bad 'a network namespace that is not there' namespaces \
	'(.linux.namespaces[] | select(.type == "network")).path = "/run/netns/nowhere"'
bad 'a mount destination that climbs' mounts '.mounts[0].destination = "proc/../.."'
bad 'a shared bind mount' mounts \
	'.mounts += [{"destination": "/x", "type": "bind", "source": "/etc", "options": ["bind", "shared"]}]'
bad 'a member of a pod without its id' 'sandbox' \
	'.annotations["io.kubernetes.cri.container-type"] = "container"'
bad 'an environment entry without =' process/env '.process.env = ["PATH"]'
ok 'an id with a slash' sh -c "! podvm --root $ROOT create --bundle $GOOD a/b 2> $WORK/err && grep -q 'id' $WORK/err"
tap_end
