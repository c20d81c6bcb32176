#!/usr/bin/env python3
"""The pictures of an MJPEG AVI as files.      frames.py CLIP.avi FOLDER"""
import struct
import sys

data, folder = open(sys.argv[1], "rb").read(), sys.argv[2]
at, count = data.index(b"movi") + 4, 0
while data[at:at + 4] == b"00dc":
    size = struct.unpack_from("<I", data, at + 4)[0]
    with open(f"{folder}/{count:03}.jpg", "wb") as picture:
        picture.write(data[at + 8:at + 8 + size])
    at, count = at + 8 + size + size % 2, count + 1
if not count:
    sys.exit(f"frames.py: no picture in {sys.argv[1]}")
