#!/usr/bin/env python3
"""`lookout install`, killed at every system call, and refused by the system at every call that changes something.

    tests/store/kill.py [LOOKOUT]      LOOKOUT: the program (default: target/release/lookout); needs strace

A box has rows-lstm installed and is given rows-gru. strace counts the system calls of that install (the program itself, not
the trial that it starts); then, for each of them, the same install begins again from the same state and

- is sent SIGKILL as it enters that call (P1), or
- is told by the kernel that the card is full, read-only or broken (P4: ENOSPC, EROFS, EIO), where the call can change something.

Afterwards `lookout install --json` must find the old bundle or the new one installed, whole, by hash and golden vectors, and the same
install must then go through. An install that said it succeeded must have; one that was refused said so in one sentence.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
target = os.environ.get("CARGO_TARGET_DIR", os.path.join(top, "target"))
lookout = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(target, "release", "lookout")
# How often a wait is repeated depends on the machine: it is killed in its first ones.
WAITS = {"wait4": 3, "clock_nanosleep": 3, "restart_syscall": 1, "futex": 2}
CHANGES = {"openat", "mkdir", "write", "fsync", "fchmod", "chmod", "rename", "unlink", "unlinkat", "rmdir", "flock"}
# write returns what it wrote; the others that take a descriptor only fail with what a card can say.
ERRORS = {"flock": ["EIO"]}


def main():
    if not shutil.which("strace"):
        sys.exit("kill.py: strace is missing (Debian: apt-get install strace)")
    with tempfile.TemporaryDirectory() as work:
        Kill(work).run()


class Kill:
    def __init__(self, work):
        self.work, self.state, self.start = work, os.path.join(work, "state"), os.path.join(work, "start")
        self.config = os.path.join(work, "lookout.toml")
        open(self.config, "w").close()

    def bundle(self, name):
        return os.path.join(top, "tests", "bundles", name)

    def call(self, *args, strace=()):
        line = [*strace, lookout, "install", "--config", self.config, "--state", self.state, "--json", *args]
        return subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def reset(self):
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.start, self.state)

    def chosen(self):
        out = self.call()
        assert out.returncode == 0, out
        found = json.loads(out.stdout)
        return found["hash"], found["from"], found["trouble"]

    def installed(self, name):
        out = self.call(self.bundle(name))
        assert out.returncode == 0, out
        return json.loads(out.stdout)["hash"]

    def run(self):
        began = time.monotonic()
        old = self.installed("rows-lstm")
        shutil.copytree(self.state, self.start)
        log = os.path.join(self.work, "log")
        out = self.call(self.bundle("rows-gru"), strace=["strace", "-o", log])
        assert out.returncode == 0, out
        new = json.loads(out.stdout)["hash"]
        calls = {}
        with open(log) as lines:
            for line in lines:
                name = re.match(r"(\w+)\(", line)
                if name and name[1] not in ("exit_group", "execve"):
                    calls[name[1]] = calls.get(name[1], 0) + 1
        points = [(n, k + 1) for n, count in calls.items() for k in range(min(count, WAITS.get(n, count)))]
        kept = {old: 0, new: 0}
        killed = 0
        for name, k in points:
            self.reset()
            out = self.call(self.bundle("rows-gru"), strace=self.inject(name, k, "signal=SIGKILL"))
            killed += out.returncode in (-9, 137)
            kept[self.judge(f"SIGKILL at {name} {k}", out, old, new)] += 1
        print(f"P1: killed at {killed} of {len(points)} system calls: {kept[old]} times the old bundle, {kept[new]} times the new one, "
              f"0 times neither; the next install went through every time")
        assert killed >= len(points) * 9 // 10, "most calls come again in the same order"

        kept = {old: 0, new: 0}
        failed = {}
        for name, k in ((n, k) for n, k in points if n in CHANGES):
            for error in ERRORS.get(name, ["ENOSPC", "EROFS", "EIO"]):
                self.reset()
                out = self.call(self.bundle("rows-gru"), strace=self.inject(name, k, f"error={error}"))
                kept[self.judge(f"{error} at {name} {k}", out, old, new)] += 1
                if out.returncode != 0:
                    said = [line for line in out.stderr.splitlines() if not line.startswith("[")]
                    # What the program is made of (its libraries) may be refused too; then it is the linker who says so.
                    assert len(said) == 1, (name, k, error, out.stderr)
                    failed[error] = failed.get(error, 0) + 1
        told = ", ".join(f"{error} {count}" for error, count in sorted(failed.items()))
        print(f"P4: refused by the system at {sum(kept.values())} calls ({told} ended in one sentence): {kept[old]} times the old bundle, "
              f"{kept[new]} times the new one, 0 times neither")
        print(f"kill.py: OK in {time.monotonic() - began:.0f} s")

    def inject(self, name, k, what):
        return ["strace", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={k}"]

    def judge(self, case, out, old, new):
        """Old or new, whole; said and done are the same; and the way is free for the next one."""
        found, origin, trouble = self.chosen()
        assert found in (old, new) and origin == "installed" and trouble is None, (case, found, origin, trouble, out)
        if out.returncode == 0:
            assert found == new, (case, "it said that it had succeeded", out)
        assert self.installed("rows-gru") == new, case
        left = sorted(os.listdir(os.path.join(self.state, "bundles")))
        assert left == sorted([old, new]), (case, "left behind", left)
        return found


main()
