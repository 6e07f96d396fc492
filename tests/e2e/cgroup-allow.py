#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cgroup-allow.py CGROUP... - take the filters of devices from these cgroups

podman 4.3 with the cgroupfs manager gives the cgroup of a pod a filter that refuses every
device. No runtime's container can be made in it ("crun: mknod `/dev/null`").
"""
import ctypes
import os
import struct
import sys

SYS_BPF = 321
BPF_PROG_DETACH = 9
BPF_PROG_GET_FD_BY_ID = 13
BPF_PROG_QUERY = 16
BPF_CGROUP_DEVICE = 6
PROGRAMS = 64


def bpf(command, *words):
    attr = ctypes.create_string_buffer(struct.pack("<%dI" % len(words), *words))
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYS_BPF, command, attr, 4 * len(words))
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf(%d)" % command)
    return result, struct.unpack("<%dI" % len(words), attr.raw[:4 * len(words)])


for path in sys.argv[1:]:
    cgroup = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    ids = (ctypes.c_uint32 * PROGRAMS)()
    where = ctypes.addressof(ids)
    _, attr = bpf(BPF_PROG_QUERY, cgroup, BPF_CGROUP_DEVICE, 0, 0,
                  where & 0xffffffff, where >> 32, PROGRAMS, 0)
    for i in range(attr[6]):
        program, _ = bpf(BPF_PROG_GET_FD_BY_ID, ids[i], 0, 0)
        bpf(BPF_PROG_DETACH, cgroup, program, BPF_CGROUP_DEVICE, 0)
