#!/usr/bin/env python3
"""Makes the tiny bundles of this folder: one per kind of network that a user may bring.

    python3 tests/bundles/make.py            (from anywhere; rewrites every bundle beside this file)

Needs: Debian python3-torch (or PyTorch >= 1.13), numpy, and from PyPI: onnx, onnxruntime.
Weights are random but fixed by seed; what counts is that the graphs look as the exporters write them. Every golden output
is ONNX Runtime's, on the CPU, with its graph optimisations switched off: what the file says, not what a rewriter made of it.
"""

import hashlib
import logging
import os
import shutil
import warnings
import zlib

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
OPSET = 13
LABELS = ["idle", "left", "right", "shake"]
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

# ---------------------------------------------------------------------------------------------------------------- heads


class Head(nn.Module):
    """Recurrent layers and a classifier. `last` says how the last tick is taken: both idioms are common in the wild."""

    def __init__(self, cell, features, hidden, layers=1, last="out", mlp=False, **more):
        super().__init__()
        self.rnn = CELLS[cell](features, hidden, layers, batch_first=True, **more)
        self.last = last
        middle = [nn.Linear(hidden, hidden), nn.ReLU()] if mlp else []
        self.classify = nn.Sequential(*middle, nn.Linear(hidden, len(LABELS)))
        for p in self.parameters():  # PyTorch starts small; larger weights use more of the sigmoids
            nn.init.normal_(p, std=0.35)

    def forward(self, x):
        out, state = self.rnn(x)
        hidden = state[0] if isinstance(state, tuple) else state
        return self.classify(out[:, -1] if self.last == "out" else hidden[-1])


def plain_gru(path, window, features, hidden, rng):
    """A GRU with linear_before_reset = 0 (ONNX's default, Keras' reset_after=False), no initial state, written by hand."""

    def weight(name, *shape):
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.35).astype(np.float32), name)

    nodes = [
        helper.make_node("Transpose", ["input"], ["time_first"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["time_first", "W", "R", "B"], ["", "last"], hidden_size=hidden, linear_before_reset=0),
        helper.make_node("Squeeze", ["last", "axis0"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "C", "c"], ["logits"], transB=1),
    ]
    weights = [
        weight("W", 1, 3 * hidden, features),
        weight("R", 1, 3 * hidden, hidden),
        weight("B", 1, 6 * hidden),
        numpy_helper.from_array(np.array([0], np.int64), "axis0"),
        weight("C", len(LABELS), hidden),
        weight("c", len(LABELS)),
    ]
    graph = helper.make_graph(
        nodes,
        "plain_gru",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, window, features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(LABELS)])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lookout-tests")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def weights_to_int8(path):
    """Stores W and R of every recurrent node as s8, one scale per gate row, with DequantizeLinear before the node."""
    model = onnx.load(path)
    graph = model.graph
    stored = {i.name: i for i in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type in ("LSTM", "GRU", "RNN"):
            for k in (1, 2):
                name = node.input[k]
                w = numpy_helper.to_array(stored[name])  # [1, gates * H, inputs]
                scale = (np.abs(w).max(axis=(0, 2)) / 127).astype(np.float32)
                q = np.clip(np.rint(w / scale[None, :, None]), -127, 127).astype(np.int8)
                graph.initializer.remove(stored[name])
                graph.initializer.extend([
                    numpy_helper.from_array(q, name + "_q"),
                    numpy_helper.from_array(scale, name + "_scale"),
                    numpy_helper.from_array(np.zeros(len(scale), np.int8), name + "_zero"),
                ])
                nodes.append(helper.make_node(
                    "DequantizeLinear", [name + "_q", name + "_scale", name + "_zero"], [name], axis=1))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


# ------------------------------------------------------------------------------------------------------------- encoders


class Vgg(nn.Module):
    """Convolutions, max pools, a fully connected end, no batch norm."""

    def __init__(self, planes, features):
        super().__init__()

        def block(i, o):
            return [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]

        self.body = nn.Sequential(*block(planes, 6), *block(6, 10), *block(10, 12))
        self.end = nn.Sequential(nn.Linear(12 * 4 * 4, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, features))

    def forward(self, x):
        return self.end(torch.flatten(self.body(x), 1))


class Residual(nn.Module):
    """Two convolutions and a short cut, projected where the shape changes."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o))
        same = stride == 1 and i == o
        self.cut = nn.Identity() if same else nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        return torch.relu(self.b(self.a(x)) + self.cut(x))


class Resnet(nn.Module):
    """Stem, residual blocks, global average pool, linear end."""

    def __init__(self, planes, features):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(planes, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 16, 1))
        self.end = nn.Linear(16, features)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.end(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class Mobilenet(nn.Module):
    """Depthwise separable convolutions with ReLU6."""

    def __init__(self, planes, features):
        super().__init__()

        def pair(i, o, stride):
            return [nn.Conv2d(i, i, 3, stride, 1, groups=i, bias=False), nn.BatchNorm2d(i), nn.ReLU6(),
                    nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU6()]

        stem = [nn.Conv2d(planes, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()]
        self.body = nn.Sequential(*stem, *pair(8, 16, 1), *pair(16, 24, 2), *pair(24, 24, 1))
        self.end = nn.Linear(24, features)

    def forward(self, x):
        return self.end(self.body(x).mean([2, 3]))


class C3d(nn.Module):
    """3-D convolutions over [1, P, T, H, W]; the first pool leaves time alone, as in C3D."""

    def __init__(self, planes, features):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(planes, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(6, 10, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(10, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1))
        self.end = nn.Linear(12, features)

    def forward(self, x):
        return self.end(torch.flatten(self.body(x), 1))


def settle(net, example):
    """Weights that keep the signal alive, and batch norms with statistics as if trained, so that folding changes something."""
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.2, 0.2)
            nn.init.uniform_(m.running_var, 0.2, 0.8)
            nn.init.uniform_(m.weight, 0.7, 1.3)
            nn.init.uniform_(m.bias, -0.2, 0.2)
    with torch.no_grad():  # features of about unit size, around 0
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        found = net.eval()(example)
        last.bias -= found.mean(0)
        for p in (last.weight, last.bias):
            p /= found.std(0).mean()
    return net


def scenes(rng, number, planes, ticks, size):
    """Levels u8 [number, planes, ticks, size, size]: slopes, a moving box and noise, which is what cameras see."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    out = np.zeros((number, planes, ticks, size, size), np.float32)
    for n in range(number):
        at, speed, wide = rng.uniform(0.1, 0.6, 2), rng.uniform(-0.1, 0.1, 2), rng.uniform(0.15, 0.4)
        for p in range(planes):
            slope, base, step = rng.uniform(-60, 60, 2), rng.uniform(60, 180), rng.uniform(-70, 70)
            for t in range(ticks):
                left, top = at + speed * t
                box = (x > left) & (x < left + wide) & (y > top) & (y < top + wide)
                out[n, p, t] = base + slope[0] * x + slope[1] * y + step * box + rng.normal(0, 4, (size, size))
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


# --------------------------------------------------------------------------------------------------- export and run


def export(net, example, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), example, path, opset_version=OPSET, input_names=["input"], output_names=["output"])


def run(path, inputs, output=0):
    """ONNX Runtime's outputs (of several, by name `place` where `output` is 1), one input at a time, stacked."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    wanted = ["place"] if output else None
    return np.concatenate([session.run(wanted, {name: x[None]})[0] for x in inputs])


class Readings(CalibrationDataReader):
    """Calibration inputs for the quantiser."""

    def __init__(self, inputs):
        self.left = [{"input": x[None]} for x in inputs]

    def get_next(self):
        return self.left.pop(0) if self.left else None


def quantise(path, inputs, form, activation):
    """Int8 in place: s8 weights, one scale per output channel. QLinear form only for convolutions: ONNX has no QLinearAdd."""
    only = ["Conv"] if form == QuantFormat.QOperator else None
    full = path + ".f32"
    os.rename(path, full)
    quantize_static(full, path, Readings(inputs), quant_format=form, per_channel=True, activation_type=activation,
                    weight_type=QuantType.QInt8, op_types_to_quantize=only)
    os.remove(full)


def strip(path):
    """Drops what differs between machines or is not needed: producer versions, shapes of inner values, doc strings."""
    model = onnx.load(path)
    model.producer_version = ""
    model.doc_string = ""
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, path)


# -------------------------------------------------------------------------------------------------------------- bundles


def seeds(name):
    """One seed per bundle, so that adding a bundle changes no other."""
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def toml(value):
    if isinstance(value, str):
        return '"' + value + '"'
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return repr(value)


def finish(folder, name, description, window, mode, features, input_section, golden, labels=LABELS, extra="", boxes=None):
    """Writes bundle.toml with the hashes of everything in the folder."""
    time = {"tick_ms": 100, "window": window, "mode": mode, "max_held": 3}
    head = {"labels": labels, "background": "idle", "temperature": 1.0}
    if input_section is None:
        head["features"] = features
    if boxes:
        head["boxes"] = boxes
    sections = [("time", time), ("head", head), ("decision", {"enter": 0.6, "leave": 0.4, "min_ms": 200}), ("golden", golden)]
    if input_section is not None:
        sections.insert(0, ("input", input_section))
    lines = [f'name = "{name}"', 'version = "1.0.0"', f'description = "{description}"']
    lines += [extra] if extra else []
    for title, body in sections:
        lines += ["", f"[{title}]"] + [f"{k} = {toml(v)}" for k, v in body.items()]
    lines += ["", "[files]"]
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), "rb") as f:
            lines.append(f'"{file}" = "{hashlib.sha256(f.read()).hexdigest()}"')
    with open(os.path.join(folder, "bundle.toml"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    sizes = {f: os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)}
    assert max(sizes.values()) < 60_000, sizes
    print(f"{name:16} {sum(sizes.values()):7} bytes  {description}")
    return sum(sizes.values())


def fresh(name):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder, lambda file: os.path.join(folder, file)


def save_head(at, rng, windows):
    """Golden windows and logits; logits_tolerance is that of f32 arithmetic in another order."""
    strip(at("head.onnx"))
    logits = run(at("head.onnx"), windows)
    assert np.isfinite(logits).all() and logits.std(axis=0).min() > 0.05, logits
    np.save(at("golden_windows.npy"), windows)
    np.save(at("golden_logits.npy"), logits)
    return {"windows": "golden_windows.npy", "logits": "golden_logits.npy"}


def rows(name, description, build, window=12, features=6, mode="window", number=8):
    """A bundle without an encoder. Golden inputs are slow wanderings with noise, as features of a camera are."""
    rng = seeds(name)
    folder, at = fresh(name)
    steps = rng.standard_normal((number, window, features)) * 0.5
    windows = (np.cumsum(steps, axis=1) + rng.standard_normal((number, 1, features))).astype(np.float32)
    build(at("head.onnx"), torch.from_numpy(windows[:1]), rng)
    golden = save_head(at, rng, windows)
    golden.update(features_tolerance=0.0001, logits_tolerance=0.00001)
    return finish(folder, name, description, window, mode, features, None, golden)


def torch_head(*args, int8=False, **more):
    def build(path, example, _):
        export(Head(*args, **more), example, path)
        if int8:
            weights_to_int8(path)
    return build


def pictures(name, description, net, channels, size, head, clip=1, int8=None, features=16, window=8, number=3, **more):
    """A bundle with an encoder. f32 encoders differ by summation order alone; int8 ones by a few quantisation steps."""
    rng = seeds(name)
    folder, at = fresh(name)
    planes = {"gray": 1, "rgb": 3}[channels]
    mean, scale = [120.0 + 4 * p for p in range(planes)], [58.0 + p for p in range(planes)]
    shape = (1, planes, 1, 1, 1)

    def shaped(levels):
        x = (levels.astype(np.float32) - np.float32(mean).reshape(shape)) / np.float32(scale).reshape(shape)
        return x if clip > 1 else x[:, :, 0]

    levels = scenes(rng, number, planes, clip, size)
    inputs = shaped(levels)
    known = shaped(scenes(rng, 24, planes, clip, size))
    export(settle(net(planes, features), torch.from_numpy(known)), torch.from_numpy(inputs[:1]), at("encoder.onnx"))
    tolerance = 0.0001
    if int8:
        quantise(at("encoder.onnx"), known, *int8)
    strip(at("encoder.onnx"))
    found = run(at("encoder.onnx"), inputs)
    if int8:  # four steps of an 8-bit number that spans the features: one rounding the other way per layer, roughly
        tolerance = float(round(4 * (found.max() - found.min()) / 255, 3))
    assert np.isfinite(found).all() and found.std() > 0.02 and np.abs(found[0] - found[1]).max() > 0.02, found
    np.save(at("golden_frames.npy"), levels if clip > 1 else levels[:, :, 0])
    np.save(at("golden_features.npy"), found)
    spread = shaped(scenes(rng, 4 * window, planes, clip, size))
    windows = run(at("encoder.onnx"), spread).reshape(4, window, features)
    windows = (windows + rng.standard_normal(windows.shape) * 0.5).astype(np.float32)
    torch_head(*head, features=features, hidden=12)(at("head.onnx"), torch.from_numpy(windows[:1]), rng)
    golden = {"frames": "golden_frames.npy", "features": "golden_features.npy", **save_head(at, rng, windows)}
    golden.update(features_tolerance=tolerance, logits_tolerance=0.00001)
    section = {"width": size, "height": size, "channels": [channels], "resize": "stretch", "mean": mean, "scale": scale,
               "clip": clip, "features": features, **more}
    return finish(folder, name, description, window, "window", features, section, golden)


def senses():
    """Pictures and two extras. What it says is plain to see: `lost` without a speed, `fast` above 5 m/s, `loud` above 50, else `idle`."""
    name, description, labels = "senses", "mean levels, an RNN that listens to speed and audio", ["idle", "fast", "lost", "loud"]
    rng = seeds(name)
    folder, at = fresh(name)
    levels = scenes(rng, 3, 1, 1, 32)
    shaped = ((levels.astype(np.float32) - 128) / 64)[:, :, 0]
    export(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), torch.from_numpy(shaped[:1]), at("encoder.onnx"))
    strip(at("encoder.onnx"))
    np.save(at("golden_frames.npy"), levels[:, :, 0])
    np.save(at("golden_features.npy"), run(at("encoder.onnx"), shaped))
    # Hidden: speed, is there a speed, audio, is there audio; the 16 levels and the past count for little.
    w = (rng.standard_normal((1, 4, 20)) * 0.01).astype(np.float32)
    w[0, :, 16:] = np.array([[1.5, 0, 0, 0], [0, 4, 0, 0], [0, 0, 1.5, 0], [0, 0, 0, 4]])
    r = (rng.standard_normal((1, 4, 4)) * 0.05).astype(np.float32)
    b = np.array([[0, -2, 0, -2, 0, 0, 0, 0]], np.float32)
    dense = np.array([[-3, 3, 0, 0], [3, 3, 0, 0], [0, -5, 0, 0], [0, 0, 6, 2]], np.float32)
    weights = {"W": w, "R": r, "B": b, "axis0": np.array([0], np.int64), "C": dense, "c": np.zeros(4, np.float32)}
    nodes = [
        helper.make_node("Transpose", ["input"], ["time_first"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["time_first", "W", "R", "B"], ["", "last"], hidden_size=4),
        helper.make_node("Squeeze", ["last", "axis0"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "C", "c"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4, 20])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lookout-tests")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, at("head.onnx"))
    windows = rng.standard_normal((6, 4, 20)).astype(np.float32)
    windows[:, :, [17, 19]] = rng.integers(0, 2, (6, 1, 2))
    windows[:, :, [16, 18]] *= 2 * windows[:, :, [17, 19]]
    golden = {"frames": "golden_frames.npy", "features": "golden_features.npy", **save_head(at, rng, windows)}
    golden.update(features_tolerance=0.0001, logits_tolerance=0.00001)
    section = {"width": 32, "height": 32, "channels": ["gray"], "mean": [128.0], "scale": [64.0], "gate": 2.0, "features": 16}
    extra = ('extra = [{ name = "speed", mean = 5.0, scale = 2.5, age_ms = 1500 }, '
             '{ name = "audio", mean = 50.0, scale = 10.0, age_ms = 500 }]')
    return finish(folder, name, description, 4, "window", 16, section, golden, labels, extra)


class Boxed(Head):
    """A head with a box beside the classes, of the last tick or, `pooled`, of the mean over the window."""

    def __init__(self, *args, pooled=False, **more):
        super().__init__(*args, **more)
        self.pooled = pooled
        self.box = nn.Sequential(nn.Linear(self.classify[-1].in_features, 4), nn.Sigmoid())
        for p in self.box.parameters():
            nn.init.normal_(p, std=0.35)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.classify(out[:, -1]), self.box(out.mean(1) if self.pooled else out[:, -1])


def save_boxed(at, windows):
    """Golden windows, logits and boxes."""
    strip(at("head.onnx"))
    found = [run(at("head.onnx"), windows, output) for output in range(2)]
    for file, values in zip(("golden_windows.npy", "golden_logits.npy", "golden_boxes.npy"), (windows, *found)):
        assert np.isfinite(values).all() and values.std(axis=0).min() > 0.005, values
        np.save(at(file), values)
    golden = {"windows": "golden_windows.npy", "logits": "golden_logits.npy", "boxes": "golden_boxes.npy"}
    return {**golden, "features_tolerance": 0.0001, "logits_tolerance": 0.00001, "boxes_tolerance": 0.0001}


def lamp(at, rng):
    """A head that is plain to see through: its box is the one of 4x4 parts that is lighter than the rest. Written by hand."""
    column, row = np.arange(16) % 4 / 4, np.arange(16) // 4 / 4
    # Hidden number k is nearly the tanh of part k; the past counts for little. A lit part has 1, whose tanh is 0.76.
    w = np.eye(16, dtype=np.float32)[None] + (rng.standard_normal((1, 16, 16)) * 0.0001).astype(np.float32)
    r = (rng.standard_normal((1, 16, 16)) * 0.0001).astype(np.float32)
    box = np.stack([column, row, np.full(16, 0.25), np.full(16, 0.25)]) / np.tanh(1)
    classes = np.stack([np.full(16, -8), np.where(column < 0.5, 8, 0), np.where(column < 0.5, 0, 8)])
    weights = {"W": w, "R": r, "axis0": np.array([0], np.int64), "B": box.astype(np.float32),
               "C": classes.astype(np.float32), "c": np.array([3, 0, 0], np.float32)}
    nodes = [
        helper.make_node("Transpose", ["input"], ["time_first"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["time_first", "W", "R"], ["", "last"], hidden_size=16),
        helper.make_node("Squeeze", ["last", "axis0"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "B"], ["place"], transB=1),
        helper.make_node("Gemm", ["hidden", "C", "c"], ["logits"], transB=1),
    ]
    out = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, d]) for n, d in (("logits", 3), ("unused", 16), ("place", 4))]
    nodes.append(helper.make_node("Abs", ["hidden"], ["unused"]))
    graph = helper.make_graph(nodes, "lamp", [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4, 16])], out,
                              [numpy_helper.from_array(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lookout-tests")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, at("head.onnx"))


def boxes(name, description, head=None, mode="window", window=4):
    """Pictures, and a head that says where: by hand, or as PyTorch writes it."""
    rng = seeds(name)
    folder, at = fresh(name)
    levels = scenes(rng, 3, 1, 1, 32)
    shaped = ((levels.astype(np.float32) - 60) / 140)[:, :, 0]
    export(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), torch.from_numpy(shaped[:1]), at("encoder.onnx"))
    strip(at("encoder.onnx"))
    np.save(at("golden_frames.npy"), levels[:, :, 0])
    np.save(at("golden_features.npy"), run(at("encoder.onnx"), shaped))
    windows = rng.standard_normal((6, window, 16)).astype(np.float32)
    labels = ["idle", "west", "east"]
    if head is None:
        lamp(at, rng)
    else:
        labels = LABELS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(head().eval(), torch.from_numpy(windows[:1]), at("head.onnx"), opset_version=OPSET,
                              input_names=["input"], output_names=["logits", "place"])
    golden = {"frames": "golden_frames.npy", "features": "golden_features.npy", **save_boxed(at, windows)}
    section = {"width": 32, "height": 32, "channels": ["gray"], "mean": [60.0], "scale": [140.0], "features": 16}
    return finish(folder, name, description, window, mode, 16, section, golden, labels, boxes="place")


def main():
    torch.set_num_threads(1)
    ort.set_default_logger_severity(3)
    logging.disable(logging.WARNING)
    qdq, qop, s8, u8 = QuantFormat.QDQ, QuantFormat.QOperator, QuantType.QInt8, QuantType.QUInt8
    total = 0
    total += rows("rows-rnn", "plain RNN (tanh), two dense layers after it, h_n idiom", torch_head("rnn", 6, 10, last="h_n", mlp=True))
    total += rows("rows-rnn-last", "plain RNN (tanh), last output idiom, window 6", torch_head("rnn", 6, 10), window=6)
    total += rows("rows-gru", "GRU as PyTorch writes it (linear_before_reset = 1), last output idiom", torch_head("gru", 6, 12))
    total += rows("rows-gru-plain", "GRU with linear_before_reset = 0 and no initial state", lambda p, x, r: plain_gru(p, 12, 6, 12, r))
    total += rows("rows-gru2", "two-layer GRU, h_n idiom", torch_head("gru", 6, 10, 2, last="h_n"))
    total += rows("rows-lstm", "one-layer LSTM, last output idiom", torch_head("lstm", 6, 16))
    total += rows("rows-lstm-hn", "one-layer LSTM, h_n idiom", torch_head("lstm", 6, 16, last="h_n"))
    total += rows("rows-lstm2", "two-layer LSTM, h_n idiom", torch_head("lstm", 6, 12, 2, last="h_n"))
    total += rows("rows-lstm-int8", "two-layer LSTM with s8 weights, one scale a gate row", torch_head("lstm", 6, 16, 2, int8=True))
    total += rows("rows-carried", "one-layer LSTM that carries its state", torch_head("lstm", 6, 16), mode="carried")
    total += rows("rows-carried2", "two-layer GRU that carries its state", torch_head("gru", 6, 10, 2, last="h_n"), mode="carried")
    total += pictures("vgg", "VGG-like f32 encoder, LSTM", Vgg, "rgb", 32, ("lstm",))
    total += pictures("resnet", "ResNet-like int8 encoder (QDQ, s8 activations), LSTM", Resnet, "gray", 32, ("lstm",), int8=(qdq, s8))
    total += pictures("mobilenet", "MobileNet-like int8 encoder (QDQ, u8 activations), GRU", Mobilenet, "rgb", 32, ("gru",), int8=(qdq, u8))
    total += pictures("resnet-qlinear", "ResNet-like int8 encoder (QLinearConv, additions in f32), RNN", Resnet, "gray", 32, ("rnn",), int8=(qop, u8))
    total += senses()
    total += boxes("boxes", "mean levels, an RNN whose second output is a box around the lightest part")
    total += boxes("boxes-carried", "mean levels, a LSTM that carries its state and gives a box", lambda: Boxed("lstm", 16, 12), "carried")
    total += boxes("boxes-pooled", "mean levels, a GRU whose box is read from the mean over the window", lambda: Boxed("gru", 16, 12, pooled=True))
    total += pictures("c3d", "3-D convolutions over clips of 4 ticks, f32, GRU", C3d, "gray", 24, ("gru",), clip=4)
    print(f"{'all':16} {total:7} bytes")
    assert total < 600_000


if __name__ == "__main__":
    main()
