"""Makes each network in every runtime's own form: WORK/nets/NAME/.

    prepare.py WORK [--data DIR] [--nets NAME,...]

x.npy (pictures), f32.onnx, qdq.onnx, features.onnx, qlinear.onnx, conv.onnx (only the convolutions as QLinearConv), and f32 and
int8 for LiteRT (.tflite) and ncnn (.param, .bin). A form that cannot be had is noted in net.json with the reason.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np
import onnx

import graph
import ncnn_form
import nets
import tflite

BUNDLE = pathlib.Path(__file__).parents[2] / "models/motion/encoder.onnx"
# Pretrained: a name, its ONNX and its tflite, which hold the same integers.
PAIRS = {
    "mobilenet_v1_0.25_128": ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.25_128_quant"),
    "mobilenet_v1_0.5_160": ("mobilenet_v1_0.5_160_quant", "mobilenet_v1_0.5_160_quant"),
    "mobilenet_v2_1.0_224_pretrained": ("tf2_mobilenet_v2_1.0_224_ptq", "tf2_mobilenet_v2_1.0_224_ptq"),
}


def random_net(name, at):
    builder, model = nets.NETS[name](name)
    np.save(at / "x.npy", builder.pictures[nets.CALIBRATION :])
    onnx.save(model, at / "f32.onnx")
    calibrate = builder.pictures[: nets.CALIBRATION]
    for form, kinds in (("qdq", None), ("qlinear", None), ("conv", ["Conv"])):
        nets.quantise(at / "f32.onnx", at / f"{form}.onnx", calibrate, "qdq" if form == "qdq" else "qlinear", kinds)
    nets.features_of(at / "qdq.onnx", at / "features.onnx")
    return round(builder.macs / 1e6, 1)


def converted(at, skip=()):
    """The forms that are not ONNX."""
    missing = {}
    for kind, form, write in (("litert", ".tflite", tflite.write), ("ncnn", "", ncnn_form.write)):
        for source, stem, on in (("qdq.onnx", "int8", True), ("f32.onnx", "f32", False)):
            if f"{kind} {stem}" in skip:
                continue
            try:
                made = graph.read(at / source)
                # A quantiser drops the activation that its range already says; tflite and ncnn still name it.
                for layer, plain in zip(made.layers, graph.read(at / "f32.onnx").layers, strict=True):
                    layer.act = layer.act or plain.act
                write(made, str(at / f"{stem}{form}"), on)
            except Exception as e:  # noted beside the empty cell
                missing[f"{kind} {stem}"] = f"{type(e).__name__}: {e}"
    return missing


def bundle(at):
    # The map that the bundle's encoder gives as well, where it is asked for, is not what is compared.
    onnx.utils.extract_model(str(BUNDLE), str(at / "qdq.onnx"), ["levels"], ["features"])
    shutil.copy(at / "qdq.onnx", at / "features.onnx")
    made = onnx.load(at / "qdq.onnx")
    shape = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim]
    np.save(at / "x.npy", np.load(BUNDLE.parent / "golden_frames.npy").reshape(-1, *shape[1:])[: nets.PICTURES])
    dequantised(at / "qdq.onnx", at / "f32.onnx")
    return converted(at)


def pretrained(name, at, data):
    source, lite = PAIRS[name]
    folder = data / "models_onnx_converted"
    for form, file in (("qdq", f"{source}.qdq.onnx"), ("features", f"{source}.backbone.qdq.onnx")):
        made = onnx.load(folder / file)
        made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
        nets.take_levels(made)
        onnx.save(made, at / f"{form}.onnx")
    shutil.copy(data / "models_google-coral" / f"{lite}.tflite", at / "int8.tflite")
    side = made.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    np.save(at / "x.npy", nets.pictures(side, 1)[:16])
    dequantised(at / "qdq.onnx", at / "f32.onnx")
    return converted(at, skip=("litert int8",))


def dequantised(qdq, target):
    """A float file with the weights of a QDQ file: every activation pair goes, a range that ends at 0 leaves a Relu."""
    made = onnx.load(qdq)
    g = made.graph
    known = {i.name: onnx.numpy_helper.to_array(i) for i in g.initializer}
    value = {n.output[0]: n for n in g.node if n.op_type == "QuantizeLinear"}
    entry = g.input[0].name
    kept, alias = [], {}
    layers = graph.read(qdq)
    clipped = {layer.output for layer in layers.layers if layer.act}
    for node in g.node:
        node.input[:] = [alias.get(i, i) for i in node.input]
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type == "DequantizeLinear" and node.input[0] not in known:
            quantiser = value.get(node.input[0])
            source = quantiser.input[0] if quantiser else node.input[0]
            source = alias.get(source, source)
            maker = next((n for n in kept if source in n.output), None)
            zero = int(known[node.input[2]])
            if maker is not None and maker.op_type in ("Conv", "Add", "Gemm") and zero == 0 and source not in clipped:
                relu = onnx.helper.make_node("Relu", [source], [f"{source}_relu"])
                kept.append(relu)
                source = relu.output[0]
            alias[node.output[0]] = source
            continue
        kept.append(node)
    last = g.output[0].name
    if last in alias:
        kept.append(onnx.helper.make_node("Identity", [alias[last]], [last]))
    del g.node[:]
    g.node.extend(kept)
    # Weights become plain numbers.
    folded = {}
    for node in list(g.node):
        if node.op_type == "DequantizeLinear":
            q, scale, zero = (known[i] for i in node.input)
            shape = (-1,) + (1,) * (q.ndim - 1) if scale.ndim else ()
            folded[node.output[0]] = ((q.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)).astype(np.float32)
            g.node.remove(node)
    used = {i for n in g.node for i in n.input}
    keep = [i for i in g.initializer if i.name in used]
    del g.initializer[:]
    g.initializer.extend(keep + [onnx.numpy_helper.from_array(w, n) for n, w in folded.items()])
    del g.value_info[:]
    g.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    assert g.input[0].name == entry
    onnx.save(made, target)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("work", type=pathlib.Path)
    arguments.add_argument("--data", type=pathlib.Path)
    arguments.add_argument("--nets")
    a = arguments.parse_args()
    names = ["bundle", *nets.NETS, *(PAIRS if a.data else ())]
    for name in names:
        at = a.work / "nets" / name
        note = at / "net.json"
        if (a.nets and name not in a.nets.split(",")) or (note.exists() and name != "bundle"):
            continue
        print(f"making {name}", flush=True)
        at.mkdir(parents=True, exist_ok=True)
        macs = None
        if name == "bundle":
            missing = bundle(at)
        elif name in PAIRS:
            missing = pretrained(name, at, a.data)
        else:
            macs = random_net(name, at)
            missing = converted(at)
        note.write_text(json.dumps({"macs": macs, "missing": missing}, indent=1))


if __name__ == "__main__":
    main()
