"""An ONNX file, float or QDQ, as a plain list of layers: what the writers of other forms read.

QuantizeLinear and DequantizeLinear between layers are no layers; they become the range of the tensor they stand on (`Range`, u8
levels). Relu and Clip join the layer before them. So the int8 tflite file holds the very integers of the QDQ file, and
"the same network" can be checked: `exact.py` compares their outputs.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper


@dataclass
class Range:
    """value = scale * (level - zero), levels being u8."""

    scale: float
    zero: int

    def ends(self):
        return -self.zero * self.scale, (255 - self.zero) * self.scale


@dataclass
class Layer:
    """kind: conv, dense, add, mul, maxpool, average, swish, sigmoid, flatten or softmax."""

    kind: str
    inputs: list
    output: str
    act: tuple | None = None  # (low, high) after it; high may be None
    kernel: tuple = (1, 1)
    strides: tuple = (1, 1)
    pads: tuple = (0, 0, 0, 0)  # top, left, bottom, right
    groups: int = 1
    weight: np.ndarray | None = None  # float, [out, in / groups, height, width] or [out, in]
    bias: np.ndarray | None = None
    integers: tuple | None = None  # weight levels i8, their scales per channel, bias i32
    unsigned: tuple | None = None  # the same for u8 weights: levels, scale, zero

    def depthwise(self):
        return self.kind == "conv" and self.groups > 1


@dataclass
class Graph:
    input: str
    output: str
    layers: list
    shapes: dict  # name -> shape without the batch
    ranges: dict = field(default_factory=dict)  # name -> Range; empty for a float file

    def users(self, name):
        return [layer for layer in self.layers if name in layer.inputs]


KINDS = {
    "Conv": "conv", "Gemm": "dense", "Add": "add", "Mul": "mul", "MaxPool": "maxpool", "GlobalAveragePool": "average",
    "HardSwish": "swish", "HardSigmoid": "sigmoid", "Flatten": "flatten", "Softmax": "softmax",
}  # fmt: skip


def read(file):
    """The layers of an ONNX file; names an operator it does not know."""
    model = onnx.load(file)
    for value in list(model.graph.input) + list(model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {i.name: numpy_helper.to_array(i) for i in inferred.initializer}
    levels = {}  # a constant behind DequantizeLinear -> (levels, scales, zero)
    alias, layers, ranges, clipped = {}, [], {}, {}
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)[1:]
        for v in list(inferred.value_info) + list(inferred.input) + list(inferred.output)
    }

    def true(name):
        while name in alias:
            name = alias[name]
        return name

    def follows(name, made, low, high):
        """Relu and Clip join the layer that made their input."""
        maker = next(layer for layer in layers if layer.output == true(name))
        low = max(low, maker.act[0]) if maker.act else low
        maker.act = (low, high)
        alias[made] = true(name)

    for node in inferred.node:
        inputs, made = list(node.input), node.output[0]
        attribute = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        kind = node.op_type
        if kind == "DequantizeLinear" and inputs[0] in known:
            q, scale = known[inputs[0]], known[inputs[1]]
            zero = known[inputs[2]] if len(inputs) > 2 else np.zeros_like(scale, q.dtype)
            levels[made] = (q, scale, zero)
            shape = (-1,) + (1,) * (q.ndim - 1) if scale.ndim else ()
            known[made] = ((q.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)).astype(np.float32)
        elif kind in ("QuantizeLinear", "DequantizeLinear"):
            alias[made] = true(inputs[0])
            zero = known[inputs[2]]
            level = int(zero) + (128 if zero.dtype == np.int8 else 0)
            ranges.setdefault(true(made), Range(float(known[inputs[1]]), level))
        elif kind == "Identity":
            alias[made] = true(inputs[0])
        elif kind == "Relu":
            follows(inputs[0], made, 0.0, None)
        elif kind == "Clip":
            follows(inputs[0], made, float(known[inputs[1]]), float(known[inputs[2]]))
        elif kind in KINDS:
            layer = Layer(KINDS[kind], [true(i) for i in inputs if i not in known], made)
            layer.kernel = tuple(attribute.get("kernel_shape", (1, 1)))
            layer.strides = tuple(attribute.get("strides", (1, 1)))
            layer.pads = tuple(attribute.get("pads", (0, 0, 0, 0)))
            layer.groups = attribute.get("group", 1)
            if kind in ("Conv", "Gemm"):
                weights(layer, inputs, attribute, known, levels)
            layers.append(layer)
        else:
            raise ValueError(f"{file}: {kind} is not among the operators of the comparison")
    return Graph(true(inferred.input[0].name), true(inferred.output[0].name), layers, shapes, ranges)


def weights(layer, inputs, attribute, known, levels):
    weight, bias = known[inputs[1]], known[inputs[2]]
    turn = (lambda a: a) if layer.kind == "conv" or attribute.get("transB") else np.transpose
    layer.weight, layer.bias = turn(weight), bias
    if inputs[1] in levels and inputs[2] in levels:
        q, scale, zero = levels[inputs[1]]
        whole = (turn(q), np.broadcast_to(scale, bias.shape).astype(np.float32), levels[inputs[2]][0])
        if q.dtype == np.int8 and not np.any(zero):
            layer.integers = whole
        else:
            layer.unsigned = whole + (zero,)
