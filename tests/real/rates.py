#!/usr/bin/env python3
"""Do half the frames, or four fifths of them, give the same events on real footage? Compares onsets with those of all frames.

    python3 tests/real/rates.py DATA --lookout target/release/lookout [--seconds 90] [--seeds 3]

Plays car-detection.mp4 and four recordings of ceiling_actions (under DATA) as filmed, with every other frame, and with a fifth of the frames
lost from several seeds. Prints, for each way: events that begin within a tick of the same event of all frames, later or earlier than that
(up to 1.5 s), not at all, and those that only the thinned clip has. Needs only Python and ffmpeg.
"""

import argparse
import collections
import glob
import json
import os
import re
import subprocess
import tempfile

TICK_MS, SAME_MS = 100, 1500


def onsets(lookout, source, folder):
    """Label and onset, ms, of every event that begins."""
    command = [lookout, "run", "--source", source, "--report", "json:-", "--config", os.path.join(folder, "empty.toml"), "--state", os.path.join(folder, "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [(j["label"], j["onset_ms"]) for j in map(json.loads, done.stdout.splitlines()) if j["type"] == "event" and j["edge"] == "start"]


def halved(source, target):
    """Every other frame of a YUV4MPEG2 clip (4:2:0), at half the rate."""
    with open(source, "rb") as f:
        head, frames = f.readline().decode(), f.read()
    wide, high = (int(re.search(rf" {k}(\d+)", head).group(1)) for k in "WH")
    size = 6 + wide * high + 2 * ((wide + 1) // 2) * ((high + 1) // 2)
    head = re.sub(r" F(\d+):(\d+)", lambda m: f" F{m.group(1)}:{2 * int(m.group(2))}", head)
    with open(target, "wb") as f:
        f.write(head.encode())
        for at in range(0, len(frames), 2 * size):
            f.write(frames[at : at + size])


def compare(all_frames, thinned):
    """Within a tick, off, missing, extra."""
    free, counts = list(thinned), collections.Counter(events=len(all_frames))
    for label, ms in all_frames:
        near = [f for f in free if f[0] == label and abs(f[1] - ms) <= SAME_MS]
        if not near:
            counts["missing"] += 1
            continue
        best = min(near, key=lambda f: abs(f[1] - ms))
        free.remove(best)
        counts["within a tick" if abs(best[1] - ms) <= TICK_MS else "off"] += 1
    counts["extra"] = len(free)
    return counts


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("data")
    args.add_argument("--lookout", default="target/release/lookout")
    args.add_argument("--seconds", default="90")
    args.add_argument("--seeds", type=int, default=3)
    args = args.parse_args()
    paths = sorted(glob.glob(os.path.join(args.data, "ceiling_actions", "*.mp4")))[:4]
    paths.append(os.path.join(args.data, "demo_intel-sample-videos", "car-detection.mp4"))
    total = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as folder:
        open(os.path.join(folder, "empty.toml"), "w").close()
        clip, half = os.path.join(folder, "clip.y4m"), os.path.join(folder, "half.y4m")
        for path in paths:
            subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", path, "-t", args.seconds, "-vf", "scale=320:-2", "-pix_fmt", "yuv420p", clip], check=True)
            halved(clip, half)
            whole = onsets(args.lookout, "y4m:" + clip, folder)
            total["every other frame"] += compare(whole, onsets(args.lookout, "y4m:" + half, folder))
            for seed in range(1, args.seeds + 1):
                total["a fifth lost"] += compare(whole, onsets(args.lookout, f"faulty:seed={seed},drop=0.2:y4m:{clip}", folder))
    for way, counts in total.items():
        print(f"{way}: of {counts['events']} events", ", ".join(f"{counts[k]} {k}" for k in ("within a tick", "off", "missing", "extra")))


if __name__ == "__main__":
    main()
