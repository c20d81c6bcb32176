"""Things that move in front of the box: each draws itself as (luma, alpha) patches, feet at the bottom edge.

A thing is a list of poses (luma f32 [h,w] 0..255, alpha f32 [h,w] 0..1), MASTER pixels high, and `stride`: poses shown per second of its own
rhythm. Luma patterns are drawn around 0 with contrast 1 and are given level and contrast against the scene later, except
for cut-outs from real footage, which keep their own (`real`).

Needs: python3-opencv, python3-numpy.
"""
import cv2
import numpy as np

MASTER = 64  # height of a drawn pose in pixels


class Thing:
    """Poses of one thing, with smaller copies so that shrinking never aliases."""

    def __init__(self, poses, stride, real=False, rigid=False):
        self.stride, self.real, self.rigid = stride, real, rigid
        self.high = poses[0][0].shape[0]
        self.wide = poses[0][0].shape[1]
        self.levels = [poses]
        while self.levels[-1][0][0].shape[0] >= 10 and self.levels[-1][0][0].shape[1] >= 6:
            self.levels.append([tuple(cv2.resize(p, (max(2, p.shape[1] // 2), max(2, p.shape[0] // 2)), interpolation=cv2.INTER_AREA)
                                      for p in pose) for pose in self.levels[-1]])

    def pose(self, phase, height):
        """(luma, alpha) at phase (s) for a height on screen in pixels."""
        i = int(phase * self.stride) % len(self.levels[0]) if self.stride else 0
        level = 0
        while level + 1 < len(self.levels) and self.levels[level + 1][0][0].shape[0] >= height:
            level += 1
        return self.levels[level][i]


def noise(rng, high, wide, octaves=3, cell=4.0):
    """Value noise, mean 0, standard deviation 1."""
    out = np.zeros((high, wide), np.float32)
    for o in range(octaves):
        n = max(2, int(cell * 2 ** o))
        small = rng.standard_normal((max(2, int(n * high / max(wide, 1)) + 1), n)).astype(np.float32)
        out += cv2.resize(small, (wide, high), interpolation=cv2.INTER_CUBIC) * 0.6 ** o
    return (out - out.mean()) / (out.std() + 1e-6)


def walker(rng):
    """A person: legs and arms swing, two tones of clothes."""
    high, wide, poses = MASTER, 44, []
    top, legs, skin = rng.normal(0, 1, 3)
    build = rng.uniform(0.75, 1.5)
    swing = rng.uniform(0.3, 0.75)
    frontal = rng.random() < 0.35
    pattern = noise(rng, high, wide, 2, 5) * rng.uniform(0, 0.6)
    for p in range(12):
        a = 2 * np.pi * p / 12
        luma = np.zeros((high, wide), np.float32)
        alpha = np.zeros((high, wide), np.float32)
        bob = 1.2 * abs(np.sin(a))
        cx, hip, neck = wide / 2, 34 + bob, 13 + bob

        def limb(x0, y0, x1, y1, thick, level):
            q = (int(x0 * 8), int(y0 * 8)), (int(x1 * 8), int(y1 * 8))
            cv2.line(alpha, *q, 1.0, max(1, int(thick * build)), cv2.LINE_AA, 3)
            cv2.line(luma, *q, float(level), max(1, int(thick * build)) + 1, cv2.LINE_8, 3)

        for s in (1, -1):
            t = s * swing * np.sin(a)
            if frontal:
                limb(cx + s * 3, hip, cx + s * 3.5, 62 - 5 * max(0, s * np.sin(a)), 6, legs)
                limb(cx + s * 7, neck + 3, cx + s * 8.5, neck + 20 + 2 * s * np.sin(a), 4, top * 0.8)
            else:
                knee = hip + 13 * np.cos(t), cx + 13 * np.sin(t)
                limb(cx, hip, knee[1], knee[0], 6, legs)
                limb(knee[1], knee[0], knee[1] + 14 * np.sin(t - 0.5 * max(0, np.cos(a) * s)), min(62, knee[0] + 14 * np.cos(t)), 5, legs)
                limb(cx, neck + 3, cx - 15 * np.sin(t * 0.8), neck + 18, 4, top * 0.8)
        limb(cx, neck + 4, cx, hip - 2, 11 if frontal else 9, top)
        cv2.circle(alpha, (int(cx * 8), int((neck - 6) * 8)), int(5 * 8), 1.0, -1, cv2.LINE_AA, 3)
        cv2.circle(luma, (int(cx * 8), int((neck - 6) * 8)), int(6 * 8), float(skin), -1, cv2.LINE_8, 3)
        poses.append((luma + pattern, np.clip(alpha, 0, 1)))
    return Thing(poses, rng.uniform(8, 20))


def car(rng):
    """A car, van or truck from the side, the front or above."""
    view = rng.choice(["side", "front", "above"], p=[0.5, 0.3, 0.2])
    high = MASTER
    wide = int(high * (rng.uniform(1.8, 3.2) if view == "side" else rng.uniform(0.9, 1.4) if view == "front" else rng.uniform(0.45, 0.6)))
    luma = np.full((high, wide), rng.normal(0, 0.4), np.float32)
    alpha = np.zeros((high, wide), np.float32)

    def fill(image, points, level):
        cv2.fillPoly(image, [np.array([(x * wide * 8, y * high * 8) for x, y in points], np.int32)], float(level), cv2.LINE_AA, 3)

    glass, wheel = rng.uniform(-2, 1), rng.uniform(-2, -0.5)
    if view == "side":
        a, b = rng.uniform(0.1, 0.25), rng.uniform(0.7, 0.95)
        fill(alpha, [(0.01, 0.5), (a, 0.4), (a + 0.12, 0.02), (b - 0.1, 0.02), (b, 0.4), (0.99, 0.5), (0.99, 0.85), (0.01, 0.85)], 1)
        fill(luma, [(a + 0.05, 0.42), (a + 0.15, 0.1), (b - 0.15, 0.1), (b - 0.05, 0.42)], glass)
        for x in (0.2, 0.8):
            cv2.circle(alpha, (int(x * wide * 8), int(0.83 * high * 8)), int(0.16 * high * 8), 1.0, -1, cv2.LINE_AA, 3)
            cv2.circle(luma, (int(x * wide * 8), int(0.83 * high * 8)), int(0.16 * high * 8), wheel, -1, cv2.LINE_AA, 3)
    else:
        fill(alpha, [(0.02, 0.35), (0.2, 0.02), (0.8, 0.02), (0.98, 0.35), (0.98, 0.95), (0.02, 0.95)], 1)
        fill(luma, [(0.15, 0.38), (0.25, 0.1), (0.75, 0.1), (0.85, 0.38)], glass)
        if view == "front":
            fill(luma, [(0.03, 0.8), (0.97, 0.8), (0.97, 1), (0.03, 1)], wheel)
            for x in (0.16, 0.84):
                cv2.circle(luma, (int(x * wide * 8), int(0.6 * high * 8)), int(0.07 * high * 8), 2.0, -1, cv2.LINE_AA, 3)
        else:
            fill(luma, [(0.15, 0.9), (0.25, 0.72), (0.75, 0.72), (0.85, 0.9)], glass)
    return Thing([(luma + noise(rng, high, wide, 2, 4) * rng.uniform(0, 0.3), alpha)], 0, rigid=True)


def blob(rng):
    """Something soft: a few ellipses that wobble, animals and crouching people from any side."""
    high, wide = MASTER, int(MASTER * rng.uniform(0.5, 2.0))
    parts = [(rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75), rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.4), rng.uniform(0, 180),
              rng.uniform(0, 6.3), rng.normal(0, 0.8)) for _ in range(rng.integers(1, 6))]
    pattern, wobble, poses = noise(rng, high, wide, 3, 4) * rng.uniform(0, 0.8), rng.uniform(0, 0.08), []
    for p in range(8):
        a = 2 * np.pi * p / 8
        luma, alpha = np.zeros((high, wide), np.float32), np.zeros((high, wide), np.float32)
        for x, y, rx, ry, turn, phase, level in parts:
            where = (int((x + wobble * np.sin(a + phase)) * wide), int((y + wobble * np.cos(a + phase)) * high))
            axes = (max(2, int(rx * min(wide, high))), max(2, int(ry * high)))
            cv2.ellipse(alpha, where, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA)
            cv2.ellipse(luma, where, axes, turn, 0, 360, float(level), -1)
        poses.append((luma + pattern, alpha))
    return Thing(poses, rng.uniform(4, 14) if wobble > 0.02 else 0)


def polygon(rng):
    """A stiff shape: polygon or box, textured."""
    high, wide = MASTER, int(MASTER * rng.uniform(0.4, 2.2))
    n = rng.integers(3, 9)
    angle = np.sort(rng.uniform(0, 2 * np.pi, n)) if rng.random() < 0.6 else np.arange(4) * np.pi / 2 + np.pi / 4
    radius = rng.uniform(0.6, 1.0, len(angle))[:, None] * 0.5 * (1.0 if len(angle) != 4 else 1.3)
    points = 0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    alpha = np.zeros((high, wide), np.float32)
    cv2.fillPoly(alpha, [(points * (wide, high) * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    luma = noise(rng, high, wide, int(rng.integers(1, 4)), rng.uniform(1, 8)) * rng.uniform(0, 1)
    if rng.random() < 0.3:
        ramp = np.sin(np.arange(wide) * rng.uniform(0.1, 0.8))[None] * np.ones((high, 1))
        luma = luma + (ramp if rng.random() < 0.5 else cv2.resize(ramp.T.copy(), (wide, high)))
    return Thing([(luma.astype(np.float32), alpha)], 0, rigid=True)


def crop(rng, backgrounds):
    """A piece of a real picture in the shape of an ellipse or a box."""
    picture = backgrounds[rng.integers(len(backgrounds))]
    h = int(rng.integers(24, min(90, picture.shape[0] - 2)))
    w = int(np.clip(h * rng.uniform(0.5, 2.0), 12, picture.shape[1] - 2))
    y, x = rng.integers(0, picture.shape[0] - h), rng.integers(0, picture.shape[1] - w)
    wide = max(8, int(MASTER * w / h))
    luma = cv2.resize(picture[y:y + h, x:x + w], (wide, MASTER), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = np.zeros((MASTER, wide), np.float32)
    if rng.random() < 0.6:
        cv2.ellipse(alpha, (wide // 2, MASTER // 2), (wide // 2 - 1, MASTER // 2 - 1), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    else:
        alpha[1:-1, 1:-1] = 1
    return Thing([((luma - luma.mean()) / (luma.std() + 8), alpha)], 0, rigid=True)


def cut_out(rng, sprites, still=False):
    """A person or car out of real footage, in the poses it took there (forwards and backwards again), or in one of them: those who walk on the
    spot are no bystanders."""
    track = sprites[rng.integers(len(sprites))]
    high = max(p[0].shape[0] for p in track)
    wide = max(p[0].shape[1] for p in track)
    size = (max(8, int(wide * MASTER / high)), MASTER)
    poses = []
    flip = rng.random() < 0.5
    for luma, alpha in track:
        full = [np.zeros((high, wide), np.float32) for _ in range(2)]
        y, x = high - luma.shape[0], (wide - luma.shape[1]) // 2
        full[0][:] = luma.mean()
        full[0][y:y + luma.shape[0], x:x + luma.shape[1]] = luma
        full[1][y:y + luma.shape[0], x:x + luma.shape[1]] = alpha / 255.0
        full = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in full]
        poses.append(tuple(p[:, ::-1].copy() for p in full) if flip else tuple(full))
    poses = poses + poses[-2:0:-1] if rng.random() < 0.8 and not still else poses[:1]
    return Thing(poses, rng.uniform(6, 16), real=True)


def any_thing(rng, footage, split, depth=False):
    """One thing of any kind; cars and people more often."""
    real = footage is not None and footage.sprites[split]
    kinds = [("walker", 0.26), ("car", 0.2), ("blob", 0.14), ("polygon", 0.12), ("crop", 0.06), ("cut", 0.22)]
    if not real:
        kinds = [(k, w) for k, w in kinds if k not in ("cut", "crop")]
    names, weights = zip(*kinds)
    kind = rng.choice(names, p=np.array(weights) / sum(weights))
    if kind == "walker":
        return walker(rng)
    if kind == "car":
        return car(rng)
    if kind == "blob":
        return blob(rng)
    if kind == "polygon":
        return polygon(rng)
    if kind == "crop":
        return crop(rng, footage.backgrounds[split])
    return cut_out(rng, footage.sprites[split])
