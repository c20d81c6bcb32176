"""How well the box of `--where` fits what moves in real clips: intersection over union with a background subtraction.

    python3 tests/real/where.py CLIP... --lookout target/release/lookout

The truth is made here, from the full picture: OpenCV's mixture of Gaussians (MOG2, shadows left out), opened and closed, and of its blobs of
0.5 % of the picture and more the largest. A tick with such a blob is a moving-object frame; one in which lookout says no box counts as missed.
The first two seconds, in which the subtraction learns, are not judged.

Needs: python3-opencv, python3-numpy, ffmpeg (lookout reads MP4 through it).
"""
import argparse
import json
import subprocess

import cv2
import numpy as np

TICK_S = 0.1
SMALLEST = 0.005  # of the picture
LEARNS = 20  # ticks


def truth(clip):
    """The largest blob (x, y, w, h as fractions) or None, one a tick: of the newest frame at or before it."""
    video, model, ticks, n = cv2.VideoCapture(clip), cv2.createBackgroundSubtractorMOG2(500, 25, True), [], 0
    rate = video.get(cv2.CAP_PROP_FPS)
    while True:
        good, picture = video.read()
        if not good:
            return ticks
        small = cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA)
        mask = (model.apply(small) == 255).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        blobs = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:]
        best = max(blobs, key=lambda b: b[4], default=None)
        box = None
        if best is not None and best[4] >= SMALLEST * mask.size:
            box = (best[0] / 320, best[1] / 240, best[2] / 320, best[3] / 240)
        n += 1
        while len(ticks) * TICK_S < n / rate - 1e-9:  # until the next frame comes
            ticks.append(box)


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("clips", nargs="+")
    args.add_argument("--lookout", default="target/release/lookout")
    args.add_argument("--bundle", help="another one than the built-in: a copy without its two `map` lines goes by the background")
    a = args.parse_args()
    good = frames = said = 0
    for clip in a.clips:
        out = subprocess.run([a.lookout, "classify", "--where", "--json", *(["--bundle", a.bundle] if a.bundle else []), clip], check=True, capture_output=True, text=True).stdout
        found = {round(at / 100): box for at, *box in json.loads(out)["where"]}
        wanted = [(k, t) for k, t in enumerate(truth(clip)) if t and k > LEARNS]
        scores = [overlap(found[k], t) if k in found else 0.0 for k, t in wanted]
        fits, has = sum(s >= 0.5 for s in scores), sum(k in found for k, _ in wanted)
        good, frames, said = good + fits, frames + len(scores), said + has
        print(f"{clip}: IoU >= 0.5 in {fits} of {len(scores)} moving-object frames ({100 * fits / max(len(scores), 1):.0f} %), a box in {has}")
    print(f"all: {good} of {frames} ({100 * good / max(frames, 1):.1f} %), a box in {said}")


if __name__ == "__main__":
    main()
