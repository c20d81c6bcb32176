#!/usr/bin/env python3
"""What happens outside of the emulated machine while it runs: to its wire (BREAK, CTS, nobody reads) and to its card (slow, pulled out).

  hand.py FOLDER FILE      in FOLDER: makes `wire`, a terminal for QEMU's `-chardev serial`; waits for QEMU's sockets `hand` and `qmp`

What comes over the wire goes to FILE, as with `wire.py tap`. The guest asks on a serial port of its own, a command a line, and is answered
`ok ...` or `failed: ...`:

  break              BREAK on the wire, by QEMU
  cts low|high       the other end's readiness: cts.c says it to QEMU while the file `low` is there
  type TEXT          a line
  query TEXT         a query with both its checksums
  read no|yes        whether anybody reads the wire
  newest             the number of the last whole sentence that came
  qmp NAME JSON      any other command of QEMU's

Needs nothing but Debian's python3.
"""
import json
import os
import select
import socket
import sys
import time
import tty

from wire import LINE, query


def reach(path):
    near = socket.socket(socket.AF_UNIX)
    for _ in range(600):
        try:
            near.connect(path)
            return near
        except OSError:
            time.sleep(0.1)
    sys.exit(f"hand.py: nobody offers {path}")


class Qmp:
    """QEMU's own control."""

    def __init__(self, path):
        self.file = reach(path).makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, name, arguments=None):
        self.file.write(json.dumps({"execute": name, "arguments": arguments or {}}) + "\n")
        self.file.flush()
        while True:
            said = json.loads(self.file.readline())
            if "error" in said:
                raise ValueError(said["error"]["desc"])
            if "return" in said:
                return


class Hand:
    def __init__(self, folder, out):
        self.low, self.out, self.reads, self.rest, self.seq = os.path.join(folder, "low"), out, True, b"", -1
        self.wire, slave = os.openpty()  # the other end stays open here, or the wire would end with each of QEMU's
        tty.setraw(slave)
        os.symlink(os.ttyname(slave), os.path.join(folder, "wire"))
        self.guest, self.qmp = reach(os.path.join(folder, "hand")), Qmp(os.path.join(folder, "qmp"))

    def take(self):
        data = os.read(self.wire, 4096)
        self.out.write(data)
        self.out.flush()
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            sentence = LINE.match(line)
            if sentence and sentence[1] not in (b"PLKTG", b"PLKTA"):
                self.seq = int(sentence[2].split(b",")[0])
            elif line.startswith(b"#"):
                self.seq = -1

    def obey(self, line):
        verb, _, rest = line.partition(" ")
        if verb == "break":
            self.qmp.ask("chardev-send-break", {"id": "second"})
        elif verb == "cts":
            if rest == "low":
                open(self.low, "w").close()
            elif os.path.exists(self.low):
                os.remove(self.low)
        elif verb == "type":
            os.write(self.wire, rest.encode() + b"\r\n")
        elif verb == "query":
            os.write(self.wire, query(rest))
        elif verb == "read":
            self.reads = rest == "yes"
        elif verb == "newest":
            return f"ok {self.seq}"
        elif verb == "qmp":
            name, _, arguments = rest.partition(" ")
            self.qmp.ask(name, json.loads(arguments or "{}"))
        else:
            raise ValueError("no such command")
        return "ok"

    def run(self):
        asked = b""
        while True:
            ready, _, _ = select.select([self.guest] + [self.wire] * self.reads, [], [])
            if self.wire in ready:
                self.take()
            if self.guest in ready:
                data = self.guest.recv(4096)
                if not data:
                    break
                *lines, asked = (asked + data).split(b"\n")
                for line in lines:
                    try:
                        answer = self.obey(line.decode())
                    except (ValueError, OSError) as why:
                        answer = f"failed: {why}"
                    self.guest.sendall(answer.encode() + b"\n")
        while select.select([self.wire], [], [], 0.5)[0]:
            self.take()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "wb") as out:
        Hand(sys.argv[1], out).run()
