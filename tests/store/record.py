"""`lookout record`: two clips with a table of numbers beside each, killed or refused at every call that concerns their folder.

Under its own name a clip is whole and its table beside it; each one that was said to be written is there. The next recording goes on behind them and leaves
nothing half written. A refusal is one sentence.
"""
import os
import strace
from program import lookout

WIDTH, HEIGHT, TICKS, CLIPS = 64, 48, 5, 2
TABLE = ".extra.csv"


def film(path):
    """Ten seconds, ten pictures a second, each of its own grey."""
    with open(path, "wb") as f:
        f.write(b"YUV4MPEG2 W%d H%d F10:1 Cmono\n" % (WIDTH, HEIGHT))
        f.writelines(b"FRAME\n" + bytes([20 + 2 * n]) * (WIDTH * HEIGHT) for n in range(100))
    return f"y4m:{path}"


def whole(path):
    with open(path, "rb") as f:
        head, pictures = f.readline(), f.read()
    with open(path + TABLE) as f:
        rows = f.read().splitlines()
    return head.startswith(b"YUV4MPEG2") and len(pictures) == TICKS * (6 + WIDTH * HEIGHT) and len(rows) == 1 + TICKS


def run(work):
    source, numbers, log = film(os.path.join(work, "film.y4m")), os.path.join(work, "level"), os.path.join(work, "log")
    with open(numbers, "w") as f:
        f.write("1\n2\n3\n")

    def call(out, clips=CLIPS, how=()):
        return lookout("record", "--label", "walk", "--source", source, "--out", out, "--seconds", str(TICKS / 10), "--before", "0.2",
                              "--count", str(clips), "--width", str(WIDTH), "--extra", f"level=rows:{numbers},1", strace=how)

    def paths(out):
        place = os.path.join(out, "walk")
        clips = [os.path.join(place, f"clip{n:04}") for n in range(CLIPS)]
        return [out, place, *(clip + end for clip in clips for end in (".part", ".y4m", ".y4m" + TABLE, ".y4m.extra.part"))]

    trial = os.path.join(work, "trial")
    out = call(trial, how=strace.watch(log, paths(trial)))
    names = [os.path.basename(line) for line in out.stdout.splitlines()]
    assert out.returncode == 0 and len(names) == CLIPS, out
    points = strace.points(log)

    def case(point, what, folder):
        place = os.path.join(folder, "clips", "walk")
        out = call(os.path.join(folder, "clips"), how=strace.inject(point, what, paths(os.path.join(folder, "clips"))))
        files = sorted(os.listdir(place)) if os.path.isdir(place) else []
        clips = [f for f in files if f.endswith(".y4m")]
        assert all(whole(os.path.join(place, f)) for f in clips), files
        said = [os.path.basename(line) for line in out.stdout.splitlines()]
        assert set(said) <= set(clips) and len(clips) <= len(said) + 1, (said, files)
        refused = out.returncode != 0 and not strace.killed(out)
        if refused:
            strace.sentence(out)
            assert not any(f.endswith(".part") for f in files), files
        assert out.returncode != 0 or said == names, out
        before = {f: os.stat(os.path.join(place, f)).st_ino for f in clips}
        next_one = call(os.path.join(folder, "clips"), 1)
        assert next_one.returncode == 0 and not os.path.basename(next_one.stdout.strip()) in before, next_one
        files = sorted(os.listdir(place))
        assert files == sorted(f + end for f in [*before, os.path.basename(next_one.stdout.strip())] for end in ("", TABLE)), files
        assert all(os.stat(os.path.join(place, f)).st_ino == inode for f, inode in before.items())
        return len(clips), strace.killed(out), what.split("=")[1] if refused else None

    done = strace.every(strace.kills(points), work, case)
    killed = sum(was for _, was, _ in done)
    print(f"P1 record: killed at {killed} of {len(points)} system calls around {CLIPS} clips: {sum(n for n, *_ in done)} clips under their own names, all "
          "whole with their tables, none missing that was said; the next recording goes on behind them")
    assert killed >= len(points) * 9 // 10, "most calls come again in the same order"
    done = strace.every(strace.refusals(points), work, case)
    print(f"P4 record: refused by the system at {len(done)} calls ({strace.told(e for *_, e in done if e)} ended in one sentence): the same, "
          "and nothing half written stays")
