# SPDX-License-Identifier: Apache-2.0
#
# Shared by what measures options of the guest's kernel command line; sourced in the top
# folder, not run. $append is the supervisor's command line, $added what might be added;
# each_option calls COMMAND NAME COMMAND-LINE for the line as it is and for each variant.
# shellcheck shell=sh

append=$(sed -n '/^#define GUEST_CMDLINE/,/"$/s/.*"\(.*\)"$/\1/p' runtime/supervisor/machine.c)
added='mitigations=off nokaslr random.trust_cpu=off pci=lastbus=0
	nomodule audit=0 lpj=4000000 init_on_alloc=0 nowatchdog cryptomgr.notests'
[ -n "$append" ] || {
	echo "bench: FAILED: GUEST_CMDLINE not found in runtime/supervisor/machine.c" >&2
	exit 1
}

each_option() {
	"$1" as-it-is "$append"
	for option in $append; do
		# Without its console a kernel tells nobody why it does not boot.
		# shellcheck disable=SC2086 # words
		[ "$option" = console=hvc0 ] || "$1" "without $option" \
			"$(printf '%s\n' $append | grep -v -x -F -e "$option" | tr '\n' ' ')"
	done
	for option in $added; do
		"$1" "with $option" "$append $option"
	done
}
