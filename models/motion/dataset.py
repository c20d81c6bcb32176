"""Renders and shapes clips into numpy shards: what the training reads.

    python3 dataset.py --out DIR --clips 6000 --seed 1 [--split train] [--data ../../../shared/data]

Each shard is three files: .x.npy u8 [N,TICKS,64,64,5] (levels from shaper.py, which is the device's arithmetic in numpy: check_shaper.py;
planes last, as the convolutions want them), .y.npy i8 [N,TICKS] (class or -1), .main.npy i8 [N] (class or -1 for mixed plays).

Needs: python3-opencv, python3-numpy.
"""
import argparse
import os

import cv2
import numpy as np

import footage
import render
import shaper

SHARD = 250


def main_of(index, classes=None):
    """Half of the clips are mixed plays, half belong to one class, in turn; with `classes`, all belong to those."""
    if classes:
        return classes[index % len(classes)]
    return None if index % 2 else (index // 2) % 7


def shard(job):
    """Renders one shard; a shard that exists is left alone."""
    path, seed, first, count, split, data, cache, classes = job
    if os.path.exists(path + ".x.npy"):
        return path
    cv2.setNumThreads(1)
    found = footage.load(data, cache)
    x = np.empty((count, render.TICKS, shaper.SIZE, shaper.SIZE, 5), np.uint8)
    y = np.empty((count, render.TICKS), np.int8)
    for i in range(count):
        luma, y[i] = render.clip(seed, first + i, main_of(first + i, classes), found, split)
        x[i] = shaper.shape(luma).transpose(0, 2, 3, 1)
    mains = [main_of(first + i, classes) for i in range(count)]
    mains = np.array([-1 if m is None else m for m in mains], np.int8)
    np.save(path + ".y.npy", y)
    np.save(path + ".main.npy", mains)
    np.save(path + ".part.npy", x)
    os.rename(path + ".part.npy", path + ".x.npy")  # last: a shard with an x is whole
    return path


if __name__ == "__main__":
    import multiprocessing
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--out", required=True)
    args.add_argument("--clips", type=int, default=6000)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--split", default="train")
    args.add_argument("--data", default="../../../shared/data")
    args.add_argument("--cache", help="where read footage is kept between runs (.pkl)")
    args.add_argument("--workers", type=int, default=2)
    args.add_argument("--classes", nargs="*", help="only clips of these classes")
    a = args.parse_args()
    only = [render.LABELS.index(c) for c in a.classes or []]
    os.makedirs(a.out, exist_ok=True)
    jobs = [(os.path.join(a.out, f"{a.split}-{a.seed}-{n:03}"), a.seed, n * SHARD, SHARD, a.split, a.data, a.cache, only)
            for n in range((a.clips + SHARD - 1) // SHARD)]
    with multiprocessing.Pool(a.workers) as pool:
        for path in pool.imap(shard, jobs):
            print(path, flush=True)
