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

    def model(self, out):
        graph = helper.make_graph(self.nodes, "odd", [helper.make_tensor_value_info("x", self.kind, self.shape)],
                                  [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        return model


def save(name, model, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    onnx.save(model, os.path.join(OUT, name + ".onnx"))
    np.save(os.path.join(OUT, name + ".in.npy"), x)
    np.save(os.path.join(OUT, name + ".out.npy"), session.run(None, {"x": x})[0])


def refuse(name, model):
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


if __name__ == "__main__":
    main()
