#!/usr/bin/env python3
"""What lookout writes and acknowledges, killed at every system call, and refused by the system at every call that changes something.

    tests/store/kill.py [LOOKOUT] [WHAT...]    LOOKOUT: the program, a path (default: target/release/lookout); WHAT: some of the files
                                               beside this one that say what is done (default: all); needs strace

P1: old state or new, never neither, and nothing that was acknowledged is lost. P4: a card that is full, read-only or broken (ENOSPC, EROFS, EIO)
costs what was being written, in one sentence, and nothing else. `strace.py` says how; install.py, teach.py, clip.py, learn.py, counts.py
and record.py each say what is written, and what must hold.
"""
import importlib
import sys
import tempfile
import time
import program

WRITES = ["install", "teach", "clip", "learn", "counts", "record"]

began = time.monotonic()
for name in program.named(sys.argv[1:], ["strace"], "strace") or WRITES:
    since = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lookout-kill-") as work:
        importlib.import_module(name).run(work)
    print(f"   {name}: {time.monotonic() - since:.0f} s", flush=True)
print(f"kill.py: OK in {time.monotonic() - began:.0f} s")
