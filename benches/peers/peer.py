"""One runtime with one network, as a process that compare.py asks for times, in turn with the others.

    peer.py RUNTIME FILE [--no-amx]                 then a line with milliseconds on stdin for each round
    peer.py RUNTIME FILE --outputs IN.npy OUT.npy   outputs for each picture, to compare

A round is as many inferences as fit into that processor time, at least three. Time is the processor time of the whole process
(CLOCK_PROCESS_CPUTIME_ID): what other programs do does not count, a helper thread does. The input lies ready; each runtime is
called by the leanest call that its Python package has, which costs it a few microseconds (compare.py measures how many).
"""

import ctypes
import json
import os
import statistics
import sys
import time

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"


def forbid_amx():
    """Makes the kernel refuse AMX to this process, so that a runtime takes its next best code path.

    Linux lends the tile registers on request (arch_prctl ARCH_REQ_XCOMP_PERM); all of oneDNN, XNNPACK and MLAS ask, and do
    without where the answer is no. A seccomp filter answers it: one switch, the same for all of them.
    """
    ld_word, jump_equal, give = 0x20, 0x15, 0x06
    arch_prctl, request, allow, refuse = 158, 0x1023, 0x7FFF0000, 0x00050000 | 1
    steps = [
        (ld_word, 0, 0, 0), (jump_equal, 0, 3, arch_prctl),  # the system call's number
        (ld_word, 0, 0, 16), (jump_equal, 0, 1, request),  # its first argument
        (give, 0, 0, refuse), (give, 0, 0, allow),
    ]  # fmt: skip
    code = b"".join(
        op.to_bytes(2, "little") + bytes([true, false]) + value.to_bytes(4, "little") for op, true, false, value in steps
    )
    held = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(steps), ctypes.addressof(held))
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, filter_mode, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


class Ort:
    """ONNX Runtime; output and input are bound once, so a run moves no arrays."""

    def __init__(self, file, optimise=True):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.ort, self.session = ort, ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        self.run = lambda: self.session.run_with_iobinding(self.binding)

    def put(self, levels):
        x, y = self.session.get_inputs()[0], self.session.get_outputs()[0]
        value = levels if x.type == "tensor(uint8)" else normal(levels)
        self.value = self.ort.OrtValue.ortvalue_from_numpy(value)
        self.binding.bind_ortvalue_input(x.name, self.value)
        self.binding.bind_output(y.name)

    def get(self):
        return self.binding.get_outputs()[0].numpy()


class OrtPlain(Ort):
    """ONNX Runtime without graph optimisations: the standard's own arithmetic, the reference of exact.py."""

    def __init__(self, file):
        super().__init__(file, optimise=False)


class OpenVino:
    def __init__(self, file):
        import openvino

        core = openvino.Core()
        # Float stays float: bf16 would be another network.
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}
        self.openvino, self.request = openvino, core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
        # The call below the Python class, which would sort inputs and outputs into dictionaries first.
        infer = openvino._pyopenvino.InferRequest.infer
        self.run = lambda: infer(self.request, {}, True, False)

    def put(self, levels):
        kind = self.request.get_input_tensor(0).element_type.get_type_name()
        self.value = self.openvino.Tensor(levels if kind == "u8" else normal(levels))
        self.request.set_input_tensor(0, self.value)

    def get(self):
        return np.array(self.request.get_output_tensor(0).data)


class LiteRt:
    def __init__(self, file):
        from ai_edge_litert.interpreter import Interpreter

        self.it = Interpreter(model_path=file, num_threads=1)
        self.it.allocate_tensors()
        self.run = self.it.invoke

    def put(self, levels):
        x = self.it.get_input_details()[0]
        value = levels.transpose(0, 2, 3, 1)
        if x["dtype"] == np.int8:
            value = (value.astype(np.int16) - 128).astype(np.int8)
        elif x["dtype"] == np.float32:
            value = normal(value)
        self.it.set_tensor(x["index"], np.ascontiguousarray(value))

    def get(self):
        y = self.it.get_output_details()[0]
        scale, zero = y["quantization"]
        found = self.it.get_tensor(y["index"])
        return found if y["dtype"] == np.float32 else (found.astype(np.float32) - zero) * np.float32(scale)


class Ncnn:
    def __init__(self, stem):
        import ncnn

        self.net = ncnn.Net()
        self.net.opt.num_threads = 1
        # Float stays float, as with the others.
        self.net.opt.use_fp16_storage = self.net.opt.use_fp16_arithmetic = self.net.opt.use_bf16_storage = False
        self.net.load_param(f"{stem}.param")
        self.net.load_model(f"{stem}.bin")
        self.ncnn, self.last = ncnn, open(f"{stem}.param").read().split("\n")[-2].split()
        # kind, name, numbers of inputs and outputs, inputs, outputs, parameters
        self.last = self.last[4 + int(self.last[2])]

    def run(self):
        extractor = self.net.create_extractor()
        extractor.input("x", self.value)
        self.found = extractor.extract(self.last)[1]

    def put(self, levels):
        # A Mat made from an array only borrows it.
        self.held = np.ascontiguousarray(normal(levels[0]))
        self.value = self.ncnn.Mat(self.held)

    def get(self):
        return np.array(self.found).reshape(1, -1)


def normal(levels):
    return ((levels.astype(np.float32) - 128) / 64).astype(np.float32)


RUNTIMES = {"onnxruntime": Ort, "onnxruntime-plain": OrtPlain, "openvino": OpenVino, "ai-edge-litert": LiteRt, "ncnn": Ncnn}


def main():
    runtime, file, *rest = sys.argv[1:]
    if "--no-amx" in rest:
        forbid_amx()
    if "--outputs" in rest:
        pictures, target = rest[rest.index("--outputs") + 1 :]
        it, found = RUNTIMES[runtime](file), []
        for levels in np.load(pictures):
            it.put(np.ascontiguousarray(levels[None]))
            it.run()
            found.append(np.asarray(it.get(), np.float32).ravel().copy())
        np.save(target, np.stack(found))
        return
    shape = json.loads(sys.stdin.readline())
    it = RUNTIMES[runtime](file)
    it.put(np.random.default_rng(1).integers(0, 256, shape, np.uint8))
    for _ in range(3):
        it.run()
    print(json.dumps({"ready": True}), flush=True)
    clock = time.process_time_ns
    for line in sys.stdin:
        times, end = [], clock() + int(float(line) * 1e6)
        while len(times) < 3 or clock() < end:
            start = clock()
            it.run()
            times.append(clock() - start)
        print(json.dumps({"median": statistics.median(times) / 1e6, "min": min(times) / 1e6, "runs": len(times)}), flush=True)


if __name__ == "__main__":
    main()
