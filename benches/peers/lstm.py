#!/usr/bin/env python3
"""One step of an LSTM of 576 inputs and 256 cells: lookout beside ONNX Runtime, in int8 and in float.

    target/peers/venv/bin/python benches/peers/lstm.py LOOKOUT [ROUNDS]

The environment is run.sh's. The network (random weights, one tick, logits of eight classes) is written once; ONNX Runtime's own tool makes its int8 form
(`quantize_dynamic`: DynamicQuantizeLSTM), lookout quantises what it reads. Processor time on one thread, medians of rounds in turn; what lookout
calls projection and step is what a tick costs, since projections are kept in the ring.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

INPUTS, CELLS, CLASSES = 576, 256, 8


def network(file):
    draw = np.random.default_rng(1)

    def weights(name, *shape):
        return numpy_helper.from_array((draw.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32), name)

    initial = [
        weights("w", 1, 4 * CELLS, INPUTS), weights("r", 1, 4 * CELLS, CELLS), weights("b", 1, 8 * CELLS),
        weights("g", CLASSES, CELLS), weights("gb", CLASSES), numpy_helper.from_array(np.array([0], np.int64), "zero"),
    ]
    nodes = [
        helper.make_node("Transpose", ["window"], ["ticks"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["ticks", "w", "r", "b"], ["", "last"], hidden_size=CELLS),
        helper.make_node("Squeeze", ["last", "zero"], ["state"]),
        helper.make_node("Gemm", ["state", "g", "gb"], ["logits"], transB=1),
    ]
    tensor = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "lstm", [tensor("window", [1, 1, INPUTS])], [tensor("logits", [1, CLASSES])], initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


def session(file):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def timed(run, window, times=200):
    start = time.process_time()
    for _ in range(times):
        run.run(None, {"window": window})
    return (time.process_time() - start) / times * 1e6


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    rounds = int(sys.argv[2]) if len(sys.argv) == 3 else 7
    with tempfile.TemporaryDirectory() as folder:
        float_file, int8_file = pathlib.Path(folder, "lstm.onnx"), pathlib.Path(folder, "lstm.int8.onnx")
        network(float_file)
        quantize_dynamic(float_file, int8_file)
        window = np.random.default_rng(2).standard_normal((1, 1, INPUTS)).astype(np.float32)
        peers = {"ONNX Runtime int8": session(int8_file), "ONNX Runtime f32": session(float_file)}
        took = {name: [] for name in ["lookout projection", "lookout step", *peers]}
        for _ in range(rounds):
            said = json.loads(subprocess.check_output([sys.argv[1], "bench", "--onnx", float_file, "--json", "--rounds", "200"]))
            took["lookout projection"].append(said["project_us"])
            took["lookout step"].append(said["step_us"])
            for name, peer in peers.items():
                took[name].append(timed(peer, window))
    print(f"LSTM {INPUTS} -> {CELLS}, one tick, us of processor time, medians of {rounds} rounds; {said['head']}; onnxruntime {ort.__version__}")
    for name, times in took.items():
        print(f"{name:<20} {statistics.median(times):7.1f}")


if __name__ == "__main__":
    main()
