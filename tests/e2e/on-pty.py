#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""on-pty.py ROWSxCOLUMNS [EXPECT SEND]... -- COMMAND... - run a command on a terminal

Each SEND is written to it once the regular expression EXPECT has been seen in what came
since the one before; "\\3" is the key Ctrl-C. What the command wrote is printed without
carriage returns, and the exit status is the command's.
"""
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

DEADLINE_S = 600


def main():
    split = sys.argv.index("--")
    rows, columns = map(int, sys.argv[1].split("x"))
    script = sys.argv[2:split]
    pairs = [(script[i], script[i + 1].encode().decode("unicode_escape"))
             for i in range(0, len(script), 2)]
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
    seen, at, end = "", 0, time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if pairs and re.search(pairs[0][0], seen[at:]):
            at = len(seen)
            os.write(master, pairs.pop(0)[1].encode())
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data.decode(errors="replace")
    else:
        print("on-pty: no end; still expected:", [p[0] for p in pairs])
        os.kill(pid, 9)
    print(seen.replace("\r", ""), end="")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256


sys.exit(main())
