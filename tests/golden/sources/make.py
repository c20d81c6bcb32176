#!/usr/bin/env python3
"""Writes the small pictures and clips of this folder, and what OpenCV and ffmpeg say is in them.

Debian: python3 python3-opencv python3-numpy ffmpeg. Run here: python3 make.py
Pictures are drawn, not photographed, and the same on every run; coded bytes may differ between ffmpeg versions.
Expected luma lies beside each file as binary PGM: `name.pgm`, or `name.0.pgm`, `name.1.pgm`, ... for a clip.
"""
import subprocess

import cv2
import numpy as np

W, H, N = 35, 21, 3


def frame(n):
    """Frame n in BGR: a shaded background with a soft disc that moves right."""
    y, x = np.mgrid[0:H, 0:W].astype(float)
    disc = np.clip(8.0 - np.hypot(x - 8 - 5 * n, y - 10), 0, 1)
    b = 40 + 4 * x * (1 - disc) + 120 * disc
    g = 60 + 5 * y * (1 - disc) + 30 * disc
    r = 200 - 3 * x * (1 - disc) - 90 * disc
    return np.clip(np.stack([b, g, r], 2), 0, 255).round().astype(np.uint8)


def ffmpeg(out, *options, rate="30000/1001"):
    """Feeds the N frames to ffmpeg as raw BGR."""
    raw = b"".join(frame(n).tobytes() for n in range(N))
    head = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{W}x{H}", "-r", rate, "-i", "-"]
    subprocess.run(head + ["-fflags", "+bitexact", "-flags:v", "+bitexact", *options, out], input=raw, check=True)


def luma(data):
    """Luma of one JPEG as libjpeg gives it: the Y samples themselves."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)


def without_tables(jpeg):
    """The same JPEG with its Huffman tables cut out, as many cameras send it."""
    out, at = bytearray(jpeg[:2]), 2
    while True:
        kind, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2:at + 4], "big")
        if kind == 0xDA:
            return bytes(out) + jpeg[at:]
        if kind != 0xC4:
            out += jpeg[at:at + 2 + length]
        at += 2 + length


def pgm(name, image):
    cv2.imwrite(name, image)


# JPEG: ffmpeg writes unusual sampling factors for 4:2:2 (2x2, 1x2, 1x2) and 4:4:4 (1x2 each); OpenCV the plain ones.
for sub in ["420", "422", "444"]:
    ffmpeg(f"ff{sub}.jpg", "-frames:v", "1", "-update", "1", "-c:v", "mjpeg", "-pix_fmt", f"yuvj{sub}p", "-q:v", "2")
cv2.imwrite("cv420.jpg", frame(0), [cv2.IMWRITE_JPEG_QUALITY, 92])
cv2.imwrite("grey.jpg", cv2.cvtColor(frame(0), cv2.COLOR_BGR2GRAY), [cv2.IMWRITE_JPEG_QUALITY, 92])
cv2.imwrite("progressive.jpg", frame(0), [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
cv2.imwrite("restart.jpg", frame(0), [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_RST_INTERVAL, 1])
for name in ["ff420", "ff422", "ff444", "cv420", "grey", "progressive", "restart"]:
    pgm(f"{name}.pgm", luma(open(f"{name}.jpg", "rb").read()))
bare = without_tables(open("cv420.jpg", "rb").read())
open("bare.jpg", "wb").write(bare)
pgm("bare.pgm", luma(open("cv420.jpg", "rb").read()))

# One as large as a camera's, coded as UVC cameras do, to be damaged and timed.
subprocess.run("ffmpeg -v error -y -f lavfi -i mandelbrot=size=640x480:rate=1 -frames:v 1 -update 1 -pix_fmt yuvj422p -q:v 8 vga.jpg".split(), check=True)

# MJPEG AVI as ffmpeg writes it.
ffmpeg("clip.avi", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2", "-huffman", "default")
data, at = open("clip.avi", "rb").read(), 0
for n in range(N):
    start = data.index(b"\xff\xd8\xff", at)
    at = data.index(b"\xff\xd9", start) + 2
    pgm(f"clip.{n}.pgm", luma(data[start:at]))

# Y4M in each layout; the luma planes come from ffmpeg's own raw output of the file.
for kind, options in {"420jpeg": "yuvj420p", "420mpeg2": "yuv420p", "422": "yuv422p", "444": "yuv444p", "mono": "gray"}.items():
    ffmpeg(f"{kind}.y4m", "-pix_fmt", options, "-strict", "-1")
    grey = subprocess.run(["ffmpeg", "-v", "error", "-i", f"{kind}.y4m", "-vf", "extractplanes=y", "-f", "rawvideo", "-pix_fmt", "gray", "-"],
                          check=True, capture_output=True).stdout
    for n in range(N):
        pgm(f"{kind}.{n}.pgm", np.frombuffer(grey, np.uint8).reshape(N, H, W)[n])

# PNG of the kinds that turn up: expected values are the samples themselves, so grey and RGB are kept as PGM and PPM.
grey = cv2.cvtColor(frame(1), cv2.COLOR_BGR2GRAY)
cv2.imwrite("rgb.png", frame(1))
cv2.imwrite("rgba.png", np.dstack([frame(1), np.full((H, W), 128, np.uint8)]))
cv2.imwrite("grey8.png", grey)
cv2.imwrite("grey16.png", grey.astype(np.uint16) * 257)
cv2.imwrite("rgb.ppm", frame(1))
cv2.imwrite("grey8.pgm", grey)
ffmpeg("palette.png", "-frames:v", "1", "-update", "1", "-vf", "split[a][b];[a]palettegen=max_colors=16[p];[b][p]paletteuse=dither=none")
cv2.imwrite("palette.ppm", cv2.imread("palette.png", cv2.IMREAD_COLOR))
