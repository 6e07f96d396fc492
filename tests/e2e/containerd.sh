# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories with containerd; sourced after lib.sh and image.sh, not run.
# shellcheck shell=sh

PATH=$TOP/build/engines/bin:$PATH
export PATH
CRI_SOCKET=/run/containerd/containerd.sock
export CRI_SOCKET

# containerd_begin CONFIG - starts containerd with this file, and loads the images
# podvm.test/base:1 (make_layers' lowest) and podvm.test/pause:1 into NAMESPACE
containerd_begin() {
	containerd_start "$1"
	image_archive podvm.test/base:1 "$WORK/disk/layers/base" \
		'{"Env": ["PATH=/bin"], "Cmd": ["sh"]}' "$WORK/disk/base.tar"
	image_archive podvm.test/pause:1 "$WORK/disk/layers/base" \
		'{"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "1000000"]}' "$WORK/disk/pause.tar"
	for i in base pause; do
		ctr -n "$NAMESPACE" images import "$WORK/disk/$i.tar" > "$WORK/import.log" 2>&1
	done
}

# containerd_start CONFIG - only starts it
containerd_start() {
	containerd --log-level warn --config "$1" > "$WORK/containerd.log" 2>&1 &
	echo $! > "$WORK/containerd.pid"
	until ctr version > /dev/null 2>&1; do
		kill -0 "$(cat "$WORK/containerd.pid")" || {
			tail -n 20 "$WORK/containerd.log" | sed 's/^/# /'
			return 1
		}
	done
}

containerd_end() {
	kill "$(cat "$WORK/containerd.pid")" 2> /dev/null || :
	for m in $(cut -d' ' -f5 /proc/self/mountinfo | grep -e ^/run/containerd/ -e ^/var/lib/containerd/ | sort -r); do
		umount -l "$m"
	done
}
