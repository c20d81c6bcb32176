"""A pretrained network of torchvision as the encoder of a bundle, int8, ready for `lookout train --bundle`.

    lookout shape walk.y4m --bundle contract.toml -o calibration.npy      # pictures as the device will see them: width, height, channels = ["rgb"]
    python3 models/bring.py resnet18 --calibrate calibration.npy --out resnet18    # mobilenet_v3_small, resnet50, vgg16 ... any picture network
    python3 models/bring.py r3d_18 --clip 8 --calibrate calibration.npy --out r3d   # or a clip encoder: mc3_18, r2plus1d_18, s3d
    lookout check resnet18                                                 # on the device: what runs on bytes, how fast, is it the same
    lookout train clips --bundle resnet18 --out mine                       # the encoder stays, a head of your own classes learns

What stands before the classifier gives the features. A clip encoder (3-D convolutions over the last ticks, the newest last) is written with
int8 weights too, a quarter of the size, but computed in float: what runs on bytes here are pictures. The head in this bundle is untrained, two classes of nothing, so that the bundle is whole. Weights: torchvision's
own (`--weights DEFAULT`, fetched from the network), a file, or random ones to see how fast it would be. Mind the licence of the weights.

Needs: torch, torchvision, onnx, onnxruntime.
"""
import argparse
import hashlib
import inspect
import os

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

# Mean and scale of the levels that the networks were trained with: ImageNet's for pictures, Kinetics' for clips.
PICTURES = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
CLIPS = np.array([110.201, 100.64, 95.997]), np.array([58.148, 56.47, 55.332])
HIDDEN = 32
# Current PyTorch has two exporters; this is the one that writes what every runtime reads.
PLAIN = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


def named(name, weights):
    """A network of torchvision."""
    models = torchvision.models
    net = getattr(models if hasattr(models, name) else models.video, name)(weights=weights if weights == "DEFAULT" else None)
    if weights not in (None, "DEFAULT"):
        net.load_state_dict(torch.load(weights, map_location="cpu"))
    return net


def encoder_of(net):
    """Everything before the classifier."""
    if hasattr(net, "fc"):  # ResNet and its kin, of pictures and of clips
        net.fc = nn.Identity()
        return net.eval()
    # MobileNet, VGG, S3D: a classifier behind a stack of layers; VGG's first dense layer alone is ten times everything else
    clips = any(isinstance(m, nn.Conv3d) for m in net.modules())
    pool = nn.AdaptiveAvgPool3d(1) if clips else nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(net.features, pool, nn.Flatten()).eval()


class Head(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.rnn, self.dense = nn.GRU(features, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 2)

    def forward(self, x):
        return self.dense(self.rnn(x)[0][:, -1])


class Pictures(CalibrationDataReader):
    def __init__(self, values):
        self.each = iter({"value": v[None]} for v in values)

    def get_next(self):
        return next(self.each, None)


def export(encoder, value, path):
    torch.onnx.export(encoder, torch.tensor(value), path, opset_version=13, input_names=["value"], output_names=["features"], **PLAIN)


def quantise(raw, path, values):
    """The float network `raw`, which is prepared in its place, in int8: s8 weights with a scale a channel, u8 between layers."""
    quant_pre_process(raw, raw, skip_symbolic_shape=True)
    quantize_static(raw, path, Pictures(values), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8)


def output_step(graph):
    """The scale of a quantised network's features; none where a float operator makes them."""
    constants = {i.name: i for i in graph.initializer}
    maker = {o: n for n in graph.node for o in n.output}
    last = maker["features"]
    while last.op_type in ("Flatten", "Reshape", "Squeeze"):
        last = maker[last.input[0]]
    return float(onnx.numpy_helper.to_array(constants[last.input[1]])) if last.op_type == "DequantizeLinear" else None


def run(path, name, items):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {name: i[None]})[0] for i in items]).astype(np.float32)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("net")
    args.add_argument("--calibrate", required=True, help=".npy of u8 [N,3,H,W], by `lookout shape`")
    args.add_argument("--weights", help="DEFAULT, or a file; without: random")
    args.add_argument("--out", required=True)
    args.add_argument("--pictures", type=int, default=48)
    args.add_argument("--clip", type=int, default=1, help="ticks that a clip encoder looks at; 1: a network of pictures")
    args.add_argument("--tick-ms", type=int, default=100)
    args.add_argument("--window", type=int, default=16)
    a = args.parse_args()
    levels = np.load(a.calibrate)
    if levels.ndim != 4 or levels.shape[1] != 3 or levels.dtype != np.uint8:
        raise SystemExit(f"{a.calibrate}: {levels.dtype} {levels.shape}, u8 [N,3,H,W] expected (channels = [\"rgb\"])")
    pictures = hasattr(torchvision.models, a.net)
    if not (pictures or hasattr(torchvision.models.video, a.net)):
        raise SystemExit(f"{a.net}: torchvision {torchvision.__version__} has no network of this name")
    if pictures == (a.clip > 1):
        raise SystemExit(f"{a.net} is {'a network of pictures: without --clip' if pictures else 'no network of pictures: a clip encoder wants --clip 8'}")
    torch.manual_seed(1)
    mean, scale = PICTURES if pictures else CLIPS
    if len(levels) < a.clip:
        raise SystemExit(f"{a.calibrate}: {len(levels)} pictures, {a.clip} expected for one clip")
    if a.clip > 1:  # [N,3,T,H,W]: every clip of consecutive ticks
        levels = np.lib.stride_tricks.sliding_window_view(levels, a.clip, 0).transpose(0, 1, 4, 2, 3)
    levels = levels[np.linspace(0, len(levels) - 1, min(a.pictures, len(levels))).astype(int)]
    each = (3, *[1] * (levels.ndim - 2))
    values = ((levels - mean.reshape(each)) / scale.reshape(each)).astype(np.float32)
    os.makedirs(a.out)
    file = lambda name: os.path.join(a.out, name)
    raw = file("float.onnx")
    export(encoder_of(named(a.net, a.weights)), values[:1], raw)
    wanted = run(raw, "value", values[:8])
    quantise(raw, file("encoder.onnx"), values)
    os.remove(raw)
    found = run(file("encoder.onnx"), "value", values[:8])
    features = found.shape[1]
    cosine = (wanted * found).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1)
    print(f"{a.net}: {features} features, {os.path.getsize(file('encoder.onnx')) / 1e6:.1f} MB; int8 against float: cosine {cosine.min():.4f} at worst of {len(found)}")
    head = Head(features).eval()
    windows = np.stack([np.roll(np.resize(found, (a.window, features)), k, 0) for k in range(4)])
    torch.onnx.export(head, torch.tensor(windows[:1]), file("head.onnx"), opset_version=13, input_names=["window"], output_names=["logits"], **PLAIN)
    np.save(file("golden_frames.npy"), levels[:8])
    np.save(file("golden_features.npy"), found)
    np.save(file("golden_windows.npy"), windows)
    np.save(file("golden_logits.npy"), run(file("head.onnx"), "window", windows))
    step = output_step(onnx.load(file("encoder.onnx")).graph) or float(np.ptp(found)) / 255
    names = ["encoder.onnx", "head.onnx", "golden_frames.npy", "golden_features.npy", "golden_windows.npy", "golden_logits.npy"]
    sums = "\n".join(f'"{n}" = "{hashlib.sha256(open(file(n), "rb").read()).hexdigest()}"' for n in names)
    numbers = lambda list_: ", ".join(f"{v}" for v in list_)
    with open(file("bundle.toml"), "w") as f:
        f.write(f'''name = "{a.net.replace("_", "-")[:32]}"
version = "1.0.0"
description = "{a.net} of torchvision as an encoder; its head is untrained"

[input]
width = {levels.shape[-1]}
height = {levels.shape[-2]}
channels = ["rgb"]
mean = [{numbers(mean)}]
scale = [{numbers(scale)}]
clip = {a.clip}
features = {features}

[time]
tick_ms = {a.tick_ms}
window = {a.window}
max_held = 5

[head]
labels = ["nothing", "anything"]
background = "nothing"

[golden]
frames = "golden_frames.npy"
features = "golden_features.npy"
windows = "golden_windows.npy"
logits = "golden_logits.npy"
# Six steps of the output: a tie rounded the other way in one layer moves the next ones by a step or two.
features_tolerance = {6 * step:.6g}
logits_tolerance = 0.01

[files]
{sums}
''')


if __name__ == "__main__":
    main()
