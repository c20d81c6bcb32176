"""Does the promise hold? A hundred simulated days, every picture of them drawn, through the whole program: pictures, encoder, score, count, alarm.

    python3 days.py --lookout ../../target/release/lookout [--days 100] [--seed 1] [--rate 1]

A picture of 64x48 every twelve seconds, one block a minute. A day has a night, a rush in the morning and in the evening, clouds, now and then rain; people and
cars cross on two lanes. A day is learnt from (`train --unsupervised --encoder grid --channels gray,motion`), then two days are counted and `--days` are
judged by one call of `lookout novelty`, which moves its threshold as `run` does. Nothing strange happens, so every alarm is false. Printed: blocks with an
alarm, how many were promised, and the interval in which chance leaves 95 of 100 such trials (binomial).

Pictures go through a pipe; nothing of size is written. Needs: python3-opencv, python3-numpy.
"""
import argparse
import math
import os
import subprocess
import tempfile
import threading
import time

import numpy as np

import places
import scenes  # noqa: E402  (../motion, on the path since places)
import things  # noqa: E402

WIDE, HIGH, TICK_S = 64, 48, 12
MINUTE, DAY = 60 // TICK_S, 1440  # ticks a minute, minutes a day
HEAD = f"YUV4MPEG2 W{WIDE} H{HIGH} F1:{TICK_S} Cmono XCOLORRANGE=FULL\n".encode()


class Street:
    """A place for ever, and its days one minute after the other."""

    def __init__(self, seed, days_seed):
        rng = np.random.default_rng([seed, 77])
        scene = scenes.drawn(rng, HIGH, WIDE)
        self.scene = np.clip((scene - scene.mean()) * 0.8 + 120, 20, 230).astype(np.float32)
        cast = [(things.walker(rng), 14) for _ in range(6)] + [(places.side(rng), 10) for _ in range(6)]
        self.sprites = [[thing.pose(p / max(thing.stride, 1), h) for p in range(4)] + [h] for thing, h in cast]
        self.sprites = [[self.fit(p, s[-1]) for p in s[:-1]] for s in self.sprites]
        self.pool = rng.standard_normal(MINUTE * HIGH * WIDE * 3).astype(np.float32) * 1.5
        self.rng, self.minute, self.on = np.random.default_rng([seed, days_seed]), 0, []
        self.cloud, self.rain = 0.0, 0

    @staticmethod
    def fit(pose, high):
        import cv2
        luma, alpha = pose
        wide = max(2, round(luma.shape[1] * high / luma.shape[0]))
        return [cv2.resize(p, (wide, high), interpolation=cv2.INTER_AREA) for p in (luma, alpha)]

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
    a = args.parse_args()
    begun = time.time()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        clip, bundle = os.path.join(folder, "day.y4m"), os.path.join(folder, "bundle")
        with open(clip, "wb") as f:
            Street(a.seed, 1).write(f, DAY)
        train = ["train", clip, "--unsupervised", "--encoder", "grid", "--channels", "gray,motion", "--tick-ms", str(1000 * TICK_S), "--out", bundle]
        print(subprocess.run([a.lookout, *train], check=True, capture_output=True, text=True).stdout.strip(), flush=True)
        os.remove(clip)
        call = ["novelty", "y4m:-", "--bundle", bundle, "--state", os.path.join(folder, "state"), "--false-alarms", str(a.rate)]
        run = subprocess.Popen([a.lookout, *call], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def feed():
            Street(a.seed, 2).write(run.stdin, (a.days + 2) * DAY)
            run.stdin.close()

        threading.Thread(target=feed, daemon=True).start()
        blocks, alarms, first = set(), set(), None
        for line in run.stdout:
            f = line.rsplit(b",", 4)
            if f[1] == b"ms":
                continue
            tick = int(f[1]) // (1000 * TICK_S)
            first = tick if first is None else first
            block = (tick - first) // MINUTE
            if block >= 2 * DAY:
                blocks.add(block)
                if f[4].startswith(b"ALARM"):
                    alarms.add(block)
        if run.wait():
            raise SystemExit(f"lookout novelty: exit code {run.returncode}")
    n, p = len(blocks), a.rate / DAY
    low, high = interval(n, p)
    held = "held" if len(alarms) <= high else "BROKEN"
    print(f"{n / DAY:.0f} days, {n} blocks: {len(alarms)} false alarms, {n * p:.0f} promised, {low} to {high} by chance alone (95 %): {held}; {(time.time() - begun) / 60:.0f} min")


if __name__ == "__main__":
    main()
