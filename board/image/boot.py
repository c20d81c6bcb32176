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


def boot(args, seconds):
    """One boot, until health said OK, GPIO lines moved and it watched for WATCHED_MS; the sentences, what the lines did, the console's story."""
    folder = tempfile.mkdtemp()
    report, monitor, console = (os.path.join(folder, name) for name in ("report", "monitor", "console"))
    command = ["qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a72", "-accel", "tcg,thread=single", "-icount", "shift=1,sleep=on", "-m", "512", "-nodefaults",
               "-nographic", "-net", "none", "-bios", args.firmware, "-drive", f"file={args.disk},format=raw,if=none,id=d,cache=writeback",
               "-device", "virtio-blk-pci,drive=d", "-serial", f"file:{console}", "-chardev", f"socket,id=r,path={report},server=on,wait=off",
               "-device", "pci-serial,chardev=r", "-monitor", f"unix:{monitor},server=on,wait=off"]
    began = time.monotonic()
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    line = None
    try:
        while line is None:
            try:
                line = socket.socket(socket.AF_UNIX)
                line.connect(report)
            except OSError:
                line = None
                time.sleep(0.05)
        line.settimeout(1)
        text, first, edges = b"", None, set()
        while time.monotonic() - began < seconds and qemu.poll() is None:
            try:
                text += line.recv(4096)
            except socket.timeout:
                pass
            if first is None and b"$PLKT" in text:
                first = time.monotonic() - began
            if first is not None:
                edges.add(pins(monitor))
            lines = [l for l in text.split(b"\r\n") if l.startswith(b"$PLKT")]
            health = [found for l in lines if (found := HEALTH.match(l))]
            if health and int(health[-1][1]) >= WATCHED_MS and any(h[2] == b"OK" for h in health) and len(edges) > 1:
                break
        else:
            sys.exit(f"FAILED: after {seconds} s: {len(lines)} sentences, GPIO {edges}\n{text[-600:]!r}\n{open(console, errors='replace').read()[-8000:]}")
        for l in lines[:-1]:
            body, check = l[1:].split(b"*")
            value = 0
            for byte in body:
                value ^= byte
            if f"{value:02X}".encode() != check:
                sys.exit(f"FAILED: a broken sentence: {l!r}")
    finally:
        qemu.send_signal(signal.SIGKILL)    # the power is cut
        qemu.wait()
    return lines, edges, story(open(console, errors="replace").read(), first, lines)


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
    args = parser.parse_args()
    before = hashlib.sha256(part(args.disk, ROOT_AT, ROOT_SIZE)).hexdigest()
    for n in range(args.cuts + 1):
        lines, edges, said = boot(args, args.seconds)
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
    print("test.sh: ok")


main()
