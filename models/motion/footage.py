"""Real frames for the renderer: backgrounds, textures and cut-out people from ../shared/data, split by scene.

Reads fight_surv (MIT) and demo_intel-sample-videos (CC-BY-4.0) and nothing else. For every clip: the per-pixel median
over time (the empty scene, mostly), two raw frames, and sequences of moving things cut out by their difference from the
median. Scenes, not clips, are split into train, val and test, so that a test background has never been trained on.

Needs: python3-opencv, python3-numpy.  Use: footage.load(folder, cache) -> Footage, or None where the folder is missing.
"""
import csv
import hashlib
import os
import pickle

import cv2
import numpy as np

WIDE = 256  # pixels; footage is kept at this width, luma only


class Footage:
    """Backgrounds (list of u8 [H,W]) and sprites (list of lists of (luma u8, alpha u8)) per split."""

    def __init__(self):
        self.backgrounds = {"train": [], "val": [], "test": []}
        self.sprites = {"train": [], "val": [], "test": []}


def split_of(scene):
    """train (70 %), val (10 %) or test (20 %), from the scene's name alone."""
    n = int(hashlib.sha256(scene.encode()).hexdigest()[:8], 16) % 10
    return "train" if n < 7 else "val" if n == 7 else "test"


def read_clip(path, hz=10.0, most=40):
    """Luma frames u8 [N,H,W] of a clip, about `hz` a second, at most `most`."""
    clip = cv2.VideoCapture(path)
    fps = clip.get(cv2.CAP_PROP_FPS) or 25.0
    frames, k = [], 0
    while len(frames) < most:
        ok, frame = clip.read()
        if not ok:
            break
        if int(k * hz / fps) >= len(frames):
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            frames.append(cv2.resize(grey, (WIDE, max(96, int(WIDE * grey.shape[0] / grey.shape[1]))), interpolation=cv2.INTER_AREA))
        k += 1
    return np.stack(frames) if frames else np.zeros((0, 96, WIDE), np.uint8)


def cut_outs(frames, empty):
    """Sequences of moving things: blobs that differ from the empty scene and overlap from frame to frame."""
    high, wide = empty.shape
    tracks, done = [], []
    for frame in frames:
        change = cv2.GaussianBlur(cv2.absdiff(frame, empty), (5, 5), 0)
        mask = cv2.morphologyEx((change > 22).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        count, labels, stats, centres = cv2.connectedComponentsWithStats(mask)
        fresh = []
        for i in range(1, count):
            x, y, w, h, area = stats[i]
            if not (0.14 * high < h < 0.9 * high and w < 0.6 * wide and area > 0.3 * w * h):
                continue
            alpha = cv2.GaussianBlur((labels[y:y + h, x:x + w] == i).astype(np.uint8) * 255, (3, 3), 0)
            fresh.append((centres[i], frame[y:y + h, x:x + w].copy(), alpha))
        going = []
        for track in tracks:
            best = min(fresh, key=lambda f: np.hypot(*(f[0] - track[-1][0])), default=None)
            if best is not None and np.hypot(*(best[0] - track[-1][0])) < 0.08 * wide and 0.7 < best[1].shape[0] / track[-1][1].shape[0] < 1.4:
                track.append(best)
                going.append(track)
                fresh = [f for f in fresh if f is not best]
            else:
                done.append(track)
        tracks = going + [[f] for f in fresh]
    out = []
    for track in done + tracks:
        moved = np.hypot(*(track[-1][0] - track[0][0]))
        if len(track) >= 6 and moved > 0.04 * wide:
            out.append([(luma, alpha) for _, luma, alpha in track[:14]])
    return out


def load(folder, cache=None):
    """All footage below `folder` (the project's ../shared/data), or None where it is missing."""
    if cache and os.path.exists(cache):
        with open(cache, "rb") as f:
            return pickle.load(f)
    listing = os.path.join(folder, "fight_surv", "labels.csv")
    if not os.path.exists(listing):
        return None
    with open(listing, newline="") as f:
        clips = [(row["file"], row["scene_group"]) for row in csv.DictReader(f)]
    found = Footage()
    paths = [(os.path.join(folder, "fight_surv", name), scene) for name, scene in clips]
    paths.append((os.path.join(folder, "demo_intel-sample-videos", "car-detection.mp4"), None))
    for path, scene in paths:
        split = split_of(scene) if scene else "train"
        frames = read_clip(path, most=40 if scene else 300)
        if len(frames) < 8:
            continue
        empty = np.median(frames, axis=0).astype(np.uint8)
        found.backgrounds[split] += [empty, frames[0], frames[len(frames) // 2]] if scene else list(frames[::8])  # a bare road: rare, and must not pass for a cover
        if "noFight" in path or not scene:
            found.sprites[split] += cut_outs(frames, empty)
    if cache:
        with open(cache, "wb") as f:
            pickle.dump(found, f)
    return found
