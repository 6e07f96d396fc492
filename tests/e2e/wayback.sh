# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories that kill while a container's changes come back; sourced after
# lib.sh, not run. Each life of the victim raises the number in /n by one and writes
# it to some files; $n is the number that was there before.
# shellcheck shell=sh disable=SC2154

# victim_begin FILES - its bundle, mounted, and what the machine has meanwhile
victim_begin() {
	FILES=$1
	make_layers
	# shellcheck disable=SC2016
	make_bundle victim . sh -ec 'n=$(cat /n); mkdir -p /d; i=0; while [ $i -lt '"$FILES"' ]; do echo $((n + 1)) > /d/$i; i=$((i + 1)); done
		rm -rf /gone-$n; mkdir /gone-$((n + 1)); echo $((n + 1)) > /n; echo written'
	echo 0 > "$BUNDLE/upper/n"
	umount "$BUNDLE/rootfs"
	mount_rootfs "$BUNDLE"
	snapshot > "$WORK/before"
	n=0
}

# victim_whole N - the upper directory is that of N
victim_whole() {
	u=$BUNDLE/upper
	is "$(cat "$u/n")" "$1" || return 1
	[ "$1" = 0 ] || {
		is "$(cat "$u"/d/* | sort | uniq -c | tr -s ' ')" " $FILES $1" || return 1
		[ -d "$u/gone-$1" ] || { echo "no gone-$1"; return 1; }
	}
	is "$(find "$u" -name 'gone-*' | grep -vxc "$u/gone-$1" || :)" 0
}

# victim_clean ALL - nothing is left of its last life, and the upper directory is the old or
# the new one, whole: the new one if ALL is "yes"
victim_clean() {
	podvm delete --force victim || return 1
	umount "$BUNDLE/rootfs"
	is "$(ls -A "$BUNDLE" | tr '\n' ' ')" 'config.json rootfs upper work ' || return 1
	new=$(cat "$BUNDLE/upper/n")
	mount_rootfs "$BUNDLE"
	victim_whole "$new" || return 1
	[ "$1" != yes ] || is "$new" $((n + 1)) || return 1
	[ "$new" = "$n" ] || [ "$new" = $((n + 1)) ] || { echo "$n became $new"; return 1; }
	is "$(podvm list -q)" '' || return 1
	snapshot > "$WORK/after"
	diff "$WORK/before" "$WORK/after"
}
