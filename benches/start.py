#!/usr/bin/env python3
"""From exec to the first class: how long, and how much memory.

    benches/start.py LOOKOUT [ROUNDS]

Starts `LOOKOUT run` with the built-in bundle on a file of grey frames, so that nothing waits for a camera: what is measured is loading,
planning, golden vectors and a first window of 16 ticks. Prints the median of the rounds and VmHWM at that moment.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

WIDTH, HEIGHT, SECONDS = 320, 240, 30  # long enough that it still runs when it is looked at


def start(program, folder):
    clip, config = pathlib.Path(folder, "clip.y4m"), pathlib.Path(folder, "lookout.toml")
    config.write_text("")
    clip.write_bytes(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 Cmono\n".encode() + (b"FRAME\n" + bytes(WIDTH * HEIGHT)) * 30 * SECONDS)
    command = [program, "run", "--config", config, "--source", f"y4m:{clip}", "--report", "stdout", "--state", folder]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        for line in child.stdout:
            if line.startswith(b"$PLKTC"):
                took = time.monotonic() - began
                status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
                child.kill()
                return took * 1e3, int(status.split("VmHWM:")[1].split()[0]) / 1024
    sys.exit(f"{program} said no class")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [start(sys.argv[1], folder) for _ in range(int(sys.argv[2]) if len(sys.argv) == 3 else 11)]
    took, memory = (statistics.median(column) for column in zip(*rounds))
    print(f"first class after {took:.0f} ms, {memory:.1f} MB resident at most (median of {len(rounds)})")


if __name__ == "__main__":
    main()
