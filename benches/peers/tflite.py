"""Writes a network as a .tflite file, float or int8, from the list of layers of an ONNX file.

The int8 file holds the integers of the QDQ file: i8 weights per channel, i32 bias, the same scales; u8 levels become i8 by taking 128
off. Operators are those that TensorFlow's converter writes for these networks: MEAN for the global pool, the hard sigmoid as
ADD, RELU6 and MUL, PAD only where "same" padding does not say it. The schema is the one LiteRT brings along.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OP, OPTIONS, KIND, ACT = schema.BuiltinOperator, schema.BuiltinOptions, schema.TensorType, schema.ActivationFunctionType
# From these versions on the operators take i8; float files get version 1.
INT8_VERSION = {OP.CONV_2D: 3, OP.DEPTHWISE_CONV_2D: 3, OP.FULLY_CONNECTED: 12, OP.ADD: 2, OP.MUL: 2, OP.MEAN: 2, OP.MAX_POOL_2D: 2, OP.PAD: 2}


class Writer:
    def __init__(self, graph, int8):
        self.graph, self.int8 = graph, int8
        self.model, self.sub = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.sub.tensors, self.sub.operators = [], []
        self.codes, self.ids = {}, {}

    def tensor(self, name, shape, kind, data=None, scale=None, zero=None, axis=0):
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), kind, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if scale is not None:
            t.quantization = q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            q.zeroPoint = np.broadcast_to(np.asarray(zero, np.int64), len(q.scale)).tolist()
            q.quantizedDimension = axis
        self.sub.tensors.append(t)
        return len(self.sub.tensors) - 1

    def activation(self, name, shape, scale, zero):
        """A tensor between layers; `zero` is that of u8."""
        if self.int8:
            return self.tensor(name, shape, KIND.INT8, None, scale, zero - 128)
        return self.tensor(name, shape, KIND.FLOAT32)

    def made(self, layer, name=None):
        """The tensor of a layer's output, as NHWC."""
        name = name or layer.output
        shape = self.graph.shapes[name]
        shape = [1, shape[1], shape[2], shape[0]] if len(shape) == 3 else [1, *shape]
        r = self.graph.ranges.get(name)
        self.ids[name] = self.activation(name, shape, r and r.scale, r and r.zero)
        return self.ids[name]

    def number(self, name, value):
        """One constant number, in the middle of its i8 range."""
        if self.int8:
            return self.tensor(name, [1], KIND.INT8, np.array([127], np.int8), value / 127, 0)
        return self.tensor(name, [1], KIND.FLOAT32, np.array([value], np.float32))

    def op(self, code, inputs, output, options=None):
        if code not in self.codes:
            c = schema.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode = code, min(code, 127)
            c.version = INT8_VERSION.get(code, 1) if self.int8 else 1
            self.codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(c)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = self.codes[code], inputs, [output]
        if options is not None:
            o.builtinOptions = options
            o.builtinOptionsType = getattr(OPTIONS, type(options).__name__[:-1])
        self.sub.operators.append(o)

    def write(self, file):
        graph = self.graph
        channels, height, width = graph.shapes[graph.input]
        r = graph.ranges.get(graph.input)
        self.ids[graph.input] = self.activation("x", [1, height, width, channels], r and r.scale, r and r.zero)
        self.sub.inputs = [self.ids[graph.input]]
        for layer in graph.layers:
            getattr(self, layer.kind)(layer)
        self.sub.outputs = [self.ids[graph.output]]
        self.model.subgraphs = [self.sub]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        with open(file, "wb") as out:
            out.write(bytes(builder.Output()))

    def fused(self, layer):
        """The activation as tflite's code; where int8's own range already says it, none is needed."""
        if layer.act is None:
            return ACT.NONE
        return {(0.0, None): ACT.RELU, (0.0, 6.0): ACT.RELU6}[layer.act]

    def padded(self, layer):
        """Input tensor and padding code; other pads than "same" ones take a PAD in front."""
        x = layer.inputs[0]
        _, height, width = self.graph.shapes[x]
        same = []
        for size, k, s in zip((height, width), layer.kernel, layer.strides):
            pad = max((-(-size // s) - 1) * s + k - size, 0)
            same.append((pad // 2, pad - pad // 2))
        top, left, bottom, right = layer.pads
        if not any(layer.pads):
            return self.ids[x], schema.Padding.VALID
        if [(top, bottom), (left, right)] == same:
            return self.ids[x], schema.Padding.SAME
        r = self.graph.ranges.get(x)
        shape = [1, height + top + bottom, width + left + right, self.graph.shapes[x][0]]
        wide = self.activation(f"{layer.output}.padded", shape, r and r.scale, r and r.zero)
        pads = self.tensor(f"{layer.output}.pads", [4, 2], KIND.INT32, np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        self.op(OP.PAD, [self.ids[x], pads], wide, schema.PadOptionsT())
        return wide, schema.Padding.VALID

    def weights(self, layer, arrange, axis):
        """Weight and bias tensors; `arrange` puts the weights in tflite's order."""
        name = layer.output
        if not self.int8:
            w = arrange(layer.weight).astype(np.float32)
            return [self.tensor(f"{name}.w", w.shape, KIND.FLOAT32, w), self.tensor(f"{name}.b", layer.bias.shape, KIND.FLOAT32, layer.bias)]
        levels, scales, bias = layer.integers
        w = arrange(levels)
        x = self.graph.ranges[layer.inputs[0]]
        weight = self.tensor(f"{name}.w", w.shape, KIND.INT8, w, scales, 0, axis)
        return [weight, self.tensor(f"{name}.b", bias.shape, KIND.INT32, bias, scales * np.float32(x.scale), 0)]

    def conv(self, layer):
        x, padding = self.padded(layer)
        if layer.depthwise():
            options, code = schema.DepthwiseConv2DOptionsT(), OP.DEPTHWISE_CONV_2D
            options.depthMultiplier = layer.weight.shape[0] // layer.groups
            inputs = self.weights(layer, lambda w: w[:, 0].transpose(1, 2, 0)[None], 3)
        else:
            options, code = schema.Conv2DOptionsT(), OP.CONV_2D
            inputs = self.weights(layer, lambda w: w.transpose(0, 2, 3, 1), 0)
        options.padding, (options.strideH, options.strideW) = padding, layer.strides
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = self.fused(layer)
        self.op(code, [x, *inputs], self.made(layer), options)

    def dense(self, layer):
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = self.fused(layer)
        flat = next((f for f in self.graph.layers if f.output == layer.inputs[0] and f.kind == "flatten"), None)
        shape = self.graph.shapes[flat.inputs[0]] if flat else ()

        def arrange(w):
            # Flattened planes in ONNX are flattened pixels here.
            return w.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(w.shape) if len(shape) == 3 else w

        self.op(OP.FULLY_CONNECTED, [self.ids[layer.inputs[0]], *self.weights(layer, arrange, 0)], self.made(layer), options)

    def flatten(self, layer):
        """Nothing to do: a dense layer reads its input flat."""
        self.graph.ranges[layer.output] = self.graph.ranges.get(layer.inputs[0])
        self.ids[layer.output] = self.ids[layer.inputs[0]]

    def add(self, layer):
        options = schema.AddOptionsT()
        options.fusedActivationFunction = self.fused(layer)
        self.op(OP.ADD, [self.ids[i] for i in layer.inputs], self.made(layer), options)

    def mul(self, layer):
        self.op(OP.MUL, [self.ids[i] for i in layer.inputs], self.made(layer), schema.MulOptionsT())

    def swish(self, layer):
        self.op(OP.HARD_SWISH, [self.ids[layer.inputs[0]]], self.made(layer), schema.HardSwishOptionsT())

    def sigmoid(self, layer):
        name = layer.output
        channels, height, width = self.graph.shapes[name]
        six = self.activation(f"{name}.six", [1, height, width, channels], 6 / 255, 0)
        add, mul = schema.AddOptionsT(), schema.MulOptionsT()
        add.fusedActivationFunction = ACT.RELU6
        self.op(OP.ADD, [self.ids[layer.inputs[0]], self.number(f"{name}.3", 3.0)], six, add)
        self.op(OP.MUL, [six, self.number(f"{name}.6th", 1 / 6)], self.made(layer), mul)

    def softmax(self, layer):
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        self.op(OP.SOFTMAX, [self.ids[layer.inputs[0]]], self.made(layer), options)

    def average(self, layer):
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axes = self.tensor(f"{layer.output}.axes", [2], KIND.INT32, np.array([1, 2], np.int32))
        self.op(OP.MEAN, [self.ids[layer.inputs[0]], axes], self.made(layer), options)

    def maxpool(self, layer):
        self.graph.ranges.setdefault(layer.output, self.graph.ranges.get(layer.inputs[0]))
        options = schema.Pool2DOptionsT()
        x, options.padding = self.padded(layer)
        (options.strideH, options.strideW), (options.filterHeight, options.filterWidth) = layer.strides, layer.kernel
        self.op(OP.MAX_POOL_2D, [x], self.made(layer), options)


def write(graph, file, int8):
    """The network as a .tflite file."""
    Writer(graph, int8).write(file)
