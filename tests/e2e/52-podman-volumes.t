#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podman run -v with podvm: what podman itself binds into a container (hosts, hostname,
# .containerenv, /dev/shm), and volumes: directories, files, read-only,
# named ones; --rm leaves nothing.
# shellcheck disable=SC2016,SC2034
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/podman.sh"
plan 14

story_begin
make_layers
ROOT=/run/podvm
podman_begin "$BIN/podvm" "volume_path = \"$WORK/disk/named\""
V=$WORK/disk/volumes
mkdir -p "$V/data" "$V/ro"
echo 'from the host' > "$V/data/file"
echo 'do not touch' > "$V/ro/file"
podman volume create kept > /dev/null 2>&1
run() { podman --runtime podvm run --rm --network none "$@"; }
says() { is "$(cat "$1")" "$2"; }

run --name first --hostname in-podman -v "$V/data:/data" -v "$V/ro:/ro:ro" -v "$V/ro/file:/etc/one:ro" -v kept:/kept \
	--tmpfs /scratch:size=1m --tmpfs /etc:size=1m --shm-size 2m base sh -c '
	cat /data/file
	echo back > /data/back
	cat /etc/one
	touch /ro/new 2> /dev/null || echo refused
	echo stays > /kept/file
	df -k /dev/shm | awk "NR == 2 { print \$2 }"
	df -k /scratch | awk "NR == 2 { print \$2 }"
	grep -c in-podman /etc/hosts
	echo "$(cat /etc/hostname)"
	cat /etc/motd
	echo x > /etc/motd
	test -e /run/.containerenv && echo env' > "$WORK/out" 2>&1 || :
sed 's/^/# /' "$WORK/out"
line() { is "$(sed -n "$1p" "$WORK/out")" "$2"; }
ok 'a volume is there' line 1 'from the host'
ok 'what is written there is on the host' says "$V/data/back" back
ok 'a file by itself' line 2 'do not touch'
ok 'read-only is that' line 3 refused
ok 'a named volume keeps what was written' is "$(run -v kept:/k base cat /k/file)" stays
ok '/dev/shm has the size that was asked for' line 4 2048
ok 'and so has a tmpfs' line 5 1024
ok '/etc/hosts has the name' test "$(sed -n 6p "$WORK/out")" -ge 1
ok '/etc/hostname, too' line 7 in-podman
ok 'a tmpfs begins with what the image has there' line 8 base
ok '.containerenv is there' line 9 env
ok 'a source that is not there is refused' exits 125 run --mount type=bind,source=/no/where,destination=/x base true
podman --runtime podvm run -d --network none --name long -v "$V/data:/data" base sleep 1000 > /dev/null
podman exec long sh -c 'echo later > /data/later'
ok 'exec sees the volume' says "$V/data/later" later
podman rm -f -t 0 long > /dev/null
podman volume rm kept > /dev/null
podman rmi -f base > /dev/null 2>&1 || :
podman_end
ok 'no pod is left' is "$(podvm list -q)" ''
tap_end
