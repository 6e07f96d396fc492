# SPDX-License-Identifier: Apache-2.0
#
# Shared by the native tests of pods, whose monitor is tests/native/monitor.c; sourced after
# lib.sh, not run.
# shellcheck shell=sh disable=SC2016

# settings [MEMBERS] - writes the configuration, with more members
settings() {
	cat > "$WORK/podvm.json" <<-END
		{ "vmm": "$BIN/tests/native-monitor", "kernel": "/dev/null", "initramfs": "/dev/null",
		  "layerCache": "off", "relay": "off", "writeBack": "off", "bootTimeoutMs": 20000 ${1:+, $1} }
	END
	export PODVM_CONFIG="$WORK/podvm.json"
}

# pods_begin NAME - a place for pods, or the end of a test that cannot be here
pods_begin() {
	if [ ! -c /dev/kvm ]; then
		echo "SKIP native-$1: no /dev/kvm, which a pod wants to see"
		exit 0
	fi
	# Where the host has cgroup v1, version 2 may be beside it.
	if ! grep -q . /sys/fs/cgroup/cgroup.controllers 2> /dev/null &&
		! { [ -e /sys/fs/cgroup/cgroup.procs ] && [ -e /sys/fs/cgroup/cgroup.controllers ]; } &&
		! mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup 2> /dev/null; then
		echo "SKIP native-$1: no cgroup v2"
		exit 0
	fi
	native_begin
	# With the status that it had, which native_end gives back.
	trap 'rc=$?; set +e; umount -R -l "$WORK/disk"; rmdir "/sys/fs/cgroup/${LIFE:-}" 2> /dev/null; (exit $rc); native_end' EXIT
	ROOT=$WORK/state
	mkdir "$WORK/disk"
	mount -t tmpfs podvm-life "$WORK/disk"
	mkdir -p "$WORK/disk/layers/base/bin" "$WORK/disk/layers/middle" "$WORK/disk/layers/top"
	cp /bin/busybox "$WORK/disk/layers/base/bin/"
	settings
	# Of the cgroups ours alone are compared: others of this machine come and go. The pods'
	# common parent is nobody's: who finds it in use leaves it, so we remove it.
	LIFE=podvm-life.${WORK##*.}
	export LIFE
	CG='.root.readonly = true | .linux.cgroupsPath = "/" + $ENV.LIFE + "/" + $ENV.ID'
}

# bundle ID [FILTER] ARG... - prints its directory
bundle() {
	ID=$1
	filter=$2
	shift 2
	export ID
	make_bundle "$ID" "$CG | $filter" "$@"
}

up() { podvm create --bundle "$WORK/disk/$1" "$1" < /dev/null > /dev/null 2>> "$WORK/log" && podvm start "$1" 2>> "$WORK/log"; }
down() { podvm delete --force "$1" 2>> "$WORK/log"; }
snap() { snapshot | awk '!/^\/sys\/fs\/cgroup/ || index($0, "/sys/fs/cgroup/" ENVIRON["LIFE"] "/")'; }

# victim supervisor|monitor|shim - one of its processes
victim() {
	case $1 in
	supervisor) pattern='^podvm.--root.*.superviso[r].' ;;
	monitor) pattern='^podvm-vm[m]' ;;
	shim) pattern='^podvm-shi[m].shim' ;;
	esac
	grep -lsaE "$pattern" /proc/[0-9]*/cmdline | sed -n '1s|/proc/\([0-9]*\)/.*|\1|p'
}

# at_once N COMMAND... - so often at the same time, with a number as the last argument; how
# many were content is in $good
at_once() {
	n=$1
	shift
	pids=
	for i in $(seq "$n"); do
		"$@" "$i" &
		pids="$pids $!"
	done
	good=0
	for p in $pids; do
		# shellcheck disable=SC2034 # of the tests
		! wait "$p" || good=$((good + 1))
	done
}
