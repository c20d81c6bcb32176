#!/usr/bin/env python3
"""The power fails while lookout writes: at every flush of the disk and after random parts of what was written since.

    tests/store/power.py [LOOKOUT]     LOOKOUT: the program, a path (default: target/release/lookout)
                                       needs qemu-system-x86 cpio kmod e2fsprogs (Debian); about three minutes

On the disk, rows-lstm is installed. The guest installs rows-gru, then rows-rnn, then goes one step back; it is taught what is ordinary, then two classes, and
forgets the first; then it watches a recording with events and keeps clips of them. What each of these says is done is marked (`disk.py`). Then, for every flush
in the record, disks are made as a cut may leave them. On each one `lookout install --json` must find a bundle installed, whole, by hash and
golden vectors, and `lookout teach --list` what was taught: what was acknowledged last, or what was being done. Every clip under its own name is whole, and each
one that the log said was written is there. To show that this can fail, the same is asked of disks that know no flush: some of those must be broken.
"""
import collections
import concurrent.futures
import json
import os
import random
import sys
import tempfile
import time
import clip
import disk
import program
import teach

INSTALLS = ["rows-gru", "rows-rnn", "--undo"]
SUBSETS = 2
CONTROLS = 12


def installed(state, *args):
    """What `lookout run` would take."""
    out = program.lookout("install", "--state", state, "--json", *args)
    assert out.returncode == 0, out
    return json.loads(out.stdout)


class Steps:
    """What the guest does, one after the other, and what there is after each."""

    def __init__(self, work, state):
        self.files, self.lines, self.found = [f"{program.path}:/bin/lookout"], [], []
        for name in [*INSTALLS[:2], os.path.basename(teach.BUNDLE), os.path.basename(clip.BUNDLE)]:
            self.files += [f"{entry.path}:/bundles/{name}/{entry.name}" for entry in os.scandir(program.bundle(name))]
        rows = program.settings(os.path.join(work, "rows.toml"))
        self.files.append(f"{rows}:/given/rows.toml")
        installed(state, "--config", rows, program.bundle("rows-lstm"))
        self.found.append(observed(state))
        for name in INSTALLS:
            self.step(state, "install", "--config", rows, name if name == "--undo" else program.bundle(name))
        ordinary = teach.some(work, "ordinary", range(100, 110))
        shown = [[kind, *teach.some(work, kind, range(3))] for kind in ("wave", "pair")]
        for args in [["--ordinary", *ordinary], *shown, ["--forget", "wave"]]:
            self.step(state, "teach", "--bundle", teach.BUNDLE, *args)
        film, config = clip.film(os.path.join(work, "film.csv")), os.path.join(work, "lookout.toml")
        with open(config, "w") as f:
            f.write(clip.CONFIG)
        out = clip.call(film, config, os.path.join(work, "kept"))
        assert out.returncode == 0, out
        self.clips = clip.written(out.stderr)
        self.files += [f"{path}:/given/{os.path.basename(path)}" for path in (film.removeprefix("features:"), config)]
        self.lines.append(
            f"lookout run --board host --bundle /bundles/{os.path.basename(clip.BUNDLE)} --report stdout --source features:/given/film.csv "
            "--config /given/lookout.toml --state /card/state --blackbox /card/kept 2>&1 > /dev/null | while read -r line; do\n"
            "  case $line in *'black box: /card/kept/'*) mark clip ${line##*/} ;; esac\ndone")

    def step(self, state, command, *args):
        """The same here as in the guest, where files lie elsewhere."""
        out = program.lookout(command, "--state", state, *args)
        assert out.returncode == 0, out
        self.found.append(observed(state))
        there = []
        for arg in args:
            path = arg.removeprefix("features:")
            name = os.path.basename(path)
            if name == "rows.toml":
                arg = "/given/rows.toml"
            elif os.path.isdir(path):
                arg = f"/bundles/{name}"
            elif path != arg:
                self.files.append(f"{path}:/given/{name}")
                arg = f"features:/given/{name}"
            there.append(arg)
        self.lines.append(f"lookout {command} --state /card/state {' '.join(there)} || exit 4\nmark step {len(self.lines)}")


def observed(state):
    """Which bundle is installed, and what is taught on the one that is taught on."""
    found = installed(state)
    assert found["from"] == "installed" and found["trouble"] is None, found
    out = program.lookout("teach", "--state", state, "--bundle", teach.BUNDLE, "--list", "--json")
    assert out.returncode == 0, out
    known = json.loads(out.stdout)
    return found["hash"], known["ordinary"] > 0, sorted(known["taught"].items())


class Judge:
    def __init__(self, work, record, steps):
        self.work, self.record, self.steps = work, record, steps
        self.found, self.clips = collections.Counter(), 0

    def judge(self, case, durable, some):
        with tempfile.TemporaryDirectory(dir=self.work) as place:
            try:
                self.look(self.record.card(place, durable, some), durable, max(durable + some, default=-1))
            except AssertionError as e:
                raise AssertionError(f"{case}: {e}") from e

    def look(self, card, durable, last):
        marks, flushed = self.record.marks, set(durable)
        done = [words for n, words in marks if n in flushed]
        acknowledged = sum(words[0] == "step" for words in done)
        begun = sum(words[0] == "step" for n, words in marks if n <= last)
        state = os.path.join(card, "state")
        assert os.path.isdir(state), "the state folder is gone"
        found, allowed = observed(state), self.steps.found[acknowledged:begun + 2]
        assert found in allowed, (found, allowed)
        kept = os.path.join(card, "kept")
        clips = {f for f in os.listdir(kept) if f.endswith(".lkb")} if os.path.isdir(kept) else set()
        assert all(clip.whole(os.path.join(kept, f)) for f in clips), ("not whole", clips)
        lost = {words[1] for words in done if words[0] == "clip"} - clips
        assert not lost, ("said to be written", lost, clips)
        self.found[self.steps.found.index(found)] += 1
        self.clips += len(clips)


def main():
    program.named(sys.argv[1:], ["qemu-system-x86_64", "mkfs.ext4", "e2fsck", "debugfs"], "qemu-system-x86 cpio kmod e2fsprogs")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lookout-power-") as work:
        root, here = os.path.join(work, "root"), os.path.join(work, "here")
        os.makedirs(root)
        installed(os.path.join(root, "state"), "--config", program.settings(os.path.join(work, "rows.toml")), program.bundle("rows-lstm"))
        base = os.path.join(work, "base")
        disk.make(base, root)
        steps = Steps(work, here)
        record = disk.Record(work, base, "\n".join(steps.lines), steps.files)
        words = [words for _, words in record.marks]
        assert words == [["step", str(n)] for n in range(len(steps.found) - 1)] + [["clip", name] for name in steps.clips], words
        judge, dice, cases, cuts = Judge(work, record, steps), random.Random(1), [], list(record.cuts())
        for k, (durable, pending) in enumerate(cuts):
            cases.append((f"flush {k}, nothing after it", durable, []))
            if pending:
                cases.append((f"flush {k}, all after it", durable, pending))
            for subset in range(SUBSETS if len(pending) > 1 else 0):
                some = [n for n in pending if dice.random() < 0.5]
                cases.append((f"flush {k}, subset {subset}: {some} of {pending}", durable, some))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda case: judge.judge(*case), cases))
        kept, clips, broken = dict(judge.found), judge.clips, 0
        everything = [n for n, (_, _, data) in enumerate(record.entries) if data]
        for _ in range(CONTROLS):
            try:
                judge.judge("without flushes", [], [n for n in everything if dice.random() < 0.5])
            except AssertionError:
                broken += 1
        print(f"P2: control: {broken} of {CONTROLS} disks that know no flush are broken")
        assert broken > 0, "this test cannot fail"
        print(f"P2: {len(record.entries)} writes and flushes, {len(cuts)} cuts, {len(cases)} disks: every one starts with what was acknowledged last or "
              f"was being done (after step {', '.join(f'{n}: {kept[n]}' for n in sorted(kept))}); "
              f"{clips} clips on them, all whole, none missing of those that were said to be written")
        print(f"power.py: OK in {time.monotonic() - began:.0f} s")


main()
