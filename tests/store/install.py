"""`lookout install`: a box has rows-lstm installed and is given rows-gru; and one that runs rows-lstm2 is given it once more, with an ordinary.json beside it.

Afterwards `lookout install --json` must find the old bundle or the new one installed, whole, by hash and golden vectors, and the same
install must then go through. An install that said it succeeded must have; one that was refused said so in one sentence. The calls are those of
the program itself, not of the trial that it starts.
"""
import collections
import json
import os
import shutil
import strace
import teach
from program import bundle, lookout, settings


def run(work):
    config = settings(os.path.join(work, "rows.toml"))

    def call(state, *args, how=()):
        return lookout("install", "--config", config, "--state", state, "--json", *args, strace=how)

    def installed(state, *args):
        out = call(state, *args)
        assert out.returncode == 0, out
        return json.loads(out.stdout)

    def tried(name, before, given):
        start, trial, log = (os.path.join(work, f"{kind} of {name}") for kind in ("start", "trial", "log"))
        old = installed(start, before)["hash"]
        os.mkdir(trial)
        out = call(strace.copied(start, trial), given, how=strace.watch(log))
        assert out.returncode == 0, out
        new = json.loads(out.stdout)["hash"]
        points = strace.points(log)

        def lie(state):
            """Those of the new one's files that are there, each of them whole."""
            folder, there = os.path.join(state, "bundles", new), set()
            for file in os.listdir(given):
                if os.path.exists(os.path.join(folder, file)):
                    with open(os.path.join(folder, file), "rb") as a, open(os.path.join(given, file), "rb") as b:
                        assert a.read() == b.read(), file
                    there.add(file)
            return there

        def case(point, what, folder):
            state = strace.copied(start, folder)
            out = call(state, given, how=strace.inject(point, what))
            found = installed(state)
            assert found["hash"] in (old, new) and found["from"] == "installed" and found["trouble"] is None, (found, out)
            done = found["hash"] == new and lie(state) == set(os.listdir(given))
            assert done or found["hash"] == old, ("not all of it", found, out)
            refused = out.returncode != 0 and not strace.killed(out)
            if refused:
                strace.sentence(out)
            assert out.returncode != 0 or done or "it is left behind" in out.stderr, ("it said that it had succeeded", out)
            assert installed(state, given)["hash"] == new
            left = sorted(os.listdir(os.path.join(state, "bundles")))
            assert left == sorted({old, new}), ("left behind", left)
            left = set(os.listdir(os.path.join(state, "bundles", new)))
            assert left == lie(state) == set(os.listdir(given)), ("left behind", left)
            return done, strace.killed(out), what.split("=")[1] if refused else None

        done = strace.every(strace.kills(points), work, case)
        kept, killed = collections.Counter(new for new, *_ in done), sum(was for _, was, _ in done)
        print(f"P1 {name}: killed at {killed} of {len(points)} system calls: {kept[False]} times the old bundle, {kept[True]} times the new one, "
              "0 times neither; the next install went through every time")
        assert killed >= len(points) * 9 // 10, "most calls come again in the same order"
        done = strace.every(strace.refusals(points), work, case)
        kept = collections.Counter(new for new, *_ in done)
        print(f"P4 {name}: refused by the system at {len(done)} calls ({strace.told(e for *_, e in done if e)} ended in one sentence): "
              f"{kept[False]} times the old bundle, {kept[True]} times the new one, 0 times neither")

    tried("install", bundle("rows-lstm"), bundle("rows-gru"))
    more = os.path.join(work, "more")
    shutil.copytree(teach.BUNDLE, more)
    out = lookout("teach", "--bundle", more, "--ordinary", "--to", os.path.join(more, "ordinary.json"), *teach.some(work, "ordinary", range(100, 110)))
    assert out.returncode == 0, out
    tried("install again", teach.BUNDLE, more)
