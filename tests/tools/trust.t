#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Trust: which runtime gets a bundle, what is said of it, and hand-over; first to a
# program that records how it was called, then to crun, through all of a container's
# life. No virtual machine is started.
set -eu
. "$(dirname "$0")/lib.sh"
plan 101

tool_begin
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
FAKE=$WORK/fake
LOG=$WORK/called

# A runtime that tells how it was called, and keeps a directory for a container as
# runtimes do. $WORK/hold is a FIFO when it shall wait.
cat > "$FAKE" << END
#!/bin/bash
{
	echo "pid=\$\$"
	printf 'arg=%s\n' "\$@"
	echo "cwd=\$PWD umask=\$(umask) in=\$(readlink /proc/self/fd/0) marker=\${MARKER:-} listen=\${LISTEN_FDS:-} \${LISTEN_PID:-}"
	for f in /proc/\$\$/fd/*; do
		to=\$(readlink "\$f")
		case \$to in pipe:* | $FAKE) ;; *) echo "fd=\${f##*/} \$to" ;; esac
	done
	grep -E '^Sig(Blk|Ign)' /proc/self/status
} > $LOG
root=$ROOT/trusted
for id; do
	case \$id in create | delete | list) [ -n "\${verb:-}" ] || verb=\$id ;; esac
done
case \${verb:-} in
create) mkdir -p "\$root/\$id" ;;
delete) rmdir "\$root/\$id" 2> /dev/null ;;
list) exit 7 ;;
esac
[ ! -p $WORK/hold ] || read -r _ < $WORK/hold
exit \${FAKE_EXIT:-0}
END
chmod 755 "$FAKE"

# config JSON-OF-TRUST
config() { echo "{ \"trust\": $1 }" > "$PODVM_CONFIG"; }
# bundle NAME [JQ-FILTER]
bundle() {
	mkdir -p "$WORK/$1/rootfs"
	podvm spec | jq ".process.terminal = false | .process.args = [\"/inside\"] | .root.readonly = false | ${2:-.}" > "$WORK/$1/config.json"
}
A='.annotations["io.kubernetes.cri-o.TrustedSandbox"]'
PRIVILEGED='del(.linux.maskedPaths, .linux.readonlyPaths)
	| .process.capabilities.bounding = ["CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"]'
HOSTNET='del(.linux.namespaces[] | select(.type == "network"))'
member() { echo ".annotations[\"io.kubernetes.cri.container-type\"] = \"$1\" | .annotations[\"io.kubernetes.cri.sandbox-id\"] = \"$2\""; }
# said KEY - a line of what the fake runtime noted
said() { sed -n "s/^$1=//p" "$LOG"; }
# created ID BUNDLE [OPTION...] - podvm create succeeds
created() {
	id=$1
	b=$2
	shift 2
	rm -f "$LOG"
	podvm "$@" create --bundle "$WORK/$b" "$id" < /dev/null
}
state_is() { is "$(find "$ROOT" -mindepth 1 -maxdepth 2 | sed "s|$ROOT/||" | sort | xargs)" "$1"; }

bundle plain
bundle trusted "$A = \"true\""
bundle untrusted "$A = \"false\""
bundle privileged "$PRIVILEGED"
bundle host "$HOSTNET"

# ---- explain ------------------------------------------------------------------------
# explains DECISION RULE BUNDLE
explains() {
	code=0
	podvm trust explain --json "$WORK/$3" > "$WORK/explain" || code=$?
	is "$(jq -r '.decision + " " + .rule' "$WORK/explain")" "$1 $2" || return 1
	is $code "$([ "$1" = refused ] && echo 3 || echo 0)"
}
kvm() { grep -q podvm-kvm-hidden /proc/self/mountinfo || test -c /dev/kvm; }
# What needs a machine is refused where there is no KVM.
MACHINE='podvm untrusted'
kvm || MACHINE='refused no-kvm'
# shellcheck disable=SC2086 # two words
machine() { explains $MACHINE "$1"; }

rm -f "$PODVM_CONFIG"
unset PODVM_CONFIG
ok 'without a configuration everything gets a machine' machine plain
ok 'also what calls itself trusted' machine trusted
ok 'and what is privileged' machine privileged
ok 'but not what wants the host' explains refused host host
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
config "{ \"trustedRuntime\": \"$FAKE\" }"
ok 'untrusted by default: a machine' machine plain
ok 'the annotation does not lead out of it' machine trusted
ok 'privileged: the trusted runtime' explains trusted privileged privileged
ok 'the host network: the trusted runtime' explains trusted host host
bundle both "$HOSTNET | $A = \"false\""
ok 'untrusted and the host network: refused' explains refused untrusted-on-host both
bundle both "$PRIVILEGED | $A = \"TRUE\""
ok 'untrusted and privileged: refused' explains refused untrusted-on-host both
ok 'the value that is no "true" is told' jq -e '.lookedAt.annotation | test("not \"true\", so it is untrusted")' "$WORK/explain"
config "{ \"trustedRuntime\": \"$FAKE\", \"default\": \"trusted\" }"
ok 'trusted by default: the trusted runtime' explains trusted trusted plain
ok 'and it is named' is "$(jq -r .runtime "$WORK/explain")" "$FAKE"
ok 'what calls itself untrusted gets a machine' machine untrusted
bundle typo '.annotations["io.kubernetes.cri-o.trustedSandbox"] = "false"'
ok 'a name in the wrong case is another annotation' explains trusted trusted typo
ok 'which is told' jq -e '.lookedAt.annotation | test("trustedSandbox. is another one")' "$WORK/explain"
ok 'what would change it' jq -e '.changes | any(.decision != "trusted" and (.change | test("TrustedSandbox: .false")))' "$WORK/explain"
ok 'each rule is there, and one decides' jq -e '(.rules | length == 11) and ([.rules[] | select(.decides)] | length == 1)' "$WORK/explain"
said_by_crio() { bundle said "$(member sandbox s1) | .annotations[\"io.kubernetes.cri-o.PrivilegedRuntime\"] = \"true\""; }
said_by_crio
config "{ \"trustedRuntime\": \"$FAKE\" }"
ok 'an annotation does not make it privileged' machine said
config "{ \"trustedRuntime\": \"$FAKE\", \"privilegedAnnotation\": \"io.kubernetes.cri-o.PrivilegedRuntime\" }"
ok 'but where it is believed' explains trusted privileged said
config "{ \"trustedRuntime\": \"$WORK/none\", \"default\": \"trusted\" }"
ok 'a trusted runtime that is not there' explains refused trusted plain
ok 'is named' jq -e '.lookedAt.trustedRuntime | test("none: No such file")' "$WORK/explain"
config "{ \"trustedRuntime\": \"$BIN/podvm\", \"default\": \"trusted\" }"
ok 'podvm is no trusted runtime' explains refused trusted plain
config "{ \"trustedRuntime\": \"$FAKE\", \"untrustedRuntime\": \"trusted\" }"
ok 'none for untrusted work: the trusted runtime' explains trusted no-machines untrusted
table() { podvm trust explain "$WORK/untrusted" > "$WORK/table" && grep -q "^runtime  *$FAKE\$" "$WORK/table" && grep -q '^  no-machines  *decides' "$WORK/table" && grep -q '^WHAT WOULD CHANGE IT' "$WORK/table"; }
ok 'the table tells the same' table
# In a mount namespace of this test, as all of it.
mount --bind /dev/null /dev/kvm 2> /dev/null || { touch /dev/kvm && mount --bind /dev/null /dev/kvm; }
ok 'no KVM, the trusted runtime for untrusted work: that' explains trusted no-machines untrusted
config "{ \"trustedRuntime\": \"$FAKE\", \"untrustedRuntime\": \"podvm-or-trusted\" }"
ok 'no KVM, or the trusted runtime: that' explains trusted instead-of-kvm untrusted
config "{ \"trustedRuntime\": \"$FAKE\" }"
ok 'no KVM, and a machine is a must: refused' explains refused no-kvm untrusted
ok 'create says the same' fails 1 'this host has no KVM' podvm create --bundle "$WORK/untrusted" u
ok 'and leaves nothing' is "$(find "$ROOT" -name '*.json')" ''
umount /dev/kvm
as_nobody() { chmod 755 "$WORK" && setpriv --reuid 65534 --clear-groups "$BIN/podvm" --root "$ROOT" trust explain --json "$WORK/host" > "$WORK/explain"; }
ok 'without root' as_nobody
ok 'it tells what it cannot see' jq -e '.decision == "trusted" and (.lookedAt.kvm | test("Permission|usable|No such"))' "$WORK/explain"
chmod 700 "$WORK"
rm -rf "$ROOT"
podvm trust explain "$WORK/plain" > /dev/null || :
ok 'explain makes no state directory' test ! -e "$ROOT"
ok 'a bundle that is none' fails 1 '/none' podvm trust explain "$WORK/none"
ok 'no such subcommand' fails 1 'usage: podvm trust' podvm trust guess "$WORK/plain"
echo '{ "ociVersion": "1.0.2", "linux": { "namespaces": 7 } }' > "$WORK/both/config.json"
ok 'a config.json that cannot tell names its field' fails 1 '/linux/namespaces' podvm trust explain "$WORK/both"

: > "$WORK/both/config.json"
ok 'an empty one is named' fails 1 '^podvm: config.json: not valid JSON' podvm create --bundle "$WORK/both" x

# ---- the configuration ----------------------------------------------------------------
# bad_config TEXT PATTERN
bad_config() {
	config "$1"
	fails 1 "$2" podvm create --bundle "$WORK/plain" x
}
ok 'an unknown setting' bad_config '{ "trusted": 1 }' '/trust/trusted: unknown setting'
ok 'a level that is none' bad_config '{ "default": "maybe" }' '/trust/default: must be untrusted or trusted'
ok 'a relative runtime' bad_config '{ "trustedRuntime": "crun" }' '/trust/trustedRuntime: must be an absolute path'
ok 'trusted without a runtime' bad_config '{ "default": "trusted" }' '/trust/default: trusted needs a trustedRuntime'
ok 'a fall-back without one' bad_config '{ "untrustedRuntime": "trusted" }' '/trust/untrustedRuntime: .*needs a trustedRuntime'

# ---- hand-over: how the trusted runtime is called --------------------------------------
config "{ \"trustedRuntime\": \"$FAKE\", \"default\": \"trusted\" }"
# as_engine PROGRAM ROOT - a call with all that an engine may give
as_engine() {
	cd "$WORK/plain"
	MARKER='a b' "$1" --log "$WORK/log" --root "$2" --log-format json --systemd-cgroup \
		--rootless=false --cgroup-manager disabled create --no-pivot --pid-file p --preserve-fds 2 \
		--console-socket ./s w1 < "$WORK/in" 5> "$WORK/five" 7< "$WORK/in"
	cd "$TOP"
}
printf 'hello\n' > "$WORK/in"
every_word() {
	as_engine "$FAKE" "$ROOT/trusted"
	grep -v -e ^pid -e ^arg "$LOG" > "$WORK/direct"
	rmdir "$ROOT/trusted/w1"
	as_engine "$BIN/podvm" "$ROOT"
	is "$(said arg | xargs)" "--root $ROOT/trusted --log $WORK/log --log-format json --systemd-cgroup --rootless=false --cgroup-manager disabled create --no-pivot --pid-file p --preserve-fds 2 --console-socket ./s w1"
}
ok 'create: every word, and --root is its own' every_word
same() { grep -v -e ^pid -e ^arg "$LOG" | diff "$WORK/direct" - && grep -q '^fd=5 .*/five$' "$LOG"; }
ok 'directory, environment, descriptors and signals are as without podvm' same
own_pid() {
	sh -c 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3< /etc/hostname' sh "$BIN/podvm" --root "$ROOT" create -b "$WORK/plain" w2 < /dev/null &
	wait $!
	is "$(said pid) $(said cwd | sed 's/.*listen=//') $(said fd | grep '^3 ')" "$! 1 $! 3 $(readlink -f /etc/hostname)"
}
ok 'pid and LISTEN_FDS are kept' own_pid
# to VERB... - what is behind the command's name reaches the runtime as it is
to() {
	rm -f "$LOG"
	podvm "$@" < /dev/null || return 1
	is "$(said arg | tail -n +3 | xargs)" "$*"
}
ok 'start' to start w1
ok 'state' to state w1
ok 'kill' to kill --all w1 KILL
ok 'exec' to exec -t -e A=b --pid-file p -u w2 w1 sh -c 'a b'
ok 'exec with options of runc' to exec --process f --detach --ignore-paused --additional-gids 7 w1
ok 'ps' to ps -f json w1
ok 'pause' to pause w1
ok 'resume' to resume w1
ok 'update' to update --resources - --memory 7 w1
ok 'events' to events --stats w1
ok 'checkpoint' to checkpoint --image-path i w1
status() { code=0; FAKE_EXIT=42 podvm exec w1 x || code=$?; is $code 42; }
ok 'its exit status is that of podvm' status
ok 'what is about machines is refused' fails 1 "container w1 was handed to $FAKE: it has no machine" podvm timeline w1
ok 'a container of the same id' fails 1 'container w1 exists already' podvm create --bundle "$WORK/plain" w1
ok 'list tells of it, though the runtime does not' is "$(podvm list -f json | jq -r '.[] | .id + " " + .status + " " + .pod + " " + .runtime' | xargs)" "w1 unknown w1 $FAKE w2 unknown w2 $FAKE"
ok 'list -q' is "$(podvm list -q | xargs)" 'w1 w2'
# The decision is what counts, whatever the settings are by now.
config '{ }'
ok 'a decision is kept when the settings change' to state w1
ok 'delete' to delete --force w1
ok 'an id that has gone is nobody'\''s' fails 1 'container w1 does not exist' podvm state w1
ok 'delete --force of it is none of the runtime'\''s business' sh -c "rm -f $LOG; $BIN/podvm --root $ROOT delete --force w1 && test ! -e $LOG"
to delete w2 > /dev/null
podvm list > /dev/null
ok 'nothing is left' state_is 'containers handed pods trusted'

printf 'no program' > "$WORK/text"
chmod 755 "$WORK/text"
config "{ \"trustedRuntime\": \"$WORK/text\", \"default\": \"trusted\" }"
ok 'a runtime that cannot be executed is named' fails 1 "the trusted runtime $WORK/text .*Exec format error" podvm create --bundle "$WORK/plain" x
ok 'and leaves no decision' state_is 'containers handed pods trusted'
cp "$TOP/cni-examples/podvm-trust.json" "$PODVM_CONFIG"
ok 'the example sends the host network to crun' sh -c "$BIN/podvm trust explain $WORK/host | grep -q '^runtime  */usr/bin/crun\$'"
ok 'and nothing else' machine trusted

# ---- pods ---------------------------------------------------------------------------
config "{ \"trustedRuntime\": \"$FAKE\" }"
bundle sandbox "$(member sandbox pod1) | $HOSTNET"
bundle inner "$(member container pod1)"
bundle inner-untrusted "$(member container pod1) | $A = \"false\""
bundle other "$(member container pod2)"
created pod1 sandbox
ok 'a sandbox with the host network is handed over' is "$(said arg | tail -n 1)" pod1
config "{ \"trustedRuntime\": \"$WORK/other\" }"
ok 'its containers follow it' created c1 inner
ok 'to the runtime that it went to' is "$(jq -r '.runtime + " " + .pod' "$ROOT/handed/c1.json")" "$FAKE pod1"
ok 'explain knows' explains trusted pod-handed inner
ok 'one that calls itself untrusted is refused' fails 1 'delete the pod and make it anew' podvm create --bundle "$WORK/inner-untrusted" c2
podvm delete pod1
ok 'while one container is left the pod stays where it is' created c3 inner
podvm delete c1
podvm delete c3
bundle claims '.annotations["io.kubernetes.cri-o.ContainerType"] = "sandbox"
	| .annotations["io.kubernetes.cri-o.SandboxID"] = "pod1" | .annotations["io.kubernetes.container.name"] = "POD" | '"$HOSTNET"
config "{ \"trustedRuntime\": \"$FAKE\", \"default\": \"trusted\" }"
ok "CRI-O's sandbox of another pod is not handed over as that pod's" fails 1 \
	'the sandbox that CRI-O makes is .*pod9.*: the pod must not be annotated' podvm create --bundle "$WORK/claims" pod9
mkdir -p "$ROOT/pods/pod2"
ok 'and those of a pod in a machine stay in the machine' explains podvm pod-machine other
rmdir "$ROOT/pods/pod2"

# ---- killed, and at once --------------------------------------------------------------
mkfifo "$WORK/hold"
# killed_in_runtime - a call that has become the runtime is killed before that made anything
killed_in_runtime() {
	rm -f "$LOG"
	"$BIN/podvm" --root "$ROOT" create --bundle "$WORK/plain" k1 < /dev/null &
	pid=$!
	wait_for 10 test -s "$LOG"
	fails 1 'container k1 exists already' podvm create --bundle "$WORK/plain" k1 || return 1
	rm -rf "$ROOT/trusted/k1"
	kill -KILL $pid
	wait $pid 2> /dev/null || :
	fails 1 'container k1 does not exist' podvm state k1
}
ok 'KILL before the runtime has made something' killed_in_runtime
rm "$WORK/hold"
ok 'the id is free again' created k1 plain
ok 'and the runtime has it' to delete k1
# race - of many creates of one id one wins
race() {
	won=0
	pids=
	for _ in 1 2 3 4 5 6 7 8; do
		podvm create --bundle "$WORK/plain" r1 < /dev/null 2>> "$WORK/race" &
		pids="$pids $!"
	done
	for p in $pids; do wait "$p" && won=$((won + 1)); done
	is "$won $(grep -c 'container r1 exists already' "$WORK/race")" '1 7'
}
ok 'of eight creates of one id one wins' race
podvm delete r1
# kill_at - KILL at points of time, each with an id of its own
kill_at() {
	i=1
	while [ $i -lt 40 ]; do
		timeout -s KILL "0.00$i" "$BIN/podvm" --root "$ROOT" create --bundle "$WORK/plain" "t$i" < /dev/null > /dev/null 2>&1 || :
		i=$((i + 1))
	done
	# What the runtime had begun may be finished after its KILL.
	wait_for 20 mended
}
mended() {
	for id in $(podvm list -q); do podvm delete --force "$id" || return 1; done
	podvm list -q > "$WORK/out" && is "$(cat "$WORK/out")" '' && state_is 'containers handed pods trusted'
}
ok 'KILL at 39 points of time leaves nothing that delete --force does not mend' kill_at

# ---- crun -----------------------------------------------------------------------------
CRUN=$(command -v crun)
# It takes no mixture of version 1 and 2.
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 none /sys/fs/cgroup
config "{ \"trustedRuntime\": \"$CRUN\", \"default\": \"trusted\" }"
mkdir -p "$WORK/plain/rootfs/proc" "$WORK/plain/rootfs/dev" "$WORK/plain/rootfs/usr"
ln -s usr/bin usr/lib usr/lib64 "$WORK/plain/rootfs"
jq '.process.args = ["/bin/sh", "-c", "echo started; trap \"exit 7\" TERM; while :; do sleep 0.1; done"]
	| .ociVersion = "1.0.2" | .linux.resources = {} | .linux.namespaces |= map(select(.type != "cgroup"))
	| .mounts = [{ "destination": "/proc", "type": "proc", "source": "proc" },
		{ "destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro"] }]
	| .linux.maskedPaths = [] | .linux.readonlyPaths = []' "$WORK/plain/config.json" > "$WORK/json"
mv "$WORK/json" "$WORK/plain/config.json"
crun_by_podvm() { "$BIN/podvm" --root "$ROOT" --cgroup-manager=disabled "$@"; }
life() {
	crun_by_podvm create --bundle "$WORK/plain" --pid-file "$WORK/pid" life > "$WORK/stdout" < /dev/null || return 1
	is "$(crun_by_podvm state life | jq -r '.status + " " + (.pid | tostring)')" "created $(cat "$WORK/pid")"
}
ok 'crun: create and state' life
ok 'list has it' is "$("$BIN/podvm" --root "$ROOT" list -f json | jq -r '.[] | .id + " " + .status + " " + .runtime')" "life created $CRUN"
ok 'start' crun_by_podvm start life
ok 'it runs' wait_for 10 grep -q started "$WORK/stdout"
ok 'exec' is "$(crun_by_podvm exec life /bin/sh -c "echo from \$((40 + 2))")" 'from 42'
ok 'exec gives its exit status' exits 9 crun_by_podvm exec life /bin/sh -c 'exit 9'
ok 'the table of list' sh -c "$BIN/podvm --root $ROOT list | grep -E '^life +[0-9]+ +running +$WORK/plain .* life +$CRUN\$'"
ok 'kill' crun_by_podvm kill life TERM
stopped() { is "$(crun_by_podvm state life | jq -r .status)" stopped; }
ok 'it stops' wait_for 10 stopped
ok 'delete' crun_by_podvm delete life
ok 'and it has gone' fails 1 'container life does not exist' "$BIN/podvm" --root "$ROOT" state life
"$BIN/podvm" --root "$ROOT" list > /dev/null
ok 'with all that was kept of it' state_is 'containers handed pods trusted'

# ---- podman ---------------------------------------------------------------------------
# conmon keeps no environment, so the settings have to be where podvm looks for them.
mkdir -p /etc/podvm
mount -t tmpfs podvm-tools /etc/podvm
config "{ \"trustedRuntime\": \"$CRUN\" }"
cp "$PODVM_CONFIG" /etc/podvm/podvm.json
mkdir -p /run/podvm
mount -t tmpfs podvm-tools /run/podvm
# The limits are those that a container which has this test in it may have, too.
by_podman() {
	what=$1
	shift
	podman --root "$WORK/disk/podman" --runroot "$WORK/runroot" --storage-driver vfs --events-backend none \
		--cgroup-manager cgroupfs --runtime "$BIN/podvm" "$what" "$@" < /dev/null
}
started() {
	by_podman "$@" --privileged --network none --pids-limit -1 --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
		-v /usr:/usr:ro --rootfs "$WORK/plain/rootfs" /bin/sh -c 'echo from the host; sleep 60 & wait'
}
ok 'podman run --privileged runs on crun' started run -d --name pm
handed_to() { "$BIN/podvm" list -f json | jq -r '.[] | .status + " " + .runtime'; }
ok 'as podvm tells' is "$(handed_to)" "running $CRUN"
ok 'podman logs' wait_for 10 sh -c "podman --root $WORK/disk/podman --runroot $WORK/runroot --storage-driver vfs logs pm | grep -q 'from the host'"
ok 'podman exec' exits 5 by_podman exec pm /bin/sh -c 'exit 5'
ok 'podman rm' by_podman rm -f -t 0 pm
ok 'and nothing is left' is "$("$BIN/podvm" list -q; find /run/podvm/handed /run/podvm/trusted -mindepth 1)" ''
by_podman info > /dev/null 2>&1 || :
tap_end
