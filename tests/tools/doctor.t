#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podvm doctor on this machine, whatever it is: what it says in both formats, its exit
# status, and that it makes nothing. What each check finds is tests/unit/runtime_doctor.c's.
set -eu
. "$(dirname "$0")/lib.sh"
plan 12

tool_begin
cd "$TOP"
PODVM_CONFIG=$WORK/podvm.json
export PODVM_CONFIG
echo '{}' > "$PODVM_CONFIG"
doctor() { "$BIN/podvm" --root "$ROOT" doctor "$@"; }
# severity CHECK - of its findings, each once
severity() { jq -r --arg c "$1" '[.findings[] | select(.check == $c).severity] | unique | join(" ")' "$WORK/json"; }

status=0
doctor --json > "$WORK/json" 2> "$WORK/err" || status=$?
ok 'JSON, and nothing on standard error' sh -c "jq -e '.findings | length > 20' $WORK/json && test ! -s $WORK/err"
ok 'the exit status says whether there is an error' is "$status" "$(jq 'if .errors > 0 then 1 else 0 end' "$WORK/json")"
ok 'counts fit the findings' jq -e '.errors == ([.findings[] | select(.severity == "error")] | length) and
	.warnings == ([.findings[] | select(.severity == "warning")] | length)' "$WORK/json"
ok 'what is not well says how it is mended' jq -e 'all(.findings[] | select(.severity == "error"); .mend != null)' "$WORK/json"
doctor > "$WORK/table" || :
ok 'the table has the same findings' is "$(grep -c -v -e '^CHECK' -e 'mend: ' -e ' errors, ' "$WORK/table")" \
	"$(jq '.findings | length' "$WORK/json")"
doctor --list | awk '{ print $1 }' | sort > "$WORK/list"
ok 'each check of --list has found something' is "$(jq -r '.findings[].check' "$WORK/json" | sort -u)" "$(cat "$WORK/list")"
ok 'no state directory is made' test ! -e "$ROOT"
probe=0
"$TOP/build/tests/node/probe" > /dev/null 2>&1 || probe=$?
ok 'KVM is judged as the test node judges it' is "$(severity kvm)" "$([ $probe = 0 ] && echo ok || echo error)"
ok 'the images that were built load' is "$(severity images)" ok
echo '{"memory": {"maxx": 1}}' > "$PODVM_CONFIG"
doctor --json > "$WORK/json" || :
ok 'a wrong setting is named by its place' jq -e --arg f "$PODVM_CONFIG" 'any(.findings[]; .check == "configuration" and
	.severity == "error" and (.text | test("/memory/maxx")) and (.mend | contains($f)))' "$WORK/json"
echo "{\"initramfs\": \"$BIN/podvm\"}" > "$PODVM_CONFIG"
doctor --json > "$WORK/json" || :
ok 'a program is no initramfs' jq -e 'any(.findings[]; .check == "images" and (.text | test("cpio")))' "$WORK/json"
ok 'an unknown option is refused by name' fails 1 'unknown option "--frob"' doctor --frob
tap_end
