#!/usr/bin/env python3
"""W1 and C2 of FAULTS.md: the watchdog's pings stop when any one thread hangs, and go on while a camera is waited for.

  tests/hang.py LOOKOUT [SECONDS]      SECONDS: how long a hang is watched (default 4, WatchdogSec)

One thread at a time is stopped with ptrace, as a driver that never answers stops it, while the others run on. The socket of
sd_notify(3), the FIFO that stands for a camera and the pty that stands for a wire are real. While all is well, strace watches that no
file is opened, nothing logged and no memory asked for. Needs Linux, python3 and strace; prints its figures.
"""
import ctypes
import os
import pty
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

LOOKOUT, WATCH = os.path.abspath(sys.argv[1]), float((sys.argv + ["", "4"])[2] or 4)
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
wrong = []


def ptrace(request, tid):
    if libc.ptrace(request, tid, None, None) != 0:
        sys.exit(f"hang.py: ptrace {request:#x} of {tid}: {os.strerror(ctypes.get_errno())}")


def figure(good, text):
    print(("figure: " if good else "WRONG: ") + text, flush=True)
    if not good:
        wrong.append(text)


class Run:
    """lookout with a service manager, a camera that can stop, and a wire that somebody reads."""

    def __init__(self, where, source=None):
        self.where = tempfile.mkdtemp(dir=where)
        self.pings, self.feeding, self.over = [], True, False
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(self.where + "/notify")
        self.master, near = pty.openpty()
        fifo = self.where + "/camera"
        os.mkfifo(fifo)
        self.camera = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        args = ["run", "--wait", "--board", "host", "--bundle", TOP + "/tests/bundles/resnet",
                "--source", source or f"pipe:{fifo},gray,32x32@20", "--report", "serial:" + os.ttyname(near)]
        self.process = subprocess.Popen([LOOKOUT] + args, env={**os.environ, "NOTIFY_SOCKET": self.where + "/notify"},
                                        stderr=open(self.where + "/log", "w"))
        self.ready = threading.Event()
        for work in (lambda: self.listen(manager), self.feed, self.drain):
            threading.Thread(target=work, daemon=True).start()
        if not self.ready.wait(30):
            sys.exit("hang.py: not ready after 30 s: " + open(self.where + "/log").read())

    def listen(self, manager):
        while not self.over:
            what = manager.recv(64)
            if what == b"WATCHDOG=1":
                self.pings.append(time.monotonic())
            elif what == b"READY=1":
                self.ready.set()

    def feed(self):
        while not self.over:
            if self.feeding:
                try:
                    os.write(self.camera, random.randbytes(32 * 32))
                except BlockingIOError:
                    pass  # nobody reads at the moment
            time.sleep(0.05)

    def drain(self):
        while not self.over:
            os.read(self.master, 4096)

    def worst_gap(self, since):
        at = [since] + [p for p in self.pings if p > since] + [time.monotonic()]
        return max(b - a for a, b in zip(at, at[1:]))

    def thread(self, name):
        for tid in os.listdir(f"/proc/{self.process.pid}/task"):
            if open(f"/proc/{self.process.pid}/task/{tid}/comm").read().strip() == name:
                return int(tid)
        sys.exit(f"hang.py: no thread {name}")

    def hang(self, name, what):
        tid = self.thread(name)
        time.sleep(1)
        ptrace(SEIZE, tid)
        ptrace(INTERRUPT, tid)
        began = time.monotonic()
        time.sleep(WATCH)
        late = [p - began for p in self.pings if p > began]
        os.waitpid(tid, 0x40000000)  # __WALL: a stopped thread must have been waited for before it is let go
        ptrace(DETACH, tid)
        let_go = time.monotonic()
        while not any(p > let_go for p in self.pings) and time.monotonic() < let_go + 5:
            time.sleep(0.02)
        again = min((p - let_go for p in self.pings if p > let_go), default=99)
        last = max(late, default=0)
        figure(last <= 1.0, f"W1 {what}: last ping {last * 1000:.0f} ms after the hang (at most 1000), so restarted within "
                            f"{last + 4:.1f} s at WatchdogSec=4; pings again {again * 1000:.0f} ms after it was let go")

    def is_steady(self):
        """No file is opened, nothing logged and no memory asked for while all is well."""
        calls = "open,openat,creat,rename,unlink,mkdir,brk,mmap,munmap,mremap,fsync,write"
        out = self.where + "/calls"
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=" + calls, "-o", out, "-p", str(self.process.pid)])
        time.sleep(8)
        tracer.terminate()
        tracer.wait()
        seen = [line.split(maxsplit=1)[1] for line in open(out) if "(" in line]
        wire = [c for c in seen if c.startswith("write(") and not c.startswith("write(2,")]
        other = [c.strip() for c in seen if c not in wire]
        figure(not other and wire, f"steady for 8 s: {len(wire)} writes to the wire and to wake its writer, {len(other)} files opened, "
                                   f"lines logged or pieces of memory asked for (0) {other[:3]}")

    def end(self):
        self.over = True
        self.process.terminate()
        self.process.wait(5)


with tempfile.TemporaryDirectory() as where:
    run = Run(where)
    time.sleep(2)
    since = time.monotonic()
    time.sleep(4)
    figure(run.worst_gap(since) < 2, f"W1 at work: {run.worst_gap(since) * 1000:.0f} ms between pings at most (2000)")
    run.is_steady()
    for name, what in [("lookout", "inference"), ("capture", "capture"), ("write serial", "the writer of the wire")]:
        run.hang(name, f"{what} hangs")
    run.feeding = False
    time.sleep(2)
    since = time.monotonic()
    time.sleep(6)
    figure(run.worst_gap(since) < 2, f"C2 no frames: {run.worst_gap(since) * 1000:.0f} ms between pings at most (2000)")
    run.hang("capture", "capture hangs while no frames come")
    run.end()
    run = Run(where, "v4l2:/dev/video-none")
    since = time.monotonic()
    time.sleep(6)
    figure(run.worst_gap(since) < 2, f"C1 no camera: {run.worst_gap(since) * 1000:.0f} ms between pings at most (2000)")
    run.hang("capture", "capture hangs while the camera is missing")
    run.end()
sys.exit(1 if wrong else 0)
