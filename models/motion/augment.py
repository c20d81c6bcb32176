"""Variety without rendering: what may be done to a shaped clip and leaves its labels true.

Everything works on levels u8 [T,S,S,5] as dataset.py keeps them (gray, motion of one tick, motion of SPAN ticks, flow u, flow v), and gives
what the shaper would have given for the changed pictures, exactly but for `enlarge` (nearest pixels) and `beside` (its flow is that of whatever moves more).

Needs: python3-torch.
"""
import torch

SIZE, SPAN = 64, 5  # shaper.py's
MIRRORED = torch.tensor([0, 2, 1, 3, 4, 5, 6, -1])  # the last one is for -1: no label
REVERSED = torch.tensor([0, 2, 1, 4, 3, 5, 6, -1])


def only(*planes):
    """255 at these planes of a picture's levels and 0 elsewhere: u8 [S,S,5], for whole rows of bytes at once."""
    out = torch.zeros(SIZE, SIZE, 5, dtype=torch.uint8)
    out[..., list(planes)] = 255
    return out


GREY, MOTION, SLOW, FLOW, U = only(0), only(1, 3, 4), only(2), only(3, 4), only(3)


def move(device):
    """The clips that come will be on `device` (their labels stay on the processor)."""
    global GREY, MOTION, SLOW, FLOW, U
    GREY, MOTION, SLOW, FLOW, U = (p.to(device) for p in (GREY, MOTION, SLOW, FLOW, U))


def negative(x, planes):
    """Levels of -u for levels of u where `planes` is 255: 256 - level, 255 at most."""
    one = planes & 1
    return torch.maximum(x, one).bitwise_xor_(planes).add_(one)


def mirror(x, y):
    """Left becomes right."""
    return negative(x.flip(2), U), MIRRORED[y]


def backwards(x, y):
    """The clip from its end: left becomes right, coming becomes going."""
    last = negative(x.flip(0), FLOW)
    out = x.flip(0) & GREY
    out[1:] |= last[:-1] & MOTION
    out[SPAN:] |= last[:-SPAN] & SLOW
    grey = out[:SPAN, ..., 0].short()
    out[:SPAN, ..., 2] = (grey - grey[:1]).abs().to(torch.uint8)
    out[0, ..., 3:] = 128
    return out, REVERSED[y.flip(0)]


def shift(x, gen, most=8):
    """The picture moved by up to `most` pixels each way; its edge is drawn out, and still."""
    dy, dx = (torch.randint(-most, most + 1, (2,), generator=gen)).tolist()
    out = torch.empty_like(x)
    ys, xs = slice(max(0, dy), SIZE + min(0, dy)), slice(max(0, dx), SIZE + min(0, dx))
    out[:, ys, xs] = x[:, max(0, -dy):SIZE - max(0, dy), max(0, -dx):SIZE - max(0, dx)]
    still = FLOW[:1, :1] & 128
    for edge, part in ((slice(ys.start, ys.start + 1), slice(0, ys.start)), (slice(ys.stop - 1, ys.stop), slice(ys.stop, SIZE))):
        out[:, part] = (out[:, edge] & GREY[:1]) | still
    for edge, part in ((slice(xs.start, xs.start + 1), slice(0, xs.start)), (slice(xs.stop - 1, xs.stop), slice(xs.stop, SIZE))):
        out[:, :, part] = (out[:, :, edge] & GREY[:, :1]) | still
    return out


def enlarge(x, gen, most=1.25):
    """A part of the picture, enlarged up to `most` times by nearest pixels: flow grows with it."""
    part = int(SIZE / (1 + (most - 1) * torch.rand(1, generator=gen).item()))
    at = ((torch.arange(SIZE, device=x.device) + 0.5) * part / SIZE).long()
    y0, x0 = torch.randint(0, SIZE - part + 1, (2,), generator=gen).tolist()
    x = x.index_select(1, at + y0).index_select(2, at + x0)
    grown = x.short().sub_(128).mul_(64 * SIZE // part).add_(32).bitwise_right_shift_(6).add_(128).clamp_(0, 255).to(torch.uint8)
    return (x & ~FLOW) | (grown & FLOW)


def beside(x, other):
    """What changes in `other` (an idle clip) happens in this clip too."""
    theirs = other[..., 0].short()
    grey = (x[..., 0].short() + theirs - theirs[:1]).clamp_(0, 255)
    out = torch.empty_like(x)
    out[..., 0] = grey
    for plane, span in (1, 1), (2, SPAN):
        out[span:, ..., plane] = (grey[span:] - grey[:-span]).abs_()
        out[:span, ..., plane] = (grey[:span] - grey[:1]).abs_()
    a, b = x[..., 3:].contiguous(), other[..., 3:].contiguous()
    mine, its = (z.short().sub_(128).abs_().view(*z.shape[:3], 2).amax(-1, keepdim=True) for z in (a, b))
    out[..., 3:] = torch.where(mine >= its, a, b)
    return out


def hide(x, gen):
    """Something stands in front of a part of the picture, all the time."""
    x = x.clone()
    h, w = torch.randint(6, 20, (2,), generator=gen).tolist()
    top, left = (int(torch.randint(0, SIZE - n, (1,), generator=gen)) for n in (h, w))
    x[:, top:top + h, left:left + w] = FLOW[:1, :1] & 128 | GREY[:1, :1] & int(torch.randint(0, 256, (1,), generator=gen))
    return x


def vary(x, y, idle, gen):
    """One clip, changed by chance: (levels, labels). `idle`: function that gives an idle clip's levels."""
    odds = torch.rand(7, generator=gen).tolist()
    covered, knocked = bool((y == 6).any()), bool((y == 5).any())
    if odds[0] < 0.5:
        x, y = mirror(x, y)
    if odds[1] < 0.35:
        x, y = backwards(x, y)
    if odds[2] < 0.12 and not covered and not knocked:
        x = beside(x, idle())
    if odds[3] < 0.4:
        x = shift(x, gen)
    elif odds[3] < 0.55:
        x = enlarge(x, gen)
    if odds[4] < 0.15:
        x = x ^ GREY
    if odds[5] < 0.15 and not covered:
        x = hide(x, gen)
    return x, y
