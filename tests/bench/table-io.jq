# SPDX-License-Identifier: Apache-2.0
#
# The report of measure-io as text.

def round($n): . * pow(10; $n) | round / pow(10; $n);
def right($n): tostring | (" " * ([$n - length, 0] | max)) + .;
def left($n): tostring | . + (" " * ([$n - length, 0] | max));
def num: if . == null then "-" elif . >= 100 then round(0) else round(2) end;
def spread: if . == null then "-" else "\(.median | num) (\(.min | num)..\(.max | num))" end;
def yes: if . == null then "" elif . then "met" else "NOT MET" end;

"podvm I/O bench: medians of \(.runs) interleaved runs (min..max)",
"",
"machine: \(if .machine.node == "qemu" then "test node, nested KVM under software emulation" else "KVM of this machine" end), kernel \(.machine.kernel), \(.machine.processors) processors",
"load: outside before \(.machine.load_outside); where it was measured \(.machine.load_before) before, \(.machine.load_after) after",
"opponent: \(.machine.qemu), microvm with PCI; guest: 1 vCPU, \(.machine.guest_ram_mib) MiB, the same kernel and programs",
"",
"\("" | left(42))\("podvm-vmm" | right(28))\("QEMU" | right(28))\("ratio" | right(8))  at least 1",
(.compared[] | select(.podvm or .qemu) | "\(.name + ", " + .unit | left(42))\(.podvm | spread | right(28))\(.qemu | spread | right(28))\(.ratio | num | right(8))  \(.met | yes)"),
"",
"disk: fio in the guest, direct, libaio, a raw file of 256 MiB in memory behind the host's page cache, io_uring on both sides.",
"net: iperf3 to the host over a tap; net-vhost with vhost-net on both sides.",
"exits: KVM's `exits` while the tool ran, for each MiB that it moved.",
"guest RAM: private memory of its mapping; free page reporting on both sides.",
(if (.failures | length) > 0 then "", "FAILED, not measured:", (.failures[] | "  " + .) else empty end)
