#!/usr/bin/env python3
"""Boots the image in QEMU and reads the reporting line; for board/image/test.sh.

Each boot ends by the power being cut: QEMU is killed while the box writes its reports to the state partition. The next boot has
to report again, and the state partition has to be clean or repaired. The root partition must be the same bytes at the end.

The emulated processor does 500 million instructions in a second of the guest's time, whatever the host is busy with (-icount): seconds
below are the guest's. They say in what order things happen and about how much there is to do, not how long a board takes.
"""

import argparse
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT_AT, ROOT_SIZE = 129 << 20, 160 << 20
STATE_AT, STATE_SIZE = 449 << 20, 64 << 20


def part(path, at, size):
    with open(path, "rb") as disk:
        disk.seek(at)
        return disk.read(size)


# The kernel writes to the disk what was said at most 30 s ago (its default), and looks every 5 s.
WATCHED_MS = 45_000
HEALTH = re.compile(rb"\$PLKTH,\d+,(\d+),([A-Z ]+)")


class Box:
    """The machine, on: what it says on its reporting line and on its console, until its power is cut."""

    def __init__(self, args, *more):
        folder = tempfile.mkdtemp()
        report, self.monitor, self.file = (os.path.join(folder, name) for name in ("report", "monitor", "console"))
        command = ["qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a72", "-accel", "tcg,thread=single", "-icount", "shift=1,sleep=on", "-m", "512", "-nodefaults",
                   "-nographic", "-net", "none", "-bios", args.firmware, "-drive", f"file={args.disk},format=raw,if=none,id=d,cache=writeback",
                   "-device", "virtio-blk-pci,drive=d", "-serial", f"file:{self.file}", "-chardev", f"socket,id=r,path={report},server=on,wait=off",
                   "-device", "pci-serial,chardev=r", "-monitor", f"unix:{self.monitor},server=on,wait=off", *more]
        self.began, self.limit, self.text, self.first = time.monotonic(), args.seconds, b"", None
        self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.line = None
        while self.line is None:
            try:
                self.line = socket.socket(socket.AF_UNIX)
                self.line.connect(report)
            except OSError:
                self.line = None
                time.sleep(0.05)
        self.line.settimeout(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.qemu.send_signal(signal.SIGKILL)    # the power is cut
        self.qemu.wait()

    def listen(self):
        """All whole sentences so far, after a second at most; ends the test when the box is off or took too long."""
        if time.monotonic() - self.began > self.limit or self.qemu.poll() is not None:
            sys.exit(f"FAILED: after {time.monotonic() - self.began:.0f} s:\n{self.text[-600:]!r}\n{self.console()[-8000:]}")
        try:
            self.text += self.line.recv(4096)
        except socket.timeout:
            pass
        if self.first is None and b"$PLKT" in self.text:
            self.first = time.monotonic() - self.began
        return [l for l in self.text.split(b"\r\n")[:-1] if l.startswith(b"$PLKT")]

    def console(self):
        with open(self.file, errors="replace") as file:
            return file.read()


def intact(lines):
    """Ends the test if one of these sentences is not what was sent."""
    for l in lines:
        body, check = l[1:].split(b"*")
        value = 0
        for byte in body:
            value ^= byte
        if f"{value:02X}".encode() != check:
            sys.exit(f"FAILED: a broken sentence: {l!r}")


def boot(args):
    """One boot, until health said OK, GPIO lines moved and it watched for WATCHED_MS; the sentences, what the lines did, the console's story."""
    edges = set()
    with Box(args) as box:
        while True:
            lines = box.listen()
            if lines:
                edges.add(pins(box.monitor))
            health = [found for l in lines if (found := HEALTH.match(l))]
            if health and int(health[-1][1]) >= WATCHED_MS and any(h[2] == b"OK" for h in health) and len(edges) > 1:
                break
    intact(lines)
    return lines, edges, story(box.console(), box.first, lines)


def faults(args):
    """One boot in which faults.sh stops and breaks lookout, then systemd, which and after it the hardware watchdog (i6300esb) have to bring it back."""
    with Box(args, "-device", "i6300esb", "-action", "watchdog=reset", "-rtc", "clock=vm") as box:
        while not (back := re.search(r"faults: machine back (\d+), restarts (\d+)", box.console())):
            lines = box.listen()
            if (failed := re.search(r"kernel-command-line.service: (Failed|Main process exited).*", box.console())):
                sys.exit(f"FAILED: faults.sh: {failed[0]}")
        before = len(lines)
        while not any((h := HEALTH.match(l)) and h[2] == b"OK" for l in lines[before:]):
            lines = box.listen()
    found = {fault: int(t) / 100 for fault, t in re.findall(r"faults: (\w+) ready again (\d+)", box.console())}
    print(f"faults: hung (SIGSTOP), ready again after {found['STOP']:.1f} s; broken (SIGABRT, as a panic ends), ready again after {found['ABRT']:.1f} s; "
          f"systemd stopped, machine back and lookout ready after {int(back[1]) / 100:.1f} s (guest's time)", flush=True)
    # Watched for 4 s, started again 1 s later, ready within 3 s on this slow machine. The hardware's watch is 30 s, and a start takes 16.
    if found["STOP"] > 8 or found["ABRT"] > 4 or int(back[1]) > 6000:
        sys.exit("FAILED: 8 s, 4 s and 60 s allowed")


def story(console, first, lines):
    """When what happened, in words."""
    started = re.search(r"\[ *([\d.]+)\] lookout\[\d+\]: .*board qemu-virt", console)
    done = re.search(r"Startup finished in (.*)", console)
    ms = int(lines[0].split(b",")[2])
    after = f"{float(started[1]) + ms / 1000:.1f} s after the kernel's start (lookout's own start: {float(started[1]):.1f} s)" if started else "at an unknown time"
    return f"first sentence {after}; systemd: {done[1].strip() if done else 'did not say'}; {first:.0f} s of the host's time"


def pins(monitor):
    """The data register of the PL061: what the box drives on its GPIO lines."""
    with socket.socket(socket.AF_UNIX) as ask:
        ask.connect(monitor)
        ask.settimeout(2)
        ask.sendall(b"xp /1xw 0x090303fc\n")
        text = b""
        try:
            while not (found := re.search(rb"090303fc: (0x[0-9a-f]+)", text)):
                text += ask.recv(4096)
            return found[1].decode()
        except socket.timeout:
            return "?"


def main():
    parser = argparse.ArgumentParser()
    for name in ("--firmware", "--disk"):
        parser.add_argument(name, required=True)
    parser.add_argument("--cuts", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--faults", action="store_true", help="the disk runs faults.sh")
    args = parser.parse_args()
    if args.faults:
        return faults(args)
    before = hashlib.sha256(part(args.disk, ROOT_AT, ROOT_SIZE)).hexdigest()
    for n in range(args.cuts + 1):
        lines, edges, said = boot(args)
        print(f"boot {n + 1}: {said}\n  {len(lines)} sentences; GPIO {sorted(edges)}; {lines[0].decode()} ... {lines[-2].decode()}", flush=True)
    if hashlib.sha256(part(args.disk, ROOT_AT, ROOT_SIZE)).hexdigest() != before:
        sys.exit("FAILED: the root partition has changed")
    with tempfile.NamedTemporaryFile() as state:
        state.write(part(args.disk, STATE_AT, STATE_SIZE))
        state.flush()
        checked = subprocess.run(["e2fsck", "-p", state.name], capture_output=True, text=True)
        if checked.returncode not in (0, 1):
            sys.exit(f"FAILED: the state partition is beyond repair: {checked.stdout}{checked.stderr}")
        held = subprocess.run(["debugfs", "-R", "cat /reports.nmea", state.name], capture_output=True).stdout
    begins = [first.start() for first in re.finditer(rb"\$PLKT[A-Z],0,", held)]
    kept, boots = held.count(b"$PLKT"), len(begins)
    if boots != args.cuts + 1:
        sys.exit(f"FAILED: reports of {boots} boots survived on the state partition, of {args.cuts + 1} expected ({kept} reports)")
    newest = max(int(h[1]) for h in HEALTH.finditer(held[begins[-1]:]))
    print(f"power cut {args.cuts + 1} times: root unchanged, state partition {checked.stdout.strip().split(': ')[-1]!r}, {kept} reports of {boots} boots on it, "
          f"of the last boot up to {newest / 1000:.0f} s of {WATCHED_MS // 1000} s")


main()
