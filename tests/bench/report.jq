# SPDX-License-Identifier: Apache-2.0
#
# Samples, one object each, to the report: figures with median and spread,
# verdicts against the targets, the samples themselves.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def figure: if length == 0 then null
	else {median: median, min: min, max: max, n: length} end;

[.[] | select(.failed | not)] as $s
| def of($who; f): [$s[] | select(.who == $who) | f | select(. != null)] | figure;

# Lower is better. The opponent is the better of QEMU's two machines, figure by
# figure; a target without all of its runs is not met, whatever its figures are.
def against($name; f; $what; $target):
	of("podvm-vmm"; f) as $a
	| of("podvm-clone"; f) as $c
	| of("qemu-microvm-mmio"; f) as $m | of("qemu-microvm-pci"; f) as $p
	| ([$m, $p | select(.) | .median] | min) as $best
	| {name: $name, unit: $what, podvm: $a, clone: $c, qemu_mmio: $m, qemu_pci: $p,
	   ratio: (if $a and $best then $a.median / $best else null end),
	   clone_ratio: (if $c and $best then $c.median / $best else null end),
	   clone_to_boot: (if $a and $c and $a.median > 0 then $c.median / $a.median else null end),
	   target_ratio: $target, complete: ([$a, $c, $m, $p] | all(.n == $runs))};
def at_most($name; $value; $target; $complete):
	{name: $name, value: $value, target: $target,
	 met: ($value != null and $value <= $target and $complete)};

{
	machine: {node: $node, kernel: $release, processors: $cpus,
		load_outside: $host, load_before: $before, load_after: $after,
		qemu: $qemu, crun: $crun, guest_append: $append, guest_ram_mib: $ram, sweep_mib: $sweep},
	runs: $runs,
	compared: [
		against("start to hello"; .hello_ms; "ms"; 0.5),
		against("exits, start to hello"; .exits; ""; 1),
		against("exits to the monitor's process"; .io_exits + .mmio_exits; ""; null),
		against("private memory beside guest RAM"; .private_kb; "KiB"; null),
		against("private memory, without files"; .private_kb - .private_file_kb; "KiB"; null),
		against("guest RAM in use"; .guest_ram_kb; "KiB"; null),
		against("guest's clock at its call"; .guest_boot_ms; "ms"; null),
		against("guest's clock when /init began"; .guest_init_ms; "ms"; null)
	],
	podvm_timeline: {
		main: of("podvm-vmm"; .main_ms), configured: of("podvm-vmm"; .config_ms),
		guest_entered: of("podvm-vmm"; .run_ms), agent_called: of("podvm-vmm"; .call_ms),
		hello: of("podvm-vmm"; .hello_ms)},
	clone_timeline: {
		main: of("podvm-clone"; .main_ms), configured: of("podvm-clone"; .config_ms),
		guest_entered: of("podvm-clone"; .run_ms), agent_called: of("podvm-clone"; .call_ms),
		hello: of("podvm-clone"; .hello_ms)},
	podvm_user_exits: ([$s[] | select(.who == "podvm-vmm")][0].user_exits // {} | keys_unsorted
		| map({key: ., value: (. as $k | of("podvm-vmm"; .user_exits[$k]))}) | from_entries),
	run_true: {
		podvm: of("podvm-run"; .run_ms_total), template: of("podvm-run-template"; .run_ms_total),
		crun: of("crun-run"; .run_ms_total)},
	initramfs_bytes: $initramfs, kernel_bytes: $kernel, rootfs_plan: $plan.stats,
	# Rounds in which podvm-vmm was at the hello before both of QEMU's machines.
	hello_rounds: ([$s[] | select(.hello_ms)] | group_by(.round)
		| map(map({(.who): .hello_ms}) | add | select(length == 4))
		| {all: length, first: (map(select(."podvm-vmm" < ."qemu-microvm-mmio"
			and ."podvm-vmm" < ."qemu-microvm-pci")) | length)}),
	failures: [.[] | .failed | select(.)],
	samples: $s
}
| .run_true.ratio = (if .run_true.podvm and .run_true.crun
	then .run_true.podvm.median / .run_true.crun.median else null end)
| .run_true.template_ratio = (if .run_true.template and .run_true.crun
	then .run_true.template.median / .run_true.crun.median else null end)
| .compared[0] as $start | .compared[1] as $exits
| .targets = [
	at_most("start to hello, ratio to QEMU microvm"; $start.ratio; 0.5; $start.complete),
	at_most("the same from a template"; $start.clone_ratio; 0.5; $start.complete),
	at_most("start from a template, ratio to podvm-vmm's own boot"; $start.clone_to_boot; 0.2; $start.complete),
	at_most("exits from start to hello, ratio to QEMU microvm"; $exits.ratio; 1; $exits.complete),
	(.compared[3] | at_most("private memory beside guest RAM, MiB";
		([.podvm, .clone | select(.) | .max] | if length > 0 then max / 1024 else null end); 3; .complete)),
	at_most("initramfs, MiB"; $initramfs / 1048576; 2; true)
]
