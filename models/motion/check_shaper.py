"""Compares shaper.py with the device's own shaper: mean and largest difference per plane, in levels.

    python3 check_shaper.py --lookout ../../target/release/lookout

Needs: python3-opencv, python3-numpy.
"""
import argparse
import os
import subprocess
import tempfile

import numpy as np

import render
import shaper
from evaluate import y4m

if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--lookout", default="../../target/release/lookout")
    args.add_argument("--bundle", default=".")
    args.add_argument("--clips", type=int, default=14)
    a = args.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        worst, mean = np.zeros(5), np.zeros(5)
        for i in range(a.clips):
            luma = render.clip(5, i, i % 7)[0]
            source, out = os.path.join(folder, "c.y4m"), os.path.join(folder, "c.npy")
            with open(source, "wb") as f:
                f.write(y4m(luma))
            subprocess.run([a.lookout, "shape", source, "--bundle", a.bundle, "-o", out], check=True)
            apart = np.abs(np.load(out).astype(int) - shaper.shape(luma)).reshape(len(luma), 5, -1)
            worst, mean = np.maximum(worst, apart.max((0, 2))), mean + apart.mean((0, 2)) / a.clips
    for name, w, m in zip(["gray", "motion 1", "motion 5", "flow u", "flow v"], worst, mean):
        print(f"{name:9} mean {m:.4f} largest {w:.0f}")
