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
	| of("qemu-microvm-mmio"; f) as $m | of("qemu-microvm-pci"; f) as $p
	| ([$m, $p | select(.) | .median] | min) as $best
	| {name: $name, unit: $what, podvm: $a, qemu_mmio: $m, qemu_pci: $p,
	   ratio: (if $a and $best then $a.median / $best else null end),
	   target_ratio: $target}
	| .met = (if $target == null then null
		else (.ratio != null and .ratio <= $target and .podvm.n == $runs
		      and .qemu_mmio.n == $runs and .qemu_pci.n == $runs) end);

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
	podvm_user_exits: ([$s[] | select(.who == "podvm-vmm")][0].user_exits // {} | keys_unsorted
		| map({key: ., value: (. as $k | of("podvm-vmm"; .user_exits[$k]))}) | from_entries),
	run_true: {
		podvm: of("podvm-run"; .run_ms_total), crun: of("crun-run"; .run_ms_total)},
	initramfs_bytes: $initramfs, kernel_bytes: $kernel, rootfs_plan: $plan.stats,
	# Rounds in which podvm-vmm was at the hello before both of QEMU's machines.
	hello_rounds: ([$s[] | select(.hello_ms)] | group_by(.round)
		| map(map({(.who): .hello_ms}) | add | select(length == 3))
		| {all: length, first: (map(select(."podvm-vmm" < ."qemu-microvm-mmio"
			and ."podvm-vmm" < ."qemu-microvm-pci")) | length)}),
	failures: [.[] | .failed | select(.)],
	samples: $s
}
| .run_true.ratio = (if .run_true.podvm and .run_true.crun
	then .run_true.podvm.median / .run_true.crun.median else null end)
| .targets = [
	(.compared[0] | {name: "start to hello, ratio to QEMU microvm", value: .ratio, target: 0.5, met}),
	(.compared[1] | {name: "exits from start to hello, ratio to QEMU microvm", value: .ratio, target: 1, met}),
	(.compared[3].podvm | {name: "private memory beside guest RAM, MiB", value: (if . then .max / 1024 else null end),
		target: 3, met: (. != null and .max / 1024 <= 3 and .n == $runs)}),
	({name: "initramfs, MiB", value: ($initramfs / 1048576), target: 2,
		met: ($initramfs <= 2097152)})
]
