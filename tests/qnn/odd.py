"""Small networks of things that are easily computed wrongly, with what ONNX Runtime makes of them (graph optimisations off).

    python3 odd.py       writes odd/NAME.onnx, NAME.in.npy, NAME.out.npy; odd/refused/NAME.onnx are those that lookout does not run

Needs: onnx, onnxruntime, numpy.
"""
import os
import shutil

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "odd")
F = np.float32


class Net:
    def __init__(self, shape, kind=TensorProto.FLOAT):
        self.nodes, self.constants, self.shape, self.kind = [], [], shape, kind

    def const(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind}{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[-1]

    def pair(self, x, scale, zero):
        """A quantiser and its way back."""
        marks = [self.const(F(scale)), self.const(zero)]
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, *marks), *marks)

    def model(self, out, opset=13):
        graph = helper.make_graph(self.nodes, "odd", [helper.make_tensor_value_info("x", self.kind, self.shape)],
                                  [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)], self.constants)
        others = sorted({node.domain for node in self.nodes if node.domain})
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in others)])
        model.ir_version = 8
        return model


def save(name, model, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    onnx.save(model, os.path.join(OUT, name + ".onnx"))
    np.save(os.path.join(OUT, name + ".in.npy"), x)
    np.save(os.path.join(OUT, name + ".out.npy"), session.run(None, {"x": x})[0])


def refuse(name, model, runs=True):
    if runs:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])  # it is good ONNX
    onnx.save(model, os.path.join(OUT, "refused", name + ".onnx"))


def encoders():
    """Encoders for the bundle `vgg` (three planes of 32x32, 16 features) whose features are bytes, and one that wants a second picture."""
    os.makedirs(os.path.join(OUT, "encoders"))

    def put(name, net, out, kind, *more):
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, net.shape) for n in ("x", *more)]
        graph = helper.make_graph(net.nodes, "odd", inputs, [helper.make_tensor_value_info(out, kind, None)], net.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.save(model, os.path.join(OUT, "encoders", name + ".onnx"))

    def features(net, x):
        w = net.const(np.ones((16, 3, 1, 1), F))
        return net.op("Flatten", net.op("GlobalAveragePool", net.op("Conv", x, w)))

    shape = [1, 3, 32, 32]
    net = Net(shape)
    put("bytes", net, net.op("QuantizeLinear", features(net, "x"), net.const(F(1)), net.const(np.uint8(0))), TensorProto.UINT8)
    net = Net(shape)
    put("two", net, features(net, net.op("Add", "x", "y")), TensorProto.FLOAT, "y")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(os.path.join(OUT, "refused"))
    rng = np.random.default_rng(0)
    shape = [1, 4, 6, 6]
    x = rng.normal(0, 1, shape).astype(F)
    borders = np.array([0, 0, 1, 1, 0, 0, 2, 2])

    for mode in ("edge", "reflect"):  # the constant means nothing here
        net = Net(shape)
        save(f"pad_{mode}_with_a_constant", net.model(net.op("Pad", "x", net.const(borders), net.const(F(0)), mode=mode)), x)
    net = Net(shape)
    save("pad_with_a_constant", net.model(net.op("Pad", "x", net.const(borders), net.const(F(3)))), x)

    net = Net(shape)  # e^x overflows from 89 on
    save("softplus", net.model(net.op("Softplus", "x")), 100 * x)
    net = Net(shape)
    save("softplus_of_bytes", net.model(net.pair(net.op("Softplus", net.pair("x", 2, np.uint8(128))), 2, np.uint8(0))), 100 * x)

    net = Net(shape)  # a number of four dimensions makes a row a picture
    row = net.pair(net.op("Flatten", net.op("GlobalAveragePool", net.pair("x", 0.05, np.uint8(128)))), 0.05, np.uint8(128))
    save("number_of_more_dimensions", net.model(net.pair(net.op("Mul", row, net.const(np.full((1, 1, 1, 1), 2, F))), 0.1, np.uint8(128))), x)

    net = Net(shape, TensorProto.INT8)  # without a zero point the type is the input's
    w = net.op("DequantizeLinear", net.const(rng.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)), net.const(F(0.01)))
    conv = net.op("Conv", net.op("DequantizeLinear", "x", net.const(F(0.05))), w)
    save("signed_input_without_a_zero_point", net.model(net.pair(conv, 0.05, np.uint8(128))), (20 * x).astype(np.int8))

    net = Net(shape)
    refuse("pad_that_cuts", net.model(net.op("Pad", "x", net.const(-borders))))
    net = Net(shape)
    refuse("celu", net.model(net.op("Celu", "x", alpha=0.5)))
    net = Net(shape)
    refuse("global_lp_pool", net.model(net.op("GlobalLpPool", "x")))
    net = Net(shape)
    w = net.const(rng.normal(0, 1, (4, 3, 3, 3)).astype(F))
    refuse("transposed_to_a_shape", net.model(net.op("ConvTranspose", "x", w, output_shape=[12, 12], strides=[2, 2])))
    encoders()
    for cell, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        net = Net([5, 1, 6])
        weights = [net.const(rng.normal(0, 1, s).astype(F)) for s in ((1, gates * 4, 6), (1, gates * 4, 4), (1, 2 * gates * 4))]
        refuse(f"{cell.lower()}_backwards", net.model(net.op(cell, "x", *weights, outputs=2, hidden_size=4, direction="reverse")))
    for cell, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):  # run twice, and each time from the beginning
        net = Net([5, 1, 6])
        weights = [net.const(rng.normal(0, 1, s).astype(F)) for s in ((1, gates * 4, 6), (1, gates * 4, 4), (1, 2 * gates * 4))]
        after = {"linear_before_reset": 1} if cell == "GRU" else {}
        save(f"{cell.lower()}", net.model(net.op(cell, "x", *weights, outputs=2, hidden_size=4, **after)), rng.normal(0, 1, [5, 1, 6]).astype(F))
    between_quantisers(rng, x)
    products(rng)
    left_out(rng, x)
    fused(x)
    more_that_is_refused(rng, x)


def between_quantisers(rng, x):
    """What tract would take for a function of single bytes, and what it would not run where bytes are of two types."""
    u8, i8 = np.uint8, np.int8
    for name, before, after in (("u8", u8(120), u8(0)), ("i8", i8(3), i8(-128)), ("both", i8(3), u8(0))):
        net = Net(x.shape)
        save(f"softmax_of_{name}", net.model(net.pair(net.op("Softmax", net.pair("x", 1 / 32, before), axis=1), 1 / 256, after)), x)
    net = Net(x.shape)
    save("logarithm_of_a_softmax", net.model(net.pair(net.op("LogSoftmax", net.pair("x", 1 / 32, u8(120)), axis=-1), 1 / 32, u8(255))), x)

    net = Net(x.shape)  # without zero points, and the scale a row of one behind another name
    scale = net.op("Identity", net.const(np.array([1 / 32], F)))
    floats = net.op("DequantizeLinear", net.op("QuantizeLinear", "x", scale, ""), scale, "")
    save("softmax_without_a_zero_point", net.model(net.pair(net.op("Softmax", floats, axis=1), 1 / 256, u8(0))), x)
    net = Net(x.shape)  # 32 bits
    whole = net.op("Cast", "x", to=TensorProto.INT32)
    floats = net.op("DequantizeLinear", whole, net.const(F(1 / 32)), net.const(np.int32(0)))
    save("softmax_of_32_bits", net.model(net.pair(net.op("Softmax", floats, axis=1), 1 / 256, u8(0))), 40 * x)
    net = Net(x.shape)  # a scale for each channel
    marks = [net.const(np.array([1, 2, 4, 8], F) / 64), net.const(np.array([128, 120, 100, 90], u8))]
    floats = net.op("DequantizeLinear", net.op("QuantizeLinear", "x", *marks, axis=1), *marks, axis=1)
    save("softmax_of_scaled_channels", net.model(net.pair(net.op("Softmax", floats, axis=1), 1 / 256, u8(0))), x)

    net = Net(x.shape)  # bytes of one type become those of the other
    y = net.pair(net.op("Transpose", net.pair("x", 1 / 32, i8(3)), perm=[0, 2, 3, 1]), 1 / 32, u8(131))
    y = net.pair(net.op("Tanh", net.op("Reshape", y, net.const(np.array([1, 4, 6, 6])))), 1 / 64, i8(-7))
    y = net.pair(net.op("DepthToSpace", y, blocksize=2), 1 / 64, u8(100))
    save("bytes_of_another_type", net.model(y), x)
    net = Net(x.shape)
    y = net.op("Expand", net.pair("x", 1 / 32, u8(120)), net.const(np.array([2, 4, 6, 6])))
    save("expanded_bytes", net.model(net.pair(y, 1 / 32, i8(-8))), x)
    net = Net([1, 4, 8])  # a border of nothing, as exporters write before a pool
    y = net.pair(net.op("Pad", net.pair("x", 1 / 32, u8(120)), net.const(np.zeros(6, np.int64))), 1 / 32, u8(120))
    y = net.pair(net.op("AveragePool", y, kernel_shape=[3], pads=[1, 1]), 1 / 32, u8(120))
    save("mean_of_padded_bytes", net.model(y), rng.normal(0, 1, [1, 4, 8]).astype(F))


def products(rng):
    """What a product of a row is given besides may make another shape of it."""
    for name, shape in (("row", [1, 8]), ("column", [8, 1]), ("row_of_three_dimensions", [1, 1, 8])):
        net = Net([1, 8])
        w = net.op("DequantizeLinear", net.const(rng.integers(-127, 128, (8, 8)).astype(np.int8)), net.const(F(1 / 64)))
        y = net.op("MatMul", net.pair("x", 1 / 32, np.uint8(128)), w)
        y = net.op("Add", y, net.const(rng.integers(-4096, 4096, shape).astype(F) / 2048))
        save(f"product_and_{name}", net.model(net.pair(y, 1 / 16, np.uint8(128))), rng.normal(0, 1, [1, 8]).astype(F))


def left_out(rng, x):
    """Outputs and inputs without names."""
    net = Net([5, 1, 6])
    weights = [net.const(rng.normal(0, 1, s).astype(F)) for s in ((1, 12, 6), (1, 12, 4), (1, 24))]
    net.nodes.append(helper.make_node("GRU", ["x", *weights, "", net.const(np.zeros((1, 1, 4), F))], ["", "last"], hidden_size=4))
    save("gru_of_its_last_state", net.model("last"), rng.normal(0, 1, [5, 1, 6]).astype(F))
    net = Net(x.shape)
    limited = net.op("Clip", "x", "", net.const(F(1)))
    net.nodes.append(helper.make_node("MaxPool", [limited], ["largest", ""], kernel_shape=[2, 2]))
    save("largest_of_limited", net.model("largest"), x)


def fused(x):
    """A softmax of com.microsoft; before version 13 of the standard it is one over all axes from the named one on."""
    for opset in (12, 13):
        net = Net(x.shape)
        before, after = [[net.const(F(s)), net.const(np.uint8(z))] for s, z in ((1 / 32, 120), (1 / 512, 0))]
        soft = {"axis": 1, "opset": opset, "domain": "com.microsoft"}
        y = net.op("QLinearSoftmax", net.op("QuantizeLinear", "x", *before), *before, *after, **soft)
        save(f"qlinear_softmax_{opset}", net.model(net.op("DequantizeLinear", y, *after), opset), x)


def more_that_is_refused(rng, x):
    net = Net(x.shape)
    refuse("own_domain", net.model(net.op("Relu", "x", domain="my.own")), runs=False)  # it has no definition
    net = Net([1, 6, 6, 4])
    marks = [net.const(F(1 / 32)), net.const(np.uint8(128))]
    w = net.const(rng.integers(0, 256, (4, 4, 1, 1)).astype(np.uint8))
    y = net.op("QLinearConv", net.op("QuantizeLinear", "x", *marks), *marks, w, *marks, *marks, domain="com.microsoft", channels_last=1)
    refuse("channels_last", net.model(net.op("DequantizeLinear", y, *marks)))
    net = Net(x.shape)
    y = net.op("QuantizeLinear", "x", *marks_of(net))
    y = net.op("QLinearWhere", net.const(np.array(True)), y, *marks_of(net), y, *marks_of(net), *marks_of(net), domain="com.microsoft")
    refuse("qlinear_where", net.model(net.op("DequantizeLinear", y, *marks_of(net))))
    net = Net(x.shape)
    refuse("swish", net.model(net.op("Swish", "x", alpha=2.0), 24))
    net = Net(x.shape)
    refuse("space_to_depth", net.model(net.op("SpaceToDepth", "x", blocksize=2, mode="CRD"), 28), runs=False)  # younger than ONNX Runtime
    net = Net(x.shape)
    borders = net.op("Cast", net.const(np.array([0, 0, -1, 0, 0, 0, 0, -2], np.int32)), to=TensorProto.INT64)
    refuse("pad_that_cuts_when_run", net.model(net.op("Pad", "x", borders)))
    net = Net(x.shape)
    refuse("quantised_to_16_bits", net.model(net.pair("x", 1 / 512, np.int16(0)), 21))
    net = Net([5, 1, 6], TensorProto.FLOAT16)
    weights = [net.const(rng.normal(0, 1, s).astype(np.float16)) for s in ((1, 16, 6), (1, 16, 4), (1, 32))]
    y = net.op("Cast", net.op("LSTM", "x", *weights, outputs=2, hidden_size=4), to=TensorProto.FLOAT)
    refuse("lstm_in_half_precision", net.model(y), runs=False)  # good ONNX; ONNX Runtime has none in half precision


def marks_of(net):
    return [net.const(F(1 / 32)), net.const(np.uint8(128))]


if __name__ == "__main__":
    main()
