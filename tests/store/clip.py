"""Clips of the black box: `lookout run` over a recording with several events, its writer killed or refused at every call that concerns the folder.

Under its own name a clip is whole (its checksum says so), and each one that the log says was written is there. What was half written goes at the next
start, whose clips take no name that is taken. A card that is full, read-only or broken costs clips, in one sentence; reports are the same byte for byte.
An older clip fills the bound almost alone, so that the first one must make room.
"""
import collections
import itertools
import os
import re
import struct
import zlib
import strace
from program import bundle, lookout

MAGIC = b"lookout black box 2\n"
BUNDLE = bundle("rows-lstm")
CONFIG = "[blackbox]\nseconds_before = 1\nseconds_after = 1\nmax_mib = 1\n"


def film(path):
    """Rows that four events are seen in, each longer than the last."""
    with open(path, "w") as f:
        for n in range(240):
            high = 2.5 if 20 <= n % 60 < 35 + 2 * (n // 60) else 0.0
            f.write(",".join(f"{high if c % 2 == 0 else -high:.2f}" for c in range(6)) + "\n")
    return f"features:{path}"


def whole(path):
    with open(path, "rb") as f:
        clip = f.read()
    return clip.startswith(MAGIC) and struct.pack("<I", zlib.crc32(clip[:-4])) == clip[-4:]


def call(source, config, kept, how=()):
    return lookout("run", "--board", "host", "--bundle", BUNDLE, "--report", "stdout", "--source", source, "--config", config,
                          "--state", os.path.join(os.path.dirname(kept), "state"), "--blackbox", kept, strace=how)


def written(log):
    """The clips that the log says were written, by name."""
    return re.findall(r"black box: \S+/(\d{6}-\S+\.lkb)", log)


def run(work):
    source, config, log = film(os.path.join(work, "film.csv")), os.path.join(work, "lookout.toml"), os.path.join(work, "log")
    with open(config, "w") as f:
        f.write(CONFIG)
    older = MAGIC + bytes((1 << 20) - 1000 - len(MAGIC))
    older += struct.pack("<I", zlib.crc32(older))

    def begin(folder):
        kept = os.path.join(folder, "kept")
        os.mkdir(kept)
        with open(os.path.join(kept, "000004-left.lkb"), "wb") as f:
            f.write(older)
        return kept

    def paths(kept, names):
        return [kept, *(os.path.join(kept, name) for name in ("unfinished.lkb.part", *names))]

    trial = os.path.join(work, "trial")
    os.mkdir(trial)
    kept = begin(trial)
    out = call(source, config, kept)
    names, reports = written(out.stderr), out.stdout
    assert out.returncode == 0 and len(names) == 4 and sorted(os.listdir(kept)) == names, (out, os.listdir(kept))
    both = ["000004-left.lkb", *names]
    again = os.path.join(work, "again")
    os.mkdir(again)
    kept = begin(again)
    assert call(source, config, kept, strace.watch(log, paths(kept, both))).stdout == reports
    points = strace.points(log)
    assert {"unlink", "write", "fsync", "rename"} <= {name for name, _ in points}, points

    def case(point, what, folder):
        kept = begin(folder)
        out = call(source, config, kept, strace.inject(point, what, paths(kept, both)))
        files = set(os.listdir(kept))
        assert all(whole(os.path.join(kept, f)) for f in files if f.endswith(".lkb")), files
        lost = set(written(out.stderr)) - files
        assert not lost, (lost, out.stderr)
        if not strace.killed(out):
            differ = [pair for pair in itertools.zip_longest(reports.splitlines(), out.stdout.splitlines()) if pair[0] != pair[1]]
            assert out.returncode == 0 and not differ, ("reports", out.returncode, differ[:3], out.stderr)
            said = out.stderr.count("reports go on")
            assert (len(written(out.stderr)) < len(names)) <= said <= 1, out.stderr
            assert not any(f.endswith(".part") for f in files), files
        next_one = call(source, config, kept)
        more, now = written(next_one.stderr), set(os.listdir(kept))
        assert next_one.returncode == 0 and len(more) == len(names) and not set(more) & files, (more, files)
        assert now == {f for f in files if f.endswith(".lkb")} - {"000004-left.lkb"} | set(more), (files, now)
        return len(written(out.stderr)), strace.killed(out), len(files)

    done = strace.every(strace.kills(points), work, case)
    killed = sum(was for _, was, _ in done)
    said = collections.Counter(n for n, was, _ in done if was)
    print(f"P1 clip: killed at {killed} of {len(points)} system calls around {len(names)} clips "
          f"({', '.join(f'after {n}: {c}' for n, c in sorted(said.items()))}): {sum(n for *_, n in done)} files looked at; "
          "every clip under its own name is whole, every one that was said to be written is there, the rest goes at the next start")
    assert killed >= len(points) * 9 // 10, "most calls come again in the same order"
    done = strace.every(strace.refusals(points, strace.CHANGES | {"getdents64"}), work, case)
    print(f"P4 clip: refused by the system at {len(done)} calls: reports the same byte for byte every time; "
          f"{sum(len(names) - n for n, *_ in done)} clips of {len(done) * len(names)} lost, said once each time, also where the folder itself is refused at the start")
    # Longer than a run that is told to stop waits for its writer; a recording is waited for.
    slow = [(point, "delay_enter=700000") for point in points if point[0] == "fsync"]
    assert all(n == len(names) for n, *_ in strace.every(slow, work, case, times=4))
    print(f"P4 clip: 0.7 s slow at {len(slow)} flushes: no clip lost")
