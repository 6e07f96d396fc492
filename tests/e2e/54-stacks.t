#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Random stacks of layers as root file systems of pods: a program in the container lists
# all of the tree, with attributes and hashes of contents, and on the host the list
# of what overlayfs shows is the same. A map from the cache of layers is the same again.
# SEED chooses the first stack.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
ROUNDS=${ROUNDS:-3}
plan $((4 * ROUNDS + 3))

story_begin
SEED=${SEED:-$(date +%s)}
echo "# SEED $SEED"
export PODVM_CONFIG="$WORK/config.json"
echo "{\"layerCache\": \"$WORK/disk/cache\"}" > "$PODVM_CONFIG"

# Layers on a file system that takes all attributes, also on an old kernel.
truncate -s 1G "$WORK/disk/layers.img"
# The order of names in a directory is part of what a seed decides.
mkfs.ext4 -q -E hash_seed=5eed5eed-5eed-5eed-5eed-5eed5eed5eed "$WORK/disk/layers.img"
mkdir "$WORK/layers"
mount -o loop "$WORK/disk/layers.img" "$WORK/layers"
stacks_end() {
	status=$?
	set +e
	for c in $(podvm list -q 2> /dev/null); do podvm delete --force "$c"; done
	for d in "$WORK"/layers/*; do
		umount "$d/rootfs" 2> /dev/null
		umount "$d/t" 2> /dev/null
	done
	umount "$WORK/layers"
	(exit "$status")
	story_end
}
trap stacks_end EXIT

base=$WORK/layers/base
mkdir -p "$base/proc" "$base/sys" "$base/dev" "$base/run" "$base/tmp"
cp "$BIN/tests/tree-list" "$base/tree-list"
# Layers above may be empty, but none has this name.
echo lowest > "$base/lowest"

# bundle SEED - a stack and a configuration whose program is the lister
bundle() {
	b=$WORK/layers/s$1
	mkdir "$b"
	"$BIN/tests/tree-stack" "$1" "$b" "$base" > "$WORK/made"
	podvm spec | jq '.process.terminal = false | .root.path = "rootfs"
		| .process.args = ["/tree-list", "/"]
		| (.process.capabilities | .bounding, .effective, .permitted) =
			["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_MKNOD"]' \
		> "$b/config.json"
}

i=0
while [ $i -lt "$ROUNDS" ]; do
	seed=$((SEED + i))
	i=$((i + 1))
	ok "seed $seed: a stack" bundle $seed
	what="seed $seed ($(cat "$WORK/made"))"
	"$base/tree-list" "$b/rootfs" > "$WORK/host.list"
	ok "$what: it shows the lowest layer" grep -q '^./lowest ' "$WORK/host.list"
	ok "$what: a pod lists it" sh -c "podvm --root '$ROOT' run --bundle '$b' 's$seed' < /dev/null > '$WORK/guest.list'"
	ok "$what: the lists are the same" diff "$WORK/host.list" "$WORK/guest.list"
done

# The last one again: the layers are older than what the cache waits for.
sleep 3
podvm run --bundle "$b" again < /dev/null > "$WORK/again.list" || :
ok 'its layers are remembered' sh -c "ls '$WORK/disk/cache' | grep -q ."
podvm run --bundle "$b" cached < /dev/null > "$WORK/cached.list" || :
ok 'the list is the same again' diff "$WORK/host.list" "$WORK/again.list"
ok 'and from the cache' diff "$WORK/host.list" "$WORK/cached.list"
tap_end
