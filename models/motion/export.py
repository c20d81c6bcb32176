"""Float weights -> the bundle: encoder.onnx (int8 QDQ), head.onnx (int8 weights), golden vectors, bundle.toml.

    python3 export.py --weights float.pt [more.pt ...] --data-dir DIR [--out .]      several weights of one network are averaged

Encoder: BatchNorm folded, weights s8 per channel, activations u8, calibrated on training shards. Its input is the levels
themselves (u8): the quantiser of the input would be value = (level - 128) / 64, so it is left out. Head: W and R of the LSTM and the last
layer as s8 with one scale per row, put back to float by DequantizeLinear when the graph is loaded. Prints the validation accuracy of the
float networks and of what was written, both through the shards.

Needs: python3-torch, onnx, onnxruntime, python3-numpy.
"""
import argparse
import glob
import hashlib
import inspect
import os

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch.nn.utils.fusion import fuse_conv_bn_eval

from net import CLASSES, FEATURES, HIDDEN, PLANES, SIZE, WINDOW, Encoder, Head
from train import NAMES, predict, read, report

VERSION = "1.5.0"


# The rarest thousandth of the activations may be cut off: with their full range, steps grow too coarse for a dark lens cover (9 of 10 ticks found, 99 of
# 100 now). The input's quantiser is given: scale 1/64, zero point 128.
INPUT = {"scale": np.array(1 / 64, np.float32), "zero_point": np.array(128, np.uint8)}


class Calibration(CalibrationDataReader):
    """Values from training frames."""

    def __init__(self, shards, frames):
        rng = np.random.default_rng(7)
        self.items = []
        for _ in range(frames):
            x = shards[rng.integers(len(shards))][0]
            self.items.append((x[rng.integers(len(x)), rng.integers(1, x.shape[1])].permute(2, 0, 1)[None].numpy().astype(np.float32) - 128) / 64)
        self.next = iter(self.items)

    def get_next(self):
        item = next(self.next, None)
        return None if item is None else {"value": item}


class Folded(torch.nn.Module):
    """The encoder with BatchNorm folded into the convolutions and value = (level - 128) / 64 as its input."""

    def __init__(self, encoder):
        super().__init__()
        stem, norm = encoder.a.conv, encoder.a.norm
        gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
        self.a = torch.nn.Conv2d(PLANES, stem.out_channels, 4, 4)
        with torch.no_grad():
            self.a.weight.copy_(stem.weight * gain[:, None, None, None])
            self.a.bias.copy_(norm.bias + gain * (2 * stem.weight.sum((1, 2, 3)) - norm.running_mean))
        for name in ("b", "c1", "c2", "d", "e"):
            conv, norm, _ = getattr(encoder, name)
            setattr(self, name, fuse_conv_bn_eval(conv, norm))
        self.out = encoder.out

    def forward(self, value):
        x = torch.relu(self.b(torch.relu(self.a(value))))
        x = x + torch.relu(self.c1(x))
        x = x + torch.relu(self.c2(x))
        x = torch.relu(self.d(x))
        x = x + torch.relu(self.e(x))
        return self.out(torch.flatten(x, 1))


def write_encoder(encoder, path, shards, frames=300):
    """Exports, quantises and takes the input's quantiser out; returns (scale, zero point) of the features."""
    folded = Folded(encoder.eval().to(memory_format=torch.contiguous_format)).eval()
    raw = path + ".float.onnx"
    plain = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}  # current PyTorch's default needs onnxscript
    torch.onnx.export(folded, torch.zeros(1, PLANES, SIZE, SIZE), raw, opset_version=13, input_names=["value"], output_names=["features"], **plain)
    quantize_static(raw, path, Calibration(shards, frames), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.Percentile,
                    extra_options={"CalibPercentile": 99.9, "TensorQuantOverrides": {"value": [INPUT]}})
    os.remove(raw)
    model = onnx.load(path)
    graph = model.graph
    first = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "value")
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    scale, zero = float(constants[first.input[1]]), int(constants[first.input[2]])
    if abs(scale * 64 - 1) > 1e-4 or zero != 128:
        raise SystemExit(f"input scale {scale}, zero point {zero}: expected 1/64 and 128")
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == first.output[0]:
                node.input[i] = "levels"
    graph.node.remove(first)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("levels", TensorProto.UINT8, [1, PLANES, SIZE, SIZE]))
    del graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)
    last = next(n for n in graph.node if "features" in n.output)
    return float(constants[last.input[1]]), int(constants[last.input[2]])


def rows_s8(weight):
    """One scale per row (last axis summed over): (s8 weights, scales)."""
    scale = np.abs(weight).max(-1) / 127
    return np.clip(np.rint(weight / scale[..., None]), -127, 127).astype(np.int8), scale.astype(np.float32)


def write_head(head, path):
    """An LSTM and a dense layer by hand: ONNX's gates are i, o, f, c where PyTorch's are i, f, c, o."""
    h = HIDDEN

    def gates(w):
        w = w.detach().numpy()
        return np.concatenate([w[:h], w[3 * h:], w[h:2 * h], w[2 * h:3 * h]])

    lstm, inits, nodes = head.lstm, [], []

    def quantised(name, weight, axis):
        q, scale = rows_s8(weight)
        inits.extend([numpy_helper.from_array(q, name + "_s8"), numpy_helper.from_array(scale.reshape(-1), name + "_scale"),
                      numpy_helper.from_array(np.zeros(scale.size, np.int8), name + "_zero")])
        nodes.append(helper.make_node("DequantizeLinear", [name + "_s8", name + "_scale", name + "_zero"], [name], name=name + "_dq", axis=axis))

    quantised("W", gates(lstm.weight_ih_l0)[None], 1)
    quantised("R", gates(lstm.weight_hh_l0)[None], 1)
    quantised("out", head.out.weight.detach().numpy(), 0)
    bias = np.concatenate([gates(lstm.bias_ih_l0), gates(lstm.bias_hh_l0)])[None]
    inits += [numpy_helper.from_array(bias, "B"), numpy_helper.from_array(head.out.bias.detach().numpy(), "out_bias"),
              numpy_helper.from_array(np.array([0], np.int64), "axis0")]
    nodes += [helper.make_node("Transpose", ["window"], ["sequence"], name="time_first", perm=[1, 0, 2]),
              helper.make_node("LSTM", ["sequence", "W", "R", "B"], ["", "last"], name="lstm", hidden_size=h),
              helper.make_node("Squeeze", ["last", "axis0"], ["state"], name="state"),
              helper.make_node("Gemm", ["state", "out", "out_bias"], ["logits"], name="dense", transB=1)]
    graph = helper.make_graph(nodes, "head", [helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, WINDOW, FEATURES])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def plain(path):
    """An ONNX Runtime session that computes the graph as it is written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def dequantised(head):
    """The head with the weights that head.onnx holds, for fast evaluation in PyTorch."""
    out = Head()
    out.load_state_dict(head.state_dict())
    with torch.no_grad():
        for p in (out.lstm.weight_ih_l0, out.lstm.weight_hh_l0, out.out.weight):
            q, scale = rows_s8(p.numpy())
            p.copy_(torch.from_numpy(q.astype(np.float32) * scale[:, None]))
    return out


class Written(torch.nn.Module):
    """encoder.onnx behind the interface of the float encoder (levels in, features out)."""

    def __init__(self, path):
        super().__init__()
        model = onnx.load(path)  # any number of frames at once
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def forward(self, x):
        levels = x.to(torch.uint8).contiguous().numpy()
        return torch.from_numpy(self.session.run(["features"], {"levels": levels})[0])


def temperature(logits, labels):
    """The one number that makes the probabilities honest on the validation clips."""
    known = labels >= 0
    z, y = logits[known], labels[known]
    choices = np.exp(np.linspace(np.log(0.4), np.log(2.5), 60))
    return round(float(min(choices, key=lambda t: torch.nn.functional.cross_entropy(z / t, y).item())), 3)


CONTRACT = '''name = "motion"
version = "{version}"
description = "what happens in front of a fixed camera box"

[input]
width = {size}
height = {size}
channels = ["gray", "motion", "flow"]
motion_span = 5
resize = "stretch"
gate = 2.0
features = {features}

[time]
tick_ms = 100
window = {window}
mode = "window"
max_held = 5

[head]
labels = [{labels}]
background = "idle"
temperature = {temperature}

[decision]
enter = {enter}
leave = {leave}
min_ms = {min_ms}

[golden]
frames = "golden_frames.npy"
features = "golden_features.npy"
windows = "golden_windows.npy"
logits = "golden_logits.npy"
# {steps} steps of the int8 output ({step:.4f} each): a tie rounded the other way in one layer moves the next ones by a step or two.
features_tolerance = {tolerance:.3f}
logits_tolerance = 0.001

[files]
{files}
'''


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--weights", nargs="+", default=["float.pt"])
    args.add_argument("--keep", help="where to keep the averaged float weights")
    args.add_argument("--data-dir", required=True)
    args.add_argument("--out", default=".")
    args.add_argument("--frames", type=int, default=300, help="frames the encoder is calibrated on")
    args.add_argument("--enter", type=float, default=0.6)
    args.add_argument("--leave", type=float, default=0.4)
    args.add_argument("--min-ms", type=int, default=200)
    a = args.parse_args()
    torch.manual_seed(1)
    states = [torch.load(path, map_location="cpu") for path in a.weights]
    encoder, head = Encoder(), Head()
    for module, part in (encoder, "encoder"), (head, "head"):
        module.load_state_dict({k: torch.stack([s[part][k].float() for s in states]).mean(0).to(v.dtype) for k, v in states[0][part].items()})
        module.eval()
    if a.keep:
        torch.save({"encoder": encoder.state_dict(), "head": head.state_dict()}, a.keep)
    train, val = read(a.data_dir, "train")[::6], read(a.data_dir, "val")

    def file(name):
        return os.path.join(a.out, name)

    step, zero = write_encoder(encoder, file("encoder.onnx"), train, a.frames)
    write_head(head, file("head.onnx"))
    accuracy, each = report(*predict(encoder, head, val)[:2])
    print(f"float: validation ticks {accuracy:.4f} | {each}")
    written = Written(file("encoder.onnx"))
    logits, labels, _ = predict(written, dequantised(head), val)
    small, each = report(logits, labels)
    print(f"int8:  validation ticks {small:.4f} | {each}")
    warmth = temperature(logits, labels)

    rng = np.random.default_rng(3)
    x = val[0][0].permute(0, 1, 4, 2, 3).numpy()
    frames = np.stack([x[rng.integers(len(x)), rng.integers(1, x.shape[1])] for _ in range(8)])
    session = plain(file("encoder.onnx"))
    np.save(file("golden_frames.npy"), frames)
    np.save(file("golden_features.npy"), np.concatenate([session.run(None, {"levels": f[None]})[0] for f in frames]).astype(np.float32))
    windows = []
    for i in rng.integers(0, len(x), 8):
        start = rng.integers(0, x.shape[1] - WINDOW + 1)
        windows.append(np.concatenate([session.run(None, {"levels": f[None]})[0] for f in x[i, start:start + WINDOW]]))
    windows = np.stack(windows).astype(np.float32)
    session = plain(file("head.onnx"))
    logits = np.concatenate([session.run(None, {"window": w[None]})[0] for w in windows]).astype(np.float32)
    with torch.no_grad():
        apart = np.abs(dequantised(head)(torch.from_numpy(windows)).numpy() - logits).max()
    print(f"head: ONNX Runtime and PyTorch differ by {apart:.1e}; temperature {warmth}; feature step {step:.4f}")
    np.save(file("golden_windows.npy"), windows)
    np.save(file("golden_logits.npy"), logits)
    names = ["encoder.onnx", "head.onnx", "golden_frames.npy", "golden_features.npy", "golden_windows.npy", "golden_logits.npy"]
    sums = "\n".join(f'"{n}" = "{hashlib.sha256(open(file(n), "rb").read()).hexdigest()}"' for n in names)
    steps = 6
    with open(file("bundle.toml"), "w") as f:
        f.write(CONTRACT.format(version=VERSION, size=SIZE, features=FEATURES, window=WINDOW, labels=", ".join(f'"{n}"' for n in NAMES),
                                temperature=warmth, enter=a.enter, leave=a.leave, min_ms=a.min_ms, steps=steps, step=step,
                                tolerance=steps * step, files=sums))
    print(" ".join(f"{n} {os.path.getsize(file(n))}" for n in names))


if __name__ == "__main__":
    main()
