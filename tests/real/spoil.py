"""A knock and a cover, put on real footage. Nothing here knows how the training recipe renders them.

A knock moves the whole picture as a damped swing, averaged over the exposure; the picture is cropped by the largest swing
first, so that no border ever shows. A cover comes within a third of a second or slower and stays to the end.
"""

import cv2
import numpy as np


def knock(frames, rate, rng):
    """Frames shaken once or twice, the first time after 0.9 s, when a window is about full; what was done, in words."""
    h, w = frames[0].shape[:2]
    knocks, words = [], []
    for n in range(int(rng.integers(1, 3))):
        size, angle = rng.uniform(0.02, 0.055) * w, rng.uniform(0, 2 * np.pi)
        start, swing, decay = rng.uniform(0.9, 1.3) + 0.4 * n, rng.uniform(2.5, 7.0), rng.uniform(0.15, 0.45)
        knocks.append((start, size * np.cos(angle), size * np.sin(angle) * 0.8, swing, decay, rng.uniform(-0.6, 0.6)))
        words.append(f"{100 * size / w:.1f} % at {start:.2f} s, {swing:.1f} Hz")
    edge = int(np.ceil(sum(np.hypot(k[1], k[2]) for k in knocks) + 0.012 * w)) + 1

    def place(t):
        x = y = turn = 0.0
        for start, ax, ay, swing, decay, degrees in knocks:
            if t >= start:
                s = np.exp(-(t - start) / decay) * np.sin(2 * np.pi * swing * (t - start))
                x, y, turn = x + ax * s, y + ay * s, turn + degrees * s
        return x, y, turn

    out = []
    for k, frame in enumerate(frames):
        total = np.zeros((h, w, 3), np.float32)
        for part in range(3):
            x, y, turn = place((k + part / 6) / rate)
            # From the middle of the picture, turned and moved, zoomed so that `edge` pixels are cut on the long side.
            zoom = w / (w - 2.0 * edge)
            m = cv2.getRotationMatrix2D((w / 2, h / 2), turn, zoom)
            m[:, 2] += (x * zoom, y * zoom)
            total += cv2.warpAffine(frame, m, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        out.append(np.clip(np.rint(total / 3), 0, 255).astype(np.uint8))
    return out, "knocked " + "; ".join(words)


def soft(rng, h, w, sigma):
    """A smooth random field in -1..1."""
    field = cv2.GaussianBlur(cv2.resize(rng.standard_normal((9, 12)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC), (0, 0), sigma)
    return field / (np.abs(field).max() + 1e-6)


def cover(frames, rate, rng, kind):
    """Frames that get covered: `dark` (cloth, tape), `bright` (a torch), `hand` (out of focus, warm, moving a little)."""
    h, w = frames[0].shape[:2]
    start, takes = rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.6)
    side = rng.uniform(0, 2 * np.pi)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    along = (xx / w - 0.5) * np.cos(side) + (yy / h - 0.5) * np.sin(side)  # -0.71..0.71
    along += 0.05 * soft(rng, h, w, w / 20)
    blur = rng.uniform(0.04, 0.15)
    field = soft(rng, h, w, w / 8)[..., None]
    if kind == "dark":
        body = np.full((h, w, 3), rng.uniform(4, 28), np.float32) + 4 * field
    elif kind == "bright":
        body = np.full((h, w, 3), rng.uniform(238, 255), np.float32) + 6 * field
    else:
        body = np.float32([rng.uniform(40, 90), rng.uniform(60, 110), rng.uniform(100, 170)]) * (1 + 0.25 * field)
    centre = (rng.uniform(0.35, 0.65) * w, rng.uniform(0.35, 0.65) * h)
    radius = np.hypot((xx - centre[0]) / w, (yy - centre[1]) / w)
    out = []
    for k, frame in enumerate(frames):
        done = np.clip((k / rate - start) / takes, 0, 1)
        done = done * done * (3 - 2 * done)
        if kind == "bright":
            part = np.clip((done * 1.6 - radius) / 0.35, 0, 1) * 0.98 + 0.02 * done
        else:
            part = np.clip((done * (1.5 + 2 * blur) - 0.75 - blur - along) / blur + 0.5, 0, 1)
        moved = body
        if kind == "hand":
            sway = np.float32([[1, 0, 0.01 * w * np.sin(2.2 * k / rate)], [0, 1, 0.008 * w * np.cos(1.7 * k / rate)]])
            moved = cv2.warpAffine(body, sway, (w, h), borderMode=cv2.BORDER_REFLECT)
        noise = rng.normal(0, 2.0, (h, w, 1)).astype(np.float32)
        mixed = frame * (1 - part[..., None]) + (moved + noise) * part[..., None]
        out.append(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
    return out, f"{kind} cover at {start:.2f} s within {takes:.2f} s"
