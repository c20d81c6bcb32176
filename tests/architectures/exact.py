"""What a QDQ network of pictures says in exact arithmetic: every operator as the standard defines it, in f64.

ONNX Runtime computes such a network in f32, and where a sum lies near the middle of two steps its rounding error decides. Of the millions of bytes in a
ResNet-50 one or two fall the other way; with random weights that grows from block to block until a tenth of the features is more than a step off. So
the features by this arithmetic lie beside ONNX Runtime's, and what strays from one can be told from what is wrong.
"""
import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch.nn import functional as F


def per_channel(of, value):
    """A scale or zero point, one a channel of weights, in the shape that it is applied in."""
    return of.reshape([-1] + [1] * (value.dim() - 1)) if of.numel() > 1 else of


def features(model, value):
    """Of one input, f32."""
    constants = {i.name: i for i in model.graph.initializer}
    known = {name: torch.tensor(numpy_helper.to_array(i).astype(np.float64)) for name, i in constants.items()}
    known["value"] = torch.tensor(value.astype(np.float64))
    for node in model.graph.node:
        said = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        x, *rest = (known[name] for name in node.input)
        op = node.op_type
        if op == "QuantizeLinear":
            low, high = (0, 255) if constants[node.input[2]].data_type == TensorProto.UINT8 else (-128, 127)
            out = torch.clamp(torch.round(x / rest[0]) + rest[1], low, high)
        elif op == "DequantizeLinear":
            out = (x - per_channel(rest[1], x)) * per_channel(rest[0], x)
        elif op == "Conv":
            out = F.conv2d(x, *rest, stride=said["strides"], padding=said["pads"][:2], groups=said["group"])
        elif op == "MaxPool":
            out = F.max_pool2d(x, said["kernel_shape"], said["strides"], said["pads"][:2])
        elif op == "GlobalAveragePool":
            out = x.mean((2, 3), keepdim=True)
        elif op == "HardSigmoid":
            out = torch.clamp(said["alpha"] * x + said["beta"], 0, 1)
        elif op == "Add":
            out = x + rest[0]
        elif op == "Mul":
            out = x * rest[0]
        elif op == "Relu":
            out = x.clamp(min=0)
        elif op == "Flatten":
            out = x.flatten(1)
        else:
            raise SystemExit(f"{op} {node.name}: not computed here")
        known[node.output[0]] = out
    return known["features"].numpy().astype(np.float32)
