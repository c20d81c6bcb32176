"""Finds stretches of real footage in which one thing clearly moves, by methods that share nothing with the product.

Two witnesses have to agree on a label: Farneback's dense flow (signed, over what moves) and the path and size of the largest
foreground blob (frame differences against a background median where the clip is long enough). Everything is measured at 160
pixels of width and about 12.5 pictures a second. Thresholds are strict: what is left out is unclear, not idle.
"""

import cv2
import numpy as np

WIDTH = 160
RATE = 12.5
SPAN_S = 2.4


def read(path, turn=0, part=(0.0, 1.0)):
    """All frames of a clip as BGR, at most 640 wide, turned by `turn` quarter turns, and the frame rate.

    `part` is the stretch of the width that is kept, before turning."""
    cap = cv2.VideoCapture(path)
    rate = cap.get(cv2.CAP_PROP_FPS) or 25.0
    frames = []
    while True:
        ok, frame = cap.read()
        if not ok:
            break
        if frame.shape[1] > 640:
            height = int(round(frame.shape[0] * 640 / frame.shape[1] / 2)) * 2
            frame = cv2.resize(frame, (640, height), interpolation=cv2.INTER_AREA)
        frame = frame[:, int(part[0] * frame.shape[1]) : int(part[1] * frame.shape[1])]
        frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
        frames.append(np.rot90(frame, turn).copy() if turn else frame)
    cap.release()
    return frames, rate


class Tracks:
    """What moves in each picture of a clip: flow over the moving mask, and its blobs."""

    def __init__(self, frames, rate):
        self.step = max(1, int(round(rate / RATE)))
        self.rate = rate / self.step
        small = []
        for f in frames[:: self.step]:
            h = int(round(f.shape[0] * WIDTH / f.shape[1]))
            small.append(cv2.cvtColor(cv2.resize(f, (WIDTH, h), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY))
        self.gray = np.stack(small)
        self.height = self.gray.shape[1]
        self.quiet = []  # energy of change per picture, 0 = still
        self.shift = []  # median flow: the camera itself
        self.blobs = []  # per picture: list of (energy, area, cx, cy, u, v, touches, growth)
        self.change = []
        for k in range(1, len(small)):
            self.measure(k)

    def background(self, k):
        """Median of pictures up to 20 s away, for clips long enough to have seen the scene without the mover."""
        if len(self.gray) < 10 * RATE:
            return None
        lo, hi = max(0, k - 250), min(len(self.gray), k + 250)
        key = (lo // 50, hi // 50)
        if getattr(self, "key", None) != key:
            self.key, self.median = key, np.median(self.gray[lo:hi:10], axis=0).astype(np.uint8)
        return self.median

    def measure(self, k):
        a, b = self.gray[k - 1], self.gray[k]
        flow = cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 13, 3, 5, 1.1, 0)
        median = np.median(flow.reshape(-1, 2), axis=0)
        self.shift.append(float(np.hypot(*median)))
        speed = np.hypot(flow[..., 0], flow[..., 1])
        change = cv2.GaussianBlur(cv2.absdiff(a, b), (3, 3), 0)
        self.change.append(float((change > 8).mean()))
        moving = (speed > 0.5) & (cv2.dilate(change, np.ones((5, 5))) > 8)
        background = self.background(k)
        if background is not None:
            moving &= cv2.dilate(cv2.absdiff(b, background), np.ones((5, 5))) > 14
        self.quiet.append(float((speed * moving).sum()))
        mask = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7)))
        number, labels, stats, centres = cv2.connectedComponentsWithStats(mask)
        blobs = []
        for n in range(1, number):
            x, y, w, h, area = stats[n]
            if area < 25:
                continue
            inside = labels == n
            f = flow[inside]
            ys, xs = np.nonzero(inside)
            rx, ry = xs - centres[n][0], ys - centres[n][1]
            spread = (rx * (f[:, 0] - f[:, 0].mean()) + ry * (f[:, 1] - f[:, 1].mean())).sum() / max(1.0, (rx**2 + ry**2).sum())
            touches = x <= 1 or x + w >= WIDTH - 1  # left or right: its width is not all of it
            blobs.append((float(speed[inside].sum()), float(area), float(centres[n][0]), float(centres[n][1]),
                          float(f[:, 0].mean()), float(f[:, 1].mean()), bool(touches), float(spread), float(w), float(h)))
        self.blobs.append(sorted(blobs, reverse=True))

    def path(self, lo, hi):
        """The dominant blob's way through pictures lo..hi: rows of (k, energy, area, cx, cy, u, v, touches, spread, w, h)."""
        best = max(range(lo, hi), key=lambda k: self.blobs[k][0][0] if self.blobs[k] else 0.0)
        if not self.blobs[best]:
            return np.zeros((0, 11))
        rows = {best: self.blobs[best][0]}
        for order in (range(best + 1, hi), range(best - 1, lo - 1, -1)):
            last, missed = rows[best], 0
            for k in order:
                near = [b for b in self.blobs[k] if np.hypot(b[2] - last[2], b[3] - last[3]) < 0.10 * WIDTH * (1 + missed)]
                if not near:
                    missed += 1
                    if missed > 3:
                        break
                    continue
                last, missed = max(near), 0
                rows[k] = last
        return np.array([[k, *map(float, rows[k])] for k in sorted(rows)])


def verdict(t, lo, hi):
    """Label, score and a note for pictures lo..hi of a clip, or None where it is not clear."""
    if np.median(t.shift[lo:hi]) > 0.2 or np.max(t.shift[lo:hi]) > 1.0:
        return None
    p = t.path(lo, hi)
    everything = [b for k in range(lo, hi) for b in t.blobs[k]]
    total = sum(b[0] for b in everything)
    if len(p) < 0.5 * (hi - lo) or len(p) < 10 or total <= 0:
        return None
    k, energy, area, cx, cy, u, v, touches, spread, w, h = p.T
    if max(k[0] - lo, hi - 1 - k[-1]) > 0.35 * (hi - lo):
        return None  # over before a window is full, or in the reversed twin
    share = energy.sum() / total
    if share < 0.5 or not 0.006 < np.median(area) / (WIDTH * t.height) < 0.4:
        return None
    # The flow of all that moves, not only of the largest: two people who pass each other are no label.
    su, sv = (sum(b[n] * b[1] for b in everything) / total for n in (4, 5))
    third = max(3, len(p) // 4)
    dx = (np.median(cx[-third:]) - np.median(cx[:third])) / WIDTH
    dy = (np.median(cy[-third:]) - np.median(cy[:third])) / t.height
    tall = dy * t.height / WIDTH  # in widths, as dx
    same = (np.sign(u) == np.sign(dx)).mean()
    note = f"share {share:.2f} flow {su:+.2f},{sv:+.2f} path {dx:+.2f},{dy:+.2f} steady {same:.2f}"
    if abs(dx) > 0.12 and np.sign(su) == np.sign(dx) and abs(su) > 0.65 and abs(sv) < 0.5 * abs(su) and same > 0.8 \
            and abs(tall) < 0.6 * abs(dx) and (abs(dx) > 0.2 or (same > 0.95 and np.median(area) > 0.025 * WIDTH * t.height)) \
            and not (abs(tall) > 0.25 * abs(dx) and np.sqrt(w * h)[-third:].mean() > 2.5 * np.sqrt(w * h)[:third].mean()):
        return ("right" if dx > 0 else "left"), share * abs(su) * min(0.5, abs(dx)), note
    if touches.mean() < 0.2 and share > 0.85:
        size = np.where(np.abs(sv) > 0.45, w, np.sqrt(w * h))  # something that leaves below keeps its width
        growth = np.median(size[-third:]) / np.median(size[:third])
        trend = np.corrcoef(np.arange(len(size)), size)[0, 1]
        way = np.median(spread)
        note += f" size x{growth:.2f} trend {trend:+.2f} spread {way:+.4f}"
        larger = np.sign(growth - 1)
        # Down the picture and larger is nearer, for every camera that looks down; and so is swelling on the spot.
        walks = abs(sv) > 0.45 and abs(tall) > 0.06 and np.sign(sv) == np.sign(dy) == larger and abs(dx) < 0.6 * abs(tall) \
            and max(growth, 1 / growth) > 1.15 and abs(su) < 0.5
        looms = abs(dx) < 0.1 and abs(tall) < 0.12 and abs(su) < 0.5 and max(growth, 1 / growth) > 1.35 and np.sign(way) == larger
        if abs(trend) > 0.6 and np.sign(trend) == larger and (walks or looms):
            return ("toward" if growth > 1 else "away"), share * abs(trend) * min(1.0, abs(np.log(growth))), note
    return None


def still(t, lo, hi):
    """Whether pictures lo..hi show nothing that moves: no blob to speak of, hardly a pixel that changes, camera at rest."""
    blobs = [b for k in range(lo, hi) for b in t.blobs[k] if b[1] > 40]
    return len(blobs) <= 1 and np.max(t.change[lo:hi]) < 0.004 and np.max(t.shift[lo:hi]) < 0.1


def segments(t, most):
    """The clearest non-overlapping stretches: (label, lo, hi, score, note), best first, and the still ones."""
    n = len(t.blobs)
    span = min(n, int(SPAN_S * t.rate))
    found, calm = [], []
    for lo in range(0, n - span + 1, max(1, int(0.3 * t.rate))):
        v = verdict(t, lo, lo + span)
        if v:
            found.append((v[0], lo, lo + span, v[1], v[2]))
        elif still(t, lo, lo + span):
            calm.append(("idle", lo, lo + span, 0.0, "nothing moves"))
    chosen = []
    for s in sorted(found, key=lambda s: -s[3]):
        if len(chosen) < most and all(s[2] <= c[1] or s[1] >= c[2] for c in chosen):
            chosen.append(s)
    quiet = []
    for s in calm:
        if all(s[2] <= c[1] or s[1] >= c[2] for c in quiet):
            quiet.append(s)
    return chosen, quiet
