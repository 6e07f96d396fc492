# SPDX-License-Identifier: Apache-2.0
#
# Samples of measure-flow, one object each, to its report.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def figure: if length == 0 then null
	else {median: median, min: min, max: max, n: length} end;
def over($a; $b): if $a and $b and $b.median > 0 then $a.median / $b.median else null end;

[.[] | select(.failed | not)] as $s
| def of($who; $way; $step; f): [$s[] | select(.who == $who and .way == $way and .step == $step)
	| f | select(. != null)] | figure;
def row($way; $step; $name; $unit; f): {way: $way, name: $name, unit: $unit,
	podvm: of("podvm"; $way; $step; f), qemu: of("qemu"; $way; $step; f),
	crun: of("crun"; $way; $step; f)}
	| .to_qemu = over(.podvm; .qemu) | .to_crun = over(.podvm; .crun);
{
	machine: {node: $node, kernel: $release, processors: $cpus, load_outside: $host,
		load_before: $before, load_after: $after, qemu: $qemu, crun: $crun, guest_ram_mib: $ram},
	runs: $runs,
	compared: [($ways | split("[ \n]+"; null) | .[] | select(. != "")) as $w
		| row($w; "tcp-to"; "TCP from the pod"; "MiB/s"; .mib_per_s),
		  row($w; "tcp-from"; "TCP to the pod"; "MiB/s"; .mib_per_s),
		  row($w; "udp-to"; "UDP from the pod"; "MiB/s"; .mib_per_s),
		  row($w; "udp-from"; "UDP to the pod"; "MiB/s"; .mib_per_s),
		  row($w; "tcp-delay"; "TCP, there and back"; "us"; .median_us),
		  row($w; "udp-delay"; "UDP, there and back"; "us"; .median_us)],
	failures: [.[] | .failed | select(.)],
	samples: $s
}
