"""Three classes that `motion` was never trained on, rendered, to measure `lookout teach` with: back and forth, two who meet, circling.

    python3 teach.py --lookout ../../target/release/lookout --keep DIR [--shots 1 5] [--rounds 6]      prints the table
    python3 teach.py --lookout ../../target/release/lookout --keep DIR --ordinary ordinary.json        makes the file of that name here

Each clip is 6 s of one place; what is to be taught starts after 1.3 to 2.3 s and lasts to the end. Places, things, light, weather and cameras are
those of render.py. Examples come from places of the training split, exams from places of the test split: no exam shows a place that an example
showed. The old classes are asked with exams as evaluate.py makes them. Constants of the discriminant were chosen with `--set choose` and, since the first choice lost too many old
classes there, `seen`; `report`, other seeds, is what is reported. `--ordinary` sums up what is ordinary to motion's head, from clips of its own classes, and of motions without a name
(nameless.py), in places of the training split.

Needs: python3-opencv, python3-numpy.
"""
import argparse
import json
import math
import os
import subprocess
import tempfile

import numpy as np

import footage
import nameless
import render
import things
from evaluate import y4m
from nameless import size, staged

NAMES = ["back-and-forth", "meeting", "circling"]
# Seeds of examples, of exams, of exams of the old classes.
SEEDS = {"choose": (11, 22, 20261121), "seen": (33, 44, 4242), "report": (55, 66, 9999)}


def swinging(rng, thing, t0, high, wide):
    """To and fro across the picture: 0.9 to 2.2 s for both ways."""
    h = size(rng, thing, high, wide, 0.6)
    period, reach = rng.uniform(0.9, 2.2), wide * rng.uniform(0.12, 0.3)
    middle, foot = wide * rng.uniform(0.35, 0.65), rng.uniform(max(h, 0.4 * high), high * 1.02)
    way, round_ = rng.choice([-1, 1]), rng.uniform(0, 1)

    def place(t):
        s = ((t - t0) / period + 0.25) % 1.0
        corner = 4 * abs(s - 0.5) - 1
        return middle + way * reach * ((1 - round_) * corner + round_ * math.sin(math.pi / 2 * corner)), foot, h

    return place


def circling(rng, thing, t0, high, wide):
    """Round and round on an ellipse, near and far or up and down: 1.0 to 2.4 s a turn, either way."""
    h = size(rng, thing, high, wide, 0.4)
    period, rx, ry = rng.uniform(1.0, 2.4), wide * rng.uniform(0.12, 0.28), high * rng.uniform(0.12, 0.25)
    x, y = wide * rng.uniform(0.38, 0.62), high * rng.uniform(0.45, 0.55) + h / 2
    way, start, near = rng.choice([-1, 1]), rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.35)

    def place(t):
        a = start + way * 2 * math.pi * (t - t0) / period
        return x + rx * math.cos(a), y + ry * math.sin(a), h * (1 + near * math.sin(a))

    return place


def meeting(rng, pair, t0, high, wide):
    """Two come from both sides, stand together for a moment, part again, and meet again: places of both."""
    gap = 0.25 * sum(size(rng, t, high, wide, 0.5) * t.wide / t.high for t in pair)
    x, y, period, reach = wide * rng.uniform(0.4, 0.6), high * rng.uniform(0.7, 1.0), rng.uniform(1.8, 2.8), wide * rng.uniform(0.25, 0.42)
    out = []
    for side, thing in zip((-1, 1), pair):
        h = min(size(rng, thing, high, wide, 0.5), y)

        def place(t, side=side, h=h, foot=y + rng.normal(0, 0.03) * high):
            s = ((t - t0) / period) % 1.0
            apart = max(0.0, 1 - s / 0.4) if s < 0.6 else (s - 0.6) / 0.4
            return x + side * (gap + reach * apart), foot, h

        out.append(place)
    return out


def act(rng, kind, play, t0, length, found, split):
    """Puts the actors of class `kind` on the stage."""
    high, wide = play.high, play.wide
    cast = [things.any_thing(rng, found, split) for _ in range(2 if kind == 1 else 1)]
    places = meeting(rng, cast, t0, high, wide) if kind == 1 else [(swinging if kind == 0 else circling)(rng, cast[0], t0, high, wide)]
    for thing, place in zip(cast, places):
        actor = render.Actor(rng, thing, render.LEFT, t0, length, place)
        actor.dress(rng, play.scene, 1.0, high)
        play.actors.append(actor)


def clip(seed, index, kind, found, split):
    """Luma u8 [TICKS,high,wide] of a clip of NAMES[kind]."""
    return staged(seed, index, kind, act, found, split, 0.6)


def written(folder, name, make):
    """Path of a Y4M clip, made if it is not there."""
    path = os.path.join(folder, name + ".y4m")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as f:
            f.write(y4m(make()))
        os.rename(path + ".new", path)
    return path


def answers(lookout, bundle, state, paths, taught):
    """The one label of each clip."""
    out = []
    for first in range(0, len(paths), 60):
        ask = [lookout, "classify", *bundle, "--json", "--state", state, *(["--taught"] if taught else []), *paths[first:first + 60]]
        said = subprocess.run(ask, stdout=subprocess.PIPE, check=True).stdout.decode()
        out += [json.loads(line)["label"] for line in said.splitlines()]
    return out


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--lookout", required=True)
    args.add_argument("--bundle", help="its folder, for a program with another one baked in")
    args.add_argument("--keep", required=True, help="folder where rendered clips are kept between runs")
    args.add_argument("--data", default="../../../shared/data")
    args.add_argument("--cache")
    args.add_argument("--ordinary", help="write this file instead of the table")
    args.add_argument("--ordinary-clips", type=int, default=280)
    args.add_argument("--nameless-clips", type=int, default=24, help="of each motion without a name; none: 0")
    args.add_argument("--set", choices=SEEDS, default="report")
    args.add_argument("--shots", type=int, nargs="+", default=[5, 1])
    args.add_argument("--rounds", type=int, default=6)
    args.add_argument("--pool", type=int, default=40, help="examples of a class to draw from")
    args.add_argument("--clips", type=int, default=60, help="exams of a new class")
    args.add_argument("--old", type=int, default=210, help="exams of the old classes")
    a = args.parse_args()
    loaded = []

    def found():
        if not loaded:
            loaded.append(footage.load(a.data, a.cache))
        return loaded[0]

    bundle = ["--bundle", a.bundle] if a.bundle else []
    empty = os.path.join(a.keep, "empty.toml")
    os.makedirs(a.keep, exist_ok=True)
    open(empty, "w").close()
    if a.ordinary:
        clips = [written(a.keep, f"ordinary/{i}", lambda i=i: render.clip(777, i, i % 7, found(), "train", exam=True)[0]) for i in range(a.ordinary_clips)]
        folder = f"nameless-{a.nameless_clips}"
        for k, n in enumerate(nameless.NAMES):
            for i in range(a.nameless_clips):
                written(a.keep, f"{folder}/{n}/{i}", lambda k=k, i=i: nameless.clip(555, i, k, found(), "train"))
        more = ["--nameless", os.path.join(a.keep, folder)] if a.nameless_clips else []
        subprocess.run([a.lookout, "teach", *bundle, "--config", empty, "--ordinary", "--to", a.ordinary, *more, *clips], check=True)
        return
    show, exam, known = SEEDS[a.set]
    pool = [[written(a.keep, f"{a.set}/show/{n}/{i}", lambda k=k, i=i: clip(show, i, k, found(), "train")) for i in range(a.pool)] for k, n in enumerate(NAMES)]
    exams = [[written(a.keep, f"{a.set}/exam/{n}/{i}", lambda k=k, i=i: clip(exam, i, k, found(), "test")) for i in range(a.clips)] for k, n in enumerate(NAMES)]
    old = [written(a.keep, f"{a.set}/old/{i}", lambda i=i: render.clip(known, i, i % 7, found(), "test", exam=True)[0]) for i in range(a.old)]
    truth = [render.LABELS[i % 7] for i in range(a.old)]
    share = lambda said, want: 100 * float(np.mean([s == w for s, w in zip(said, want)]))
    with tempfile.TemporaryDirectory() as state:
        before = share(answers(a.lookout, bundle, state, old, False), truth)
    print(f"old classes, nothing taught: {before:.1f} % of {a.old}", flush=True)
    print("alike: with one of the three forgotten (the first, the second, the third, ...), so many of its exams get the name of one of the other two")
    print("shots round " + " ".join(f"{n:>15}" for n in NAMES) + "   mean  old   (old - before)  alike", flush=True)
    for shots in a.shots:
        lines = []
        for r in range(a.rounds):
            rng = np.random.default_rng([shots, r])
            with tempfile.TemporaryDirectory() as state:
                teach = lambda *what: subprocess.run(
                    [a.lookout, "teach", *bundle, "--config", empty, "--state", state, *what], stdout=subprocess.DEVNULL
                ).returncode
                for name, paths in zip(NAMES, pool):
                    # Whoever is told that an example cannot be told from nothing shows another one.
                    for again in range(5):
                        shown = [paths[i] for i in rng.choice(a.pool, shots, replace=False)]
                        if teach(name, *shown) == 0:
                            break
                        print(f"round {r}: {name} was refused, other examples are shown", flush=True)
                new = [share(answers(a.lookout, bundle, state, paths, True), [n] * a.clips) for n, paths in zip(NAMES, exams)]
                after = share(answers(a.lookout, bundle, state, old, True), truth)
                teach("--forget", NAMES[r % 3])
                alike = 100 * float(np.mean([s in NAMES for s in answers(a.lookout, bundle, state, exams[r % 3], True)]))
            lines.append([*new, float(np.mean(new)), after, after - before, alike])
            m = lines[-1]
            print(f"{shots:5} {r:5} " + " ".join(f"{v:15.1f}" for v in m[:3]) + f" {m[3]:6.1f} {m[4]:5.1f} {m[5]:+5.1f} {m[6]:16.0f}", flush=True)
        m = np.mean(lines, 0)
        print(f"{shots:5}  mean " + " ".join(f"{v:15.1f}" for v in m[:3]) + f" {m[3]:6.1f} {m[4]:5.1f} {m[5]:+5.1f} {m[6]:16.0f}", flush=True)


if __name__ == "__main__":
    main()
