# SPDX-License-Identifier: Apache-2.0
#
# The report as text.

def round($n): . * pow(10; $n) | round / pow(10; $n);
def right($n): tostring | (" " * ([$n - length, 0] | max)) + .;
def left($n): tostring | . + (" " * ([$n - length, 0] | max));
def num: if . == null then "-" elif . >= 100 then round(0) else round(2) end;
def spread: if . == null then "-" else "\(.median | num) (\(.min | num)..\(.max | num))" end;
def yes: if . == null then "" elif . then "met" else "NOT MET" end;

"podvm bench: medians of \(.runs) interleaved runs (min..max); lower is better",
"",
"machine: \(if .machine.node == "qemu" then "test node, nested KVM under software emulation" else "KVM of this machine" end), kernel \(.machine.kernel), \(.machine.processors) processors",
"load: outside before \(.machine.load_outside); where it was measured \(.machine.load_before) before, \(.machine.load_after) after; nothing was pinned",
"opponents: \(.machine.qemu); \(.machine.crun)",
"guest: 1 vCPU, \(.machine.guest_ram_mib) MiB, the same kernel, initramfs and command line: \(.machine.guest_append)",
"before each boot \(.machine.sweep_mib) MiB of memory were written and freed",
"devices: vsock, rng, console on virtio; QEMU: microvm, qboot, acpi, no PIT, PIC, RTC, serial; mmio or PCI",
"",
"\("monitor" | left(34))\("podvm-vmm" | right(25))\("its template" | right(24))\("QEMU mmio" | right(26))\("QEMU PCI" | right(26))\("ratios*" | right(14))",
(.compared[] | "\(.name + (if .unit == "" then "" else ", " + .unit end) | left(34))\(.podvm | spread | right(25))\(.clone | spread | right(24))\(.qemu_mmio | spread | right(26))\(.qemu_pci | spread | right(26))\("\(.ratio | num), \(.clone_ratio | num)" | right(14))"),
"* podvm-vmm's median, and that of a copy of its template, to the lower one of QEMU's two",
"podvm-vmm was at the hello first in \(.hello_rounds.first) of \(.hello_rounds.all) rounds; where the spreads overlap, a ratio near 1 says little",
"",
"start to hello: from before the fork of the monitor until the agent's hello was read.",
"exits: all of KVM's `exits` (debugfs) at the hello, those that KVM handles itself included.",
"template: made before the clock starts: what each copy of it takes.",
"memory: Private_Clean + Private_Dirty of all mappings in smaps but the one of exactly the size of",
"guest RAM, of which the anonymous pages count, when the guest is idle; the kernel's own memory for the machine is in no column.",
"",
"podvm-vmm, ms after the start:",
(.podvm_timeline | to_entries[] | "  \(.key | left(16))\(.value | spread)"),
"a copy of its template, ms after the start:",
(.clone_timeline | to_entries[] | "  \(.key | left(16))\(.value | spread)"),
"podvm-vmm, returns to its process by reason:",
(.podvm_user_exits | to_entries[] | "  \(.key | left(16))\(.value | spread)"),
"",
"`run` of one bundle (process true, overlay of three layers), ms:",
"  podvm run       \(.run_true.podvm | spread)",
"  from a template \(.run_true.template | spread)",
"  crun run        \(.run_true.crun | spread)",
"  ratios          \(.run_true.ratio | num), \(.run_true.template_ratio | num)",
"",
"rootfs map: \(.rootfs_plan // {} | to_entries | map("\(.key) \(.value)") | join(", "))",
"initramfs \(.initramfs_bytes) bytes, kernel \(.kernel_bytes) bytes",
"",
"targets:",
(.targets[] | "  \(.name | left(52))\(.value | num | right(8))  at most \(.target | left(4))\(.met | yes)"),
(if (.failures | length) > 0 then "", "FAILED, not measured:", (.failures[] | "  " + .) else empty end)
