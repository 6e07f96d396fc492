#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Fields of config.json that only a guest can show: hooks, each at its place and with its
# state; scheduler, personality, processors; user and time namespaces. Containers of one pod.
# shellcheck disable=SC2016 # $ is for the shells of hooks and containers
set -eu
. "$(dirname "$0")/lib.sh"
plan 32

story_begin
make_layers
ip netns add "$NETNS"
ip -n "$NETNS" link set lo up
mkdir "$WORK/disk/told"
told=$WORK/disk/told

# Each hook leaves a file of its name that says status and pid; the order is their times'.
cat > "$WORK/hook" <<EOF
#!/bin/sh
jq -r '"\(.status) \(.pid)"' > "$told/\$1"
EOF
cat > "$WORK/disk/inside" <<'EOF'
#!/bin/sh
sed 's/.*"status": *"\([a-z]*\)".*"pid": *\([0-9]*\).*/\1 \2/' > "/told/$1"
echo >> "/told/$1"
id -u >> "/told/$1"
[ "$1" != createContainer ] || touch /written
EOF
chmod 755 "$WORK/hook" "$WORK/disk/inside"
chmod 777 "$told"
host_hook() { echo ".hooks.$1 = [{path: \"$WORK/hook\", args: [\"hook\", \"$1\"], env: [\"PATH=$PATH\"]}]"; }
HOST="$(host_hook prestart) | $(host_hook createRuntime) | $(host_hook poststart) | $(host_hook poststop)"
TOLD=$(bind /told "$told" rbind rw)
INSIDE=$(bind /hook "$WORK/disk/inside" bind ro)
snapshot > "$WORK/before"

# The pod, and what of its container an exec has, too
make_bundle a "$IN_NETNS | $MEMBER
	| .process.scheduler = {policy: \"SCHED_RR\", priority: 9}
	| .process.execCPUAffinity = {final: \"0\"}
	| .linux.personality.domain = \"LINUX32\"" sleep 1000
podvm run --detach --bundle "$BUNDLE" a < /dev/null > /dev/null 2>&1
podvm exec a sh -c 'cut -d" " -f40,41 /proc/self/stat; uname -m; sed -n "s/^Cpus_allowed_list:.//p" /proc/self/status' \
	> "$WORK/traits"
ok 'policy and priority, also of an exec' is "$(sed -n 1p "$WORK/traits")" '9 2'
ok 'personality, also of an exec' is "$(sed -n 2p "$WORK/traits")" i686
ok 'an exec is on its processor' is "$(sed -n 3p "$WORK/traits")" 0
echo '{"args": ["cut", "-d", " ", "-f", "41", "/proc/self/stat"], "cwd": "/",
	"env": ["PATH=/bin"], "scheduler": {"policy": "SCHED_BATCH"}}' > "$WORK/process"
ok 'but its own where it says so' is "$(podvm exec --process "$WORK/process" a)" 3
jq '.execCPUAffinity.final = "63"' "$WORK/process" > "$WORK/far"
ok 'a processor that is not there is named' sh -c "! podvm --root $ROOT exec --process $WORK/far a 2> $WORK/err &&
	grep -q '/process/execCPUAffinity/final: the container has none of these' $WORK/err"

# All six hooks
make_bundle h "$IN_NETNS | $MEMBER | $HOST | $TOLD | $INSIDE
	| .root.readonly = true
	| .process.user = {uid: 1000, gid: 1000}
	| .hooks.createContainer = [{path: \"/hook\", args: [\"hook\", \"createContainer\"], env: [\"PATH=/bin\"]}]
	| .hooks.startContainer = [{path: \"/bin/sh\", args: [\"sh\", \"/hook\", \"startContainer\"], env: [\"PATH=/bin\"]}]" \
	sh -c 'test -e /written && ! touch /x 2> /dev/null && cat /told/startContainer'
podvm create --bundle "$BUNDLE" --pid-file "$WORK/pid" h < /dev/null > "$WORK/out" 2>&1
pid=$(cat "$WORK/pid")
ok 'prestart' is "$(cat "$told/prestart")" "creating $pid"
ok 'createRuntime' is "$(cat "$told/createRuntime")" "creating $pid"
ok 'createContainer, as root' is "$(tr '\n' ' ' < "$told/createContainer")" 'creating 1 0 '
ok 'not before the start' is "$(ls "$told" | wc -l)" 3
podvm start h
ok 'startContainer, as the user' is "$(tr '\n' ' ' < "$told/startContainer")" 'created 1 1000 '
ok 'poststart' is "$(cat "$told/poststart")" "running $pid"
wait_for 10 sh -c "podvm --root $ROOT state h | grep -q stopped"
ok 'behind them the program, its root read-only' is "$(tr '\n' ' ' < "$WORK/out")" 'created 1 1000 '
podvm delete h
ok 'poststop' is "$(cat "$told/poststop")" 'stopped 0'
ok 'in their order' is "$(ls -tr "$told" | tr '\n' ' ')" \
	'prestart createRuntime createContainer startContainer poststart poststop '

# Hooks that fail
fails() {
	rm -f "$told"/*
	bundle_config h "$IN_NETNS | $MEMBER | $(host_hook poststop) | $TOLD | $1" sleep 1000
}
bad() { echo ".hooks.$1 = [{path: \"/bin/sh\", args: [\"sh\", \"-c\", \"$2\"], timeout: 600}]"; }
fails "$(bad createContainer 'echo worse >&2; exit 3')"
ok 'one of the creation ends it' sh -c "! podvm --root $ROOT create --bundle $BUNDLE h < /dev/null 2> $WORK/err &&
	grep -q '/hooks/createContainer/0: /bin/sh: exit status 3: worse' $WORK/err"
ok 'and nothing is left but what poststop says' is "$(podvm list -q) $(cat "$told/poststop")" 'a stopped 0'
# One whose command is killed goes with it; its name is free for the next one
fails "$(bad createContainer '> /told/began; while :; do :; done')"
"$BIN/podvm" --root "$ROOT" create --bundle "$BUNDLE" h < /dev/null > /dev/null 2>&1 &
command=$!
wait_for 60 test -e "$told/began"
kill -9 $command
wait $command 2> /dev/null || :
fails "$(bad startContainer 'exit 4')"
ok 'a hook goes with the command that is killed' wait_for 30 podvm create --bundle "$BUNDLE" h < /dev/null
ok 'one of the start ends that' sh -c "! podvm --root $ROOT start h 2> $WORK/err &&
	grep -q '/hooks/startContainer/0: /bin/sh: exit status 4' $WORK/err"
ok 'and the container is stopped' wait_for 10 sh -c "podvm --root $ROOT state h | grep -q stopped"
podvm delete h
fails "$(bad poststart 'exit 5')"
podvm create --bundle "$BUNDLE" h < /dev/null > /dev/null 2>&1
ok 'and so does one behind it' sh -c "! podvm --root $ROOT start h 2> $WORK/err &&
	grep -q '/hooks/poststart/0: /bin/sh: exit status 5' $WORK/err"
wait_for 10 sh -c "podvm --root $ROOT state h | grep -q stopped"
podvm delete h

# A program that is there, and that the kernel refuses
printf '#!/no/interpreter\n' > "$told/refused"
chmod 755 "$told/refused"
bundle_config h "$IN_NETNS | $MEMBER | $TOLD" /told/refused
podvm create --bundle "$BUNDLE" h < /dev/null > "$WORK/out" 2>&1
ok 'a program that the kernel refuses is started' podvm start h
wait_for 10 sh -c "podvm --root $ROOT state h | grep -q stopped"
ok 'and its end says why' is "$(cat "$WORK/out")" 'exec /told/refused: no such file or directory'
podvm delete h
rm -f "$told"/*

# A user and a time namespace; its root file system belongs to its root
make_bundle u "$IN_NETNS | $MEMBER | $TOLD
	| .linux.namespaces += [{type: \"user\"}, {type: \"time\"}]
	| .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
	| .linux.gidMappings = [{containerID: 0, hostID: 200000, size: 65536}]
	| .linux.timeOffsets.boottime.secs = 86400000
	| .hooks.createContainer = [{path: \"/bin/touch\", args: [\"touch\", \"/told/hook\"]}]" \
	sh -c 'touch /mine /told/theirs; exec httpd -f -p 80 -h /etc'
chown 100000:200000 "$BUNDLE/rootfs"
podvm run --detach --bundle "$BUNDLE" u < /dev/null > "$WORK/err" 2>&1 || cat "$WORK/err"
wait_for 10 test -e "$told/theirs"
podvm exec u sh -c 'echo $(id -u) $(cat /proc/1/uid_map); stat -c %u:%g /mine /dev/shm; stat -c %u /bin/busybox
	cut -d. -f1 /proc/uptime' > "$WORK/user"
ok 'it is its root' is "$(sed -n 1p "$WORK/user")" '0 0 100000 65536'
ok 'what it makes is its own' is "$(sed -n 2p "$WORK/user")" 0:0
ok 'and the mapped id'"'"'s on the host, as what a hook makes' is \
	"$(stat -c %u:%g "$told/theirs" "$told/hook" | tr '\n' ' ')" \
	'100000:200000 100000:200000 '
ok 'memory belongs to its root' is "$(sed -n 3p "$WORK/user")" 0:0
ok 'what is the host'"'"'s root'"'"'s is nobody'"'"'s' is "$(sed -n 4p "$WORK/user")" 65534
ok 'another user' is "$(podvm exec --user 1000:5 u sh -c 'touch /told/other; id -u'; stat -c %u:%g "$told/other")" '1000
101000:200005'
ok 'one that is not mapped' exits 1 podvm exec --user 70000 u true
ok 'it has a port below 1024' wait_for 10 podvm exec u wget -q -O /dev/null http://localhost/motd
ok 'its clock is ahead' [ "$(sed -n 5p "$WORK/user")" -ge 86400000 ]
podvm delete --force u
podvm delete --force a
umount "$WORK"/disk/*/rootfs
snapshot > "$WORK/after"
ok 'nothing is left behind' diff "$WORK/before" "$WORK/after"
tap_end
