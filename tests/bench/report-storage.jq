# SPDX-License-Identifier: Apache-2.0
#
# Samples of measure-storage, one object each, and the result of measure-map, to the
# report. Seconds: lower is better; a ratio above 1 says that the synthetic disk is
# faster.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def figure: if length == 0 then null
	else {median: median, min: min, max: max, n: length} end;

[.[] | select(.failed | not)] as $s
| def of($who; $step; f): [$s[] | select(.who == $who and .step == $step) | f] | figure;
def ratio($a; $b): if $a and $b and $a.median > 0 then $b.median / $a.median else null end;
def row($step; $name):
	of("synthetic"; $step; .s) as $a | of("raw"; $step; .s) as $b | of("share"; $step; .s) as $c
	| {step: $step, name: $name, synthetic: $a, raw: $b, share: $c,
	   bytes_or_names: ([$s[] | select(.step == $step) | .value] | unique),
	   against_raw: ratio($a; $b), against_share: ratio($a; $c)};
{
	machine: {node: $node, kernel: $release, processors: $cpus, load_outside: $host,
		load_before: $before, load_after: $after},
	runs: $runs,
	files_in_guest: $files,
	map: ($map[0].map // []),
	map_runs: $map[0].runs,
	copied: [$map[0].tests // [] | .[] | {tree, dirs, check: (.checks[] | select(.name == "nothing copied") | .text)}],
	guest: [
		row("names"; "find, names"),
		row("attributes"; "find, names and sizes"),
		row("tar"; "tar of the tree"),
		row("large"; "one file of 256 MiB")
	],
	failures: [.[] | .failed | select(.)],
	samples: $s
}
