"""`lookout teach`: a box knows one taught class from three examples, and is shown a fourth, told to forget it, told to take the last step back.

Afterwards `lookout teach --list --json` must find what was taught before or what is taught then, whole; what was said to be done is done; a refusal is
one sentence, and what was before holds, unless only the flush of the folder failed, when the new file is there already. Another class can be taught then.
"""
import collections
import json
import math
import os
import random
import strace
from program import bundle, lookout

BUNDLE = bundle("rows-lstm2")


def rows(folder, kind, seed):
    """A recording of 6 s: ordinary numbers wander slowly; `wave` goes up and down in one of them, `pair` in two against each other."""
    dice, at, lines = random.Random(seed), [0.0] * 6, []
    period, phase, high = dice.uniform(7, 9), dice.uniform(0, 6.3), dice.uniform(3, 3.5)
    for tick in range(60):
        at = [0.85 * v + 0.1 * dice.uniform(-1, 1) for v in at]
        swing = high * math.sin(math.tau * tick / period + phase) if tick >= 15 else 0.0
        row = list(at)
        if kind == "wave":
            row[0] += swing
        elif kind == "pair":
            row[3], row[4] = row[3] + swing, row[4] - swing
        lines.append(",".join(f"{v:.4f}" for v in row) + "\n")
    path = os.path.join(folder, f"{kind}{seed}.csv")
    with open(path, "w") as f:
        f.writelines(lines)
    return f"features:{path}"


def some(folder, kind, seeds):
    return [rows(folder, kind, seed) for seed in seeds]


def call(state, *args, how=()):
    config = os.path.join(os.path.dirname(state), "empty.toml")
    open(config, "a").close()
    return lookout("teach", "--bundle", BUNDLE, "--config", config, "--state", state, "--json", *args, strace=how)


def taught(out):
    assert out.returncode == 0, out
    return json.loads(out.stdout)["taught"]


def run(work):
    start, log = os.path.join(work, "start"), os.path.join(work, "log")
    taught(call(start, "--ordinary", *some(work, "ordinary", range(100, 110))))
    old = taught(call(start, "wave", *some(work, "wave", range(3))))
    pair = rows(work, "pair", 1)
    # From when the state folder is taken on. All calls of the first; the others differ from it in what they do with what they read, not in how they write.
    for what, args, only in [("shown", ["wave", rows(work, "wave", 7)], None), ("--forget", ["--forget", "wave"], strace.CHANGES),
                             ("--undo", ["--undo"], strace.CHANGES)]:
        trial = os.path.join(work, "trial" + what)
        os.mkdir(trial)
        new = taught(call(strace.copied(start, trial), *args, how=strace.watch(log)))
        assert new != old, (what, new)
        points = strace.points(log, only, since='/lock"')

        def case(point, how, folder):
            state = strace.copied(start, folder)
            out = call(state, *args, how=strace.inject(point, how))
            found = taught(call(state, "--list"))
            assert found in (old, new), (found, out)
            refused = out.returncode != 0 and not strace.killed(out)
            if refused:
                said = strace.sentence(out)
                assert found == old or "a power cut may take that back" in said or "standard output" in said, (found, said)
            assert out.returncode != 0 or found == new, ("it said that it had succeeded", out)
            assert taught(call(state, "pair", pair)) == {**found, "pair": 1}
            left = os.listdir(os.path.join(state, "taught"))
            assert len(left) == 1 and not left[0].startswith("."), ("left behind", left)
            return found == new, strace.killed(out), how.split("=")[1] if refused else None

        done = strace.every(strace.kills(points), work, case)
        kept, killed = collections.Counter(was for was, *_ in done), sum(was for _, was, _ in done)
        print(f"P1 teach {what}: killed at {killed} of {len(points)} system calls: {kept[False]} times what was taught before, "
              f"{kept[True]} times what is taught then, 0 times neither")
        assert killed >= len(points) * 9 // 10, "most calls come again in the same order"
        done = strace.every(strace.refusals(points), work, case)
        kept = collections.Counter(was for was, *_ in done)
        print(f"P4 teach {what}: refused by the system at {len(done)} calls ({strace.told(e for *_, e in done if e)} ended in one "
              f"sentence): {kept[False]} times what was taught before, {kept[True]} times what is taught then, 0 times neither")
