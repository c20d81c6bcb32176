"""Eight motions that shall have no name, rendered: how the head feels about movement it was never trained on (`lookout teach --nameless`).

Up and down in one place, going with stops, coming and withdrawing, two who pass each other, two one behind the other, hopping, zigzag, roaming. None is one
of the three that teach.py teaches. teach.py --ordinary sums them up in ordinary.json, behind the head's own classes.

Needs: python3-opencv, python3-numpy.
"""
import math

import numpy as np

import render
import shaper
import things

NAMES = ["bobbing", "stop-and-go", "nearing", "crossing", "following", "hopping", "zigzag", "roaming"]
TICKS = 60
MOVED = 14  # levels of 256 in the small picture: what an exam of render.py asks for, too


def size(rng, thing, high, wide, most):
    """Height in pixels: as things in `lateral`, not above `most` of the picture."""
    h = render.log_uniform(rng, 0.12, most) * high
    return min(h, 0.35 * wide * thing.high / thing.wide)


def staged(seed, index, kind, act, found, split, least):
    """Luma u8 [TICKS,high,wide] of a clip in which `act` puts the actors of class `kind` on the stage: always the same for the same numbers. One in
    which the thing can be told from the wall in less than `least` of the ticks of its play is made anew, as render.py does."""
    for attempt in range(20):
        rng = np.random.default_rng([seed, index, kind, attempt])
        length, t0 = TICKS * render.TICK_S, rng.uniform(1.3, 2.3)
        play = render.Play(rng, [], found.backgrounds[split] if found else None, found, split, True, length)
        act(rng, kind, play, t0, length, found, split)
        late = rng.choice([0.0, 0.033, 0.066], p=[0.15, 0.55, 0.3])
        pictures = []
        for k in range(TICKS):
            ago = rng.uniform(0, late) + (0.066 if rng.random() < 0.03 else 0.0)
            pictures.append(play.picture(max(0.0, k * render.TICK_S - ago)))
        grey = np.stack([shaper.area(p) for p in pictures])
        ticks = range(int(t0 / render.TICK_S) + 4, TICKS)
        seen = [play.shown(k * render.TICK_S, grey[k], grey[k - 4], MOVED) for k in ticks]
        if sum(seen) >= least * len(seen):
            break
    return np.stack(pictures)


def path(rng, kind, thing, t0, high, wide, lead=0.0, gait=None):
    """Where the thing is at t: centre x, foot y, height. `gait`: way and speed of one of two, `lead` pixels behind the other."""
    h, foot, x = size(rng, thing, high, wide, 0.5), rng.uniform(0.5, 1.0) * high, wide * rng.uniform(0.35, 0.65)
    foot = max(foot, h)
    way, speed = gait or (rng.choice([-1, 1]), wide * rng.uniform(0.25, 0.6))
    period, reach, rise = rng.uniform(1.0, 2.4), wide * rng.uniform(0.12, 0.3), high * rng.uniform(0.12, 0.25)
    start, turns = rng.uniform(0, 2 * math.pi), [(rng.uniform(0, 2 * math.pi), rng.uniform(0.15, 0.5)) for _ in range(4)]
    wave = lambda n, s: math.sin(2 * math.pi * turns[n][1] * s + turns[n][0])

    def across(along, span=1.3):
        """On and on to its side, and in again from the other."""
        at = (0.1 * wide + along) % (span * wide) - (span - 1) / 2 * wide
        return at if way > 0 else wide - at

    def place(t):
        s = t - t0
        u = s / period
        if kind == 0:
            return x, foot - rise * (0.5 + 0.5 * math.sin(2 * math.pi * u)), h
        if kind == 1:
            return across((math.floor(u) + min(1.0, (u % 1.0) / 0.55)) * 0.55 * period * speed), foot, h
        if kind == 2:
            near = 1 + 0.45 * math.sin(2 * math.pi * u / 1.3 + start)
            return x, foot * (0.75 + 0.17 * near), h * near
        if kind in (3, 4):
            return across(speed * s - lead, 1.4), foot, h
        if kind == 5:
            hop = (u / 0.7) % 1.0
            up = 4 * hop * (1 - hop) if hop < 0.7 else 0.0
            return wide / 2 + reach * math.sin(2 * math.pi * u / 3 + start), foot - rise * up, h
        if kind == 6:
            return across(0.7 * speed * s), foot - rise * (1 - abs(2 * (u % 1.0) - 1)), h
        return (
            wide / 2 + 0.2 * wide * (wave(0, s) + wave(1, s)),
            foot - 0.8 * rise * (1 + wave(2, s)),
            h * (1 + 0.25 * wave(3, s)),
        )

    return place


def act(rng, kind, play, t0, length, found, split):
    """Puts the actors of motion `kind` on the stage."""
    high, wide = play.high, play.wide
    cast = [things.any_thing(rng, found, split) for _ in range(2 if kind in (3, 4) else 1)]
    way, speed, lead = rng.choice([-1, 1]), wide * rng.uniform(0.3, 0.7), wide * rng.uniform(0.25, 0.45)
    for n, thing in enumerate(cast):
        gait = {3: ((way, -way)[n], speed * rng.uniform(0.8, 1.2)), 4: (way, speed)}.get(kind)
        actor = render.Actor(rng, thing, render.LEFT, t0, length, path(rng, kind, thing, t0, high, wide, n * lead * (kind == 4), gait))
        actor.dress(rng, play.scene, 1.0, high)
        play.actors.append(actor)


def clip(seed, index, kind, found, split):
    """Luma u8 [TICKS,high,wide] of a clip of NAMES[kind]."""
    return staged(seed, index, kind, act, found, split, 0.5)
