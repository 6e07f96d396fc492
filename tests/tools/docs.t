#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Manual pages and completion do not lag behind the programs: every command, every
# option of every --help and every setting of the configuration is in its page, and
# the completion offers them.
set -eu
. "$(dirname "$0")/lib.sh"
plan 25

tool_begin
cd "$TOP"
help_of() {
	name=$1
	shift
	case $name in
	podvm) "$BIN/podvm" --root "$ROOT" "$@" --help ;;
	*) "$BIN/$name" "$@" --help ;;
	esac
}
# The same two rules as in the completion, so that both are tested by what is printed.
commands() { awk '/^  podvm/ { next } /^  [a-z][a-z-]* / { print $1; seen = 1; next } seen { exit }'; }
options() { grep -E '^  (-.,|  ) *--[a-z]' | grep -vE -e '--[a-z].* --[a-z]' | grep -oE -e '--[a-z][a-z0-9-]*' | sort -u; }
page_of() { case $1 in podvm) echo runtime/podvm.8 ;; *) echo "${1#podvm-}/$1.8" ;; esac; }
flat() { sed 's/\\//g' "$1"; }

# documented PROGRAM - names what its page lacks
documented() {
	page=$(page_of "$1")
	flat "$page" > "$WORK/flat"
	missing=
	for o in $(help_of "$1" | options); do
		grep -qE -e "$o([^a-z-]|\$)" "$WORK/flat" || missing="$missing $o"
	done
	for c in $(help_of "$1" | commands); do
		grep -qE "^\.(B|BI|BR)[ \"]*(podvm-[a-z]+ )?$c( |\$)" "$WORK/flat" || missing="$missing $c"
		for o in $(help_of "$1" "$c" | options); do
			grep -qE -e "$o([^a-z-]|\$)" "$WORK/flat" || missing="$missing $c:$o"
		done
		for s in $(help_of "$1" "$c" | commands); do
			grep -qE "^\.(B|BI|BR)[ \"]*$c $s( |\$)" "$WORK/flat" || missing="$missing $c $s"
			for o in $(help_of "$1" "$c" "$s" | options); do
				grep -qE -e "$o([^a-z-]|\$)" "$WORK/flat" || missing="$missing $c $s:$o"
			done
		done
	done
	is "$missing" ''
}

# offered PROGRAM [COMMAND] WORD - what the completion offers, a line each
cat > "$WORK/complete" << 'END'
. runtime/podvm.bash-completion
compopt() { :; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_podvm
printf '%s\n' "${COMPREPLY[@]}"
END
offered() { PATH=$BIN:$PATH bash "$WORK/complete" "$@"; }
completed() {
	missing=
	offered "$1" '' > "$WORK/offered"
	offered "$1" - >> "$WORK/offered"
	for w in $(help_of "$1" | options) $(help_of "$1" | commands); do
		grep -qx -e "$w" "$WORK/offered" || missing="$missing $w"
	done
	for c in $(help_of "$1" | commands); do
		offered "$1" "$c" - > "$WORK/offered"
		for w in $(help_of "$1" "$c" | options); do
			grep -qx -e "$w" "$WORK/offered" || missing="$missing $c:$w"
		done
		for s in $(help_of "$1" "$c" | commands); do
			offered "$1" "$c" '' | grep -qx -e "$s" || missing="$missing $c $s"
			offered "$1" "$c" "$s" - > "$WORK/offered"
			for w in $(help_of "$1" "$c" "$s" | options); do
				grep -qx -e "$w" "$WORK/offered" || missing="$missing $c $s:$w"
			done
		done
	done
	is "$missing" ''
}

# An empty list of commands or options would pass every check.
ok 'the commands of podvm are found' test "$(help_of podvm | commands | wc -l)" -ge 14
ok 'those of podvm-storage' is "$(help_of podvm-storage | commands | xargs)" 'inspect plan export serve test gc'
ok 'options of a command' is "$(help_of podvm-storage serve | options | xargs)" '--filter --help --json --param --socket'
for p in podvm podvm-netplug podvm-storage podvm-vmm; do
	ok "$p: every command and option is in its manual page" documented $p
	ok "$p: and is completed" completed $p
done
settings() {
	missing=
	flat runtime/podvm.json.5 > "$WORK/flat"
	sed -n '/known\[\] = {/,/};/p' runtime/config.c | grep -oE '"[a-zA-Z]+"' | tr -d '"' > "$WORK/settings"
	for s in $(cat "$WORK/settings"); do
		grep -qE "^\.IR?.*(^|[ .])$s( |\"|\$)" "$WORK/flat" || missing="$missing $s"
	done
	is "$missing" '' && test "$(wc -l < "$WORK/settings")" -ge 15
}
ok 'podvm.json: every setting is in its manual page' settings
for page in */*.[58]; do
	lint() { is "$(mandoc -T lint -W warning "$1" 2>&1)" '' && is "$(man --warnings -l "$1" 2>&1 > /dev/null)" ''; }
	ok "$page: mandoc and man have no warnings" lint "$page"
done
ok 'podvm-storage: values of --driver' is "$(offered podvm-storage test --driver '' | xargs)" 'overlay devmapper'
ok 'podvm: values of --format' is "$(offered podvm pod stats --format '' | xargs)" 'table json'
ok 'podvm pod: its own commands' is "$(help_of podvm pod | commands | xargs)" 'list inspect stats timeline console logs shell'
ok 'podvm: an option before the command' is "$(offered podvm --root /x sta | xargs)" 'start state'
mkdir "$WORK/place" "$WORK/place/dir"
touch "$WORK/place/file"
ok 'files are completed where a path is meant' is "$(offered podvm-storage export "$WORK/place/" | sort | xargs)" "$WORK/place/dir $WORK/place/file"
ok 'an unknown command completes nothing' is "$(offered podvm-storage frob -- 2> /dev/null | grep -v -e --help -e --version || :)" ''
make -s install DESTDIR="$WORK/dest" PREFIX=/usr VARIANT="$VARIANT" > "$WORK/install" 2>&1
ok 'make install installs pages, completion and plugin' sh -c "cd $WORK/dest/usr && ls share/man/man8/podvm.8 share/man/man8/podvm-storage.8 share/man/man5/podvm.json.5 share/bash-completion/completions/podvm share/bash-completion/completions/podvm-storage libexec/podvm/podvm-nbd.so"
ok 'the installed completion works' bash -c ". $WORK/dest/usr/share/bash-completion/completions/podvm-storage && complete -p podvm-storage"
tap_end
