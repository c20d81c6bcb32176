#!/usr/bin/env python3
"""Y4M on stdin to raw luma on stdout at another frame rate (frames repeated or left out).

  clip.py HZ [SECONDS_STILL]     the first frame stands still for SECONDS_STILL before the clip begins
"""
import sys

hz, still = int(sys.argv[1]), float((sys.argv + ["0"])[2])
head = sys.stdin.buffer.readline().split()
if head[0] != b"YUV4MPEG2":
    sys.exit(f"clip.py: {head[0]!r} found, YUV4MPEG2 expected")
tags = {tag[:1]: tag[1:] for tag in head[1:]}
width, height = int(tags[b"W"]), int(tags[b"H"])
num, den = map(int, tags[b"F"].split(b":"))
if not tags.get(b"C", b"420").startswith(b"420"):
    sys.exit(f"clip.py: {tags[b'C']!r} found, 4:2:0 expected")
luma, whole = width * height, width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
index, written = 0, 0
while sys.stdin.buffer.readline().startswith(b"FRAME"):
    frame = sys.stdin.buffer.read(whole)
    if len(frame) < whole:
        sys.exit(f"clip.py: frame {index} has {len(frame)} bytes of {whole}")
    index += 1
    until = int((still + index * den / num) * hz)
    sys.stdout.buffer.write(frame[:luma] * (until - written))
    written = until
