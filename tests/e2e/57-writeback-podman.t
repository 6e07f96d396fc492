#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podman with podvm as with crun: run without --rm, then diff, commit, start again. The
# same is done with both runtimes, and podman must not see a difference.
# shellcheck disable=SC2016,SC2034
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/podman.sh"
plan 13

story_begin
make_layers

ROOT=/run/podvm
podman_begin "$BIN/podvm"
podman_image middle

changes='echo new > /made; echo more >> /etc/motd; rm /etc/group; mv /srv /srv2; chmod 711 /home
	mkdir -p /a/b; ln /made /a/b/link; ln -s ../made /a/sym; rm -r /opt; mkdir /opt; echo 1 > /opt/x
	echo user > /var/file; chown 7:8 /var/file; echo ran'
again='cat /made /a/b/link; test ! -e /etc/group; cat /opt/x; echo twice > /second; rm /made; echo ok'

for r in podvm crun; do
	podman --runtime "$r" run --network none --name "$r" base sh -ec "$changes" > "$WORK/$r.out" 2> "$WORK/$r.err" || :
	podman diff "$r" > "$WORK/$r.diff"
done
ok 'run ends as the container does' is "$(cat "$WORK/podvm.out")" ran
ok 'crun, too' is "$(cat "$WORK/crun.out")" ran
sort "$WORK/podvm.diff" > "$WORK/a"
sort "$WORK/crun.diff" > "$WORK/b"
ok 'diff tells what changed' grep -qx 'D /etc/group' "$WORK/a"
ok 'and the same as with crun' diff "$WORK/a" "$WORK/b"

for r in podvm crun; do
	podman commit -q "$r" "image-$r" > /dev/null
	c=$(podman --runtime crun create "image-$r")
	m=$(podman mount "$c")
	(cd "$m" && find . ! -path ./etc/mtab ! -path ./etc/hosts ! -path ./etc/hostname ! -path ./etc/resolv.conf ! -path './run*' ! -path './dev*' ! -path './proc*' ! -path './sys*' -exec stat -c '%N|%F|%a|%u:%g|%h|%s' {} + |
		sed 's/|directory|\(.*\)|[0-9]*|[0-9]*$/|directory|\1/' | sort) > "$WORK/$r.image"
	podman umount "$c" > /dev/null
	podman rm "$c" > /dev/null
done
ok 'commit gives an image with the changes' grep -q 'a/b/link' "$WORK/podvm.image"
ok 'and the same as with crun' diff "$WORK/podvm.image" "$WORK/crun.image"
ok 'a container of that image has them' is \
	"$(podman --runtime podvm run --network none --rm image-podvm sh -c 'cat /made; ls /opt')" 'new
x'

# start once more, with another command than that it was created with is not possible
podman --runtime podvm run --network none --name two base sh -c "if [ -e /made ]; then $again; else $changes; fi" > "$WORK/out" 2>&1
ok 'start -a sees what the first start wrote' is "$(podman --runtime podvm start -a two)" 'new
new
1
ok'
ok 'diff tells both' is "$(podman diff two | grep -c -e '^A /second' -e '^A /a/b/link' -e '^D /srv$')" 3
ok 'and not what was removed again' is "$(podman diff two | grep '/made' || :)" ''

podman --runtime podvm run -d --network none --name three base sh -c 'echo x > /started; while :; do sleep 1; done' > /dev/null
wait_for 20 podman exec three test -e /started
podman stop -t 1 three > /dev/null
ok 'what a stopped one wrote is there' is "$(podman diff three | grep started)" 'A /started'
podman rm -f -a > /dev/null 2>&1
ok 'rm -f leaves no process' is "$(podvm_processes)" ''
ok 'and no pod' is "$(podvm list -q)" ''
podman_end
tap_end
