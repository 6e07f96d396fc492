# SPDX-License-Identifier: Apache-2.0
#
# The report of measure-storage as text.

def round($n): . * pow(10; $n) | round / pow(10; $n);
def right($n): tostring | (" " * ([$n - length, 0] | max)) + .;
def left($n): tostring | . + (" " * ([$n - length, 0] | max));
def num: if . == null then "-" elif . >= 100 then round(0) else round(2) end;
def ms: if . == null then "-" else "\(.median / 1000 | num) (\(.min / 1000 | num)..\(.max / 1000 | num))" end;
def s: if . == null then "-" else "\(.median | num) (\(.min | num)..\(.max | num))" end;
def yes: if . == null then "" elif . then "met" else "NOT MET" end;

"podvm storage bench: medians of \(.runs) interleaved runs (min..max)",
"",
"load: outside before \(.machine.load_outside)",
(if (.map | length) > 0 then
"",
"Mapping a root file system, on this machine, \(.map_runs) runs; ms",
"",
"\("files" | right(15))  \("state" | left(26))\("total" | right(26))\("reading layers" | right(26))\("layout" | right(26))\("metadata, KiB" | right(15))  50 ms",
(.map[] | "\(.tree | right(15))  \(.state | left(26))\(.total_us | ms | right(26))\(.read_us | ms | right(26))\(.layout_us | ms | right(26))\(.metadata_bytes / 1024 | num | right(15))  \(.met | yes)"),
"",
(.copied[] | "copied, \(.tree), \(.dirs) directories in layers: \(.check)")
else "", "mapping was not measured" end),
"",
"Reading \(.files_in_guest) files in a guest: \(if .machine.node == "qemu" then "test node, nested KVM under software emulation" else "KVM of this machine" end), kernel \(.machine.kernel); load there \(.machine.load_before) before, \(.machine.load_after) after; s",
"",
"\("" | left(24))\("synthetic" | right(24))\("mkfs.erofs, raw" | right(24))\("virtio-fs" | right(24))\("raw/synth" | right(11))\("fs/synth" | right(11))",
(.guest[] | "\(.name | left(24))\(.synthetic | s | right(24))\(.raw | s | right(24))\(.share | s | right(24))\(.against_raw | num | right(11))\(.against_share | num | right(11))"),
"",
"Ratios above 1: the synthetic disk is faster. 1 vCPU, 512 MiB; the guest's caches are dropped before",
"each step, the host's are warm. All three read the same tree, from the same files or a copy beside them.",
(if (.failures | length) > 0 then "", "FAILED, not measured:", (.failures[] | "  " + .) else empty end)
