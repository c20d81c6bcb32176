"""`lookout learn` from a source: killed or refused while it collects, while it learns, while it writes.

What it said is kept ("2 of 3 minutes kept") is in learn.rows, number by number; the same command goes on from there with what the source gives next, and ends
with the novelty.json, byte for byte, of one that was never interrupted.
"""
import collections
import os
import random
import re
import struct
import zlib
import strace
from program import bundle, lookout

BUNDLE = bundle("rows-lstm")
MINUTES, ROWS, FEATURES = 3, 600, 6  # ticks of 100 ms


def call(state, source, how=()):
    return lookout("learn", "--bundle", BUNDLE, "--state", state, "--source", f"features:{source}", "--minutes", str(MINUTES), strace=how)


def kept(state):
    """The whole pieces of learn.rows, read as its documentation says."""
    try:
        with open(os.path.join(state, "learn.rows"), "rb") as f:
            head, rest = f.readline(), f.read()
    except FileNotFoundError:
        return []
    assert not head or re.fullmatch(rb"lookout learn [0-9a-f]{64} 6\n?", head) or not rest, head
    pieces = []
    while len(rest) >= 8:
        size, check = struct.unpack("<II", rest[:8])
        numbers, rest = rest[8:8 + size], rest[8 + size:]
        if len(numbers) < size or zlib.crc32(numbers) != check:
            break
        pieces.append(numbers)
    return pieces


def run(work):
    dice, log = random.Random(3), os.path.join(work, "log")
    lines = [",".join(f"{dice.uniform(-1, 1):.4f}" for _ in range(FEATURES)) + "\n" for _ in range(MINUTES * ROWS)]
    minutes = [b"".join(struct.pack("<f", float(v)) for line in lines[n * ROWS:(n + 1) * ROWS] for v in line.split(","))
               for n in range(MINUTES)]

    def film(folder, first):
        path = os.path.join(folder, f"from{first}.csv")
        with open(path, "w") as f:
            f.writelines(lines[first * ROWS:])
        return path

    def learnt(state):
        with open(os.path.join(state, "novelty.json"), "rb") as f:
            return f.read()

    whole = film(work, 0)
    state = os.path.join(work, "state")
    out = call(state, whole)
    assert out.returncode == 0 and os.listdir(state) == ["novelty.json"], (out, os.listdir(state))
    expected = learnt(state)
    out = call(os.path.join(work, "again"), whole, strace.watch(log))
    assert out.returncode == 0 and learnt(os.path.join(work, "again")) == expected
    # Memory: what is asked for while it learns, when it says nothing and writes nothing.
    points = strace.points(log, strace.CHANGES | strace.MEMORY | {"close"}, since="learn.rows")

    def case(point, what, folder):
        state = os.path.join(folder, "state")
        out = call(state, whole, strace.inject(point, what))
        said = max((int(n) for n in re.findall(rf"(\d) of {MINUTES} minutes kept", out.stderr)), default=0)
        pieces = kept(state)
        done = os.path.exists(os.path.join(state, "novelty.json"))
        assert pieces == minutes[:len(pieces)] and (done or len(pieces) >= said), (said, len(pieces), out.stderr)
        assert not done or learnt(state) == expected
        refused = out.returncode != 0 and not strace.killed(out)
        if refused:
            strace.sentence(out)
        if out.returncode == 0:
            assert done, ("it said that it had learnt", out)
        elif not done or pieces:
            if os.path.exists(os.path.join(state, "learn.source")):
                os.remove(os.path.join(state, "learn.source"))  # the film goes on under another name
            next_one = call(state, film(folder, len(pieces)) if pieces else whole)
            assert next_one.returncode == 0, next_one
            assert not pieces or f"going on: {len(pieces)} of {MINUTES} minutes" in next_one.stderr, next_one.stderr
            assert learnt(state) == expected, "something else was learnt"
        left = os.listdir(state)
        assert left == ["novelty.json"] or strace.killed(out) or out.returncode == 0, left
        return "learnt" if done else f"{len(pieces)} of {MINUTES} minutes", strace.killed(out), what.split("=")[1] if refused else None

    done = strace.every(strace.kills(points), work, case)
    found, killed = collections.Counter(found for found, *_ in done), sum(was for _, was, _ in done)
    print(f"P1 learn: killed at {killed} of {len(points)} system calls ({', '.join(f'{k}: {n}' for k, n in sorted(found.items()))}): "
          "what was said is kept, and the next one learns the same to the last byte")
    assert killed >= len(points) * 9 // 10, "most calls come again in the same order"
    done = strace.every(strace.refusals(points), work, case)
    print(f"P4 learn: refused by the system at {len(done)} calls ({strace.told(e for *_, e in done if e)} ended in one sentence): the same")
