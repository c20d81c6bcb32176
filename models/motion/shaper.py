"""What the device's shaper does, in numpy: the reference the recipe is checked against, and its stand-in.

Planes, levels and borders as in ../README.md: gray, motion (2), flow (2) as u8 [T,5,SIZE,SIZE] from luma u8 [T,H,W], one
picture a tick. `lookout shape` is the real thing; check_shaper.py says how far they agree.

Needs: python3-opencv, python3-numpy.
"""
import cv2
import numpy as np

SIZE = 64
SPAN = 5  # ticks of the slow motion plane


def area(luma):
    """u8 [SIZE,SIZE]: exact area average (pictures smaller than SIZE are enlarged first, which keeps it exact)."""
    high, wide = luma.shape
    grow = max(-(-SIZE // high), -(-SIZE // wide))
    if grow > 1:
        luma = cv2.resize(luma, (wide * grow, high * grow), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(luma, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def flow(grey, apart=1.0):
    """Lucas-Kanade u and v from each picture to the next as levels, u8 [T-1,2,SIZE,SIZE] from u8 [T,SIZE,SIZE]; `apart`: ticks between them, one number or T-1."""
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    half, one = np.array([-0.5, 0, 0.5], np.float32), np.array([1], np.float32)
    rep = cv2.BORDER_REPLICATE
    soft = cv2.sepFilter2D(np.ascontiguousarray(grey.transpose(1, 2, 0), np.float32), -1, kernel, kernel, borderType=rep)  # [S,S,T]
    mean = (soft[..., :-1] + soft[..., 1:]) * 0.5
    gx = cv2.sepFilter2D(mean, -1, half, one, borderType=rep)
    gy = cv2.sepFilter2D(mean, -1, one, half, borderType=rep)
    gt = soft[..., 1:] - soft[..., :-1]

    def box(p):
        return cv2.boxFilter(p, -1, (5, 5), normalize=False, borderType=rep)

    xx, yy, xy = box(gx * gx) + 100.0, box(gy * gy) + 100.0, box(gx * gy)
    xt, yt = box(gx * gt), box(gy * gt)
    det = xx * yy - xy * xy
    uv = np.stack([(xy * yt - yy * xt) / det, (xy * xt - xx * yt) / det]).transpose(3, 0, 1, 2)  # [T-1,2,S,S]
    uv = uv / np.maximum(np.broadcast_to(np.float32(apart), len(uv)), np.float32(0.5))[:, None, None, None]
    uv = uv - np.median(uv.reshape(*uv.shape[:2], -1), axis=-1)[..., None, None]
    return np.clip(np.rint(128 + 16 * uv), 0, 255).astype(np.uint8)


def shape(clip):
    """u8 [T,5,SIZE,SIZE] from luma u8 [T,H,W]."""
    grey = np.stack([area(f) for f in clip])
    out = np.empty((len(clip), 5, SIZE, SIZE), np.uint8)
    out[:, 0] = grey
    for k in range(len(clip)):
        out[k, 1] = cv2.absdiff(grey[k], grey[max(k - 1, 0)])
        out[k, 2] = cv2.absdiff(grey[k], grey[max(k - SPAN, 0)])
    out[0, 3:] = 128
    out[1:, 3:] = flow(grey)
    return out
