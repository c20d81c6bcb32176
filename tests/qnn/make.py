#!/usr/bin/env python3
"""Small int8 networks for tests/qnn.rs, and what ONNX Runtime computes with them (graph optimisations off).

Run it from anywhere: it writes `cases/` beside itself: `NAME.onnx`, `NAME.in.npy`, `NAME.out.npy`, and `cases.txt`. A case is
one operator or one way of writing int8. Networks are float graphs with seeded weights, quantised by ONNX Runtime's own
`quantize_static` (QDQ with u8 or s8 activations, per tensor or per channel; or the QLinear forms), or written out by hand where
no tool writes them so. Needs numpy, onnx 1.22, onnxruntime 1.31.
"""

import logging
import os
import shutil
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "cases")
OPSET = 15
SIZE = [1, 6, 10, 9]


class Net:
    """A float graph, grown node by node; every method gives the name of its result."""

    def __init__(self, name, shape=SIZE):
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.name, self.shape, self.nodes, self.constants, self.n = name, shape, [], [], 0
        self.float_from = None
        self.last, self.channels = "x", shape[1]

    def constant(self, value):
        self.n += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{self.n}"))
        return f"c{self.n}"

    def op(self, kind, *inputs, **attributes):
        self.n += 1
        inputs = inputs or (self.last,)
        self.nodes.append(helper.make_node(kind, list(inputs), [f"t{self.n}"], name=f"{kind.lower()}{self.n}", **attributes))
        self.last = f"t{self.n}"
        return self.last

    def conv(self, outputs, kernel, x=None, bias=True, group=1, **more):
        x = x or self.last
        kernel = [kernel, kernel] if isinstance(kernel, int) else kernel
        depth = self.channels // group
        w = self.rng.normal(0, 1.4 / np.sqrt(depth * kernel[0] * kernel[1]), [outputs, depth] + kernel)
        w *= self.rng.uniform(0.3, 1.5, [outputs, 1, 1, 1])
        inputs = [x, self.constant(w.astype(np.float32))]
        if bias:
            inputs.append(self.constant(self.rng.normal(0, 0.3, outputs).astype(np.float32)))
        self.channels = outputs
        return self.op("Conv", *inputs, kernel_shape=kernel, group=group, **more)

    def gemm(self, inputs, outputs, x=None, **more):
        w = self.rng.normal(0, 1 / np.sqrt(inputs), [outputs, inputs] if more.get("transB") else [inputs, outputs])
        b = self.rng.normal(0, 0.2, outputs).astype(np.float32)
        return self.op("Gemm", x or self.last, self.constant(w.astype(np.float32)), self.constant(b), **more)

    def clip(self, low, high, x=None):
        return self.op("Clip", x or self.last, self.constant(np.float32(low)), self.constant(np.float32(high)))

    def in_float(self):
        """The names of the nodes that are not to be quantised: those from `float_from` on."""
        return [] if self.float_from is None else [node.name for node in self.nodes[self.float_from:]]

    def model(self):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        y = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, self.name, [x], [y], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        return model


def nets():
    """Float graphs by name."""
    def net(name, grow, **more):
        n = Net(name, **more)
        grow(n)
        return name, n

    def residual(n):
        a = n.conv(8, 3, pads=[1, 1, 1, 1])
        a = n.op("Relu")
        n.conv(8, 3, pads=[1, 1, 1, 1])
        b = n.conv(8, 1)
        n.op("Relu", n.op("Add", b, a))
        n.conv(5, 1)

    def add_twice(n):
        a = n.conv(8, 1)
        b = n.conv(8, 1, x=a)
        c = n.op("Add", a, b)
        n.op("Add", c, c)
        n.conv(4, 1)

    def inverted(n):
        n.conv(8, 3, strides=[2, 2], pads=[1, 1, 1, 1])
        a = n.clip(0, 6)
        n.conv(24, 1)
        n.clip(0, 6)
        n.conv(24, 3, group=24, pads=[1, 1, 1, 1])
        n.clip(0, 6)
        b = n.conv(8, 1)
        n.op("Add", a, b)
        n.op("GlobalAveragePool")
        n.op("Flatten")
        n.gemm(8, 10, transB=1)

    def excite(n):
        n.conv(16, 1)
        a = n.op("HardSwish")
        n.op("GlobalAveragePool")
        n.conv(8, 1)
        n.op("Relu")
        n.conv(16, 1)
        s = n.op("HardSigmoid", alpha=1 / 6, beta=0.5)
        n.op("Mul", a, s)
        n.conv(8, 1)

    def concat(n):
        a = n.conv(8, 3, pads=[1, 1, 1, 1])
        b = n.conv(5, 1, x=a)
        n.op("Concat", a, b, axis=1)
        n.channels = 13
        n.conv(6, 3, pads=[1, 1, 1, 1])

    def same_scale_concat(n):
        n.conv(8, 1)
        a = n.op("Relu")
        b = n.op("MaxPool", a, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        n.op("Concat", b, a, axis=1)
        n.channels = 16
        n.conv(6, 3, pads=[0, 1, 1, 0])

    def hard_swish_in_pieces(n):
        a = n.conv(8, 1)
        n.op("Add", a, n.constant(np.float32(3)))
        n.clip(0, 6)
        b = n.op("Mul", a, n.last)
        n.op("Div", b, n.constant(np.float32(6)))
        n.conv(6, 1)

    def two_regions(n):
        n.conv(8, 3, pads=[1, 1, 1, 1])
        n.op("Relu")
        n.op("Softmax", axis=1)
        n.conv(6, 1)
        n.op("Relu")

    def across(n):
        a = n.conv(8, 1)
        b = n.op("Softmax", a, axis=1)
        n.op("Add", a, b)
        n.conv(6, 1)

    def row(n):
        a = n.conv(12, 3, pads=[1, 1, 1, 1])
        a = n.op("Relu", a)
        b = n.conv(5, [10, 9], a)
        n.float_from = len(n.nodes)
        parts = [n.op("GlobalAveragePool", a), n.op("MaxPool", a, kernel_shape=[10, 9]), n.op("GlobalMaxPool", a), b]
        n.op("Flatten", n.op("Concat", *parts, axis=1))
        n.op("Relu", n.gemm(41, 7))
        n.op("Add", n.last, n.constant(np.full(7, 0.01, np.float32)))
        n.op("Log")
        n.gemm(7, 9, transB=1)

    def averaged(n):
        n.op("Relu", n.conv(9, 3))
        n.float_from = len(n.nodes)
        n.op("GlobalAveragePool")

    def constant(n):
        fixed = n.op("Relu", n.conv(6, 3, n.constant(n.rng.uniform(0, 2, [1, 6, 10, 9]).astype(np.float32)), pads=[1, 1, 1, 1]))
        n.op("Add", n.conv(6, 1, "x"), fixed)

    def padded(n):
        a = n.op("Relu", n.conv(5, 1))
        b = n.op("Pad", n.op("Relu", n.conv(7, 3, a)), n.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), n.constant(np.float32(0)))
        n.channels = 5
        n.op("Concat", a, b, n.op("Relu", n.conv(3, 3, a, pads=[1, 1, 1, 1])), axis=1)
        n.channels = 15
        n.conv(4, 3)

    def pools(n):
        n.conv(8, 1)
        n.op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        n.op("AveragePool", kernel_shape=[1, 3], strides=[1, 2], pads=[0, 1, 0, 1])  # 3 or 2 pixels: few means are ties
        n.conv(4, 1)

    def pools_ceil(n):
        n.conv(8, 1)
        n.op("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        n.op("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1)
        n.conv(4, 1)

    def shapes(n):
        n.conv(8, 3, strides=[2, 2])
        n.op("Relu")
        n.op("GlobalAveragePool")
        n.op("Squeeze", n.last, n.constant(np.array([2, 3], np.int64)))
        n.gemm(8, 12, transB=1)
        n.op("Reshape", n.last, n.constant(np.array([1, 12, 1, 1], np.int64)))
        n.channels = 12
        n.conv(5, 1)

    def mean(n):
        n.conv(8, 3, strides=[2, 2])
        n.op("ReduceMean", axes=[2, 3], keepdims=0)
        n.gemm(8, 7)

    def matmul(n):
        n.conv(4, 3, strides=[2, 2])
        n.op("Relu")
        n.op("Flatten")
        w = n.rng.normal(0, 0.15, [4 * 4 * 4, 9]).astype(np.float32)
        n.op("MatMul", n.last, n.constant(w))
        n.op("Add", n.last, n.constant(n.rng.normal(0, 0.3, 9).astype(np.float32)))

    def unaries(n):
        n.conv(8, 1)
        n.op("Sigmoid")
        n.conv(8, 1)
        n.op("LeakyRelu", alpha=0.1)
        n.conv(8, 1)
        n.op("Tanh")
        n.conv(8, 1)
        n.op("Elu", alpha=0.7)
        n.conv(5, 1)

    def pad(n):
        n.conv(8, 1)
        n.op("Relu")
        n.op("Pad", n.last, n.constant(np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64)), n.constant(np.float32(0)), mode="constant")
        n.conv(5, 3)

    same = [1, 1, 1, 1]
    return dict([
        net("stem", lambda n: n.conv(7, 3, strides=[2, 2], pads=same)),
        net("stem_patch", lambda n: n.conv(20, 4, strides=[4, 4]), shape=[1, 5, 12, 12]),
        net("pointwise", lambda n: (n.conv(17, 1), n.conv(9, 1))),
        net("asymmetric", lambda n: (n.conv(8, 1), n.conv(8, 3, strides=[2, 2], pads=[0, 0, 1, 1]))),
        net("wide_kernel", lambda n: (n.conv(8, 1), n.conv(5, [5, 2], pads=[2, 1, 2, 0]))),
        net("dilated", lambda n: (n.conv(8, 1), n.conv(5, 3, dilations=[2, 3], pads=[2, 3, 2, 3]))),
        net("same_upper", lambda n: (n.conv(8, 1), n.conv(5, 3, strides=[2, 2], auto_pad="SAME_UPPER"))),
        net("same_lower", lambda n: (n.conv(8, 1), n.conv(5, [4, 2], strides=[1, 2], auto_pad="SAME_LOWER"))),
        net("groups", lambda n: (n.conv(8, 1), n.conv(12, 3, group=4, pads=same), n.conv(32, 1), n.conv(32, 1, group=2))),
        net("depthwise", lambda n: (n.conv(19, 1), n.conv(19, 3, group=19, pads=same), n.op("Relu"),
                                    n.conv(19, 5, group=19, strides=[2, 2], pads=[2, 2, 2, 2]), n.conv(4, 1))),
        net("depthwise_dilated", lambda n: (n.conv(8, 1), n.conv(8, 3, group=8, dilations=[2, 2], pads=[2, 2, 2, 2]))),
        net("multiplier", lambda n: (n.conv(8, 1), n.conv(16, 3, group=8, pads=same), n.conv(4, 1))),
        net("depthwise_first", lambda n: (n.conv(6, 3, group=6, pads=same), n.conv(4, 1))),
        net("residual", residual),
        net("add_twice", add_twice),
        net("inverted", inverted),
        net("excite", excite),
        net("concat", concat),
        net("same_scale_concat", same_scale_concat),
        net("hard_swish_in_pieces", hard_swish_in_pieces),
        net("two_regions", two_regions),
        net("across", across),
        net("row", row),
        net("averaged", averaged),
        net("constant", constant),
        net("padded", padded),
        net("pools", pools),
        net("pools_ceil", pools_ceil),
        net("shapes", shapes),
        net("mean", mean),
        net("matmul", matmul),
        net("unaries", unaries),
        net("pad", pad),
        net("dense_pictures", lambda n: (n.conv(4, 3, strides=[2, 2]), n.op("Flatten"), n.gemm(64, 11, transB=1))),
    ])


def run(path, inputs):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[None]})[0] for x in inputs])


class Readings(CalibrationDataReader):
    def __init__(self, inputs):
        self.left = [{"x": x[None]} for x in inputs]

    def get_next(self):
        return self.left.pop(0) if self.left else None


def step_of(model):
    """The scale on which the graph's output stands, 0 where it is a float operator's."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    made = {n.output[0]: n for n in model.graph.node}
    node = made[model.graph.output[0].name]
    while node.op_type in ("Flatten", "Reshape", "Squeeze", "Identity"):
        node = made[node.input[0]]
    return float(constants[node.input[1]]) if node.op_type == "DequantizeLinear" else 0.0


def bytes_in(model):
    """The network's quantiser taken off: its input is u8."""
    quantiser = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x")
    model.graph.node.remove(quantiser)
    for n in model.graph.node:
        n.input[:] = ["x" if i == quantiser.output[0] else i for i in n.input]
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return model


def hostile():
    """Networks that nobody should make, each a small good one with one thing wrong."""
    net = Net("hostile")
    net.conv(8, 3, pads=[1, 1, 1, 1])
    net.op("Relu")
    net.op("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(4, 1)
    path = os.path.join(OUT, "good.onnx")
    onnx.save(net.model(), path + ".f32")
    rng = np.random.default_rng(5)
    known = rng.normal(0, 1, [8] + SIZE[1:]).astype(np.float32)
    quantize_static(path + ".f32", path, Readings(known), per_channel=True, weight_type=QuantType.QInt8)
    os.remove(path + ".f32")
    good = onnx.load(path)
    os.remove(path)
    del good.graph.value_info[:]
    folder = os.path.join(HERE, "hostile")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)

    def put(name, change):
        model = onnx.ModelProto()
        model.CopyFrom(good)
        change(model.graph)
        onnx.save(model, os.path.join(folder, name + ".onnx"))

    def node(graph, kind, n=0):
        return [x for x in graph.node if x.op_type == kind][n]

    def attribute(graph, kind, name, value):
        found = node(graph, kind)
        kept = [a for a in found.attribute if a.name != name]
        del found.attribute[:]
        found.attribute.extend(kept + [helper.make_attribute(name, value)])

    def constant(graph, name, value):
        kept = [t for t in graph.initializer if t.name != name]
        del graph.initializer[:]
        graph.initializer.extend(kept + ([] if value is None else [numpy_helper.from_array(np.asarray(value), name)]))

    def dims(graph, sides):
        del graph.input[0].type.tensor_type.shape.dim[:]
        for side in sides:
            graph.input[0].type.tensor_type.shape.dim.add().dim_value = side

    def conv_weight(graph, n):
        made = {x.output[0]: x for x in graph.node}
        return made[node(graph, "Conv").input[1]].input[n]

    def swap(graph, kind, n, to):
        node(graph, kind).input[n] = to

    def again(graph):
        graph.node.append(node(graph, "Conv"))

    huge = 1 << 40
    scale, zero = lambda g: node(g, "QuantizeLinear", 1).input[1], lambda g: node(g, "QuantizeLinear", 1).input[2]
    for name, value in [("scale_zero", 0.0), ("scale_nan", np.nan), ("scale_negative", -0.1), ("scale_infinite", np.inf),
                        ("scale_tiny", 1e-44), ("scale_huge", 3e38)]:
        put(name, lambda g: constant(g, scale(g), np.float32(value)))
        put("weight_" + name, lambda g: constant(g, conv_weight(g, 1), np.full(8, value, np.float32)))
    put("scale_of_many", lambda g: constant(g, scale(g), np.ones(8, np.float32)))
    put("scale_missing", lambda g: constant(g, scale(g), None))
    put("scale_of_i64", lambda g: constant(g, scale(g), np.int64(1)))
    put("zero_of_i32", lambda g: constant(g, zero(g), np.int32(3)))
    put("zero_of_f32", lambda g: constant(g, zero(g), np.float32(3)))
    put("zero_of_another_type", lambda g: constant(g, zero(g), np.int8(-3)))
    put("weights_missing", lambda g: constant(g, conv_weight(g, 0), None))
    put("weights_of_rank_2", lambda g: constant(g, conv_weight(g, 0), np.ones([8, 54], np.int8)))
    put("weights_of_other_depth", lambda g: constant(g, conv_weight(g, 0), np.ones([8, 5, 3, 3], np.int8)))
    put("weights_of_none", lambda g: constant(g, conv_weight(g, 0), np.ones([0, 6, 3, 3], np.int8)))
    put("weights_of_u8", lambda g: constant(g, conv_weight(g, 0), np.full([8, 6, 3, 3], 255, np.uint8)))
    put("weights_too_many", lambda g: constant(g, conv_weight(g, 0), np.ones([8, 6, 3, 900], np.int8)))
    put("pads_huge", lambda g: attribute(g, "Conv", "pads", [huge] * 4))
    put("pads_negative", lambda g: attribute(g, "Conv", "pads", [-1] * 4))
    put("pads_two", lambda g: attribute(g, "Conv", "pads", [1, 1]))
    put("pads_wide", lambda g: attribute(g, "Conv", "pads", [1000] * 4))
    put("strides_zero", lambda g: attribute(g, "Conv", "strides", [0, 0]))
    put("strides_huge", lambda g: attribute(g, "Conv", "strides", [huge, huge]))
    put("dilations_zero", lambda g: attribute(g, "Conv", "dilations", [0, 0]))
    put("dilations_huge", lambda g: attribute(g, "Conv", "dilations", [huge, huge]))
    put("dilations_far", lambda g: attribute(g, "Conv", "dilations", [4000, 4000]))
    put("groups_zero", lambda g: attribute(g, "Conv", "group", 0))
    put("groups_many", lambda g: attribute(g, "Conv", "group", huge))
    put("auto_pad_unknown", lambda g: attribute(g, "Conv", "auto_pad", "SAME_SAME"))
    put("pool_zero", lambda g: attribute(g, "MaxPool", "kernel_shape", [0, 0]))
    put("pool_huge", lambda g: attribute(g, "MaxPool", "kernel_shape", [huge, huge]))
    put("pool_all_pads", lambda g: attribute(g, "MaxPool", "pads", [2, 2, 2, 2]))
    put("input_empty", lambda g: dims(g, [1, 6, 0, 9]))
    put("input_huge", lambda g: dims(g, [1, 6, 1 << 20, 1 << 20]))
    put("input_overflows", lambda g: dims(g, [1, 6, 1 << 31, 1 << 31]))
    put("input_of_rank_3", lambda g: dims(g, [1, 6, 10]))
    put("batch_of_two", lambda g: dims(g, [2, 6, 10, 9]))
    put("circle", lambda g: swap(g, "Relu" if any(n.op_type == "Relu" for n in g.node) else "MaxPool", 0, g.output[0].name))
    put("reads_nothing", lambda g: swap(g, "MaxPool", 0, "nowhere"))
    put("made_twice", again)

    def signed_without_zero(graph):
        for n in graph.node:
            if n.op_type == "QuantizeLinear":
                del n.input[2]
                n.attribute.append(helper.make_attribute("output_dtype", TensorProto.INT8))

    put("output_dtype", signed_without_zero)

    # Passes every check of ours, and makes tract 0.23.9 index beyond its list and panic.
    net = helper.make_graph([helper.make_node("Unsqueeze", ["x", "axes"], ["y"])], "hostile",
                            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12, 6])],
                            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                            [numpy_helper.from_array(np.array([99]), "axes")])
    model = helper.make_model(net, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.save(model, os.path.join(folder, "axis_beyond.onnx"))


def main():
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(3)
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    u8, s8 = QuantType.QUInt8, QuantType.QInt8
    qdq, qop = QuantFormat.QDQ, QuantFormat.QOperator
    everywhere = ["residual", "inverted", "excite", "concat", "pools", "shapes"]
    forms = [("", qdq, u8, s8, True)]
    forms_more = [("s8", qdq, s8, s8, True), ("tensor", qdq, u8, s8, False), ("qlinear", qop, u8, s8, True),
                  ("qlinear_u8", qop, u8, u8, False), ("u8", qdq, u8, u8, False)]
    lines, total = [], 0
    for name, net in nets().items():
        rng = np.random.default_rng(zlib.crc32(b"in " + name.encode()))
        shape = net.shape[1:]
        inputs = (rng.normal(0.2, 1, [2] + shape) + rng.normal(0, 0.7, [2, shape[0], 1, 1])).astype(np.float32)
        known = (rng.normal(0.2, 1, [24] + shape) + rng.normal(0, 0.7, [24, shape[0], 1, 1])).astype(np.float32)
        for tag, form, activation, weight, per_channel in forms + (forms_more if name in everywhere else []):
            case = f"{name}_{tag}" if tag else name
            path = os.path.join(OUT, case + ".onnx")
            onnx.save(net.model(), path + ".f32")
            quantize_static(path + ".f32", path, Readings(known), quant_format=form, per_channel=per_channel, activation_type=activation,
                            weight_type=weight, nodes_to_exclude=net.in_float())
            os.remove(path + ".f32")
            model = onnx.load(path)
            model.producer_version = ""
            del model.graph.value_info[:]
            given = inputs
            if case in ("stem_patch", "inverted"):
                model = bytes_in(model)
                given = rng.integers(0, 256, inputs.shape, dtype=np.uint8)
            onnx.save(model, path)
            found = run(path, given)
            assert np.isfinite(found).all() and np.abs(found[0] - found[1]).max() > 0, case
            np.save(os.path.join(OUT, case + ".in.npy"), given)
            np.save(os.path.join(OUT, case + ".out.npy"), found)
            lines.append(f"{case} {step_of(model):.9g}")
    with open(os.path.join(OUT, "cases.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    hostile()
    total = sum(os.path.getsize(os.path.join(OUT, f)) for f in os.listdir(OUT))
    print(len(lines), "cases,", total, "bytes")
    assert total < 1_000_000


if __name__ == "__main__":
    main()
