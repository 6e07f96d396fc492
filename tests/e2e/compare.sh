# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories that compare podvm with another runtime under one engine; sourced
# after lib.sh, not run. The other one is crun, or what the story has set REFERENCE to. A
# story has a script in sections, which is run once with each runtime; each step of it is
# one command, of which standard output, standard error and exit status are kept. Then each
# step is a point of TAP: what podvm's gave is what the other's did.
#
# Where the two differ by what podvm is, STORY.differences beside the story has a line
#
#	STEP: explanation
#
# A step that differs and is not listed fails; one that is listed and does not differ
# (any more) is told.
#
# The node is slow, so that not all sections run each time: ROUNDS names those that do
# ("all": every one) and has the name of each step printed as it begins. COMPARE=crun or
# COMPARE=podvm runs the script with that one alone and prints its steps, for who writes one.
# shellcheck shell=sh

REFERENCE=crun
STORY=${0##*/}
DIFFERENCES=$TOP/tests/e2e/${STORY%.t}.differences

# section NAME - whether a section is to be run
section() {
	case " ${ROUNDS:-$SECTIONS} " in
	*" all "* | *" $1 "*) echo "# $RUNTIME: $1 ($(cut -d. -f1 /proc/uptime) s)" ;;
	*) return 1 ;;
	esac
}

# What is different each time and says nothing: ids, times, the runtime's own name.
normal() {
	sed -E -e 's/\<[0-9a-f]{63,64}\>/ID/g; s/\<[0-9a-f]{12}\>/SHORT-ID/g' \
		-e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?( ?[-+][0-9:]{4,5}( UTC)?|Z)?/TIME/g' \
		-e "s|$WORK|WORK|g; s|\\<$RUNTIME\\>|RUNTIME|g" "$@"
}

# step NAME COMMAND... - one command of the script, without standard input
step() {
	step_name=$1
	shift
	step_n=$((step_n + 1))
	[ -z "${ROUNDS:-}" ] || echo "# $RUNTIME: - $step_name ($(cut -d. -f1 /proc/uptime) s)"
	step_status=0
	"$@" < /dev/null > "$WORK/step.out" 2> "$WORK/step.err" || step_status=$?
	{
		echo "$step_name"
		normal "$WORK/step.out"
		echo "-- standard error:"
		normal "$WORK/step.err"
		echo "-- status: $step_status"
	} > "$(printf '%s/%s/%04d' "$WORK/steps" "$RUNTIME" "$step_n")"
}

# feed TEXT COMMAND... - the command with this line as its standard input
feed() {
	feed_text=$1
	shift
	printf '%s\n' "$feed_text" | "$@"
}

# sized ROWS COLUMNS - a shell's command that prints the size of its terminal: engines give
# it one after the start, so it waits for this, 30 s
sized() {
	echo "i=0; until [ \"\$(stty size 2> /dev/null)\" = '$1 $2' ] || [ \$((i += 1)) -gt 300 ]; do sleep 0.1; done; stty size"
}

# compare SCRIPT - runs the function SCRIPT with RUNTIME=$REFERENCE, then with RUNTIME=podvm
compare() {
	rm -rf "$WORK/steps"
	for RUNTIME in ${COMPARE:-$REFERENCE podvm}; do
		mkdir -p "$WORK/steps/$RUNTIME"
		step_n=0
		"$1"
	done
}

# explanation STEP - of the list of differences: of the line that names this step, and not
# one with a longer name ("stats" and "stats: limit")
explanation() {
	[ ! -e "$DIFFERENCES" ] || head -qn 1 -- "$WORK/steps/$REFERENCE"/* |
		awk -v step="$1" -v list="$DIFFERENCES" '
			length($0) > length(step) && index($0, step) == 1 { longer[$0] }
			END {
				while ((getline line < list) > 0) {
					found = index(line, step ": ") == 1
					for (name in longer)
						found = found && index(line, name ": ") != 1
					if (found) {
						print substr(line, length(step) + 3)
						exit
					}
				}
			}'
}

# compared - one point for each step
compared() {
	case ${COMPARE:-} in
	*' '* | '') ;;
	*) tail -n +1 "$WORK/steps/$COMPARE"/*; return ;;
	esac
	ok 'both took the same steps' is "$(cd "$WORK/steps/podvm" && head -qn 1 -- *)" \
		"$(cd "$WORK/steps/$REFERENCE" && head -qn 1 -- *)"
	for s in "$WORK/steps/$REFERENCE"/*; do
		what=$(head -n 1 "$s")
		why=$(explanation "$what")
		n=${s##*/}
		if [ -z "$why" ]; then
			ok "as with $REFERENCE: $what" diff -U 20 --label "$REFERENCE" --label podvm \
				"$s" "$WORK/steps/podvm/$n"
		elif cmp -s "$s" "$WORK/steps/podvm/$n"; then
			echo "# no difference (any more): $what"
		else
			echo "# different: $what: $why"
			diff "$s" "$WORK/steps/podvm/$n" | sed 's/^/#     /'
		fi
	done
}

# differences_named [SCRIPT] - every line of the list names a step of the script, which is
# in the story itself if no other file is named
differences_named() {
	[ -e "$DIFFERENCES" ] || return 0
	grep -oE "step[( ]['\"][^'\"]*" "${1:-$0}" | sed 's/^step..//' > "$WORK/step-names"
	sed '/^#/d; /./!d' "$DIFFERENCES" | while read -r line; do
		awk -v line="$line" 'index(line, $0 ": ") == 1 { found = 1 } END { exit !found }' \
			"$WORK/step-names" || {
			echo "$DIFFERENCES: no step of \"$line\""
			return 1
		}
	done
}
