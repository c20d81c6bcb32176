"""`lookout install`: a box has rows-lstm installed and is given rows-gru.

Afterwards `lookout install --json` must find the old bundle or the new one installed, whole, by hash and golden vectors, and the same
install must then go through. An install that said it succeeded must have; one that was refused said so in one sentence. The calls are those of
the program itself, not of the trial that it starts.
"""
import collections
import json
import os
import strace
from program import bundle, lookout, settings


def run(work):
    config = settings(os.path.join(work, "rows.toml"))

    def call(state, *args, how=()):
        return lookout("install", "--config", config, "--state", state, "--json", *args, strace=how)

    def installed(state, *args):
        out = call(state, *args)
        assert out.returncode == 0, out
        return json.loads(out.stdout)

    start, trial, log = (os.path.join(work, name) for name in ("start", "trial", "log"))
    old = installed(start, bundle("rows-lstm"))["hash"]
    given = bundle("rows-gru")
    os.mkdir(trial)
    out = call(strace.copied(start, trial), given, how=strace.watch(log))
    assert out.returncode == 0, out
    new = json.loads(out.stdout)["hash"]
    points = strace.points(log)

    def case(point, what, folder):
        state = strace.copied(start, folder)
        out = call(state, given, how=strace.inject(point, what))
        found = installed(state)
        assert found["hash"] in (old, new) and found["from"] == "installed" and found["trouble"] is None, (found, out)
        refused = out.returncode != 0 and not strace.killed(out)
        if refused:
            strace.sentence(out)
        assert out.returncode != 0 or found["hash"] == new, ("it said that it had succeeded", out)
        assert installed(state, given)["hash"] == new
        left = sorted(os.listdir(os.path.join(state, "bundles")))
        assert left == sorted([old, new]), ("left behind", left)
        return found["hash"], strace.killed(out), what.split("=")[1] if refused else None

    done = strace.every(strace.kills(points), work, case)
    kept, killed = collections.Counter(found for found, *_ in done), sum(was for _, was, _ in done)
    print(f"P1 install: killed at {killed} of {len(points)} system calls: {kept[old]} times the old bundle, {kept[new]} times the new one, "
          "0 times neither; the next install went through every time")
    assert killed >= len(points) * 9 // 10, "most calls come again in the same order"
    done = strace.every(strace.refusals(points), work, case)
    kept = collections.Counter(found for found, *_ in done)
    print(f"P4 install: refused by the system at {len(done)} calls ({strace.told(e for *_, e in done if e)} ended in one sentence): "
          f"{kept[old]} times the old bundle, {kept[new]} times the new one, 0 times neither")
