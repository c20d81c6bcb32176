"""Does everybody compute the same? Outputs on the int8 file against ONNX Runtime with graph optimisations off.

Off, it runs every QuantizeLinear, DequantizeLinear and float operator as the ONNX standard says: that is what the file means. On,
it uses integer kernels, as all the others do, and differs from itself by a tie rounded the other way here and there. Its own
difference stands beside lookout's, because no runtime can be closer than the file is precise.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

PEER = pathlib.Path(__file__).parent / "peer.py"
MARGIN = 0.05
ROWS = {
    "lookout": None, "ONNX Runtime optimised": ("onnxruntime", "{}.onnx"), "OpenVINO": ("openvino", "{}.onnx"),
    "LiteRT": ("ai-edge-litert", "int8.tflite"),
}  # fmt: skip


def outputs(runtime, file, pictures):
    with tempfile.TemporaryDirectory() as folder:
        target, source = f"{folder}/y.npy", f"{folder}/x.npy"
        np.save(source, pictures)
        done = subprocess.run(
            [sys.executable, str(PEER), runtime, str(file), "--outputs", source, target], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().split("\n")[-1][:200])
        return np.load(target)


def lookout(binary, file, pictures):
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for picture in pictures:
            np.save(f"{folder}/x.npy", picture[None])
            command = [binary, "check", "--onnx", str(file), "--input", f"{folder}/x.npy", "--output", f"{folder}/y.npy"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr.strip().split("\n")[-1][:200])
            found.append(np.load(f"{folder}/y.npy").ravel())
    return np.stack(found)


def step(file):
    """The step of the last quantiser, and whether a softmax follows it."""
    graph = onnx.load(file).graph
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    last = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in known][-1]
    return float(known[last.input[1]]), any(n.op_type == "Softmax" for n in graph.node)


def compare(at, binary):
    """Row -> {"top1": (equal, of), "share": within a step, "worst": steps} for outputs and features."""
    found = {}
    for form in ("qdq", "features"):
        # Loading takes lookout longer than the pictures do.
        file, pictures = at / f"{form}.onnx", np.load(at / "x.npy")[: 16 if form == "qdq" else 6]
        size, soft = step(file)
        reference = outputs("onnxruntime-plain", file, pictures)
        logits = np.log(np.maximum(reference, 1e-12)) if soft else reference
        odds = np.exp(logits - logits.max(1, keepdims=True))
        odds = np.sort(odds / odds.sum(1, keepdims=True), axis=1)
        sure = odds[:, -1] - odds[:, -2] >= MARGIN
        for row, how in ROWS.items():
            if how and form == "features" and how[1] == "int8.tflite":
                continue
            try:
                y = lookout(binary, file, pictures) if how is None else outputs(how[0], at / how[1].format(form), pictures)
            except RuntimeError as e:
                found.setdefault(row, {})[form] = {"failed": str(e)}
                continue
            if y.shape != reference.shape:
                continue
            # Behind a softmax a step has no one size: there only the class counts.
            steps = np.abs(y - reference) / size
            one = {"top1": [int((y.argmax(1) == reference.argmax(1))[sure].sum()), int(sure.sum())], "pictures": len(y)}
            if not soft:
                one |= {"share": float((steps < 1.01).mean()), "worst": float(steps.max())}
            found.setdefault(row, {})[form] = one
    return found


def said(one):
    if one is None:
        return "none"
    if "failed" in one:
        return "refused"
    share = f", {100 * one['share']:.2f} %, worst {one['worst']:.0f}" if "share" in one else ""
    return f"{one['top1'][0]} of {one['top1'][1]}{share}"


def line(found):
    return "; ".join(f"{row}: {said(forms.get('qdq'))}" for row, forms in found.items())


def table(exact):
    """Markdown: a row for each network."""
    lines = ["| network | " + " | ".join(f"{r}" for r in ROWS) + " | features: lookout | features: ONNX Runtime optimised | features: OpenVINO |"]
    lines.append("|---" * (len(ROWS) + 4) + "|")
    for name, found in exact.items():
        cells = [said(found.get(r, {}).get("qdq")) for r in ROWS]
        for row in ("lookout", "ONNX Runtime optimised", "OpenVINO"):
            one = found.get(row, {}).get("features")
            cells.append("none" if not one else one.get("failed") or f"{100 * one['share']:.2f} %, worst {one['worst']:.0f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
