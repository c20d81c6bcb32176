"""Does the promise hold, and is what is strange found? A hundred simulated days, every picture of them drawn, through the whole program: pictures, encoder, score, count, alarm.

    python3 days.py --lookout ../../target/release/lookout [--days 100] [--seed 1] [--rate 1] [--planted 2]

A picture of 64x48 every twelve seconds, one block a minute. A day has a night, a rush in the morning and in the evening, clouds, now and then rain; people and
cars cross on two lanes. A day is learnt from (`train --unsupervised --encoder grid --channels gray,motion`), then two days are counted and `--days` are
judged by one call of `lookout novelty`, which moves its threshold as `run` does. Printed: alarms that began in ordinary blocks (and the blocks that they lasted), how
many were promised, and the interval in which chance leaves 95 of 100 such trials (binomial).

`--planted N`: so many times a day something strange happens for 10 to 20 minutes, one of `KINDS` after the other, and it is printed how well their ticks are told
from the ordinary ones of the same days (area under the curve) and how many of them gave an alarm. Their first minute, and two behind them, are not judged. Without
it nothing strange happens, and every alarm is false.

Pictures go through a pipe; nothing of size is written. Needs: python3-opencv, python3-numpy.
"""
import argparse
import math
import os
import subprocess
import tempfile
import threading
import time

import cv2
import numpy as np

import places
import scenes  # noqa: E402  (../motion, on the path since places)
import things  # noqa: E402
from bench import auc  # noqa: E402
from places import IGNORE, ORDINARY  # noqa: E402

WIDE, HIGH, TICK_S = 64, 48, 12
MINUTE, DAY = 60 // TICK_S, 1440  # ticks a minute, minutes a day
# What a picture in twelve seconds can show: a thing stands on its lane; a person stays between the lanes; things pass where none ever did; the camera was turned.
KINDS = ["stopped", "loiter", "elsewhere", "moved"]
HEAD = f"YUV4MPEG2 W{WIDE} H{HIGH} F1:{TICK_S} Cmono XCOLORRANGE=FULL\n".encode()


class Street:
    """A place for ever, and its days one minute after the other."""

    def __init__(self, seed, days_seed, planted=0):
        rng = np.random.default_rng([seed, 77])
        scene = scenes.drawn(rng, HIGH, WIDE)
        self.scene = np.clip((scene - scene.mean()) * 0.8 + 120, 20, 230).astype(np.float32)
        cast = [(things.walker(rng), 14) for _ in range(6)] + [(places.side(rng), 10) for _ in range(6)]
        self.sprites = [[thing.pose(p / max(thing.stride, 1), h) for p in range(4)] + [h] for thing, h in cast]
        self.sprites = [[self.fit(p, s[-1]) for p in s[:-1]] for s in self.sprites]
        self.pool = rng.standard_normal(MINUTE * HIGH * WIDE * 3).astype(np.float32) * 1.5
        self.rng, self.minute, self.on = np.random.default_rng([seed, days_seed]), 0, []
        self.cloud, self.rain = 0.0, 0
        # Drawn apart, so that the ordinary is the same with and without.
        self.odd, self.planted, self.event, self.events, self.kinds = np.random.default_rng([seed, days_seed, 9]), planted, None, 0, []

    @staticmethod
    def fit(pose, high):
        luma, alpha = pose
        wide = max(2, round(luma.shape[1] * high / luma.shape[0]))
        return [cv2.resize(p, (wide, high), interpolation=cv2.INTER_AREA) for p in (luma, alpha)]

    def plan(self):
        """What is strange in this minute, if anything, and the truth of its ticks. The first two days, in which is only counted, are ordinary."""
        if self.planted and self.minute >= 2 * DAY and self.minute % (DAY // self.planted) == 0:
            begin = self.minute + int(self.odd.integers(30, DAY // self.planted - 60))
            self.event = (KINDS[self.events % len(KINDS)], self.events, begin, begin + int(self.odd.integers(10, 21)), self.odd.random(8))
            self.events += 1
        kind, n, begin, end, _ = self.event or ("", 0, -9, -9, None)
        judged = n if begin < self.minute < end else IGNORE if begin <= self.minute < end + 2 else ORDINARY
        self.kinds += [judged] * MINUTE
        return self.event if begin <= self.minute < end else None

    def strange(self, frames, event):
        """Draws it into the frames of a minute."""
        kind, _, _, _, u = event
        which, level = int(u[0] * 6) + (6 if kind == "stopped" and u[1] < 0.5 else 0), (25 + 55 * u[2]) * (1 if u[3] < 0.5 else -1)
        for k in range(MINUTE):
            poses = self.sprites[which]
            high, wide = poses[0][0].shape
            if kind == "moved":
                m = cv2.getRotationMatrix2D((WIDE / 2, HIGH / 2), (1 + 2 * u[4]) * (1 if u[5] < 0.5 else -1), 1.0)
                m[:, 2] += (0.04 + 0.04 * u[6]) * WIDE * np.array([math.cos(6.28 * u[7]), math.sin(6.28 * u[7])])
                frames[k] = cv2.warpAffine(frames[k], m, (WIDE, HIGH), borderMode=cv2.BORDER_REFLECT_101)
                continue
            x, bottom = {
                "stopped": (u[4] * (WIDE - wide), 30 if u[5] < 0.5 else 42),
                "loiter": (u[4] * (WIDE - wide - 12) + 12 * self.odd.random(), 36),
                "elsewhere": (self.odd.random() * (WIDE - wide), 15),
            }[kind]
            luma, alpha = poses[0 if kind == "stopped" else int(self.odd.integers(4))]
            part = frames[k, bottom - high:bottom, int(x):int(x) + wide]
            part += alpha * (level + 15 * luma)

    def next(self):
        """u8 [MINUTE,HIGH,WIDE]"""
        rng, hour = self.rng, self.minute / 60 % 24
        sun = max(0.0, math.sin(math.pi * (hour - 6) / 12))
        self.cloud = float(np.clip(0.98 * self.cloud + rng.normal(0, 0.02), -0.25, 0.15))
        gain = 0.5 + 0.5 * sun * (1 + self.cloud)
        frames = np.multiply(self.scene, np.ones((MINUTE, 1, 1), np.float32))
        rush = 0.3 + 3 * math.exp(-((hour - 8) ** 2) / 2) + 3 * math.exp(-((hour - 17.5) ** 2) / 3) + (1.2 if 7 < hour < 21 else 0)
        for _ in range(rng.poisson(rush)):
            lane, which = rng.integers(2), rng.integers(12)
            speed = (3 if which < 6 else 4.5) * TICK_S * rng.normal(1, 0.08) * (1 if lane else -1)  # pixels a tick
            level = float(rng.choice([-1, 1]) * rng.uniform(25, 80))
            self.on.append((rng.uniform(0, MINUTE), lane, which, speed, level))
        left = []
        for start, lane, which, speed, level in self.on:
            poses = self.sprites[which]
            high, wide = poses[0][0].shape
            bottom = (30 if lane else 42) + (which % 3)
            for k in range(max(0, math.ceil(start)), MINUTE):
                x = int((k - start) * speed) + (-wide if speed > 0 else WIDE)
                x0, x1 = max(x, 0), min(x + wide, WIDE)
                if x1 > x0:
                    luma, alpha = poses[k % 4]
                    part = frames[k, bottom - high:bottom, x0:x1]
                    part += alpha[:, x0 - x:x1 - x] * (level + 15 * luma[:, x0 - x:x1 - x])
            if MINUTE - start < (WIDE + wide) / abs(speed) + 1:
                left.append((start - MINUTE, lane, which, speed, level))
        self.on = left
        if event := self.plan():
            self.strange(frames, event)
        frames *= np.float32(gain)
        self.rain = self.rain - 1 if self.rain > 0 else int(rng.integers(10, 90)) if rng.random() < 1 / 700 else 0
        if self.rain:
            n = int(rng.integers(100, 500))
            k, y, x = rng.integers(0, MINUTE, n), rng.integers(0, HIGH - 4, n), rng.integers(0, WIDE, n)
            for d in range(4):
                frames[k, y + d, x] += 15
        start = int(rng.integers(0, len(self.pool) - frames.size))
        frames += self.pool[start:start + frames.size].reshape(frames.shape)
        self.minute += 1
        return np.clip(frames, 0, 255).astype(np.uint8)

    def write(self, file, minutes):
        out = np.empty((MINUTE, 6 + HIGH * WIDE), np.uint8)
        out[:, :6] = np.frombuffer(b"FRAME\n", np.uint8)
        file.write(HEAD)
        for _ in range(minutes):
            out[:, 6:] = self.next().reshape(MINUTE, -1)
            file.write(out.tobytes())


def interval(n, p):
    """Counts that leave at most 2.5 of 100 trials on each side."""
    mean, logs = n * p, 0.0
    low, high, total = None, None, 0.0
    for k in range(int(mean + 12 * math.sqrt(mean) + 20)):
        logs = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        total += math.exp(logs)
        low = k if low is None and total > 0.025 else low
        if total >= 0.975:
            high = k
            break
    return low, high


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--lookout", default="../../target/release/lookout")
    args.add_argument("--days", type=int, default=100)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--rate", type=float, default=1.0, help="false alarms a day that are allowed")
    args.add_argument("--planted", type=int, default=0, help="strange things a day, at most 12")
    args.add_argument("--learn", type=int, default=1, help="days to learn from")
    args.add_argument("--channels", default="gray,motion")
    args.add_argument("--keep", metavar="NPZ", help="where scores, alarms and the truth of every tick go")
    args.add_argument("--train", nargs=argparse.REMAINDER, default=[], help="all that follows goes to `lookout train`")
    a = args.parse_args()
    begun = time.time()
    cv2.setNumThreads(1)
    street = Street(a.seed, 2, min(a.planted, 12))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        clip, bundle = os.path.join(folder, "day.y4m"), os.path.join(folder, "bundle")
        with open(clip, "wb") as f:
            Street(a.seed, 1).write(f, a.learn * DAY)
        train = ["train", clip, "--unsupervised", "--encoder", "grid", "--channels", a.channels, "--tick-ms", str(1000 * TICK_S), "--out", bundle, *a.train]
        print(subprocess.run([a.lookout, *train], check=True, capture_output=True, text=True).stdout.strip(), flush=True)
        os.remove(clip)
        call = ["novelty", "y4m:-", "--bundle", bundle, "--state", os.path.join(folder, "state"), "--false-alarms", str(a.rate)]
        run = subprocess.Popen([a.lookout, *call], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def feed():
            street.write(run.stdin, (a.days + 2) * DAY)
            run.stdin.close()

        threading.Thread(target=feed, daemon=True).start()
        first, scores, alarmed = None, np.full((a.days + 3) * DAY * MINUTE, np.nan, np.float32), np.zeros((a.days + 3) * DAY * MINUTE, bool)
        for line in run.stdout:
            f = line.rsplit(b",", 4)
            if f[1] == b"ms":
                continue
            tick = int(f[1]) // (1000 * TICK_S)
            first = tick if first is None else first
            scores[tick], alarmed[tick] = float(f[2]), f[4].startswith(b"ALARM")
        if run.wait():
            raise SystemExit(f"lookout novelty: exit code {run.returncode}")
    if a.keep:
        np.savez(a.keep, kinds=street.kinds, first=first, scores=scores, alarmed=alarmed)
    judge(a, street, first, scores, alarmed)
    print(f"{(time.time() - begun) / 60:.0f} min")


def judge(a, street, first, scores, alarmed):
    """Prints both. Blocks are the program's, which begin with its first score."""
    kinds = np.array(street.kinds)[first:]
    whole = len(kinds) // MINUTE * MINUTE
    kinds, scores, alarmed = (v[:whole].reshape(-1, MINUTE)[2 * DAY:] for v in (kinds, scores[first:], alarmed[first:]))
    ordinary = (kinds == ORDINARY).all(1) & np.isfinite(scores).any(1)
    n, false, p = int(ordinary.sum()), ordinary & alarmed.any(1), a.rate / DAY
    # An alarm is one however long it lasts: so it is said, and so it is counted.
    began = int((false[1:] & ~alarmed.any(1)[:-1]).sum() + false[0])
    low, high = interval(n, p)
    held = "held" if began <= high else "BROKEN"
    print(f"{len(kinds) / DAY:.0f} days, {n} ordinary blocks: {began} false alarms (in {int(false.sum())} blocks), {n * p:.0f} promised, {low} to {high} by chance alone (95 %): {held}")
    for k, kind in enumerate([*KINDS, "all"] if a.planted else []):
        of = (kinds >= 0) & ((kinds % len(KINDS) == k) | (kind == "all"))
        at = np.isfinite(scores) & (of | (kinds == ORDINARY))
        events = np.unique(kinds[of])
        found = len(np.unique(kinds[of & alarmed]))
        print(f"{kind:10} frame AUC {auc(scores[at], of[at]):.3f}, alarm in {found} of {len(events)}")


if __name__ == "__main__":
    main()
