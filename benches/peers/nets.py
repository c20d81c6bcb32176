"""The networks of the comparison, made from a seed, as float ONNX and as int8 ONNX.

Weights are random, but not raw: each convolution is scaled by what its output measures on calibration pictures, as an untrained
batch norm would, so that ranges, zero points and saturation are those of a real network. Padding is TensorFlow's "same"
(the odd row and column go below and to the right) because tflite has no other without an extra node: so every runtime gets
exactly the same network. Quantising is ONNX Runtime's standard tool: u8 activations, s8 weights per channel, min-max.

The input is a u8 picture, planes of rows, as a camera gives it; the int8 forms take it as it is.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

PICTURES = 32  # the first CALIBRATION of them calibrate, the others are examined
CALIBRATION = 16
OPSET = 17


def pictures(side, seed):
    """Pictures [PICTURES, 3, side, side] of u8 that differ from each other: waves, an edge and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    made = np.empty((PICTURES, 3, side, side), np.uint8)
    for picture in made:
        for plane in picture:
            wave = np.sin(6.28 * (rng.uniform(0.3, 5) * x + rng.uniform(0.3, 5) * y) + rng.uniform(0, 6.28))
            edge = np.where(x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1) > rng.uniform(-0.5, 0.5), 1, -1)
            grain = rng.standard_normal((side, side)) * rng.uniform(0.05, 0.4)
            value = 128 + 60 * (rng.uniform(0.2, 1) * wave + rng.uniform(0, 0.8) * edge + grain) + rng.uniform(-40, 40)
            plane[:] = np.clip(np.round(value), 0, 255)
    return made


class Builder:
    """Adds nodes to a graph and runs each at once on the calibration pictures, so that weights can be scaled by it."""

    def __init__(self, name, side, seed):
        self.name, self.side, self.rng = name, side, np.random.default_rng(seed)
        self.pictures = pictures(side, seed)
        self.nodes, self.constants, self.count, self.macs = [], [], 0, 0
        self.values = {"x": normal(self.pictures[:CALIBRATION])}

    def node(self, kind, inputs, constants=(), **attributes):
        """One node; `constants` follow `inputs`. Returns its output's name."""
        self.count += 1
        out = f"{kind.lower()}{self.count}"
        tensors = [numpy_helper.from_array(c, f"{out}.{n}") for n, c in enumerate(constants)]
        node = helper.make_node(kind, list(inputs) + [t.name for t in tensors], [out], name=out, **attributes)
        graph = helper.make_graph(
            [node],
            out,
            [helper.make_tensor_value_info(i, TensorProto.FLOAT, self.values[i].shape) for i in inputs],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
            tensors,
        )
        session = ort.InferenceSession(model(graph).SerializeToString(), quiet())
        self.values[out] = session.run(None, {i: self.values[i] for i in inputs})[0]
        self.nodes.append(node)
        self.constants += tensors
        return out

    def conv(self, x, out, k=1, stride=1, groups=1, act=None, size=1.0):
        depth, height, _ = self.values[x].shape[1:]
        pad = max((-(-height // stride) - 1) * stride + k - height, 0)
        attributes = dict(
            kernel_shape=[k, k], strides=[stride] * 2, group=groups, pads=[pad // 2] * 2 + [pad - pad // 2] * 2, dilations=[1, 1]
        )
        # Smooth kernels, as trained ones are: white noise would throw the picture away and keep the rounding.
        weight = self.rng.standard_normal((out, depth // groups, 1, 1)) * (1 + 0.6 * self.rng.standard_normal((out, depth // groups, k, k)))
        weight = weight.astype(np.float32)
        y = self.node("Conv", [x], [weight, np.zeros(out, np.float32)], **attributes)
        raw = self.values[y]
        self.macs += raw[0].size * weight[0].size
        # What a batch norm would do, with a gain and an offset of its own for each channel; a channel
        # that is nearly still on these pictures is left so. Most values pass their Relu and branches are small beside what they
        # are added to, or fifty random layers would turn one rounding into another picture.
        spread = np.maximum(raw.std((0, 2, 3)), 0.5 * raw.std())
        gain = size * self.rng.uniform(0.6, 1.4, out) / spread
        offset = self.rng.normal(1.0, 0.4, out) - gain * raw.mean((0, 2, 3))
        return self.rescale(y, weight, gain, offset, act)

    def rescale(self, y, weight, gain, offset, act):
        shape = (-1,) + (1,) * (weight.ndim - 1)
        self.constants[-2].CopyFrom(numpy_helper.from_array((weight * gain.reshape(shape)).astype(np.float32), f"{y}.0"))
        self.constants[-1].CopyFrom(numpy_helper.from_array(offset.astype(np.float32), f"{y}.1"))
        shape = (1, -1) + (1,) * (self.values[y].ndim - 2)
        self.values[y] = (self.values[y] * gain.reshape(shape) + offset.reshape(shape)).astype(np.float32)
        return self.act(y, act)

    def act(self, x, act):
        if act == "relu6":
            return self.node("Clip", [x], [np.float32(0), np.float32(6)])
        if act == "sigmoid":
            return self.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        return self.node({"relu": "Relu", "swish": "HardSwish"}[act], [x]) if act else x

    def dense(self, x, out, spread, act=None):
        depth = self.values[x].shape[1]
        weight = self.rng.standard_normal((out, depth)).astype(np.float32)
        y = self.node("Gemm", [x], [weight, np.zeros(out, np.float32)], transB=1)
        self.macs += weight.size
        mean = self.values[y].mean(0)
        gain = np.full(out, spread / (self.values[y] - mean).std())
        return self.rescale(y, weight, gain, -gain * mean, act)

    def average(self, x):
        return self.node("GlobalAveragePool", [x])

    def finish(self, x):
        """The whole float model; its output is called `y`."""
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, self.side, self.side])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, self.values[x].shape[1]])],
            self.constants,
        )
        made = model(graph)
        onnx.checker.check_model(made)
        return made


def round8(channels):
    """Channels as MobileNets round them: to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v2(name, width, side, seed):
    b = Builder(name, side, seed)
    x = b.conv("x", round8(32 * width), 3, 2, act="relu6")
    for expand, channels, repeats, first in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ]:  # fmt: skip
        for repeat in range(repeats):
            depth, out, stride = b.values[x].shape[1], round8(channels * width), first if repeat == 0 else 1
            y = b.conv(x, depth * expand, act="relu6") if expand > 1 else x
            y = b.conv(y, depth * expand, 3, stride, depth * expand, act="relu6")
            y = b.conv(y, out, size=0.3)
            x = b.node("Add", [x, y]) if stride == 1 and depth == out else y
    x = b.average(b.conv(x, round8(1280 * max(1, width)), act="relu6"))
    return b, b.finish(b.dense(b.node("Flatten", [x], axis=1), 1000, 4.0))


def mobilenet_v3_small(name, side, seed):
    b = Builder(name, side, seed)
    x = b.conv("x", 16, 3, 2, act="swish")
    for k, wide, out, squeeze, act, stride in [
        (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
        (5, 96, 40, True, "swish", 2), (5, 240, 40, True, "swish", 1), (5, 240, 40, True, "swish", 1),
        (5, 120, 48, True, "swish", 1), (5, 144, 48, True, "swish", 1), (5, 288, 96, True, "swish", 2),
        (5, 576, 96, True, "swish", 1), (5, 576, 96, True, "swish", 1),
    ]:  # fmt: skip
        depth = b.values[x].shape[1]
        y = b.conv(x, wide, act=act) if wide != depth else x
        y = b.conv(y, wide, k, stride, wide, act=act)
        if squeeze:
            gate = b.conv(b.average(y), round8(wide / 4), act="relu", size=0.3)
            y = b.node("Mul", [y, b.conv(gate, wide, act="sigmoid", size=0.5)])
        y = b.conv(y, out, size=0.3)
        x = b.node("Add", [x, y]) if stride == 1 and depth == out else y
    x = b.average(b.conv(x, 576, act="swish"))
    x = b.dense(b.node("Flatten", [x], axis=1), 1024, 1.5, act="swish")
    return b, b.finish(b.dense(x, 1000, 4.0))


def resnet18(name, side, seed):
    b = Builder(name, side, seed)
    x = b.conv("x", 64, 7, 2, act="relu")
    x = b.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    for channels, first in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        for stride in (first, 1):
            same = stride == 1 and b.values[x].shape[1] == channels
            y = b.conv(b.conv(x, channels, 3, stride, act="relu"), channels, 3, size=0.3)
            x = b.act(b.node("Add", [x if same else b.conv(x, channels, 1, stride), y]), "relu")
    return b, b.finish(b.dense(b.node("Flatten", [b.average(x)], axis=1), 1000, 6.0))


NETS = {
    "mobilenet_v2_0.35_96": lambda name: mobilenet_v2(name, 0.35, 96, 35),
    "mobilenet_v2_1.0_224": lambda name: mobilenet_v2(name, 1.0, 224, 100),
    "mobilenet_v3_small_224": lambda name: mobilenet_v3_small(name, 224, 3),
    "resnet18_224": lambda name: resnet18(name, 224, 18),
}


def normal(levels):
    """Levels of a picture as the float network's numbers."""
    return ((levels.astype(np.float32) - 128) / 64).astype(np.float32)


def model(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def quiet(optimise=True):
    """Session options: one thread, no talk."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


class Reader(CalibrationDataReader):
    def __init__(self, levels):
        self.left = [{"x": normal(level[None])} for level in levels]

    def get_next(self):
        return self.left.pop(0) if self.left else None


def quantise(source, target, levels, form, kinds=None):
    """The int8 form of `source`, whose input is then u8 levels."""
    quantize_static(
        source,
        target,
        Reader(levels),
        quant_format=QuantFormat.QDQ if form == "qdq" else QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=kinds,
    )
    made = onnx.load(target)
    take_levels(made, 1 / 64, 128)
    onnx.save(made, target)


def take_levels(made, scale=None, zero=None):
    """Makes the graph's input u8 levels: its first QuantizeLinear goes, with `scale` and `zero` put in its place if given.

    A box quantises while it scales the camera's picture; no runtime is charged for it here.
    """
    graph = made.graph
    name = graph.input[0].name
    first = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == name]
    if not first:
        return
    kinds = {i.name: i.data_type for i in graph.initializer}
    zero_point = first[0].input[2]
    if kinds[zero_point] != TensorProto.UINT8:
        raise ValueError("only a u8 input can take a picture's levels as they are")
    for quantiser in first:
        for node in graph.node:
            node.input[:] = [name if i == quantiser.output[0] else i for i in node.input]
        graph.node.remove(quantiser)
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    for constant in graph.initializer:
        if scale is not None and constant.name == first[0].input[1]:
            constant.CopyFrom(numpy_helper.from_array(np.float32(scale), constant.name))
        if zero is not None and constant.name == zero_point:
            constant.CopyFrom(numpy_helper.from_array(np.uint8(zero), constant.name))
    drop_recoding(graph, name)


def drop_recoding(graph, name):
    """Takes out a second pair behind the input that only writes the same levels as i8: tflite's QUANTIZE, which says nothing."""
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    reader = {i: n for n in graph.node for i in n.input[:1]}
    first = reader[name]
    second = reader.get(first.output[0])
    if first.op_type != "DequantizeLinear" or second is None or second.op_type != "QuantizeLinear":
        return
    third = reader[second.output[0]]
    if known[first.input[1]] == known[second.input[1]] and int(known[first.input[2]]) - 128 == int(known[second.input[2]]):
        for node in graph.node:
            node.input[:] = [first.output[0] if i == third.output[0] else i for i in node.input]
        graph.node.remove(second)
        graph.node.remove(third)


def features_of(qdq, target):
    """The same network cut behind its average pool: what a recurrent head would see."""
    made = onnx.shape_inference.infer_shapes(onnx.load(qdq))
    pools = [n for n in made.graph.node if n.op_type == "GlobalAveragePool"]
    name = pools[-1].output[0]
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        follow = [n for n in made.graph.node if n.op_type == kind and n.input[0] == name]
        name = follow[0].output[0] if follow else name
    extractor = onnx.utils.Extractor(made)
    onnx.save(extractor.extract_model([made.graph.input[0].name], [name]), target)
