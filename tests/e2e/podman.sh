# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories with podman; sourced after lib.sh, not run.
# shellcheck shell=sh

# podman_begin RUNTIME [SETTING...] - podman with storage of its own, and RUNTIME as its
# runtime "podvm"; more settings of its engine. Its image "base" is make_layers' lowest.
podman_begin() {
	cat > "$WORK/storage.conf" <<- X
		[storage]
		driver = "overlay"
		graphroot = "$WORK/disk/graph"
		runroot = "$WORK/disk/run"
	X
	{
		printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
		podman_runtime=$1
		shift
		[ $# = 0 ] || printf '%s\n' "$@"
		printf '[engine.runtimes]\npodvm = ["%s"]\n' "$podman_runtime"
	} > "$WORK/containers.conf"
	# podman looks for it nowhere else; a machine that has one keeps it.
	if [ ! -e /etc/containers/policy.json ]; then
		mkdir -p /etc/containers
		echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
		podman_policy=made
	fi
	export CONTAINERS_STORAGE_CONF="$WORK/storage.conf" CONTAINERS_CONF="$WORK/containers.conf"
	podman_image base
}

# podman_image NAME [OPTION...] - a layer of make_layers; options of podman import
podman_image() {
	podman_name=$1
	shift
	tar -C "$WORK/disk/layers/$podman_name" -c . | podman import "$@" - "$podman_name" > /dev/null 2>&1
}

podman_end() {
	umount "$WORK/disk/graph/overlay" 2> /dev/null || :
	[ "${podman_policy:-}" != made ] || rm /etc/containers/policy.json
}
