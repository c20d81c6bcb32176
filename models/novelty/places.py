"""Places with a habit, and what may go wrong there: pictures of hours of the ordinary, and of an exam with planted anomalies and their truth.

Six kinds of place, each with its own habit: a road of two lanes, a passage that people walk one way, a conveyor, a wheel that turns, a street (real
background) of people and cars, a yard (real background) crossed on two ways. Everywhere there are quiet stretches, rain for a minute or two, light that
drifts by a tenth over minutes, grain. Backgrounds, things, rain and camera are those of ../motion; real backgrounds and cut-outs come from what
footage.py reads, drawn ones stand in where there is none.

Five kinds of anomaly. From when a tick is one (truth), so that a person who knows the place could tell:
  wrong     against the usual direction (a machine: backwards)    0.5 s after its middle is in the picture, until that leaves
  stopped   stands where things only pass (a machine: at rest)    2 s after it stopped, until it goes on
  speed     2.5 to 3.5 times as fast as usual, or as slow         1 s after its middle is in the picture, until that leaves
  moved     the camera was turned: 4 to 8 % aside, 1 to 3 degrees  0.5 s after it was touched, until it is turned back
  loiter    a person walks to and fro and stays, 25 to 40 s       5 s after its middle is in the picture, until that leaves
What comes between visible and decidable is not judged, nor are the seconds after an end in which a score may be held (`HOLD_S`).

Needs: python3-opencv, python3-numpy.
"""
import math
import os
import sys

import cv2
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "motion"))
import render  # noqa: E402
import scenes  # noqa: E402
import things  # noqa: E402

WIDE, HIGH, HZ = 160, 120, 10
HABITS = ["road", "passage", "conveyor", "wheel", "street", "yard"]
KINDS = ["wrong", "stopped", "speed", "moved", "loiter"]
ORDINARY, IGNORE = -1, -2
HOLD_S = 8.0  # lookout's default: what is strange stays so for so long
EVERY_S = 120.0  # one anomaly in so many seconds of an exam
STILL = render.IDLE


def side(rng):
    """A car from its side."""
    while True:
        car = things.car(rng)
        if car.wide > 1.6 * car.high:
            return car


class Lane:
    """A way that things take in one direction: from `a` to `b` (fractions of the picture, feet), `tall` (of its height), pixels a second, and how often."""

    def __init__(self, a, b, tall, speed, every, cast):
        self.a, self.b = [np.array(p) * (WIDE, HIGH) for p in (a, b)]
        self.tall, self.speed, self.every, self.cast = tall * HIGH, speed, every, cast
        self.length = float(np.hypot(*(self.b - self.a)))

    def path(self, rng, t0, pace=1.0, back=False, stop=None):
        """`place(t)` and when it is over. `stop`: (seconds after t0, for how long)."""
        a, b = (self.b, self.a) if back else (self.a, self.b)
        height, aside = self.tall * rng.uniform(0.9, 1.1), rng.normal(0, 0.01) * HIGH
        speed = self.speed * pace

        def place(t):
            d = t - t0
            if stop is not None and d > stop[0]:
                d = max(stop[0], d - stop[1])
            x, y = a + (b - a) * (d * speed / self.length)
            return x, y + aside, height

        return place, t0 + self.length / speed + (stop[1] if stop else 0.0)


class Place:
    """One place, the same for ever: background, camera, cast and habit."""

    def __init__(self, seed, habit, found, split="train"):
        self.habit, self.seed = habit, seed
        rng = self.rng = np.random.default_rng([seed, HABITS.index(habit)])
        real = habit in ("street", "yard") and found is not None
        scene = scenes.real(rng, HIGH, WIDE, found.backgrounds[split]) if real else scenes.drawn(rng, HIGH, WIDE)
        self.scene = np.clip((scene - scene.mean()) * rng.uniform(0.7, 1.0) + rng.uniform(80, 150), 5, 250).astype(np.float32)
        self.camera = scenes.Camera(rng, HIGH, WIDE)
        self.camera.quality, self.camera.small = 0, 1.0  # neither JPEG nor few pixels: half of the time of a picture
        self.camera.grain = rng.uniform(0.7, 2.5)
        self.camera.pool = (rng.standard_normal(HIGH * WIDE * 2) * self.camera.grain).astype(np.float32)
        cut = found.sprites[split] if real else None
        people = [things.cut_out(rng, cut) if cut and rng.random() < 0.5 else things.walker(rng) for _ in range(10)]
        cars = [side(rng) for _ in range(10)]
        boxes = [things.polygon(rng) if rng.random() < 0.6 else things.blob(rng) for _ in range(10)]
        self.loiterers = [things.walker(rng) for _ in range(4)]
        flip, u = rng.random() < 0.5, rng.uniform
        self.lanes, self.machine = [], None

        def lane(y0, y1, tall, speed, every, cast, right):
            ends = ((-0.12, y0), (1.12, y1))
            return Lane(*(ends if right else ends[::-1]), tall, speed, every, cast)

        if habit == "road":
            v = u(16, 24)
            self.lanes = [lane(0.5, 0.5 + u(-.04, .04), 0.16, v, 9, cars, flip), lane(0.8, 0.8 + u(-.04, .04), 0.21, v * 1.15, 11, cars, not flip)]
        elif habit == "passage":
            self.lanes = [lane(u(.6, .7), u(.9, 1.0), 0.42, u(13, 19), 8, people, flip)]
        elif habit == "conveyor":
            self.machine = ("belt", u(14, 20) * (1 if flip else -1), u(0.55, 0.75) * HIGH, u(40, 55), 0.17 * HIGH, boxes)
        elif habit == "wheel":
            self.machine = ("wheel", (1 if flip else -1) * 2 * math.pi / u(4, 7), np.array([u(.35, .65) * WIDE, u(.4, .5) * HIGH]), 0.32 * HIGH, u(150, 240))
            self.lanes = [lane(0.98, 1.0, 0.3, u(13, 19), 25, people, rng.random() < 0.5)]
        elif habit == "street":
            self.lanes = [lane(u(.5, .6), u(.5, .6), 0.24, u(13, 18), 12, people, flip), lane(0.88, 0.9, 0.22, u(18, 26), 12, cars, not flip)]
        else:
            self.lanes = [lane(u(.45, .55), u(.95, 1.05), 0.3, u(13, 18), 14, people, flip), lane(u(.8, .9), u(.8, .9), 0.34, u(14, 20), 16, people, flip)]
        self.lean = rng.uniform(-0.35, 0.35)


class Play:
    """So many seconds of a place. `exam`: with anomalies, in turn; `kinds[tick]` is the truth."""

    def __init__(self, place, seed, seconds, exam):
        self.place, self.seconds = place, seconds
        rng = self.rng = np.random.default_rng([place.seed, HABITS.index(place.habit), seed])
        self.ticks = int(seconds * HZ)
        self.kinds = np.full(self.ticks, ORDINARY, np.int8)
        self.actors, self.moves = [], []
        self.rate = 1 + 0.03 * np.sin(2 * np.pi * np.arange(self.ticks + 1) / HZ / rng.uniform(20, 60))
        if place.machine and place.machine[0] == "belt":  # a belt has gaps: parcels are there or are not, and each looks its own way
            self.parcels = [(rng.random() < 0.8, rng.integers(10), rng.uniform(-25, 25)) for _ in range(4096)]
            self.dressed = {}
        self.quiet = self.stretches(rng, 300, 40, 120)
        self.rain = self.stretches(rng, 500, 50, 120)
        self.drizzle = [self.weather(rng) for _ in self.rain]
        self.light = [(rng.uniform(0.03, 0.1), rng.uniform(200, 900), rng.uniform(0, 6.28)) for _ in range(2)]
        for lane in place.lanes:
            self.traffic(rng, lane)
        if exam:
            self.plant(rng)
        self.kinds[:HZ * 5] = IGNORE
        self.waiting = sorted(self.actors, key=lambda a: -a.t0)
        self.on = []
        self.phase = np.cumsum(self.rate) / HZ

    def stretches(self, rng, every, low, high):
        out, t = [], rng.exponential(every)
        while t < self.seconds:
            out.append((t, t + rng.uniform(low, high)))
            t = out[-1][1] + rng.exponential(every)
        return out

    def weather(self, rng):
        weather = scenes.Weather(rng, 1.0)
        weather.count, weather.lean, weather.level = int(rng.integers(5, 30)), self.place.lean, rng.uniform(10, 30)
        return weather

    def cast(self, rng, lane, thing, t0, place, end):
        actor = render.Actor(rng, thing, render.LEFT, t0, end, place)
        actor.restless, actor.shadow = False, 0.0
        actor.mirror = lane is not None and lane.b[0] < lane.a[0]
        actor.dress(rng, self.place.scene, 1.0, HIGH)
        self.actors.append(actor)
        return actor

    def traffic(self, rng, lane):
        t = -lane.length / lane.speed
        last = -1e9
        while t < self.seconds:
            t += max(2.5, rng.exponential(lane.every))
            if any(a - 10 < t < b for a, b in self.quiet):
                continue
            place, end = lane.path(rng, t, pace := float(np.clip(rng.normal(1, 0.07), 0.85, 1.15)))
            if end < last + 1.0:  # nobody overtakes
                continue
            last = end
            self.cast(rng, lane, lane.cast[rng.integers(len(lane.cast))], t, place, end)

    def mark(self, kind, seen, sure, end):
        """Ticks from `sure` to `end` are `kind`; before, from `seen`, and after, while a score is held, they are not judged."""
        at = [int(np.clip(v * HZ, 0, self.ticks)) for v in (seen, sure, end, end + HOLD_S)]
        self.kinds[at[0]:at[3]] = IGNORE
        self.kinds[at[1]:at[2]] = KINDS.index(kind)

    def plant(self, rng):
        t, n = 0.6 * EVERY_S, 0
        order = []
        while t + 75 < self.seconds:
            if not order:
                order = list(rng.permutation(KINDS))
            getattr(self, order.pop())(rng, t)
            t += EVERY_S * rng.uniform(0.9, 1.1)

    def inside(self, place, t0, t1):
        """When the middle comes into the picture, and leaves it for good."""
        times = np.arange(t0, t1, 0.1)
        at = np.array([place(t) for t in times])
        ok = (at[:, 0] > 0) & (at[:, 0] < WIDE) & (at[:, 1] - at[:, 2] / 2 > 0) & (at[:, 1] - at[:, 2] / 2 < HIGH)
        return (times[ok][0], times[ok][-1]) if ok.any() else (t0, t0)

    def solo(self, rng, t, **how):
        lane = self.place.lanes[rng.integers(len(self.place.lanes))]
        if "at" in how:
            how["stop"] = (how.pop("at") * lane.length / lane.speed, how.pop("long"))
        place, end = lane.path(rng, t, **how)
        actor = self.cast(rng, lane, lane.cast[rng.integers(len(lane.cast))], t, place, end)
        if how.get("back"):
            actor.mirror = not actor.mirror
        return lane, how, self.inside(place, t, end)

    def turn(self, t0, t1, rate):
        self.rate[int(t0 * HZ):int(t1 * HZ)] *= rate

    def mechanical(self, rng):
        """Does it befall the machine (where there is one) or somebody on a way?"""
        return self.place.machine is not None and (not self.place.lanes or rng.random() < 0.7)

    def wrong(self, rng, t):
        if self.mechanical(rng):
            end = t + rng.uniform(10, 18)
            self.turn(t, end, -1.0)
            return self.mark("wrong", t, t + 0.5, end)
        _, _, (seen, gone) = self.solo(rng, t, back=True)
        self.mark("wrong", seen, seen + 0.5, gone)

    def stopped(self, rng, t):
        long = rng.uniform(15, 30)
        if self.mechanical(rng):
            self.turn(t, t + long, 0.0)
            return self.mark("stopped", t, t + 2, t + long)
        _, how, _ = self.solo(rng, t, at=rng.uniform(0.3, 0.7), long=long)
        at = t + how["stop"][0]
        self.mark("stopped", at, at + 2, at + long)

    def speed(self, rng, t):
        pace = rng.uniform(2.5, 3.5) ** rng.choice([-1, 1])
        if self.mechanical(rng):
            end = t + rng.uniform(12, 20)
            self.turn(t, end, pace)
            return self.mark("speed", t, t + 1, end)
        _, _, (seen, gone) = self.solo(rng, t, pace=pace)
        self.mark("speed", seen, min(seen + 1, (seen + gone) / 2), gone)

    def moved(self, rng, t):
        end, way = t + rng.uniform(20, 40), rng.uniform(0, 2 * math.pi)
        m = cv2.getRotationMatrix2D((WIDE / 2, HIGH / 2), rng.uniform(1, 3) * rng.choice([-1, 1]), 1.0)
        m[:, 2] += rng.uniform(0.04, 0.08) * WIDE * np.array([math.cos(way), math.sin(way)])
        self.moves.append((t, end, m))
        self.mark("moved", t, t + 0.5, end)

    def loiter(self, rng, t):
        long, tall = rng.uniform(25, 40), rng.uniform(0.27, 0.36) * HIGH
        x, y, reach = rng.uniform(0.25, 0.75) * WIDE, rng.uniform(0.62, 0.95) * HIGH, rng.uniform(0.04, 0.14) * WIDE
        from_ = -0.1 * WIDE if rng.random() < 0.5 else 1.1 * WIDE
        way = abs(x - from_) / 16
        period = rng.uniform(6, 14)

        def place(at):
            d = at - t
            if d < way:
                return from_ + (x - from_) * d / way, y, tall
            if d < way + long:
                return x + reach * math.sin(2 * math.pi * (d - way) / period), y, tall
            return x + (from_ - x) * (d - way - long) / way, y, tall

        self.cast(rng, None, self.place.loiterers[rng.integers(4)], t, place, t + 2 * way + long)
        seen, gone = self.inside(place, t, t + 2 * way + long)
        self.mark("loiter", seen, seen + 5, gone)

    def belt(self, frame, phase):
        _, speed, y, gap, high, cast = self.place.machine
        at = speed * phase
        for n in range(math.floor((-at - 30) / gap), math.ceil((WIDE - at + 30) / gap) + 1):
            there, which, level = self.parcels[n % len(self.parcels)]
            if not there:
                continue
            if n not in self.dressed:
                actor = render.Actor(np.random.default_rng([self.place.seed, n % 4096]), cast[which], STILL, 0, 1e9, None)
                actor.level, actor.contrast, actor.phase, actor.restless = 128 + 3 * level, 18.0, 0.0, False
                self.dressed[n] = actor
            actor = self.dressed[n]
            actor.place = lambda t, x=at + n * gap: (x, y, high)
            actor.draw(frame, 0.0)

    def wheel(self, frame, phase):
        _, speed, centre, reach, level = self.place.machine
        a = speed * phase
        for spoke in (0.0, 2.2):  # two arms, not opposite: a turn looks like no half turn
            tip = centre + reach * np.array([math.cos(a + spoke), math.sin(a + spoke)])
            q = [tuple(int(v * 8) for v in p) for p in (centre, tip)]
            cv2.line(frame, *q, float(level), 7, cv2.LINE_AA, 3)
            cv2.circle(frame, q[1], 6 * 8, float(255 - level), -1, cv2.LINE_AA, 3)

    def picture(self, tick):
        """u8 [HIGH,WIDE]; ticks must come in order."""
        t = tick / HZ
        while self.waiting and self.waiting[-1].t0 <= t:
            self.on.append(self.waiting.pop())
        self.on = [a for a in self.on if a.t1 >= t]
        frame = self.place.scene.copy()
        if self.place.machine:
            getattr(self, self.place.machine[0])(frame, self.phase[tick])
        for actor in sorted(self.on, key=lambda a: a.at(t)[1]):
            actor.draw(frame, t)
        frame *= np.float32(1 + sum(size * math.sin(2 * math.pi * t / period + phase) for size, period, phase in self.light))
        for (a, b), weather in zip(self.rain, self.drizzle):
            if a <= t < b:
                weather.apply(frame)
        for a, b, m in self.moves:
            if a <= t < b:
                frame = cv2.warpAffine(frame, m, (WIDE, HIGH), borderMode=cv2.BORDER_REFLECT_101)
        return self.place.camera.apply(frame)

    def pictures(self):
        return (self.picture(tick) for tick in range(self.ticks))
