#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-storage serve: NBD clients read what export writes; sockets; ends of all kinds.
set -eu
. "$(dirname "$0")/lib.sh"
plan 27

tool_begin
tool_layers
d=$WORK/disk
sock=$WORK/nbd.sock
uri="nbd+unix:///?socket=$sock"
podvm-storage export "$d/m" -o "$d/img"

# serve ARG... - starts a server, waits until it serves; $server is its pid
serve() {
	: > "$WORK/said"
	podvm-storage serve "$d/m" "$@" > "$WORK/said" 2> "$WORK/err" &
	server=$!
	# shellcheck disable=SC2016 # for the inner shell
	wait_for 10 sh -c 'grep -q . "$1" || ! kill -0 $2' sh "$WORK/said" $server
}
# ended STATUS - the server ends with it, by itself
ended() {
	code=0
	wait $server || code=$?
	server=
	is "exit $code" "exit $1" || { cat "$WORK/err"; return 1; }
}
gone() { ! kill -0 "$child"; }

serve --socket "$sock"
ok 'it says where it serves' grep -q "socket=$sock" "$WORK/said"
ok 'only our user can connect' is "$(stat -c %a "$sock")" 600
nbdinfo --json "$uri" > "$WORK/info"
q=".exports[0] | .is_read_only and .can_multi_conn and .[\"export-size\"] == $(stat -c %s "$d/img")
	and .block_size_preferred == 4096"
ok 'nbdinfo: size, read-only, block size' jq -e "$q" "$WORK/info"
ok 'nbdcopy reads the same bytes, over several connections' sh -c "nbdcopy '$uri' $d/copy && cmp $d/copy $d/img"
rm "$d/copy"
ok 'qemu-img reads the same bytes' sh -c "qemu-img convert -O raw '$uri' $d/copy && cmp $d/copy $d/img"
rm "$d/copy"
# Debian's module, not that of another python3 in PATH
shell() { PATH=/usr/bin:/bin nbdsh -u "$uri" -c "$1"; }
part() {
	shell "import hashlib; print(hashlib.md5(h.pread($2, $1)).hexdigest() + '  -')" > "$WORK/b"
	diff "$WORK/a" "$WORK/b"
}
# errno EXPRESSION - prints the error that the server answers
errno() {
	shell "import nbd
h.set_strict_mode(0)
try:
    $1
    print('none')
except nbd.Error as e:
    print(e.errno)"
}
at=$(($(stat -c %s "$d/img") - 4096 - 4095))
for range in '1 1' '4095 2' '513 70001' '0 16777216' "$at 4097"; do
	# shellcheck disable=SC2086 # two words
	set -- $range
	tail -c +$(($1 + 1)) "$d/img" | head -c "$2" | md5sum > "$WORK/a"
	ok "bytes $1 and $2 on" part "$1" "$2"
done
ok 'beyond the end is an error' is "$(errno 'h.pread(4096, h.get_size() - 100)')" EINVAL
ok 'writing is an error' is "$(errno 'h.pwrite(b"x" * 512, 0)')" EPERM
ok 'it serves on' nbdinfo --size "$uri"
ok 'a client that goes away in the middle' sh -c "timeout -s KILL 0.05 nbdcopy '$uri' null: || :; nbdinfo --size '$uri'"
rights() {
	p=$(pgrep -P $server -x nbdkit)
	is "$(awk '/^(Uid|CapEff):/ { print $2 }' "/proc/$p/status" | xargs)" '65534 0000000000000000'
}
ok 'its nbdkit has no rights' rights
ok 'a second server there is refused' fails 1 'another server' timeout 20 podvm-storage serve "$d/m" --socket "$sock"
ok 'the first one serves on' nbdinfo --size "$uri"

echo other > "$d/mid/bin/tool"
ok 'a changed file is an error, never served as if it were the old one' \
	sh -c "! nbdcopy '$uri' null: 2> /dev/null && grep -q 'changed since\|has changed' $WORK/err"
child=$(pgrep -P $server -x nbdkit)
kill -TERM $server
ok 'TERM ends it in order' ended 0
ok 'the socket is gone' test ! -e "$sock"
ok 'and so is nbdkit' wait_for 5 gone

serve --socket "$sock"
child=$(pgrep -P $server -x nbdkit)
kill -KILL $server
ended 137 2> /dev/null || :
ok 'KILL leaves no nbdkit' wait_for 10 gone
ok 'but a socket' test -S "$sock"
serve --socket "$sock" --filter error --param error-pread-rate=100%
ok 'which the next server takes over' sh -c "nbdinfo --size '$uri'"
ok 'filters of nbdkit' sh -c "! nbdcopy '$uri' null: 2> /dev/null"
kill -INT $server
ended 0 || :
: > "$sock"
ok 'a file there is kept' fails 1 'no socket' timeout 20 podvm-storage serve "$d/m" --socket "$sock"
ok 'a filter that is not there' sh -c "! podvm-storage serve $d/m --socket $WORK/x --filter none 2> /dev/null && [ ! -e $WORK/x ]"
tap_end
