"""How well the box of `--where` fits what moves in rendered clips: intersection over union with what was painted.

    python3 where.py --lookout ../../target/release/lookout [--clips 160] [--seed 71] [--data ../../../shared/data]

Exam clips of render.py, left, right, toward and away in turn: things from 6 % of the height on, from slow to the width in 0.7 s, in rain,
noise and bad light. The truth of a tick are the boxes of all moving things (where they cover more than half of a pixel); the best
counts. A clip is right when the mean over its judged ticks is 0.5 or more.

Needs: python3-opencv, python3-numpy.
"""
import argparse
import json
import subprocess
import tempfile

import cv2
import numpy as np

import footage
import render
import shaper


def box(actor, t, high, wide):
    x, y, h = actor.at(t)
    w = h * actor.thing.wide / actor.thing.high
    luma, alpha = actor.thing.pose(actor.phase + (t if actor.restless or actor.moving(t) else 0), h)
    s = h / luma.shape[0]
    m = np.float32([[-s, 0, x + w / 2], [0, s, y - h]] if actor.mirror else [[s, 0, x - w / 2], [0, s, y - h]])
    ys, xs = np.nonzero(cv2.warpAffine(alpha, m, (wide, high)) > 0.5)
    return (xs.min() / wide, ys.min() / high, (xs.max() + 1) / wide, (ys.max() + 1) / high) if len(xs) else None


def clip(seed, index, main, found):
    """Luma, labels and, for each tick, the boxes (left, top, right, bottom) of all that moves. As render.clip for an exam."""
    for attempt in range(20):
        play, rng, labels = render.rehearse(seed, index, attempt, main, found, "train", True)
        if (labels[12:] == main).sum() < 5:
            continue
        late, times = rng.choice([0.0, 0.033, 0.066], p=[0.15, 0.55, 0.3]), []
        pictures = []
        for k in range(len(labels)):
            ago = rng.uniform(0, late) + (0.066 if rng.random() < 0.03 else 0.0)
            times.append(max(0.0, k * render.TICK_S - ago))
            pictures.append(play.picture(times[-1]))
        labels = render.plain(play, labels, np.stack([shaper.area(p) for p in pictures]), 14)
        if (labels[12:] == main).sum() >= 5:
            break
    boxes = [[b for a in play.actors if a.moving(t) for b in [box(a, t, play.high, play.wide)] if b] for t in times]
    return np.stack(pictures), labels, boxes


def overlap(a, b):
    both = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--lookout", default="../../target/release/lookout")
    args.add_argument("--bundle", help="another one than the built-in: a copy without its two `map` lines goes by the background")
    args.add_argument("--clips", type=int, default=160)
    args.add_argument("--seed", type=int, default=71)
    args.add_argument("--data")
    args.add_argument("--cache")
    a = args.parse_args()
    found = footage.load(a.data, a.cache) if a.data else None
    right, ticks, good = {}, 0, 0
    for index in range(a.clips):
        main_class = 1 + index % 4
        luma, labels, boxes = clip(a.seed, index, main_class, found)
        with tempfile.NamedTemporaryFile(suffix=".y4m") as file:
            high, wide = luma.shape[1:]
            file.write(f"YUV4MPEG2 W{wide} H{high} F10:1 C420jpeg XCOLORRANGE=FULL\n".encode())
            grey = bytes([128]) * (2 * ((wide + 1) // 2) * ((high + 1) // 2))
            for picture in luma:
                file.write(b"FRAME\n" + picture.tobytes() + grey)
            file.flush()
            out = subprocess.run([a.lookout, "classify", "--where", "--json", *(["--bundle", a.bundle] if a.bundle else []), file.name], check=True, capture_output=True, text=True)
        said = {at // 100: (x, y, x + w, y + h) for at, x, y, w, h in json.loads(out.stdout)["where"]}
        judged = [k for k, label in enumerate(labels) if render.LEFT <= label <= render.AWAY]
        scores = [max((overlap(said[k], b) for b in boxes[k]), default=0.0) if k in said else 0.0 for k in judged]
        right.setdefault(main_class, []).append(np.mean(scores) >= 0.5)
        ticks, good = ticks + len(scores), good + sum(s >= 0.5 for s in scores)
    everything = sum(right.values(), [])
    print(", ".join(f"{render.LABELS[c]} {sum(r)} of {len(r)}" for c, r in sorted(right.items())))
    print(f"mean IoU >= 0.5 in {sum(everything)} of {len(everything)} clips ({100 * np.mean(everything):.0f} %), {good} of {ticks} ticks ({100 * good / ticks:.0f} %)")


if __name__ == "__main__":
    main()
