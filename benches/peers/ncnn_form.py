"""Writes a network in ncnn's form, float or int8, from the list of layers of an ONNX file.

ncnn quantises activations symmetrically, per layer, and only convolutions and dense layers run in int8: its int8 form is ncnn's
own way to quantise this network, as its `ncnn2int8` would write it, and not number for number the QDQ file. Where a convolution
feeds only convolutions its output stays int8 (terms above 100).
"""

import numpy as np

INT8_TAG = 0x000D4B38


def write(graph, stem, int8):
    """Writes `stem`.param and `stem`.bin."""
    Writer(graph, int8).write(stem)


class Writer:
    def __init__(self, graph, int8):
        self.graph, self.int8 = graph, int8
        self.lines, self.blobs, self.data, self.copies = [], 0, bytearray(), {}
        # Softmax ends the pretrained ones; it is not what is compared, nor is flattening any work.
        self.layers = [layer for layer in graph.layers if layer.kind != "softmax"]
        self.merged = self.swishes()

    def swishes(self):
        """A hard swish behind a convolution that nobody else reads joins it, as ncnnoptimize does."""
        joined = {}
        for layer in self.layers:
            makers = [m for m in self.layers if layer.kind == "swish" and m.output == layer.inputs[0]]
            if makers and makers[0].kind in ("conv", "dense") and len(self.graph.users(layer.inputs[0])) == 1:
                joined[makers[0].output] = layer
        return joined

    def users(self, name):
        return [u for u in self.layers if name in u.inputs]

    def line(self, kind, inputs, outputs, parameters=""):
        self.blobs += len(outputs)
        self.lines.append(f"{kind} {outputs[0]} {len(inputs)} {len(outputs)} {' '.join([*inputs, *outputs])} {parameters}".rstrip())

    def made(self, name):
        """ncnn wants a blob read once: more readers take copies."""
        readers = len(self.users(name))
        if readers > 1:
            self.copies[name] = [f"{name}_{n}" for n in range(readers)]
            self.line("Split", [name], list(self.copies[name]))

    def take(self, name):
        return self.copies[name].pop(0) if name in self.copies else name

    def scale(self, name):
        low, high = self.graph.ranges[name].ends()
        return np.float32(127 / max(-low, high))

    def write(self, stem):
        channels, height, width = self.graph.shapes[self.graph.input]
        self.line("Input", [], ["x"], f"0={width} 1={height} 2={channels}")
        self.rename(self.graph.input, "x")
        self.made("x")
        skip = {swish.output for swish in self.merged.values()}
        for layer in self.layers:
            if layer.output in skip:
                continue
            output = self.merged[layer.output].output if layer.output in self.merged else layer.output
            getattr(self, layer.kind)(layer, [self.take(i) for i in layer.inputs], output)
            self.made(output)
        self.last = output
        with open(f"{stem}.param", "w") as out:
            out.write(f"7767517\n{len(self.lines)} {self.blobs}\n" + "\n".join(self.lines) + "\n")
        with open(f"{stem}.bin", "wb") as out:
            out.write(bytes(self.data))

    def rename(self, old, new):
        for layer in self.layers:
            layer.inputs = [new if i == old else i for i in layer.inputs]
        for table in (self.graph.shapes, self.graph.ranges):
            if old in table:
                table[new] = table[old]

    def weights(self, layer, output):
        """Appends weights and bias; returns the int8 term."""
        weight = layer.weight.reshape(layer.weight.shape[0], -1)
        if not self.int8:
            self.data += np.uint32(0).tobytes() + weight.astype(np.float32).tobytes() + layer.bias.astype(np.float32).tobytes()
            return ""
        scales = (127 / np.maximum(np.abs(weight).max(1), 1e-9)).astype(np.float32)
        if layer.integers:
            levels, steps, _ = layer.integers
            scales, levels = (1 / steps).astype(np.float32), levels.reshape(weight.shape)
        else:
            levels = np.clip(np.round(weight * scales[:, None]), -127, 127).astype(np.int8)
        raw = levels.tobytes()
        readers = self.users(output)
        stays = [r.kind for r in readers] == ["conv"] and layer.kind == "conv" and self.graph.shapes[output][1:] != (1, 1)
        self.data += np.uint32(INT8_TAG).tobytes() + raw + b"\0" * (-len(raw) % 4) + layer.bias.astype(np.float32).tobytes()
        self.data += scales.tobytes() + self.scale(layer.inputs[0]).tobytes()
        if stays:
            self.data += self.scale(output).tobytes()
        return f" 8={101 if stays else 1}"

    def act(self, layer):
        if layer.output in self.merged:
            return " 9=6 -23310=2,0.16666667,0.5"
        if layer.act is None:
            return ""
        return " 9=1" if layer.act == (0.0, None) else " 9=3 -23310=2,%g,%g" % layer.act

    def conv(self, layer, inputs, output):
        if self.graph.shapes[layer.inputs[0]][1:] == (1, 1) and layer.groups == 1:
            # Behind a global pool ncnn has a vector, no picture.
            return self.dense(layer, inputs, output)
        top, left, bottom, right = layer.pads
        kind, groups = ("ConvolutionDepthWise", f" 7={layer.groups}") if layer.depthwise() else ("Convolution", "")
        form = f"0={layer.weight.shape[0]} 1={layer.kernel[1]} 11={layer.kernel[0]} 3={layer.strides[1]} 13={layer.strides[0]}"
        form += f" 4={left} 14={top} 15={right} 16={bottom} 5=1 6={layer.weight.size}{groups}"
        self.line(kind, inputs, [output], form + self.weights(layer, output) + self.act(layer))

    def dense(self, layer, inputs, output):
        form = f"0={layer.weight.shape[0]} 1=1 2={layer.weight.size}"
        self.line("InnerProduct", inputs, [output], form + self.weights(layer, output) + self.act(layer))

    def add(self, layer, inputs, output):
        if layer.act:
            self.line("BinaryOp", inputs, [f"{output}_sum"], "0=0")
            self.line("ReLU", [f"{output}_sum"], [output])
        else:
            self.line("BinaryOp", inputs, [output], "0=0")

    def mul(self, layer, inputs, output):
        self.line("BinaryOp", inputs, [output], "0=2")

    def swish(self, layer, inputs, output):
        self.line("HardSwish", inputs, [output], "0=0.16666667 1=0.5")

    def sigmoid(self, layer, inputs, output):
        self.line("HardSigmoid", inputs, [output], "0=0.16666667 1=0.5")

    def average(self, layer, inputs, output):
        self.line("Pooling", inputs, [output], "0=1 4=1")

    def flatten(self, layer, inputs, output):
        self.graph.ranges[output] = self.graph.ranges.get(layer.inputs[0])
        self.line("Flatten", inputs, [output])

    def maxpool(self, layer, inputs, output):
        top, left, bottom, right = layer.pads
        form = f"0=0 1={layer.kernel[1]} 11={layer.kernel[0]} 2={layer.strides[1]} 12={layer.strides[0]}"
        self.line("Pooling", inputs, [output], form + f" 3={left} 13={top} 14={right} 15={bottom} 5=1")
