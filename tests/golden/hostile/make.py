#!/usr/bin/env python3
"""Makes the heads in this folder: valid ONNX that asks for too much. tests/golden/hostile/make.py (needs onnx)

memory.onnx  adds the sum of 16 x 2^25 numbers to each logit: each constant is as large as may be, together they are 2 GiB
time.onnx    adds the end of a chain of 400 products of 1500 x 1500 matrices: minutes of processor time in 100 MB

Both have the inputs and outputs of tests/bundles/rows-lstm, so nothing but running them shows what they do.
"""
import os
import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

here = os.path.dirname(os.path.abspath(__file__))


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def head(name, nodes, constants):
    """A plain sum over the window into four logits, and something on top of them called `extra`, of one number."""
    last = [
        helper.make_node("ReduceSum", ["input", "axis"], ["row"], keepdims=0),
        helper.make_node("MatMul", ["row", "weights"], ["plain"]),
        helper.make_node("Add", ["plain", "extra"], ["logits"]),
    ]
    constants += [constant("axis", np.array([1], np.int64)), constant("weights", np.ones((6, 4), np.float32))]
    graph = helper.make_graph(
        nodes + last, name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 12, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, os.path.join(here, name + ".onnx"))


one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
fills = [helper.make_tensor("value", TensorProto.FLOAT, [1], [float(k)]) for k in range(16)]
head("memory",
     [helper.make_node("ConstantOfShape", ["shape"], [f"part{k}"], value=fill) for k, fill in enumerate(fills)]
     + [helper.make_node("Concat", [f"part{k}" for k in range(16)], ["all"], axis=0),
        helper.make_node("ReduceSum", ["all"], ["extra"], keepdims=0)],
     [constant("shape", np.array([1 << 25], np.int64))])

chain = [helper.make_node("ConstantOfShape", ["shape"], ["m0"], value=one)]
chain += [helper.make_node("MatMul", [f"m{k}", "m0"], [f"m{k + 1}"]) for k in range(400)]
head("time", chain + [helper.make_node("ReduceSum", ["m400"], ["extra"], keepdims=0)],
     [constant("shape", np.array([1500, 1500], np.int64))])
