#!/usr/bin/env python3
"""Builds a labelled set of short clips from real footage, to see whether a bundle holds outside its own renderer.

    python3 tests/real/make.py DATA OUT

DATA holds demo_intel-sample-videos/car-detection.mp4, fight_surv/noFight/*.mp4 (with fight_surv/labels.csv) and
ceiling_actions/*.mp4; what is missing is left out. OUT gets MJPEG AVIs of 2 to 2.4 s and labels.csv
(file,label,split,source,how). Needs Debian python3-opencv and python3-numpy. Same input, same clips.

Labels: left, right, toward, away where two witnesses agree (find.py), with mirrored and reversed twins; idle where nothing
moves; shake and covered put on real footage (spoil.py). From straight above (ceiling_actions) nobody comes nearer, so those
give no toward or away. The clips are not part of this repository: ceiling_actions states no licence.

Split: `unseen` are places of which no training of motion has seen a picture: all of ceiling_actions, and the noFight clips of scenes that
models/motion/footage.py does not train before. `known` are the other noFight clips and car-detection: their pictures and the people in them are
backgrounds of its rendered clips. No clip of either, and no label, was ever trained on.
"""

import csv
import glob
import hashlib
import os
import sys
import zlib

import cv2
import numpy as np

from find import Tracks, read, segments
from spoil import cover, knock

MOST_PER_RECORDING = 3
IDLE_PER_RECORDING = 2


def trained_on(scene):
    """Are its pictures backgrounds of motion's training? Seven of ten scenes are, by the rule of models/motion/footage.py (`split_of`)."""
    return int(hashlib.sha256(scene.encode()).hexdigest()[:8], 16) % 10 < 7


def sources(data):
    """(path, quarter turns, part of the width, split, from above) of every clip to look at."""
    groups = {}
    table = os.path.join(data, "fight_surv", "labels.csv")
    if os.path.exists(table):
        with open(table, newline="", encoding="utf-8") as f:
            groups = {row["file"]: row["scene_group"] for row in csv.DictReader(f)}
    cars = os.path.join(data, "demo_intel-sample-videos", "car-detection.mp4")
    if os.path.exists(cars):
        # The two lanes as well, each by itself: in the whole picture cars of both directions meet.
        yield from ((cars, turn, part, "known", False) for turn in (0, 1) for part in ((0.0, 1.0), (0.0, 0.5), (0.45, 1.0)))
    for path in sorted(glob.glob(os.path.join(data, "fight_surv", "noFight", "*.mp4"))):
        group = groups.get("noFight/" + os.path.basename(path), "?")
        yield path, 0, (0.0, 1.0), "known" if trained_on(group) else "unseen", False
    for path in sorted(glob.glob(os.path.join(data, "ceiling_actions", "*.mp4"))):
        yield path, 0, (0.0, 1.0), "unseen", True


class Set:
    """Writes clips and remembers their labels."""

    def __init__(self, out):
        self.out, self.rows = out, []
        os.makedirs(out, exist_ok=True)
        for old in glob.glob(os.path.join(out, "*.avi")):
            os.remove(old)

    def add(self, frames, rate, label, split, source, how):
        name = f"{label}-{sum(r[1] == label for r in self.rows):03}.avi"
        h, w = frames[0].shape[:2]
        writer = cv2.VideoWriter(os.path.join(self.out, name), cv2.VideoWriter_fourcc(*"MJPG"), rate, (w, h))
        for f in frames:
            writer.write(f)
        writer.release()
        self.rows.append([name, label, split, source, how])

    def save(self):
        with open(os.path.join(self.out, "labels.csv"), "w", newline="", encoding="utf-8") as f:
            table = csv.writer(f)
            table.writerow(["file", "label", "split", "source", "how"])
            table.writerows(self.rows)


OPPOSITE = {"left": "right", "right": "left", "toward": "away", "away": "toward"}


def twins(frames, label, rng, most):
    """The stretch and up to `most` of its twins: mirrored, reversed, or both."""
    sideways = label in ("left", "right")
    mirrored, turned = [f[:, ::-1] for f in frames], OPPOSITE[label] if sideways else label
    yield frames, label, "as filmed"
    others = [(mirrored, turned, "mirrored"), (frames[::-1], OPPOSITE[label], "reversed"),
              (mirrored[::-1], OPPOSITE[turned], "mirrored and reversed")]
    for k in rng.permutation(3)[:most]:
        yield others[k]


def calm(t, lo, hi):
    """Little enough moves that a knock or a cover is what happens."""
    return np.mean(t.change[lo:hi]) < 0.02 and np.max(t.shift[lo:hi]) < 0.3


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    data, out = sys.argv[1:3]
    cv2.setNumThreads(1)
    made = Set(out)
    kinds = 0
    for path, turn, part, split, above in sources(data):
        name = os.path.basename(path)
        rng = np.random.default_rng(zlib.crc32(f"{name}/{turn}/{part}".encode()))
        frames, rate = read(path, turn, part)
        if len(frames) < 15:
            continue
        t = Tracks(frames, rate)
        whole = part == (0.0, 1.0)
        source = f"{name}{' turned' if turn else ''}{'' if whole else f' {part[0]:.2f}-{part[1]:.2f}'}"

        def cut(lo, hi):
            return [f.copy() for f in frames[lo * t.step : (hi + 1) * t.step]]

        moving, quiet = segments(t, 50)
        moving = [m for m in moving if not (above and m[0] in ("toward", "away"))][: MOST_PER_RECORDING if above else 50]
        for label, lo, hi, _, note in moving:
            for clip, label_now, how in twins(cut(lo, hi), label, rng, 1 if above else 2 if label in ("left", "right") else 3):
                made.add([np.ascontiguousarray(f) for f in clip], rate, label_now, split, source, f"{how}, {lo / t.rate:.1f} s: {note}")
        rng.shuffle(quiet)
        if not turn and whole:
            for _, lo, hi, *_ in quiet[:IDLE_PER_RECORDING]:
                made.add(cut(lo, hi), rate, "idle", split, source, f"{lo / t.rate:.1f} s: nothing moves")
        places = [(q[1], q[2]) for q in quiet[IDLE_PER_RECORDING:]][:4] if whole else []
        n = len(t.blobs)
        if not places and whole and n < 45 and calm(t, 0, n):
            places = [(0, n)] * 2
        for k, (lo, hi) in enumerate(places):
            if k % 2 == 0:
                clip, how = knock(cut(lo, hi), rate, rng)
                made.add(clip, rate, "shake", split, source, f"{lo / t.rate:.1f} s: {how}")
            else:
                clip, how = cover(cut(lo, hi), rate, rng, ("dark", "bright", "hand")[kinds % 3])
                kinds += 1
                made.add(clip, rate, "covered", split, source, f"{lo / t.rate:.1f} s: {how}")
        print(f"{source:50} {split:5} {[m[0] for m in moving]} {len(quiet)} quiet", flush=True)
    made.save()
    for split in ("unseen", "known"):
        count = {}
        for row in made.rows:
            if row[2] == split:
                count[row[1]] = count.get(row[1], 0) + 1
        print(split, sum(count.values()), dict(sorted(count.items())))


if __name__ == "__main__":
    main()
