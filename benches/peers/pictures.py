#!/usr/bin/env python3
"""The pretrained networks on photographs: what lookout, LiteRT and ONNX Runtime (optimisations off) call them.

    target/peers/venv/bin/python benches/peers/pictures.py WORK LOOKOUT DATA

WORK is run.sh's, with the networks of `--data DATA` made; DATA has images_google-coral/ and models_google-coral/imagenet_labels.txt. Photographs are scaled
to the network's input by ffmpeg. Ends with 1 where lookout's best class is not that of ONNX Runtime's plain execution.
"""

import pathlib
import subprocess
import sys

import numpy as np

import exact
import prepare


def photograph(file, shape):
    """As `[C,H,W]` levels, or as the network's other order."""
    side = shape[-2]
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-vf", f"scale={side}:{side}:flags=area", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    levels = np.frombuffer(subprocess.check_output(command), np.uint8).reshape(side, side, 3)
    return levels.transpose(2, 0, 1) if shape[0] == 3 else levels


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    work, binary, data = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    names = (data / "models_google-coral/imagenet_labels.txt").read_text().splitlines()
    files = sorted((data / "images_google-coral").iterdir())
    other = 0
    for net in prepare.PAIRS:
        at = work / "nets" / net
        shape = np.load(at / "x.npy").shape[1:]
        pictures = np.stack([photograph(file, shape) for file in files])
        found = {
            "lookout": exact.lookout(binary, at / "qdq.onnx", pictures),
            "ONNX Runtime": exact.outputs("onnxruntime-plain", at / "qdq.onnx", pictures),
            "LiteRT": exact.outputs("ai-edge-litert", at / "int8.tflite", pictures),
        }
        for n, file in enumerate(files):
            best = {who: int(y[n].ravel().argmax()) for who, y in found.items()}
            other += best["lookout"] != best["ONNX Runtime"]
            print(f"{net:<34} {file.stem:<26} " + "  ".join(f"{who}: {names[k].split(',')[0]}" for who, k in best.items()))
    print(f"{other} of {len(files) * len(prepare.PAIRS)} otherwise than ONNX Runtime")
    sys.exit(other > 0)


if __name__ == "__main__":
    main()
