"""The networks of tests/architectures.rs: what torchvision exports, without its weights, and what ONNX Runtime computes with others.

A whole ResNet-50 does not belong into git. So its export is kept with the large tensors taken out; in place of its numbers each has a sentence
("levels SEED STEP" or "scales SEED MIDDLE" in its doc_string) from which this file and the test make the same numbers. It cannot be loaded by mistake: a tensor without data
is refused. Where the f32 form of a network is larger than the 32 MiB that a file may have, a narrower or shorter one of the same class is taken.

Made by torch 1.13.1, torchvision 0.14.1 (Debian 12), numpy 1.26.4, onnx 1.17.0, onnxruntime 1.23.2; the same versions give the same bytes.

    apt install python3-torch python3-torchvision libopenblas0-pthread && pip install numpy==1.26.4 onnx==1.17.0 onnxruntime==1.23.2
    python3 tests/architectures/make.py        # about two minutes of one core
"""
import os
import sys
import tempfile
import zlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import nn
from torchvision import models
from torchvision.models import video

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../models"))
import bring  # noqa: E402
import exact  # noqa: E402

# Tensors below this many numbers are kept: zero points, scales of layers, small constants.
SMALL = 40
# Pictures are 64x64; a clip is 8 ticks of 32x32.
PICTURE, CLIP, TICKS = 64, 32, 8
# Seeds of the inputs that are compared, and of those that the ranges are taken from.
INPUTS, CALIBRATION = (1, 2, 3, 4), range(101, 117)


def bits(seed, count):
    """SplitMix64, as src/rng.rs."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def levels(seed, count):
    """Evenly from -127 to 127: `Rng::below(255) - 127`."""
    return (((bits(seed, count) >> np.uint64(32)) * np.uint64(255)) >> np.uint64(32)).astype(np.int32) - 127


def scene(seed, ticks, side):
    """Levels [3, T, side, side] of squares of 4x4 points."""
    few = (bits(seed, 3 * ticks * (side // 4) ** 2) >> np.uint64(56)).astype(np.uint8)
    return few.reshape(3, ticks, side // 4, side // 4).repeat(4, 2).repeat(4, 3)


def values(seed, ticks, side):
    """What the network is given, computed as src/encoder.rs does."""
    mean, scale = (p.astype(np.float32).reshape(3, 1, 1, 1) for p in (bring.PICTURES if ticks == 1 else bring.CLIPS))
    of = (scene(seed, ticks, side).astype(np.float32) - mean) / scale
    return of[:, 0] if ticks == 1 else of


def fill(tensor):
    """Numbers for a tensor that says how they are made."""
    what, seed, by = tensor.doc_string.split()
    of = levels(int(seed), int(np.prod(tensor.dims)))
    if what == "scales":
        of = (1 + of.astype(np.float32) / 512) * np.float32(by)
    elif tensor.data_type == TensorProto.FLOAT:
        of = of.astype(np.float32) * np.float32(by)
    elif tensor.data_type == TensorProto.INT32:
        of = of * np.int32(by)
    else:
        of = (of * int(by)).astype(np.int8)
    tensor.raw_data = of.tobytes()


def hollow(model):
    """Takes the large tensors out of a network and says how they are to be filled."""
    maker = {o: node for node in model.graph.node for o in node.output}
    made = lambda name: maker[name].input if name in maker and maker[name].op_type == "DequantizeLinear" else None
    # Scales of weights and, as products with the input's, of biases: by the same seed, so that they stay products.
    scales = {}
    for node in model.graph.node:
        parts = [made(name) for name in node.input[1:3]]
        if node.op_type in ("Conv", "Gemm") and all(parts):
            scales.update({part[1]: parts[0][1] for part in parts})
    for tensor in model.graph.initializer:
        of = numpy_helper.to_array(tensor)
        if of.size < SMALL:
            continue
        what, seed = "levels", tensor.name.removesuffix("_quantized")
        if not of.any():
            by = "0"  # zero points
        elif tensor.name in scales:
            # One a channel, a quarter up and down about the quantiser's largest: that of a channel which has a level of 127.
            what, seed, by = "scales", scales[tensor.name], of.max()
        elif tensor.data_type == TensorProto.FLOAT:
            # Uniform with deviation sqrt(2 / inputs), so that layers neither grow nor fade; biases up to a twentieth.
            by = np.float32(np.sqrt(6 / np.prod(of.shape[1:])) / 127 if of.ndim > 1 else 0.05 / 127)
        elif tensor.data_type == TensorProto.INT32:
            # As large as those that the quantiser made; 73 is the deviation of a level.
            by = max(1, round(float(np.sqrt(np.mean(of.astype(np.float64) ** 2))) / 73))
        elif tensor.data_type == TensorProto.INT8:
            by = 1
        else:
            raise SystemExit(f"{tensor.name}: {tensor.data_type} {of.shape} is no tensor that can be filled")
        for field in "raw_data", "float_data", "int32_data":
            tensor.ClearField(field)
        tensor.doc_string = f"{what} {zlib.crc32(seed.encode())} {by!s}"


def filled(model):
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if tensor.doc_string:
            fill(tensor)
    return whole


def golden(model, folder, inputs):
    path = os.path.join(folder, "golden.onnx")
    onnx.save(filled(model), path)
    return os.path.getsize(path), bring.run(path, "value", inputs)


def half(layers):
    """VGG's list of layers at half the width."""
    return [v if v == "M" else v // 2 for v in layers]


def r3d_without_last():
    net = video.r3d_18()
    net.layer4 = nn.Identity()
    return net


def normalised(net):
    """With batch norms as no two channels of a trained network have them: the exporter would share what is equal."""
    for norm in net.modules():
        if isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(norm.bias, -1, 1)
    return net


VGG16 = models.vgg.cfgs["D"]
# name, ticks, the network in f32 (None: not compared), the network in int8
NETS = [
    ("mobilenet-v3-small", 1, models.mobilenet_v3_small, models.mobilenet_v3_small),
    ("mobilenet-v3-large", 1, models.mobilenet_v3_large, models.mobilenet_v3_large),
    ("resnet18", 1, lambda: models.ResNet(models.resnet.BasicBlock, [2, 2, 2, 1]), models.resnet18),
    ("resnet50", 1, lambda: models.ResNet(models.resnet.Bottleneck, [3, 4, 6, 3], width_per_group=16), models.resnet50),
    ("vgg16", 1, lambda: models.VGG(models.vgg.make_layers(half(VGG16))), models.vgg16),
    ("r3d18", TICKS, r3d_without_last, video.r3d_18),
    ("s3d", TICKS, video.s3d, video.s3d),
]


def strip(model):
    """Without what nobody reads: shapes of inner tensors and sentences of the exporter."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""


def main():
    torch.manual_seed(1)
    lines = []
    only = sys.argv[1:]
    for name, ticks, small, whole in NETS:
        if only and name not in only:
            continue
        side = PICTURE if ticks == 1 else CLIP
        inputs = np.stack([values(s, ticks, side) for s in INPUTS])
        calibration = np.stack([values(s, ticks, side) for s in CALIBRATION])
        with tempfile.TemporaryDirectory() as folder:
            raw, int8 = os.path.join(folder, "raw.onnx"), os.path.join(folder, "int8.onnx")
            for form, make in ("f32", small), ("int8", whole):
                bring.export(bring.encoder_of(normalised(make())), inputs[:1], raw)
                model = onnx.load(raw)
                hollow(model)
                if form == "int8":
                    onnx.save(filled(model), raw)
                    as_float = bring.run(raw, "value", inputs)
                    bring.quantise(raw, int8, calibration)
                    model = onnx.load(int8)
                    hollow(model)
                strip(model)
                size, features = golden(model, folder, inputs)
                file = f"{name}-{form}"
                onnx.save(model, f"{HERE}/{file}.onnx")
                np.save(f"{HERE}/{file}.npy", features)
                if form == "int8" and ticks == 1:
                    whole_model = filled(model)
                    np.save(f"{HERE}/{file}.exact.npy", np.concatenate([exact.features(whole_model, i[None]) for i in inputs]))
                step = (bring.output_step(model.graph) or 0.0) if form == "int8" else 0.0
                lines.append(f"{file} {ticks} {side} {features.shape[1]} {np.float32(step)!s}")
                kept = os.path.getsize(f"{HERE}/{file}.onnx")
                print(f"{lines[-1]}: {len(model.graph.node)} nodes, {size / 2**20:.2f} MiB, {kept} bytes kept; features {features.min():.4g} to {features.max():.4g}, "
                      f"deviation {features.std():.4g}, first two inputs apart {np.abs(features[0] - features[1]).mean():.4g}", flush=True)
                if form == "int8":
                    print(f"    int8 against float: correlation {np.corrcoef(features.ravel(), as_float.ravel())[0, 1]:.4f}", flush=True)
    if not only:
        with open(f"{HERE}/cases.txt", "w") as f:
            f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
