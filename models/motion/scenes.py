"""Backgrounds, light and weather of a rendered clip: everything that is not the thing to be recognised.

Needs: python3-opencv, python3-numpy.
"""
import cv2
import numpy as np

from things import noise


def drawn(rng, high, wide):
    """A made-up place: street, room, wall or clutter, luma f32."""
    kind = rng.random() * 1.15
    out = np.full((high, wide), rng.uniform(50, 190), np.float32)
    if kind >= 1.0:  # bare ground or wall, but sharp: grain, specks, a line, a corner of something
        out += rng.standard_normal((high, wide)).astype(np.float32) * rng.uniform(1, 6)
        for _ in range(rng.integers(2, 14)):
            x, y = int(rng.integers(0, wide)), int(rng.integers(0, high))
            cv2.circle(out, (x, y), int(rng.integers(1, 3)), rng.uniform(30, 230), -1)
        for _ in range(rng.integers(1, 4)):
            (x, y), (u, v) = rng.uniform(-0.2, 1.2, 2), rng.uniform(-0.4, 0.4, 2)
            cv2.line(out, (int(x * wide), int(y * high)), (int((x + u) * wide), int((y + v) * high)), rng.uniform(40, 230), int(rng.integers(1, 4)), cv2.LINE_AA)
    elif kind < 0.35:  # outside: sky, ground, houses
        line = int(high * rng.uniform(0.2, 0.6))
        out[:line] = rng.uniform(90, 240)
        out[line:] = rng.uniform(40, 160)
        out[line:] += noise(rng, high - line, wide, 3, 6) * rng.uniform(1, 12)
        for _ in range(rng.integers(0, 6)):
            w, h = int(wide * rng.uniform(0.1, 0.4)), int(line * rng.uniform(0.3, 1.0))
            x = int(rng.integers(-w // 2, wide))
            level = rng.uniform(30, 200)
            cv2.rectangle(out, (x, line - h), (x + w, line + 2), level, -1)
            step = rng.integers(5, 12)
            for wy in range(line - h + 3, line - 3, step):
                for wx in range(x + 3, x + w - 3, step):
                    cv2.rectangle(out, (wx, wy), (wx + step // 3, wy + step // 2), level + rng.uniform(-60, 60), -1)
        for _ in range(rng.integers(0, 5)):
            x = int(rng.integers(0, wide))
            cv2.line(out, (x, high), (int(wide / 2 + rng.normal(0, 20)), line), rng.uniform(60, 230), int(rng.integers(1, 3)), cv2.LINE_AA)
    elif kind < 0.6:  # inside: walls, floor, furniture
        corner = int(high * rng.uniform(0.4, 0.75))
        out[corner:] = rng.uniform(40, 190)
        if rng.random() < 0.5:
            step = int(rng.integers(6, 24))
            grid = (np.add.outer(np.arange(high) // step, np.arange(wide) // step) % 2) * rng.uniform(5, 70)
            out[corner:] += grid[corner:]
        for _ in range(rng.integers(2, 9)):
            x, y = int(rng.integers(0, wide)), int(rng.integers(0, high))
            w, h = int(wide * rng.uniform(0.05, 0.35)), int(high * rng.uniform(0.05, 0.4))
            cv2.rectangle(out, (x, y), (x + w, y + h), rng.uniform(10, 240), -1)
            if rng.random() < 0.4:
                cv2.rectangle(out, (x, y), (x + w, y + h), rng.uniform(10, 240), 1)
    elif kind < 0.85:  # texture
        out += noise(rng, high, wide, int(rng.integers(2, 6)), rng.uniform(2, 10)) * rng.uniform(8, 45)
    else:  # clutter
        for _ in range(rng.integers(10, 60)):
            centre = (int(rng.integers(0, wide)), int(rng.integers(0, high)))
            size = (int(rng.integers(1, wide // 5)), int(rng.integers(1, high // 5)))
            cv2.ellipse(out, centre, size, rng.uniform(0, 180), 0, 360, rng.uniform(10, 245), -1, cv2.LINE_AA)
    slope = rng.normal(0, 15, 2)
    out += np.linspace(-slope[0], slope[0], wide)[None] + np.linspace(-slope[1], slope[1], high)[:, None]
    return out + noise(rng, high, wide, 4, 16) * rng.uniform(0, 5)


def real(rng, high, wide, pictures):
    """A piece of a real picture, mirrored or not, luma f32."""
    picture = pictures[rng.integers(len(pictures))]
    part = rng.uniform(0.6, 1.0)
    h, w = int(picture.shape[0] * part), int(picture.shape[1] * part)
    y, x = rng.integers(0, picture.shape[0] - h + 1), rng.integers(0, picture.shape[1] - w + 1)
    out = cv2.resize(picture[y:y + h, x:x + w], (wide, high), interpolation=cv2.INTER_AREA).astype(np.float32)
    return out[:, ::-1].copy() if rng.random() < 0.5 else out


def background(rng, high, wide, pictures):
    """A background with structure in it, luma f32, and how dark the night is (1: day)."""
    found = bool(pictures) and rng.random() < 0.55
    out = real(rng, high, wide, pictures) if found else drawn(rng, high, wide)
    out = (out - out.mean()) * rng.uniform(0.6, 1.2) + np.clip(out.mean() + rng.normal(0, 20), 45, 205)
    if not found and out.std() < 9 and rng.random() < 0.7:  # a made-up wall with nothing on it could be a covered lens
        for _ in range(4):
            x, y = int(rng.integers(0, wide)), int(rng.integers(0, high))
            cv2.rectangle(out, (x, y), (x + wide // 6, y + high // 5), rng.uniform(20, 230), int(rng.choice([-1, 1])))
    night = 1.0
    if rng.random() < 0.12:  # night: little light, a lamp somewhere; the scene can still be made out
        night = rng.uniform(0.18, 0.45)
        lamp = np.zeros_like(out)
        for _ in range(rng.integers(0, 3)):
            cv2.circle(lamp, (int(rng.integers(0, wide)), int(rng.integers(0, high))), int(rng.integers(2, wide // 8)), 220.0, -1)
        out = out * night + rng.uniform(0, 12) + cv2.GaussianBlur(lamp, (0, 0), wide * 0.03) * rng.uniform(0.3, 1)
    if rng.random() < 0.15:  # bars and a clock burnt in by a recorder
        bar = int(high * rng.uniform(0.03, 0.13))
        out[:bar] = 0
        out[-bar:] = 0
    if rng.random() < 0.15:
        ink = np.zeros(out.shape, np.uint8)  # OpenCV 5 draws text on bytes only
        cv2.putText(ink, f"{rng.integers(10, 99)}:{rng.integers(10, 59)} CAM", (int(rng.integers(0, wide // 2)), int(rng.choice([9, high - 3]))),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.3, 255, 1)
        out[ink > 0] = 240.0
    return np.clip(out, 0, 255), night


class Light:
    """Gain over time: still, drifting, flickering, or a lamp switched on or off; the camera's exposure may follow."""

    def __init__(self, rng, high, wide, length, calm):
        kind = rng.random() * (1.7 if calm else 1.0)
        self.drift = self.flicker = self.step = 0.0
        self.mask = None
        self.hz, self.at, self.settle = rng.uniform(0.5, 6), rng.uniform(0, length), rng.choice([0.0, rng.uniform(0.2, 1.2)])
        if kind < 0.25:
            self.drift = rng.uniform(-0.2, 0.2)
        elif kind < 0.4:
            self.flicker = rng.uniform(0.01, 0.08)
        elif kind < 0.65:
            self.step = rng.uniform(-0.65, -0.2) if rng.random() < 0.5 else rng.uniform(0.2, 1.0)
            if rng.random() < 0.4:
                spot = np.zeros((high, wide), np.float32)
                cv2.circle(spot, (int(rng.integers(0, wide)), int(rng.integers(0, high))), int(wide * rng.uniform(0.1, 0.4)), 1.0, -1)
                self.mask = cv2.GaussianBlur(spot, (0, 0), wide * rng.uniform(0.03, 0.15))

    def apply(self, frame, t):
        """The frame under this light at t seconds."""
        gain = 1.0 + self.drift * t + self.flicker * np.sin(2 * np.pi * self.hz * t)
        if self.step and t >= self.at:
            step = self.step * (np.exp(-(t - self.at) / self.settle) * 0.8 + 0.2 if self.settle else 1.0)
            if self.mask is not None:
                return frame * (gain + step * self.mask)
            gain += step
        return frame if gain == 1.0 else frame * np.float32(gain)


class Weather:
    """Rain or snow: streaks that are new in every picture."""

    def __init__(self, rng, odds):
        self.rng = rng
        self.count = int(rng.integers(5, 70)) if rng.random() < odds else 0
        self.lean, self.length = rng.uniform(-0.35, 0.35), rng.uniform(0.01, 0.14)
        self.level, self.thick = rng.uniform(10, 60) * rng.choice([1, 1, -1]), int(rng.choice([1, 1, 2]))

    def apply(self, frame):
        """Adds this picture's streaks, in place."""
        if self.count:
            high, wide = frame.shape
            veil = np.zeros_like(frame)
            for x, y in self.rng.uniform(0, 1, (self.count, 2)):
                a = (int(x * wide), int(y * high))
                b = (int(a[0] + self.lean * self.length * high), int(a[1] + self.length * high))
                cv2.line(veil, a, b, float(self.level), self.thick, cv2.LINE_AA)
            frame += veil


class Camera:
    """What the sensor and the wire do to a picture: blur, grain, few pixels, JPEG blocks."""

    def __init__(self, rng, high, wide):
        self.rng = rng
        self.blur = rng.uniform(0.4, 1.3) * wide / 160 if rng.random() < 0.35 else 0.0
        self.grain = rng.choice([rng.uniform(0, 1.5), rng.uniform(1.5, 4), rng.uniform(4, 10)], p=[0.5, 0.35, 0.15])
        self.pool = rng.standard_normal(high * wide * 2).astype(np.float32) * self.grain
        self.small = rng.uniform(0.45, 0.9) if rng.random() < 0.12 else 1.0
        self.quality = int(rng.integers(15, 85)) if rng.random() < 0.35 else 0
        self.shade = None
        if rng.random() < 0.2:
            y, x = np.ogrid[-1:1:high * 1j, -1:1:wide * 1j]
            self.shade = (1 - rng.uniform(0.1, 0.5) * (x * x + y * y) / 2).astype(np.float32)

    def apply(self, frame):
        """u8 picture from f32 light."""
        high, wide = frame.shape
        if self.shade is not None:
            frame = frame * self.shade
        if self.blur:
            frame = cv2.GaussianBlur(frame, (0, 0), self.blur)
        if self.small < 1:
            frame = cv2.resize(cv2.resize(frame, (int(wide * self.small), int(high * self.small)), interpolation=cv2.INTER_AREA), (wide, high))
        start = int(self.rng.integers(0, high * wide))
        out = cv2.add(frame, self.pool[start:start + high * wide].reshape(high, wide), dtype=cv2.CV_8U)
        if self.quality:
            out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1], cv2.IMREAD_GRAYSCALE)
        return out
