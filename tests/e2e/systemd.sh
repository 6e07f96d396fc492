# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories on a host of systemd's; sourced before anything is made, not run.
# shellcheck shell=sh

# What such a host is made of: namespaces of its own, in which systemd is PID 1 and has a
# bus, and nothing else of the machine's own units is started.
systemd_host() {
	umount /sys/fs/cgroup
	mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
	mount -t tmpfs -o mode=755 run /run
	mkdir -p /run/systemd/system /run/dbus /run/netns /run/lock
	cat > /run/systemd/system/story.target <<- X
		[Unit]
		DefaultDependencies=no
		Requires=dbus.service
		After=dbus.service
	X
	# By these names systemd knows that there is a bus to be on.
	cat > /run/systemd/system/dbus.socket <<- X
		[Unit]
		DefaultDependencies=no
		[Socket]
		ListenStream=/run/dbus/system_bus_socket
	X
	cat > /run/systemd/system/dbus.service <<- X
		[Unit]
		DefaultDependencies=no
		Requires=dbus.socket
		[Service]
		Type=notify
		ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
		OOMScoreAdjust=-900
	X
	export container=podvm-story SYSTEMD_GENERATOR_PATH=/nowhere SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nowhere
	exec /lib/systemd/systemd --unit=story.target --log-target=kmsg --show-status=no
}

systemd_ready() {
	systemd_pid=$(pgrep -x systemd) && nsenter -t "$systemd_pid" -a busctl status org.freedesktop.systemd1
}

# systemd_begin STORY - goes on only on a host of systemd's, in a scope there: starts one, runs
# STORY again in it and ends as that does. It goes with the node; a machine that has systemd
# is used as it is.
systemd_begin() {
	[ ! -S /run/dbus/system_bus_socket ] || return 0
	mkdir /sys/fs/cgroup/systemd-host
	# Only PID 1 may be in there, or systemd cannot have controllers.
	unshare --pid --mount --ipc --fork --mount-proc sh -c '
		echo 0 > /sys/fs/cgroup/systemd-host/cgroup.procs
		exec unshare --cgroup sh -c ". \"\$1\"; systemd_host" sh "$1"' \
		sh "$TOP/tests/e2e/systemd.sh" < /dev/null > /dev/null 2>&1 &
	wait_for 60 systemd_ready || { echo 'Bail out! systemd did not start'; exit 1; }
	# A process from outside of its hierarchy cannot be moved by it.
	echo $$ > /sys/fs/cgroup/systemd-host/init.scope/cgroup.procs
	status=0
	nsenter -t "$systemd_pid" -a systemd-run --scope --quiet --unit=story sh "$(realpath "$1")" || status=$?
	exit $status
}
