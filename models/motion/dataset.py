"""Renders and shapes clips into numpy shards: what the training reads.

    python3 dataset.py --out DIR --clips 6000 --seed 1 [--split train] [--data ../../../shared/data] [--lookout PATH]

Each shard: x u8 [N,TICKS,5,64,64] (shaped levels), y i8 [N,TICKS] (class or -1), main i8 [N]. With --lookout the device's
own shaper makes the levels (`lookout shape`); without it, shaper.py, which is the same arithmetic in numpy.

Needs: python3-opencv, python3-numpy.
"""
import argparse
import os
import subprocess

import cv2
import numpy as np

import footage
import render
import shaper

SHARD = 250


def y4m(clips):
    """Clips of one size, one after the other, as a Y4M stream of luma with neutral chroma; for `lookout shape`."""
    high, wide = clips[0].shape[1:]
    grey = np.full(2 * ((high + 1) // 2) * ((wide + 1) // 2), 128, np.uint8).tobytes()
    parts = [f"YUV4MPEG2 W{wide} H{high} F10:1 Ip A1:1 C420jpeg\n".encode()]
    for clip in clips:
        for picture in clip:
            parts += [b"FRAME\n", picture.tobytes(), grey]
    return b"".join(parts)


def main_of(index):
    """Half of the clips are mixed plays, half belong to one class, in turn."""
    return None if index % 2 else (index // 2) % 7


def shard(job):
    """Renders one shard; a shard that exists is left alone."""
    path, seed, first, count, split, data, cache = job
    if os.path.exists(path):
        return path
    cv2.setNumThreads(1)
    found = footage.load(data, cache)
    x = np.empty((count, render.TICKS, 5, shaper.SIZE, shaper.SIZE), np.uint8)
    y = np.empty((count, render.TICKS), np.int8)
    for i in range(count):
        luma, y[i] = render.clip(seed, first + i, main_of(first + i), found, split)
        x[i] = shaper.shape(luma)
    mains = np.array([-1 if main_of(first + i) is None else main_of(first + i) for i in range(count)], np.int8)
    np.savez(path + ".part.npz", x=x, y=y, main=mains)
    os.rename(path + ".part.npz", path)
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
    a = args.parse_args()
    os.makedirs(a.out, exist_ok=True)
    jobs = [(os.path.join(a.out, f"{a.split}-{a.seed}-{n:03}.npz"), a.seed, n * SHARD, SHARD, a.split, a.data, a.cache)
            for n in range((a.clips + SHARD - 1) // SHARD)]
    with multiprocessing.Pool(a.workers) as pool:
        for path in pool.imap(shard, jobs):
            print(path, flush=True)
