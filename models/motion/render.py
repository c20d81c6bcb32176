"""Renders clips of what happens in front of a fixed camera box, with the class of every tick.

    python3 render.py --sheet sheet.png [--data ../../../shared/data] [--seed 1]      a contact sheet to look at
    render.clip(seed, index, ...)                                                   one clip, always the same

One picture a tick, taken 0 to 66 ms (now and then 130 ms) before it, as a camera of 30 or 15 fps would. Every clip is a short play: one to
three acts (a class each) in one place, under one light, through one camera. Labels: what is going on at the tick; IGNORE
where that is open to dispute: around a change of act, while a thing is hardly in view, while a cover falls.

Needs: python3-opencv, python3-numpy.
"""
import argparse
import math

import cv2
import numpy as np

import footage
import scenes
import shaper
import things

LABELS = ["idle", "left", "right", "toward", "away", "shake", "covered"]
IDLE, LEFT, RIGHT, TOWARD, AWAY, SHAKE, COVERED = range(7)
IGNORE = -1
TICK_S = 0.1
TICKS = 30
EXAM_TICKS = 45
SIZES = [(160, 120), (128, 96), (176, 100), (192, 144)]


def log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


class Actor:
    """A thing and its path: `place(t)` gives centre x, foot y and height in pixels; `doing` is its class while t is in [t0, t1]."""

    def __init__(self, rng, thing, doing, t0, t1, place):
        self.thing, self.doing, self.t0, self.t1, self.place = thing, doing, t0, t1, place
        self.mirror = rng.random() < 0.5
        self.phase, self.sway, self.hz = rng.uniform(0, 5), 0.0, rng.uniform(0.4, 1.6)
        self.restless = rng.random() < 0.5  # keeps its own rhythm while it stands
        self.shadow = rng.uniform(0.3, 0.8) if rng.random() < 0.3 else 0.0
        self.level, self.contrast = 128.0, 20.0
        self.spin = rng.normal(0, 0.15) if thing.rigid and doing == IDLE and rng.random() < 0.3 else 0.0

    def at(self, t):
        x, y, h = self.place(min(max(t, self.t0), self.t1) if self.doing != IDLE else t)
        if self.sway:
            x += self.sway * math.sin(2 * math.pi * self.hz * t + self.phase)
        return x, y, h

    def moving(self, t):
        return self.doing != IDLE and self.t0 <= t <= self.t1

    def seen(self, t, high, wide):
        """Part of it that is in the picture, 0 to 1 (a thing larger than the picture counts as seen when it fills it)."""
        x, y, h = self.at(t)
        w = h * self.thing.wide / self.thing.high
        inside = max(0, min(x + w / 2, wide) - max(x - w / 2, 0)) * max(0, min(y, high) - max(y - h, 0))
        return inside / max(min(w * h, 0.5 * high * wide), 1e-6)

    def draw(self, frame, t):
        x, y, h = self.at(t)
        high, wide = frame.shape
        w = h * self.thing.wide / self.thing.high
        x0, x1 = max(0, int(x - w / 2) - 1), min(wide, int(x + w / 2) + 2)
        y0, y1 = max(0, int(y - h) - 1), min(high, int(y) + 2)
        if x1 <= x0 or y1 <= y0:
            return
        luma, alpha = self.thing.pose(self.phase + (t if self.restless or self.moving(t) else 0), h)
        s = h / luma.shape[0]
        m = np.float32([[s, 0, x - w / 2 - x0], [0, s, y - h - y0]])
        if self.mirror:
            m = np.float32([[-s, 0, x + w / 2 - x0], [0, s, y - h - y0]])
        size = (x1 - x0, y1 - y0)
        part = frame[y0:y1, x0:x1]
        if self.shadow:
            deep = max(2, int(h * 0.08))
            s0, s1 = max(0, int(y - deep)), min(high, int(y + deep))
            if s1 > s0:
                frame[s0:s1, x0:x1] *= 1 - self.shadow * 0.5
        a = cv2.warpAffine(alpha, m, size)
        l = cv2.warpAffine(luma, m, size, borderMode=cv2.BORDER_REPLICATE)
        part += a * ((l if self.thing.real else l * self.contrast) + self.level - part)

    def dress(self, rng, scene, night, high):
        """Chooses level and contrast so that the thing differs from the scene along its path."""
        local = []
        for t in np.linspace(self.t0, min(self.t1, self.t0 + 3), 5):
            x, y, h = self.at(t)
            xi, yi = int(np.clip(x, 0, scene.shape[1] - 1)), int(np.clip(y - h / 2, 0, scene.shape[0] - 1))
            local.append(scene[max(0, yi - 6):yi + 6, max(0, xi - 6):xi + 6].mean())
        around, tall = float(np.mean(local)), self.at((self.t0 + self.t1) / 2)[2] / high
        least = (32 if tall < 0.12 else 24 if tall < 0.25 else 17) * (0.75 + 0.25 * night)
        apart = rng.uniform(least, max(110 * (0.35 + 0.65 * night), least + 10))
        sign = 1 if around < 60 * night + 10 or (around < 185 and rng.random() < 0.5) else -1
        if self.thing.real:
            luma, alpha = self.thing.levels[0][0]
            own = float((luma * alpha).sum() / (alpha.sum() + 1e-6))
            self.level = 0.0 if abs(own - around) > least and night == 1.0 else around + sign * apart - own
        else:
            self.level = around + sign * apart
            self.contrast = rng.uniform(0, 32) * (0.3 + 0.7 * night)


def lateral(rng, doing, t0, t1, high, wide, thing, enter):
    """A path to the left or right: entering, already there, or setting off from a stand."""
    way = -1 if doing == LEFT else 1
    tall = log_uniform(rng, 0.06, 0.7)
    span = thing.wide / thing.high
    h = tall * high
    w = h * span
    if w > 0.9 * wide:
        h, w = h * 0.9 * wide / w, 0.9 * wide
    fastest = min(1 / 0.7, 0.2 + 3.5 * h / high)
    speed = log_uniform(rng, 0.12, fastest) * wide
    length = t1 - t0
    slope = math.tan(math.radians(rng.uniform(-30, 30) if rng.random() < 0.5 else rng.uniform(-8, 8)))
    grow = rng.uniform(-0.15, 0.15) / max(length, 0.5) * min(1.0, speed * length / wide)
    reach = speed * length
    if enter:
        x0 = -w / 2 if way > 0 else wide + w / 2
    elif reach < 0.8 * wide:
        free = wide - reach
        x0 = rng.uniform(0.05, 0.95) * free
        x0 = x0 if way > 0 else wide - x0
    else:
        x0 = rng.uniform(-0.1, 0.25) * wide
        x0 = x0 if way > 0 else wide - x0
    low = max(h * 0.75, 0.2 * high)
    y_mid = rng.uniform(low, high * 1.02 + 0.1 * h)
    x_mid = wide / 2
    lag, bob, hz = rng.choice([0.0, 0.15]), rng.uniform(0, 0.03) * h, rng.uniform(1.5, 3)

    def place(t):
        d = t - t0
        if lag and not enter:  # sets off softly
            d = d - lag * (1 - math.exp(-d / lag)) if d > 0 else 0
        x = x0 + way * speed * d
        return x, y_mid + slope * (x - x_mid) + bob * math.sin(2 * math.pi * hz * t), h * (1 + grow * d)

    return place, speed / wide


def depth(rng, doing, t0, t1, high, wide, thing):
    """A path towards the box or away from it: perspective about a vanishing point, seen level or from above."""
    length = t1 - t0
    span = thing.wide / thing.high
    steep = rng.random()
    vx = wide * rng.uniform(0.25, 0.75)
    if steep < 0.22:  # looking down: things come down the picture and hardly grow
        h0 = high * log_uniform(rng, 0.12, 0.6)
        if h0 * span > 0.6 * wide:
            h0 = 0.6 * wide / span
        speed = log_uniform(rng, 0.14, 1.1) * high
        ratio = rng.uniform(1.0, 1.6) ** min(1.0, speed * length / high)
        lean = math.tan(math.radians(rng.uniform(-22, 22)))
        reach = speed * length
        y0 = rng.uniform(0, 0.5) * h0 if reach > high or rng.random() < 0.4 else rng.uniform(0.3, 1.0) * max(high - reach, 1) + h0 * 0.3

        def near(s):  # s: 0 far to 1 near
            y = y0 + reach * s
            return vx + lean * (y - high * 0.6), y, h0 * ratio ** s
    else:
        last = high * rng.uniform(0.35, 1.25)
        if last * span > 1.1 * wide:
            last = 1.1 * wide / span
        rate = log_uniform(rng, 0.22, 1.6)
        ratio = min(math.exp(rate * length), rng.uniform(3, 9))
        ratio = max(1.25, min(ratio, last / (0.06 * high)))
        first = last / ratio
        ky = rng.uniform(0.3, 0.75) if steep < 0.6 else rng.uniform(0.75, 2.2)
        kx = rng.choice([-1, 1]) * rng.choice([rng.uniform(0, 0.5), rng.uniform(0.5, 1.0)]) * (0.5 + 0.45 * ky)
        # the foot at the near end stands at y1; the vanishing point follows
        y1 = high * rng.uniform(0.75, 1.1) if last < high else high * 0.5 + last * rng.uniform(0.45, 0.6)
        x1 = np.clip(vx + kx * last, 0.2 * wide, 0.8 * wide)
        linear = rng.random() < 0.5  # steady walk (growth speeds up) or steady growth

        def near(s):
            h = 1 / (1 / first + (1 / last - 1 / first) * s) if linear else first * ratio ** s
            return x1 - kx * (last - h), y1 - ky * (last - h), h

    def place(t):
        s = min(max((t - t0) / length, -0.2), 1.0)
        return near(s if doing == TOWARD else 1 - s)

    return place


class Knock:
    """A blow to the box: the whole picture swings and comes to rest, perhaps somewhere else."""

    def __init__(self, rng, t0, wide):
        self.t0 = t0
        self.length = rng.uniform(0.35, 1.2)
        self.hz = rng.uniform(1.8, 8)
        self.size = log_uniform(rng, 0.018, 0.12) * wide
        self.way = rng.uniform(0, 2 * math.pi)
        self.turn = rng.normal(0, 1.2) if rng.random() < 0.6 else 0.0
        self.phase = rng.uniform(0, 6.28)
        self.rest = rng.uniform(0.01, 0.06) * wide * rng.choice([-1, 1]) if rng.random() < 0.35 else 0.0
        self.flat = rng.random() < 0.3  # keeps its strength to the end: somebody shakes it
        self.jerk = rng.random() < 0.3  # no swing but jumps
        self.jumps = rng.normal(0, 0.6, (64, 3))

    def going(self, t):
        return self.t0 <= t < self.t0 + self.length

    def settling(self, t):
        return self.t0 + self.length <= t < self.t0 + self.length + 0.3

    def apply(self, frame, t):
        d = t - self.t0
        if d < 0:
            return frame
        high, wide = frame.shape
        decay = 1.0 if self.flat else math.exp(-2.0 * d / self.length)
        decay *= 1 if d < self.length else max(0.0, 1 - (d - self.length) / 0.1)
        if self.jerk:
            j = self.jumps[int(d / 0.05) % 64]
            dx, dy, turn = self.size * decay * j[0], self.size * decay * j[1], self.turn * decay * j[2]
        else:
            swing = math.sin(2 * math.pi * self.hz * d)
            other = math.sin(2 * math.pi * self.hz * 1.3 * d + self.phase)
            dx = self.size * decay * (math.cos(self.way) * swing + 0.25 * other)
            dy = self.size * decay * (math.sin(self.way) * swing + 0.25 * other)
            turn = self.turn * decay * other
        dx += self.rest * min(1.0, d / 0.15)
        if abs(dx) + abs(dy) + abs(turn) < 0.05:
            return frame
        m = cv2.getRotationMatrix2D((wide / 2, high / 2), turn, 1.0)
        m[0, 2] += dx
        m[1, 2] += dy
        return cv2.warpAffine(frame, m, (wide, high), borderMode=cv2.BORDER_REFLECT_101)


class Cover:
    """A hand, cloth, tape, paint, breath or dazzling light on the lens: falls, stays, may go again."""

    def __init__(self, rng, t0, t1, high, wide):
        self.t0, self.t1 = t0, t1
        self.fall = rng.uniform(0.03, 0.5)
        self.lift = rng.uniform(0.05, 0.5)
        self.kind = rng.choice(["slide", "fade", "smear"], p=[0.55, 0.3, 0.15])
        way = rng.uniform(0, 2 * math.pi)
        y, x = np.mgrid[-0.5:0.5:high * 1j, -0.5:0.5:wide * 1j]
        ramp = x * math.cos(way) + y * math.sin(way)
        self.ramp = ((ramp - ramp.min()) / (ramp.max() - ramp.min())).astype(np.float32)
        self.soft = rng.uniform(0.01, 0.25)
        self.full = rng.uniform(0.85, 0.98) if rng.random() < 0.3 else 1.0
        level = rng.choice([rng.uniform(0, 35), rng.uniform(35, 180), rng.uniform(190, 255)], p=[0.5, 0.28, 0.22])
        rough = rng.uniform(0, 7) if level < 190 else rng.uniform(0, 4)
        cloth = scenes.noise(rng, high, wide, 2, rng.uniform(1, 3.5)) * rough
        if level > 60 and rng.random() < 0.3:  # weave
            cloth += np.sin(np.arange(wide) * rng.uniform(0.7, 2))[None].astype(np.float32) * rng.uniform(0, 4)
        slope = rng.normal(0, 10, 2)
        self.cloth = level + cloth + (x * slope[0] + y * slope[1]).astype(np.float32)
        self.smear = wide * rng.uniform(0.1, 0.22)
        self.leak = rng.uniform(0, 0.06) if rng.random() < 0.4 and self.kind != "smear" else 0.0
        self.jitter = rng.uniform(0, 1.5) if rng.random() < 0.4 else 0.0
        self.veil = rng.uniform(0.2, 0.7)

    def part(self, t):
        """How far it has fallen, 0 to 1."""
        if t < self.t0 - self.fall or t > self.t1 + self.lift:
            return 0.0
        return max(0.0, min(1.0, (t - self.t0 + self.fall) / self.fall, (self.t1 + self.lift - t) / self.lift))

    def apply(self, frame, t):
        p = self.part(t)
        if p <= 0:
            return frame
        if self.kind == "smear":
            blurred = cv2.GaussianBlur(cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (0, 0), self.smear / 4)
            blurred = cv2.resize(blurred, frame.shape[::-1])
            return frame * (1 - p) + p * ((1 - self.veil) * blurred + self.veil * self.cloth)
        cloth = self.cloth
        if self.jitter:
            cloth = cloth + self.jitter * math.sin(7.3 * t) * (self.ramp - 0.5) * 4
        if self.kind == "fade":
            a = np.float32(p * (1 - self.leak))
        else:
            a = np.clip((p * (self.full + self.soft) - self.ramp) / self.soft, 0, 1) * (1 - self.leak)
        return frame + a * (cloth - frame)


class Play:
    """One clip's script: actors, knocks, covers and the scene; `picture(t)` and `label(t)`."""

    def __init__(self, rng, acts, pictures, footage_, split, calm, length=TICKS * TICK_S):
        self.wide, self.high = SIZES[rng.integers(len(SIZES))]
        high, wide = self.high, self.wide
        self.scene, night = scenes.background(rng, high, wide, pictures)
        self.light = scenes.Light(rng, high, wide, length, calm)
        self.weather = scenes.Weather(rng, 0.06 if calm else 0.15)
        self.camera = scenes.Camera(rng, high, wide)
        self.actors, self.knocks, self.covers, self.front = [], [], [], None
        if rng.random() < 0.2:  # something still stands in front
            self.front = np.zeros((high, wide), np.float32)
            if rng.random() < 0.6:
                x = int(rng.uniform(0, wide))
                cv2.rectangle(self.front, (x, 0), (x + int(wide * rng.uniform(0.02, 0.12)), high), 1.0, -1)
            else:
                y = int(high * rng.uniform(0.75, 0.95))
                cv2.rectangle(self.front, (0, y), (wide, high), 1.0, -1)
        self.bystanders(rng, footage_, split, calm)
        for doing, t0, t1 in acts:
            if doing in (LEFT, RIGHT):
                enter = t0 > 0.05 and rng.random() < 0.65
                thing, same = things.any_thing(rng, footage_, split), rng.random()
                place, speed = lateral(rng, doing, t0, t1, high, wide, thing, enter)
                self.actors.append(Actor(rng, thing, doing, t0, t1, place))
                for _ in range(0 if same < 0.75 else 1 if same < 0.93 else 2):
                    other = things.any_thing(rng, footage_, split)
                    begin = t0 + rng.uniform(0, 0.5) * (t1 - t0)
                    place, _ = lateral(rng, doing, begin, t1, high, wide, other, begin > 0.05)
                    self.actors.append(Actor(rng, other, doing, begin, t1, place))
            elif doing in (TOWARD, AWAY):
                thing = things.any_thing(rng, footage_, split, depth=True)
                self.actors.append(Actor(rng, thing, doing, t0, t1, depth(rng, doing, t0, t1, high, wide, thing)))
                if rng.random() < 0.12:
                    other = things.any_thing(rng, footage_, split, depth=True)
                    self.actors.append(Actor(rng, other, doing, t0, t1, depth(rng, doing, t0, t1, high, wide, other)))
            elif doing == SHAKE:
                t = t0
                while t < t1 - 0.2:
                    self.knocks.append(Knock(rng, t, wide))
                    t += self.knocks[-1].length + rng.uniform(0.35, 1.2)
            elif doing == COVERED:
                self.covers.append(Cover(rng, t0, t1, high, wide))
        self.actors.sort(key=lambda a: a.at((a.t0 + a.t1) / 2)[1])
        for actor in self.actors:
            actor.dress(rng, self.scene, night, high)

    def bystanders(self, rng, footage_, split, calm):
        """Leaves that sway, people who stand and fidget, a screen that flickers: all of it idle."""
        high, wide = self.high, self.wide
        self.screen = None
        odds = 0.12 if calm else 0.35
        if rng.random() < odds:  # leaves
            cx, cy, hz = rng.uniform(0, wide), rng.uniform(0.1, 0.9) * high, rng.uniform(0.3, 1.6)
            spread = rng.uniform(0.05, 0.25) * wide
            for _ in range(rng.integers(2, 9)):
                h = high * rng.uniform(0.08, 0.4)
                x, y = cx + rng.normal(0, spread), cy + rng.normal(0, spread) + h / 2
                self.still(rng, things.blob(rng) if rng.random() < 0.7 else things.polygon(rng), x, y, h, rng.uniform(0.008, 0.05) * wide / max(1, hz), hz * rng.uniform(0.8, 1.2))
        if rng.random() < odds * 1.2:  # people who stay where they are
            for _ in range(rng.integers(1, 4)):
                h = high * rng.uniform(0.12, 0.7)
                sway = rng.uniform(0, 0.05) * h
                kind = things.walker(rng) if not (footage_ and footage_.sprites[split]) or rng.random() < 0.5 else things.cut_out(rng, footage_.sprites[split], still=True)
                self.still(rng, kind, rng.uniform(0, wide), rng.uniform(max(h, 0.4 * high), high * 1.05), h, sway, rng.uniform(0.3, 1.2))
        if rng.random() < 0.05:
            x, y = int(rng.uniform(0, 0.8) * wide), int(rng.uniform(0, 0.8) * high)
            self.screen = (x, y, int(wide * rng.uniform(0.05, 0.2)), int(high * rng.uniform(0.05, 0.2)), rng.uniform(5, 60), rng)

    def still(self, rng, thing, x, y, h, sway, hz):
        actor = Actor(rng, thing, IDLE, 0, 1e9, lambda t: (x, y, h))
        actor.sway, actor.hz = sway, hz
        self.actors.append(actor)

    def stage(self, t, without=None):
        """f32 [high,wide]: everybody (but one) in this place and light, before weather, knocks, covers and camera."""
        frame = self.scene.copy()
        for actor in self.actors:
            if actor is not without:
                actor.draw(frame, t)
        if self.front is not None:
            frame += self.front * (self.scene - frame)
        return np.clip(self.light.apply(frame, t), 0, 255)

    def picture(self, t):
        """u8 [high,wide] at t seconds."""
        frame = self.scene.copy()
        if self.screen:
            x, y, w, h, size, rng = self.screen
            frame[y:y + h, x:x + w] += rng.normal(0, size)
        for actor in self.actors:
            actor.draw(frame, t)
        if self.front is not None:
            frame += self.front * (self.scene - frame)
        frame = self.light.apply(frame, t)
        self.weather.apply(frame)
        for knock in self.knocks:
            frame = knock.apply(frame, t)
        for cover in self.covers:
            frame = cover.apply(frame, t)
        return self.camera.apply(np.minimum(frame, np.float32(255)))

    def crawling(self, actor, t):
        """Whether a thing that comes or goes hardly changes just now, or is too far away to matter."""
        _, y0, h0 = actor.at(t - 0.1)
        _, y1, h1 = actor.at(t + 0.1)
        return h1 < 0.05 * self.high or (abs(math.log(h1 / h0)) < 0.024 and abs(y1 - y0) < 0.014 * self.high)

    def label(self, t):
        """The class at t seconds, or IGNORE."""
        part = max((c.part(t) for c in self.covers), default=0.0)
        if part > 0.1:
            return COVERED if part >= 0.9 else IGNORE
        if any(k.going(t) for k in self.knocks):
            return SHAKE
        if any(k.settling(t) for k in self.knocks):
            return IGNORE
        seen, actor = self.leading(t)
        if seen < 0.04:
            return IDLE
        return actor.doing if seen >= 0.35 else IGNORE

    def leading(self, t):
        """The moving thing that is most in the picture, and how much of it is: (seen, actor or None)."""
        best = (0.0, None)
        for actor in self.actors:
            if actor.moving(t):
                seen = actor.seen(t, self.high, self.wide)
                if actor.doing in (TOWARD, AWAY) and self.crawling(actor, t):
                    seen = min(seen, 0.2)
                if self.front is not None and seen > 0:
                    x, y, h = actor.at(t)
                    xi, yi = int(np.clip(x, 0, self.wide - 1)), int(np.clip(y - h / 2, 0, self.high - 1))
                    seen *= 1.0 if self.front[yi, xi] == 0 else 0.15
                if seen > best[0]:
                    best = (seen, actor)
        return best

    def shown(self, t, now, before, least):
        """Whether the leading thing can be told from grain: small pictures (u8) of t and of 0.4 s before differ where it is, by `least` levels
        (and more where the camera is noisy) in a tenth of its box; and pictures with and without it do by 4: what moves there is not rain or leaves
        alone, and it is not behind something else."""
        actor = self.leading(t)[1]
        if actor is None:
            return True
        x, y, h = actor.at(t)
        w = h * actor.thing.wide / actor.thing.high
        high, wide = now.shape
        x0, x1 = max(0, int((x - w / 2) / self.wide * wide) - 1), min(wide, int((x + w / 2) / self.wide * wide) + 2)
        y0, y1 = max(0, int((y - h) / self.high * high) - 1), min(high, int(y / self.high * high) + 2)
        if x1 <= x0 or y1 <= y0:
            return False
        change = cv2.absdiff(np.ascontiguousarray(now[y0:y1, x0:x1]), np.ascontiguousarray(before[y0:y1, x0:x1]))
        if float(np.percentile(change, 90)) < least + self.camera.grain:
            return False
        own = np.abs(shaper.area(self.stage(t)) - shaper.area(self.stage(t, actor)))[y0:y1, x0:x1]
        return float(np.percentile(own, 90)) >= 4 + self.camera.grain


def plain(play, labels, grey, least=8):
    """Labels with IGNORE where the thing they speak of cannot be seen; grey u8 [ticks,64,64]."""
    out = labels.copy()
    for k in range(1, len(labels)):
        if LEFT <= labels[k] <= AWAY and not play.shown(k * TICK_S, grey[k], grey[max(0, k - 4)], least):
            out[k] = IGNORE
        elif labels[k] == SHAKE and np.percentile(cv2.absdiff(grey[k], grey[k - 1]), 98) < least:
            out[k] = IGNORE
    return out


def script(rng, main, exam, length):
    """Acts (class, t0, t1) of a clip. With `main`, every act is that class or idle; in an exam it starts after 1.3 to 2.3 s."""
    if main == IDLE:
        return []
    if exam:
        t0 = rng.uniform(1.3, 2.3)
        return [(main, t0, length if rng.random() < 0.5 else min(length, t0 + rng.uniform(1.2, 2.4)))]
    if main is not None:
        t0 = 0.0 if rng.random() < 0.35 else rng.uniform(0.2, 1.2)
        t1 = length if rng.random() < 0.6 else min(length, t0 + rng.uniform(1.2, 2.6))
        return [(main, t0, t1)]
    acts, t = [], 0.0 if rng.random() < 0.4 else rng.uniform(0.2, 1.3)
    while t < length - 0.4:
        doing = int(rng.choice(7, p=[0.1, 0.17, 0.17, 0.17, 0.17, 0.11, 0.11]))
        t1 = min(length, t + rng.uniform(0.8, 2.4))
        if doing != IDLE and (not acts or acts[-1][0] != doing):
            acts.append((doing, t, t1))
        t = t1 + (rng.uniform(0.2, 0.9) if rng.random() < 0.5 else 0.0)
    return acts


def rehearse(seed, index, attempt, main, found, split, exam):
    """The play of a clip, its random numbers for the camera's timing, and its labels before looking at the pictures."""
    rng = np.random.default_rng([seed, index, attempt] if attempt else [seed, index])
    ticks = EXAM_TICKS if exam else TICKS
    length = ticks * TICK_S
    play = Play(rng, script(rng, main, exam, length), found.backgrounds[split] if found else None, found, split, main != IDLE, length)
    known = {}

    def at(n):  # the label every 50 ms
        if n not in known:
            known[n] = play.label(n * 0.05)
        return known[n]

    near = [{at(2 * k + d) for d in (-3, -2, -1, 0, 1)} for k in range(ticks)]
    return play, rng, np.array([n.pop() if len(n) == 1 else IGNORE for n in near], np.int8)


def clip(seed, index, main=None, found=None, split="train", exam=False):
    """Luma u8 [ticks,high,wide] and labels i8 [ticks]; main = a class for clips of one class, None for mixed plays.

    Training clips have TICKS ticks. An exam clip has EXAM_TICKS and shows its class for at least 0.5 s (a knock: 0.3 s) after 1.2 s,
    where a person could tell (14 levels of 256 apart in the small picture, 8 count in training); a script that does not (the thing hides or is hidden, leaves
    at once, has the colour of the wall, or it is pitch dark) is written anew.
    """
    for attempt in range(20):
        play, rng, labels = rehearse(seed, index, attempt, main, found, split, exam)
        enough = 3 if main == SHAKE else 5
        if exam and (labels[12:] == main).sum() < enough:
            continue
        late = rng.choice([0.0, 0.033, 0.066], p=[0.15, 0.55, 0.3])
        pictures = []
        for k in range(len(labels)):
            ago = rng.uniform(0, late) + (0.066 if rng.random() < 0.03 else 0.0)
            pictures.append(play.picture(max(0.0, k * TICK_S - ago)))
        labels = plain(play, labels, np.stack([shaper.area(p) for p in pictures]), 14 if exam else 8)
        if not exam or (labels[12:] == main).sum() >= enough:
            break
    return np.stack(pictures), labels


def sheet(path, seed, found, rows=21):
    """A contact sheet: one clip a row, the class under each picture, motion and flow planes below."""
    lines = []
    for r in range(rows):
        luma, labels = clip(seed, r, r % 7 if r < 14 else None, found)
        planes = shaper.shape(luma)
        row = []
        for k in range(0, TICKS, 2):
            tile = np.vstack([cv2.resize(luma[k], (96, 72), interpolation=cv2.INTER_AREA), cv2.resize(planes[k, 3], (96, 40))])
            name = "-" if labels[k] < 0 else LABELS[labels[k]]
            cv2.putText(tile, name, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255, 2)
            cv2.putText(tile, name, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 0, 1)
            row.append(tile)
        lines.append(np.hstack(row))
    cv2.imwrite(path, np.vstack(lines))


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--sheet", default="sheet.png")
    args.add_argument("--data", default="../../../shared/data")
    args.add_argument("--cache")
    args.add_argument("--seed", type=int, default=1)
    a = args.parse_args()
    sheet(a.sheet, a.seed, footage.load(a.data, a.cache))
