#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The distribution's own kernel in the guest, with its modules in the mini-OS,
# and several virtual CPUs, chosen by the configuration file. It boots as the
# bzImage that the distribution ships, and as the ELF file inside of it.
set -eu
. "$(dirname "$0")/lib.sh"
plan 9

story_begin
make_layers
net_up
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
bzimage=$(echo "$TOP"/build/node/boot/vmlinuz-*)
make_bundle stock "$IN_NETNS" sh -c 'uname -v; nproc; ip -4 -o addr show eth0 | grep -c inet; touch /written && echo writable'

for kernel in "$bzimage" "$TOP/build/node/vmlinux"; do
	what=${kernel##*/}
	cat > "$WORK/podvm.json" <<EOF
{ "kernel": "$kernel", "initramfs": "$BIN/initramfs-stock.cpio", "vcpus": 2, "ram": "512M" }
EOF
	ok "$what: a container runs" sh -c "podvm --root $ROOT run --bundle $BUNDLE stock < /dev/null > $WORK/out"
	ok "$what: on a Debian kernel" grep -q Debian "$WORK/out"
	ok "$what: with two CPUs, its address and a writable root" is "$(tail -n 3 "$WORK/out")" '2
1
writable'
done

refused() { podvm run --bundle "$BUNDLE" stock 2>&1 | grep -q -e "$1"; }
echo "{ \"kernel\": \"$bzimage\", \"initramfs\": \"$BIN/initramfs-stock.cpio\", \"ram\": \"64M\" }" > "$WORK/podvm.json"
ok 'a machine that is too small for the bzImage is refused, with the size that it needs' \
	refused 'give the machine [0-9]* MiB of memory'
echo "{ \"kernel\": \"$BIN/initramfs-stock.cpio\" }" > "$WORK/podvm.json"
ok 'what is no kernel is refused by what it is' refused 'cpio archive'
echo '{ "ram": "lots" }' > "$WORK/podvm.json"
ok 'a wrong setting is refused by name' refused '/ram'
tap_end
