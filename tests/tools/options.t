#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Options of other runtimes' verbs: each is there, and works or is refused by its name,
# before anything is made. No container is needed for that.
set -eu
. "$(dirname "$0")/lib.sh"
plan 34

tool_begin

# has VERB OPTION... - all of them are in its help
has() {
	verb=$1
	shift
	podvm "$verb" --help > "$WORK/help" || :
	for o; do
		grep -qE -e "$o( |\$)" "$WORK/help" || { echo "$verb has no $o"; return 1; }
	done
}
ok 'create' has create --bundle --console-socket --pidfd-socket --pid-file --no-pivot --no-new-keyring --preserve-fds
ok 'run' has run --bundle --console-socket --pidfd-socket --detach --keep --pid-file --no-subreaper --no-pivot --no-new-keyring --preserve-fds
ok 'exec' has exec --console-socket --pidfd-socket --cwd --env --tty --user --additional-gids --process --detach \
	--pid-file --process-label --apparmor --no-new-privs --cap --preserve-fds --cgroup --ignore-paused --no-subreaper
ok 'kill, delete' sh -c "'$BIN/podvm' kill --help | grep -q -e '-a, --all' && '$BIN/podvm' delete --help | grep -q -e '-f, --force'"
ok 'list, ps' has list --format --quiet
ok 'spec' has spec --bundle --rootless
ok 'events' has events --interval --stats
ok 'update' has update --resources --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-rt-period \
	--cpu-rt-runtime --cpuset-cpus --cpuset-mems --kernel-memory --kernel-memory-tcp --memory --cpu-idle \
	--memory-reservation --memory-swap --pids-limit --l3-cache-schema --mem-bw-schema
"$BIN/podvm" --help > "$WORK/global"
ok 'global' sh -c "for o in criu debug log log-format root rootless systemd-cgroup version; do grep -q -e \"--\$o\" '$WORK/global' || exit 1; done"

# It has a terminal, which a detached container cannot have without a socket.
mkdir -p "$WORK/b/rootfs"
podvm spec --bundle "$WORK/b"
ok 'create --preserve-fds' fails 1 'preserve-fds: not supported' podvm create --preserve-fds 1 --bundle "$WORK/b" c
ok 'run --preserve-fds' fails 1 'preserve-fds: not supported' podvm run --preserve-fds=2 --bundle "$WORK/b" c
ok 'create --preserve-fds 0 and what has no effect' fails 1 'needs --console-socket' \
	podvm create --preserve-fds 0 --no-pivot --no-new-keyring --bundle "$WORK/b" c
ok 'run with what has no effect' fails 1 'needs --console-socket' podvm run -d --no-subreaper --no-pivot --bundle "$WORK/b" c
ok 'exec --preserve-fds' fails 1 'preserve-fds: not supported' podvm exec --preserve-fds 1 c true
ok 'exec --apparmor' fails 1 'apparmor docker-default: not supported' podvm exec --apparmor docker-default c true
ok 'exec --process-label' fails 1 'process-label x: not supported' podvm exec --process-label x c true
ok 'exec --cgroup' fails 1 'cgroup cpu:/a: not supported' podvm exec --cgroup / --cgroup cpu:/a c true
ok 'exec with what asks for nothing' fails 1 'does not exist' \
	podvm exec --apparmor unconfined --process-label '' --cgroup / --preserve-fds 0 --no-subreaper --ignore-paused c true
ok 'exec --process with more than that' fails 1 'it excludes --user' podvm exec --process "$WORK/x" --user 5 c
ok 'ps with options for ps' fails 1 'ps options: not supported' podvm ps c -ef
ok 'events --interval' fails 1 'interval 5: not a time' podvm events --interval 5 c
ok 'events of nobody' fails 1 'container c does not exist' podvm events c
ok 'update of nobody' fails 1 'container c does not exist' podvm update --pids-limit 5 c
ok 'spec --rootless' fails 1 'rootless: not supported' podvm spec --rootless
ok '--rootless true' fails 1 'rootless: not supported' podvm --rootless true list
ok '--rootless maybe' fails 1 'rootless is auto' podvm --rootless=maybe list
ok '--rootless false, --criu' podvm --rootless=false --criu /usr/sbin/criu list
ok '--log-format' fails 1 'log-format is text or json' podvm --log-format xml list
ok 'checkpoint' fails 1 'checkpoint: not supported.*podvm pause' podvm checkpoint --leave-running --image-path "$WORK" c
ok 'restore' fails 1 'restore: not supported' podvm restore --image-path "$WORK" --bundle "$WORK/b" c
# podman asks so whether a runtime can.
ok 'checkpoint --help says why, and does not succeed' sh -c "'$BIN/podvm' checkpoint --help > '$WORK/out'; [ \$? = 1 ] && grep -q 'not supported' '$WORK/out'"

mkdir "$WORK/bundle"
ok 'spec --bundle' sh -c "'$BIN/podvm' spec --bundle '$WORK/bundle' && '$BIN/podvm' spec | cmp - '$WORK/bundle/config.json'"
ok 'and it writes over nothing' fails 1 'config.json exists already' podvm spec -b "$WORK/bundle"
ok 'list is as other runtimes have it' is "$(podvm list | xargs)" 'ID PID STATUS BUNDLE CREATED OWNER POD RUNTIME'
tap_end
