#!/usr/bin/env python3
"""Boots the image in QEMU and reads the reporting line; for board/image/test.sh.

Each boot ends by the power being cut: QEMU is killed while the box writes its reports to the state partition. The next boot has
to report again, and the state partition has to be clean or repaired. The root partition must be the same bytes at the end.
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


def boot(args, seconds):
    """One boot until ten sentences and an OK of the health line came; how long the first one took, and the console."""
    folder = tempfile.mkdtemp()
    report, monitor, console = (os.path.join(folder, name) for name in ("report", "monitor", "console"))
    command = ["qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a72", "-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off", "-m", "512", "-nodefaults",
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
        text, first, uptime, edges = b"", None, None, set()
        while time.monotonic() - began < seconds:
            try:
                text += line.recv(4096)
            except socket.timeout:
                pass
            if first is None and b"$PLKT" in text:
                first = time.monotonic() - began
            if first is not None:
                edges.add(pins(monitor))
            lines = [l for l in text.split(b"\r\n") if l.startswith(b"$PLKT")]
            if len(lines) >= 10 and any(re.match(rb"\$PLKTH,\d+,\d+,OK,", l) for l in lines) and len(edges) > 1:
                break
        else:
            sys.exit(f"FAILED: after {seconds} s: {len(lines)} sentences, GPIO {edges}\n{text[-600:]!r}\n{open(console, errors='replace').read()[-3000:]}")
        for l in lines[:-1]:
            body, check = l[1:].split(b"*")
            value = 0
            for byte in body:
                value ^= byte
            if f"{value:02X}".encode() != check:
                sys.exit(f"FAILED: a broken sentence: {l!r}")
        time.sleep(3)                       # some more reports on their way to the state partition
    finally:
        qemu.send_signal(signal.SIGKILL)    # the power is cut
        qemu.wait()
    return first, lines, edges


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
        first, lines, edges = boot(args, args.seconds)
        print(f"boot {n + 1}: first sentence {first:.1f} s after power-on; {len(lines)} sentences; GPIO {sorted(edges)}; {lines[0].decode()}", flush=True)
        if len(lines[0]) > 80:
            sys.exit("FAILED: a sentence of more than 82 characters")
    if hashlib.sha256(part(args.disk, ROOT_AT, ROOT_SIZE)).hexdigest() != before:
        sys.exit("FAILED: the root partition has changed")
    with tempfile.NamedTemporaryFile() as state:
        state.write(part(args.disk, STATE_AT, STATE_SIZE))
        state.flush()
        checked = subprocess.run(["e2fsck", "-p", state.name], capture_output=True, text=True)
        if checked.returncode not in (0, 1):
            sys.exit(f"FAILED: the state partition is beyond repair: {checked.stdout}{checked.stderr}")
        held = subprocess.run(["debugfs", "-R", "cat /reports.nmea", state.name], capture_output=True).stdout
    kept = held.count(b"$PLKT")
    if kept == 0:
        sys.exit("FAILED: no report survived on the state partition")
    print(f"power cut {args.cuts + 1} times: root unchanged, state partition {checked.stdout.strip().split(': ')[-1]!r}, {kept} reports on it")
    print("test.sh: ok")


main()
