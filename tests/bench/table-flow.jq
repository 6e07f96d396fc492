# SPDX-License-Identifier: Apache-2.0
#
# The report of measure-flow as text: a table, and a plot of ratios.

def round($n): . * pow(10; $n) | round / pow(10; $n);
def right($n): tostring | (" " * ([$n - length, 0] | max)) + .;
def left($n): tostring | . + (" " * ([$n - length, 0] | max));
def num: if . == null then "-" elif . >= 100 then round(0) else round(2) end;
def spread: if . == null then "-" else "\(.median | num) (\(.min | num)..\(.max | num))" end;
# A bar of 20 for 1, 40 at most.
def bar: if . == null then "" else "#" * ([[. * 20 | round, 1] | max, 40] | min) end;

"podvm network bench: medians of \(.runs) interleaved runs (min..max)",
"",
"machine: \(if .machine.node == "qemu" then "test node, nested KVM under software emulation" else "KVM of this machine" end), kernel \(.machine.kernel), \(.machine.processors) processors",
"load: outside before \(.machine.load_outside); where it was measured \(.machine.load_before) before, \(.machine.load_after) after",
"beside: \(.machine.qemu), microvm with PCI, the same wiring and guest; \(.machine.crun), no machine",
"",
(.compared | group_by(.way)[] | "\(.[0].way)",
	"\("" | left(28))\("podvm-vmm" | right(26))\("QEMU" | right(26))\("crun" | right(26))\("to QEMU" | right(9))\("to crun" | right(9))",
	(.[] | "\("  " + .name + ", " + .unit | left(28))\(.podvm | spread | right(26))\(.qemu | spread | right(26))\(.crun | spread | right(26))\(.to_qemu | num | right(9))\(.to_crun | num | right(9))"),
	""),
"ratio to QEMU, 20 columns for 1 (for times there and back, shorter is better)",
(.compared[] | select(.to_qemu) | "  \(.way | left(22))\(.name | left(22))\(.to_qemu | num | right(6)) \(.to_qemu | bar)"),
"",
"way: model, peer, who moves the packets, pairs of queues (as many vCPUs; as many TCP streams).",
"TCP, UDP: iperf3, what arrived; UDP as fast as the sender can. There and back: one byte, one question at a time.",
(if (.failures | length) > 0 then "", "FAILED, not measured:", (.failures[] | "  " + .) else empty end)
