#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm-storage test and gc: reports, exit status, and nothing left behind, also after
# a KILL at any point.
set -eu
. "$(dirname "$0")/lib.sh"
plan 30

tool_begin
tool_layers
d=$WORK/disk
s() { podvm-storage "$@"; }
left() {
	ls -A /run/podvm-storage/test 2> /dev/null
	find "$TMPDIR" -maxdepth 1 -name 'podvm-test.*'
}

ok 'a path passes' s test "$d/m" --no-vm
ok 'the table has a line for the tree' sh -c "podvm-storage test $d/m --no-vm | grep -q '^same tree  *pass'"
s test "$d/m" --no-vm --json --junit "$WORK/junit.xml" > "$WORK/report"
q='.failed == 0 and .notPossible == 0 and .passed == (.checks | length) and .passed >= 7
	and (.checks[] | select(.name == "same tree") | .result == "pass")'
ok 'JSON' jq -e "$q" "$WORK/report"
ok 'JUnit' /usr/bin/python3 -c "
import xml.etree.ElementTree as x
s = x.parse('$WORK/junit.xml').getroot()
assert s.tag == 'testsuite' and int(s.get('tests')) == len(s.findall('testcase')) >= 7
assert s.get('failures') == s.get('skipped') == '0'"
ok 'nothing is left' is "$(left)" ''
tool_stale
code=0
s test "$d/stale" --no-vm --json --junit "$WORK/junit.xml" > "$WORK/report" || code=$?
ok 'what cannot be mapped is a failure with its reason' jq -e '.failed == 1' "$WORK/report"
ok 'with exit status 1' is $code 1
ok 'and in JUnit' grep -q '<failure message=' "$WORK/junit.xml"
code=0
s test "$d/low" --no-vm --json > "$WORK/report" || code=$?
ok 'what podvm does not do is not possible, and says so' jq -e '.failed == 0 and .notPossible == 1' "$WORK/report"
ok 'with exit status 3' is $code 3
code=0
s test --driver overlay --no-vm --json > "$WORK/report" || code=$?
ok "this host's overlay driver: no check fails" jq -e '.failed == 0 and .passed > 10' "$WORK/report"
ok 'the exit status fits' is "$code" "$(jq 'if .notPossible > 0 then 3 else 0 end' "$WORK/report")"
code=0
s test --driver devmapper --no-vm --json > "$WORK/report" 2> "$WORK/err" || code=$?
ok "its device mapper: no check fails" jq -e '.failed == 0 and .passed + .notPossible > 0' "$WORK/report"
ok 'a machine that does not boot is not possible, never passed' sh -c "podvm-storage test $d/m --json > $WORK/report; jq -e '[.checks[] | select(.name | startswith(\"guest\"))] | length > 0 and (.[0].result == \"pass\" or (length == 1 and .[0].result == \"not possible\"))' $WORK/report"
ok 'nothing is left by all of these' is "$(left)" ''
ok 'a driver that is none' fails 2 'overlay or devmapper' s test --driver zfs
ok 'a path and a driver' fails 2 'path or --driver' s test --driver overlay /
ok 'a report that cannot be written' fails 1 junit s test "$d/m" --no-vm --json --junit /no/such/file

# ---- gc ----------------------------------------------------------------------------
ok 'gc finds nothing on a clean host' sh -c 'podvm-storage gc --json | jq -e ".found == [] and .bytes == 0"'
n=0
# ---- gc: what is remembered of layers ------------------------------------------------
mkdir -p /var/lib/podvm
mount -t tmpfs podvm-tools /var/lib/podvm
cache=/var/lib/podvm/cache/layers
mkdir -p "$d/gone/low" "$d/gone/m" "$d/gone/up" "$d/gone/work"
echo x > "$d/gone/low/file"
mount -t overlay overlay -o "lowerdir=$d/gone/low,upperdir=$d/gone/up,workdir=$d/gone/work" "$d/gone/m"
sleep 3 # a layer that was changed a moment ago is not remembered
s plan --cache $cache "$d/gone/m" > /dev/null
s plan --cache $cache "$d/m" > /dev/null
entries() { find $cache -type f | wc -l; }
all=$(entries)
ok 'layers that are there are kept' sh -c 'podvm-storage gc --json | jq -e ".found == []"'
umount "$d/gone/m"
rm -rf "$d/gone"
gone='[.found[] | select(.kind == "layer cache" and (.what | endswith("/gone/low")))] | length == 1'
ok 'gc --dry-run tells of one that is gone' sh -c "podvm-storage gc --dry-run --json | jq -e '($gone) and .bytes > 0'"
ok 'and keeps it' is "$(entries)" "$all"
forgets() {
	s gc --json | jq -e "$gone" && is "$(entries)" $((all - 1)) &&
		s plan --json --cache $cache "$d/m" | jq -e '.stats.cachedLayers > 0'
}
ok 'gc forgets it, and no other' forgets
umount /var/lib/podvm

kill_at() {
	i=5
	while [ $i -lt 100 ]; do
		timeout -s KILL "0.$(printf %03d $i)" podvm-storage test --driver overlay --no-vm > /dev/null 2>&1 || :
		i=$((i + 5))
	done
	# One that was killed a moment ago may hold its lock still.
	wait_for 20 collected
}
collected() { podvm-storage gc --json | jq -e '.failed == 0' && is "$(left)" ''; }
ok 'after KILL at 19 points of time gc leaves nothing' kill_at
# killed - a test is killed as soon as it has a place; again if it was quicker than we are
killed() {
	tries=0
	while [ -z "$(left)" ] && [ $tries -lt 50 ]; do
		podvm-storage test --driver overlay --no-vm > /dev/null 2>&1 &
		tester=$!
		while kill -0 $tester 2> /dev/null && [ ! -d "/run/podvm-storage/test/$tester" ]; do :; done
		kill -KILL $tester 2> /dev/null || :
		wait $tester 2> /dev/null || :
		tries=$((tries + 1))
	done
	[ -n "$(left)" ]
}
ok 'a KILL leaves a place' killed
before=$(left)
n=$(s gc --dry-run --json | jq '.found | length')
ok 'gc --dry-run tells of them' test "$n" -ge 1
ok 'and removes nothing' is "$(left)" "$before"
timeout -s KILL 0.3 podvm-storage serve "$d/m" > /dev/null 2>&1 || :
podvm-storage serve "$d/m" > "$WORK/said" 2>&1 &
server=$!
wait_for 10 grep -q serving "$WORK/said"
s gc --json > "$WORK/gc"
ok 'gc removes what is dead' jq -e '.failed == 0 and ([.found[] | select(.removed)] | length) >= 1' "$WORK/gc"
ok 'and nothing of what lives' sh -c "nbdinfo --size 'nbd+unix:///?socket=/run/podvm-storage/serve/$server.sock'"
kill -TERM $server
wait $server || :
server=
# nbdkit of the server that was killed may have listened a moment longer.
all_gone() { collected > "$WORK/out" && is "$(ls -A /run/podvm-storage/serve)" ''; }
ok 'nothing is left' wait_for 20 all_gone
tap_end
