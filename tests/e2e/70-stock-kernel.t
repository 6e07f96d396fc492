#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The distribution's own kernel in the guest, with its modules in the mini-OS,
# and several virtual CPUs, chosen by the configuration file.
set -eu
. "$(dirname "$0")/lib.sh"
plan 4

story_begin
make_layers
net_up
cat > "$WORK/podvm.json" <<EOF
{ "kernel": "$TOP/build/node/vmlinux", "initramfs": "$BIN/initramfs-stock.cpio",
  "vcpus": 2, "ram": "512M" }
EOF
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
make_bundle stock "$IN_NETNS" sh -c 'uname -v; nproc; ip -4 -o addr show eth0 | grep -c inet; touch /written && echo writable'
ok 'a container runs' sh -c "podvm --root $ROOT run --bundle $BUNDLE stock < /dev/null > $WORK/out"
ok 'on a Debian kernel' grep -q Debian "$WORK/out"
ok 'with two CPUs, its address and a writable root' is "$(tail -n 3 "$WORK/out")" '2
1
writable'
echo '{ "ram": "lots" }' > "$WORK/podvm.json"
ok 'a wrong setting is refused by name' sh -c "podvm --root $ROOT run --bundle $BUNDLE stock 2>&1 | grep -q '/ram'"
tap_end
