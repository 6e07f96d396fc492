# SPDX-License-Identifier: Apache-2.0
#
# Samples of measure-io, one object each, to its report.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def figure: if length == 0 then null
	else {median: median, min: min, max: max, n: length} end;

[.[] | select(.failed | not)] as $s
| def of($who; $what; $step; f): [$s[] | select(.who == $who and .what == $what and .step == $step)
	| f | select(. != null)] | figure;

# Higher is better where @target is a lower bound.
def against($what; $step; $name; $unit; f; $target):
	of("podvm"; $what; $step; f) as $a | of("qemu"; $what; $step; f) as $b
	| {name: $name, unit: $unit, podvm: $a, qemu: $b, target_ratio: $target,
	   ratio: (if $a and $b and $b.median != 0 then $a.median / $b.median else null end)}
	| .met = (if $target == null then null
		else (.ratio != null and .ratio >= $target and .podvm.n == $runs and .qemu.n == $runs) end);
def speed($what; $step; $name): against($what; $step; $name; "MiB/s"; .bytes_per_s / 1048576; 1);
def cost($what; $step; $name): against($what; $step; $name; "exits/MiB"; if .mib > 0 then .exits / .mib else null end; null);

{
	machine: {node: $node, kernel: $release, processors: $cpus, load_outside: $host,
		load_before: $before, load_after: $after, qemu: $qemu, guest_ram_mib: $ram},
	runs: $runs,
	compared: [
		(("seqread", "seqwrite", "randread", "randwrite") as $j
			| speed("disk"; $j; "disk " + $j), cost("disk"; $j; "disk " + $j)),
		(("net", "net-vhost") as $n | ("send", "receive") as $j
			| speed($n; $j; "\($n) \($j)"), cost($n; $j; "\($n) \($j)")),
		against("free"; "take"; "guest RAM with 100 MiB in use"; "KiB"; .guest_kb; null),
		against("free"; "give"; "guest RAM after they are freed"; "KiB"; .guest_kb; null)
	],
	failures: [.[] | .failed | select(.)],
	samples: $s
}
