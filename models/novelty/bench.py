"""How well `lookout train --unsupervised` finds what was never there: frame AUC by kind of anomaly over six places, beside two baselines.

    python3 bench.py --lookout ../../target/release/lookout --data ../../../shared/data [--seed 2] [--keep DIR]

For each place of places.py: 40 minutes of the ordinary to learn from (`train --unsupervised`, four ways: `WAYS`), then 30 minutes of
exam with an anomaly every two minutes, scored tick by tick (`lookout novelty`). A kind's AUC is its ticks against all ordinary ticks of the same
place; `all` is all anomalous ticks against the ordinary ones. Beside it: mean motion energy (mean change since the tick before), and
distance to the mean (block means of picture and change, in deviations of the ordinary), both held as long as the score is.

One place after the other; its clips (0.8 GB) are deleted before the next. The program needs the feature `train`.
Needs: python3-opencv, python3-numpy.
"""
import argparse
import os
import subprocess
import tempfile
import time

import cv2
import numpy as np

import places
from places import HZ, IGNORE, KINDS, ORDINARY
import footage  # noqa: E402  (../motion, on the path since places)

GRID = ["--encoder", "grid", "--channels", "flow,gray"]
WAYS = {"motion": [], "motion, each": ["--each"], "grid of flow, grey": GRID, "grid of flow, grey, each": [*GRID, "--each"]}
SMALL = (64, 48)  # what the baselines see
LEARN_MIN, EXAM_MIN, CLIP_MIN = 40, 30, 10


def write(path, play, watch):
    """The clip as Y4M; `watch` sees every picture."""
    with open(path, "wb") as f:
        f.write(f"YUV4MPEG2 W{places.WIDE} H{places.HIGH} F{HZ}:1 Cmono XCOLORRANGE=FULL\n".encode())
        for picture in play.pictures():
            f.write(b"FRAME\n" + picture.tobytes())
            watch(picture)


class Baselines:
    """Mean motion energy and distance to the mean."""

    def __init__(self):
        self.sums, self.n, self.last = np.zeros((2, 96)), 0, None

    def row(self, picture):
        small = cv2.resize(picture, SMALL, interpolation=cv2.INTER_AREA)
        change = cv2.absdiff(small, small if self.last is None else self.last)
        self.last = small
        blocks = [cv2.resize(p.astype(np.float32), (8, 6), interpolation=cv2.INTER_AREA).ravel() for p in (small, change)]
        return np.concatenate(blocks), float(change.mean())

    def learn(self, picture):
        row, _ = self.row(picture)
        self.sums += [row, row * row]
        self.n += 1

    def score(self, picture):
        row, energy = self.row(picture)
        mean = self.sums[0] / self.n
        deviation = np.sqrt(np.maximum(self.sums[1] / self.n - mean**2, 1e-2))
        return energy, float((((row - mean) / deviation) ** 2).mean())


def held(scores):
    """The highest of the last `HOLD_S`."""
    n = int(places.HOLD_S * HZ)
    padded = np.concatenate([np.full(n - 1, -np.inf), scores])
    return np.lib.stride_tricks.sliding_window_view(padded, n).max(1)


def auc(scores, strange):
    """How often a strange tick scores above an ordinary one; ties count half."""
    values, at = np.unique(scores, return_inverse=True)
    up, down = np.bincount(at[strange], minlength=len(values)), np.bincount(at[~strange], minlength=len(values))
    below = np.cumsum(down) - down
    return float((up * (below + down / 2)).sum() / max(up.sum() * down.sum(), 1))


def judged(scores, kinds):
    """AUC by kind, and of all; NaN for a kind that is not there."""
    ok = np.isfinite(scores)
    out = []
    for k in range(len(KINDS)):
        at = ok & ((kinds == k) | (kinds == ORDINARY))
        out.append(auc(scores[at], kinds[at] == k) if (kinds[ok] == k).any() else np.nan)
    at = ok & (kinds != IGNORE)
    return out + [auc(scores[at], kinds[at] >= 0)]


def called(lookout, args):
    done = subprocess.run([lookout, *args], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join([lookout, *args])}: {done.stderr.strip()}")
    return done.stdout


def scored(lookout, folder, name, options, exam, ticks):
    """Learns from the folder's clips and scores the exam: a number a tick, NaN where there is none."""
    bundle = os.path.join(folder, f"bundle-{name}")
    called(lookout, ["train", os.path.join(folder, "learn"), "--unsupervised", "--out", bundle, "--cache", os.path.join(folder, f"cache-{name}"), *options])
    scores = np.full(ticks, np.nan)
    for line in called(lookout, ["novelty", exam, "--bundle", bundle, "--state", os.path.join(folder, "state")]).splitlines()[1:]:
        _, ms, score, _, _ = line.rsplit(",", 4)
        if int(ms) * HZ // 1000 < ticks:
            scores[int(ms) * HZ // 1000] = float(score)
    return scores


def place(a, habit, found, folder):
    """Results of one place: {way: AUCs}."""
    here, plain = places.Place(a.seed, habit, found, "train"), Baselines()
    os.makedirs(os.path.join(folder, "learn"))
    for n in range(max(1, a.learn // CLIP_MIN)):
        write(os.path.join(folder, "learn", f"{n}.y4m"), places.Play(here, 100 + n, min(a.learn, CLIP_MIN) * 60, False), plain.learn)
    exam, play, rows = os.path.join(folder, "exam.y4m"), places.Play(here, 200, a.exam * 60, True), []
    plain.last = None
    write(exam, play, lambda picture: rows.append(plain.score(picture)))
    rows = np.array(rows)
    out = {}
    for name in a.ways:
        options = WAYS[name]
        scores = scored(a.lookout, folder, name.replace(", ", "-").replace(" ", "-"), options + a.train, exam, play.ticks)
        out[name] = judged(scores, play.kinds)
        if a.keep:
            np.savez(os.path.join(a.keep, f"{a.seed}-{habit}-{name}.npz"), scores=scores, kinds=play.kinds)
    out["motion energy"] = judged(held(rows[:, 0]), play.kinds)
    out["distance to the mean"] = judged(held(rows[:, 1]), play.kinds)
    return out


def line(what, numbers):
    print(f"{what:32}" + "".join(f"{v:9.3f}" for v in numbers), flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--lookout", default="../../target/release/lookout")
    args.add_argument("--data", help="folder with fight_surv and demo_intel-sample-videos, for real backgrounds; without it all are drawn")
    args.add_argument("--cache", help="where footage.py keeps what it read")
    args.add_argument("--seed", type=int, default=2)
    args.add_argument("--places", nargs="+", default=places.HABITS, choices=places.HABITS)
    args.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    args.add_argument("--learn", type=int, default=LEARN_MIN, help="minutes")
    args.add_argument("--exam", type=int, default=EXAM_MIN, help="minutes")
    args.add_argument("--keep", help="folder for the scores of every tick")
    args.add_argument("--train", nargs=argparse.REMAINDER, default=[], help="all that follows goes to `lookout train`")
    a = args.parse_args()
    cv2.setNumThreads(1)
    found = footage.load(a.data, a.cache) if a.data or a.cache else None
    results, begun = {}, time.time()
    print(f"{'frame AUC':32}" + "".join(f"{k:>9}" for k in KINDS + ["all"]))
    for habit in a.places:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            for what, numbers in place(a, habit, found, folder).items():
                line(f"{habit}: {what}", numbers)
                results.setdefault(what, []).append(numbers)
    for what, numbers in results.items():
        line(f"mean: {what}", np.nanmean(numbers, 0))
    print(f"seed {a.seed}, {len(a.places)} places, {a.learn} min learnt and {a.exam} min of exam each, {(time.time() - begun) / 60:.0f} min")


if __name__ == "__main__":
    main()
