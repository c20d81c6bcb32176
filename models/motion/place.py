"""Teaches the encoder to say where things are: trains a map on top of its frozen int8 layers and writes it into encoder.onnx.

    python3 place.py --work DIR [--data ../../../shared/data] [--weights where.pt] [--minutes 40]

The map has 8x8 cells. Each says how sure it is that a moving thing's middle is near, and how far from its own middle the thing's edges are
(`input.map` in ../README.md). It reads two layers that the encoder has anyway (patches of 4 pixels, and the last one of 8x8 cells), so the
features stay what they are to the bit, and costs 1.9 million multiplications (7.4 are the rest), of which 1.1 are three depthwise 5x5 layers with a
pointwise one behind each: a cell must see as far as the largest thing reaches.

Clips are those of where.py (other seeds), each frame also mirrored and every fourth also turned by quarters: a camera on a ceiling sees people from
all sides. With --weights nothing is trained; with --go-on the map that encoder.onnx has is trained on. Prints IoU on the way, and of 250 clips (seed 71) at the end,
by the quantised network as onnxruntime runs it, the surest cell of each tick alone. where.py examines the program.

Needs: python3-torch, onnx, onnxruntime, python3-opencv, python3-numpy.
"""
import argparse
import hashlib
import multiprocessing
import os
import re
import time

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

CELLS, WIDTH, DEPTH, THINGS = 8, 64, 3, 3
NEAR, FAR = "/Relu_output_0", "/Add_1_output_0"  # the two layers, as encoder.onnx calls them
PER_CLIP = (14, 2)  # frames of a clip in which something moves, and in which nothing does


class Map(nn.Module):
    """Layers [N,32,16,16] and [N,64,8,8] -> [N,5,8,8]: sure, left, top, right, low."""

    def __init__(self):
        super().__init__()
        self.near, self.far = nn.Conv2d(32, WIDTH, 2, 2), nn.Conv2d(64, WIDTH, 1, bias=False)
        self.wide = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 5, 1, 2, groups=WIDTH) for _ in range(DEPTH))
        self.mix = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(DEPTH))
        self.out = nn.Conv2d(WIDTH, 5, 1)
        nn.init.constant_(self.out.bias, 0.1)

    def forward(self, near, far):
        x = F.relu(self.near(near) + self.far(far))
        for wide, mix in zip(self.wide, self.mix):
            x = F.relu(mix(wide(x)))
        return self.out(x)


def boxes(out):
    """[N,5,8,8] -> edges [N,8,8,4]."""
    middle = (torch.arange(CELLS, device=out.device) + 0.5) / CELLS
    x, y = middle[None, None, :], middle[None, :, None]
    return torch.stack([x - out[:, 1], y - out[:, 2], x + out[:, 3], y + out[:, 4]], -1)


def overlap(p, q):
    """Intersection over union, and the generalised one (Rezatofighi et al. 2019), of edges [...,4]."""
    def area(left, top, right, low):
        return (right - left).clamp(min=0) * (low - top).clamp(min=0)

    both = area(*(torch.maximum(p[..., k], q[..., k]) for k in (0, 1)), *(torch.minimum(p[..., k], q[..., k]) for k in (2, 3)))
    hull = area(*(torch.minimum(p[..., k], q[..., k]) for k in (0, 1)), *(torch.maximum(p[..., k], q[..., k]) for k in (2, 3))).clamp(min=1e-6)
    union = (area(*p.unbind(-1)) + area(*q.unbind(-1)) - both).clamp(min=1e-6)
    return both / union, both / union - (hull - union) / hull


def loss_of(out, truth):
    """`truth` [N,THINGS,4], NaN where there is none. A cell in the middle part of a thing is to mean it, as surely as its box fits."""
    middle = (torch.arange(CELLS, device=out.device) + 0.5) / CELLS
    x, y = middle[None, None, None, :], middle[None, None, :, None]
    left, top, right, low = (truth[:, :, k, None, None] for k in range(4))
    half = 0.5 / CELLS
    core = ((x - (left + right) / 2).abs() <= ((right - left) / 4).clamp(min=half)) & ((y - (top + low) / 2).abs() <= ((low - top) / 4).clamp(min=half))
    inside = ((x > left) & (x < right) & (y > top) & (y < low)).any(1)
    size = ((right - left) * (low - top)).expand_as(core).clone()
    size[~core | size.isnan()] = 9
    least, which = size.min(1)  # of two things the smaller
    meant = least < 9
    aim = torch.gather(truth.nan_to_num(0), 1, which.flatten(1)[..., None].expand(-1, -1, 4)).view(*which.shape, 4)
    fits, general = overlap(boxes(out), aim)
    sure = torch.where(meant, fits.detach().clamp(0.1, 1), torch.zeros_like(fits))
    counts = (meant | ~inside).float()
    beside = (F.binary_cross_entropy_with_logits(8 * (out[:, 0] - 0.5), sure, reduction="none") * counts).sum() / meant.sum().clamp(min=1)
    return beside + 2 * (1 - general)[meant].mean(), fits[meant].mean()


def frames(seed, count, found):
    """Levels u8 [N,64,64,5] and boxes [N,THINGS,4] of frames of `count` clips."""
    import render
    import shaper
    import where
    rng, levels, truth = np.random.default_rng(seed), [], []
    for index in range(count):
        luma, labels, all_boxes = where.clip(seed, index, 1 + index % 4, found)
        b = np.full((len(labels), THINGS, 4), np.nan, np.float32)
        for k, some in enumerate(all_boxes):
            for j, box in enumerate(some[:THINGS]):
                b[k, j] = box
        here = ~np.isnan(b[:, 0, 0])
        moving = np.nonzero((labels >= render.LEFT) & (labels <= render.AWAY) & here)[0]
        quiet = np.nonzero((labels == render.IDLE) & ~here)[0]
        k = np.concatenate([rng.permutation(moving)[:PER_CLIP[0]], rng.permutation(quiet)[:PER_CLIP[1]]])
        levels.append(shaper.shape(luma).transpose(0, 2, 3, 1)[k])
        truth.append(b[k])
    return np.concatenate(levels), np.concatenate(truth)


def mirror(x, b):
    x = x[:, :, ::-1].copy()
    x[..., 3] = np.clip(256 - x[..., 3].astype(int), 0, 255)  # u
    return x, np.stack([1 - b[..., 2], b[..., 1], 1 - b[..., 0], b[..., 3]], -1)


def turn(x, b):
    """By a quarter: what goes down goes right, what goes right goes up."""
    x = np.rot90(x, 1, (1, 2)).copy()
    u, v = x[..., 3].copy(), x[..., 4].copy()
    x[..., 3], x[..., 4] = v, np.clip(256 - u.astype(int), 0, 255)
    return x, np.stack([b[..., 1], 1 - b[..., 2], b[..., 3], 1 - b[..., 0]], -1)


class Layers:
    """The two layers as the written encoder computes them, in bytes."""

    def __init__(self, path, threads=1):
        model = onnx.load(path)
        constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.scale = [float(constants[n + "_scale"]) for n in (NEAR, FAR)]
        if any(int(constants[n + "_zero_point"]) for n in (NEAR, FAR)):
            raise SystemExit("layers behind a ReLU are expected")
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
        del model.graph.output[:]
        for name, shape in ((NEAR, [32, 16, 16]), (FAR, [64, 8, 8])):
            model.graph.output.append(helper.make_tensor_value_info(name + "_QuantizeLinear_Output", TensorProto.UINT8, ["n", *shape]))
        self.session = session(model, threads)

    def bytes(self, x):
        parts = [self.session.run(None, {"levels": np.ascontiguousarray(x[i:i + 200].transpose(0, 3, 1, 2))}) for i in range(0, len(x), 200)]
        return [np.concatenate(p) for p in zip(*parts)]

    def floats(self, near, far):
        return near.float() * self.scale[0], far.float() * self.scale[1]


def written(path):
    """The weights of the map that encoder.onnx has, as its bytes say them."""
    constants = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    weights = Map().state_dict()
    for key in weights:
        name, kind = key.replace("wide.", "wide").replace("mix.", "mix").rsplit(".", 1)
        part, step = f"where/{name}_{kind[0]}", f"where/{name}_{kind[0]}s"
        if part not in constants:
            raise SystemExit(f"{path} has no map of this shape ({part} is missing)")
        scale = constants[step].astype(np.float32)
        weights[key] = torch.from_numpy(constants[part] * (scale.reshape(-1, 1, 1, 1) if kind == "weight" else scale))
    return weights


def session(model, threads=1):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def shard(job):
    """Renders one shard, frames and boxes as they are; a shard that exists is left alone."""
    import footage
    path, seed, data, cache = job
    if not os.path.exists(path):
        found = footage.load(data, cache) if data and seed % 2 else None  # every other one over real backgrounds
        x, b = frames(seed, 250, found)
        np.savez(path + ".part.npz", x=x, b=b)
        os.rename(path + ".part.npz", path)
    return path


def shards(a, layers):
    """Makes what is not there yet; (near, far, boxes) of straight and of turned frames."""
    jobs = [(os.path.join(a.work, f"{seed}.npz"), seed, a.data, a.cache) for seed in range(a.first, a.first + a.shards)]
    with multiprocessing.Pool(a.workers) as pool:
        for path in pool.imap(shard, jobs):
            print(path, flush=True)
    parts = [], []
    for path, seed, *_ in jobs:
        read = np.load(path)
        x, b = read["x"], read["b"]
        straight = tuple(np.concatenate(p) for p in zip((x, b), mirror(x, b)))
        turned = x[::4], b[::4]
        for _ in range(1 + seed % 3):
            turned = turn(*turned)
        for part, (x, b) in zip(parts, (straight, turned)):
            part.append((*layers.bytes(x), b))
    return [[torch.from_numpy(np.concatenate(p)).to(a.device) for p in zip(*part)] for part in parts]


def train(a, layers):
    torch.manual_seed(1)
    data = shards(a, layers)
    net, most = Map(), 1e-3 if a.go_on else 3e-3
    if a.go_on:
        net.load_state_dict(written(os.path.join(a.out, "encoder.onnx")))
    net.to(a.device)
    mean = {k: v.clone() for k, v in net.state_dict().items()}
    adam = torch.optim.AdamW(net.parameters(), lr=most, weight_decay=1e-2)
    clock = time.process_time if a.device == "cpu" else time.monotonic
    began, step, fits = clock(), 0, 0.0
    while (done := (clock() - began) / (60 * a.minutes)) < 1:
        adam.param_groups[0]["lr"] = most * min(1.0, (step + 1) / 200, max(0.005, (1 - done) / 0.6))
        near, far, b = [], [], []
        for part, count in zip(data, (a.batch * 23 // 32, a.batch * 9 // 32)):
            k = torch.randint(0, len(part[0]), (count,), device=a.device)
            for to, of in zip((near, far, b), part):
                to.append(of[k])
        loss, fit = loss_of(net(*layers.floats(torch.cat(near), torch.cat(far))), torch.cat(b))
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        adam.step()
        step, fits, keep = step + 1, fits + fit.detach(), min(0.998, (step + 1) / (step + 11))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                mean[k].mul_(keep).add_(v, alpha=1 - keep)
        if step % 250 == 0:
            print(f"{step} mean IoU {fits / 250:.3f}, {clock() - began:.0f} s", flush=True)
            fits = 0.0
    mean = {k: v.cpu() for k, v in mean.items()}
    torch.save(mean, os.path.join(a.work, "where.pt"))
    return mean


def ranges(net, near, far):
    """Smallest and largest value of every tensor that becomes bytes; of the map's edges only where a cell is sure."""
    out = {}

    def of(name, t, low=None):
        v = t.flatten().numpy()
        out[name] = (float(np.percentile(v, 0.05)) if low is None else low, float(np.percentile(v, 99.95)))

    with torch.no_grad():
        one, two = net.near(near), net.far(far)
        of("near", one), of("far", two)
        x = F.relu(one + two)
        of("sum", x, 0.0)
        for k, (wide, mix) in enumerate(zip(net.wide, net.mix)):
            y = wide(x)
            of(f"wide{k}", y)
            x = F.relu(mix(y))
            of(f"mix{k}", x, 0.0)
        last = net.out(x)
        if not (last[:, 0] > 0.3).any():
            raise SystemExit("this map is sure of nothing yet: --minutes")
        edges = last[:, 1:][last[:, :1].expand(-1, 4, -1, -1) > 0.3]
        of("out", edges)
    out["out"] = min(out["out"][0], 0.0), max(out["out"][1], 1.0)
    return out


def append(model, net, layers, found):
    """The map behind the two layers, as QDQ nodes: weights s8 per channel, activations u8 per tensor."""
    graph = model.graph
    kept = [n for n in graph.node if not n.name.startswith("where/")]  # a map that is there already goes
    del graph.node[:]
    graph.node.extend(kept)
    stays = [i for i in graph.initializer if not i.name.startswith("where/")]
    del graph.initializer[:]
    graph.initializer.extend(stays)
    del graph.output[1:]
    scales = {NEAR: layers.scale[0], FAR: layers.scale[1]}

    def constant(name, value):
        graph.initializer.append(numpy_helper.from_array(value, "where/" + name))
        return "where/" + name

    def node(kind, inputs, name, **more):
        graph.node.append(helper.make_node(kind, inputs, ["where/" + name], name="where/" + name, **more))
        return "where/" + name

    def bytes_of(name, last=None):
        """Q and DQ behind a float tensor; a range that begins at 0 is the ReLU."""
        low, high = found[name]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / 255)
        zero = np.uint8(np.clip(round(-low / scale), 0, 255))
        marks = [constant(name + "_scale", np.array(scale)), constant(name + "_zero", np.array(zero))]
        node("QuantizeLinear", ["where/" + name, *marks], name + "_q")
        scales[name] = float(scale)
        graph.node.append(helper.make_node("DequantizeLinear", [f"where/{name}_q", *marks], [last or f"where/{name}_dq"], name=f"where/{name}_dq"))
        return f"where/{name}_dq"

    def conv(name, source, scale, module):
        weight = module.weight.detach().numpy()
        step = (np.abs(weight).reshape(len(weight), -1).max(1) / 127).astype(np.float32)
        s8 = np.clip(np.rint(weight / step[:, None, None, None]), -127, 127).astype(np.int8)
        inputs = [source, node("DequantizeLinear", [constant(name + "_w", s8), constant(name + "_ws", step), constant(name + "_wz", np.zeros(len(step), np.int8))],
                               name + "_weight", axis=0)]
        if module.bias is not None:
            both = (step * scale).astype(np.float32)
            whole = np.rint(module.bias.detach().numpy() / both).astype(np.int32)
            inputs.append(node("DequantizeLinear", [constant(name + "_b", whole), constant(name + "_bs", both), constant(name + "_bz", np.zeros(len(both), np.int32))],
                               name + "_bias", axis=0))
        node("Conv", inputs, name, kernel_shape=list(module.kernel_size), strides=list(module.stride), pads=list(module.padding) * 2, group=module.groups)

    conv("near", NEAR + "_DequantizeLinear_Output", scales[NEAR], net.near)
    conv("far", FAR + "_DequantizeLinear_Output", scales[FAR], net.far)
    node("Add", [bytes_of("near"), bytes_of("far")], "sum")
    at, scale = bytes_of("sum"), scales["sum"]
    for k, (wide, mix) in enumerate(zip(net.wide, net.mix)):
        for name, module in ((f"wide{k}", wide), (f"mix{k}", mix)):
            conv(name, at, scale, module)
            at = bytes_of(name)
            scale = scales[name]
    conv("out", at, scale, net.out)
    bytes_of("out", last="where")
    graph.output.append(helper.make_tensor_value_info("where", TensorProto.FLOAT, [1, 5, CELLS, CELLS]))
    onnx.checker.check_model(model)
    return model


def examine(model):
    """Of 250 clips of seed 71, the surest cell of each tick: clips whose mean IoU is 0.5 or more."""
    import render
    import shaper
    import where
    batch = onnx.ModelProto()
    batch.CopyFrom(model)
    for value in (batch.graph.input[0], *batch.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    run, right = session(batch), []
    for index in range(250):
        luma, labels, truth = where.clip(71, index, 1 + index % 4, None)
        out = torch.from_numpy(run.run(["where"], {"levels": np.ascontiguousarray(shaper.shape(luma))})[0])
        best = out[:, 0].flatten(1).argmax(1)
        said = boxes(out).flatten(1, 2)[torch.arange(len(out)), best].clamp(0, 1)
        judged = [k for k, label in enumerate(labels) if render.LEFT <= label <= render.AWAY]
        right.append(np.mean([max((where.overlap(said[k].tolist(), b) for b in truth[k]), default=0.0) for k in judged]) >= 0.5)
    return np.mean(right)


def contract(a, maps):
    """bundle.toml with the map, its golden vectors and the new hashes."""
    def file(name):
        return os.path.join(a.out, name)

    np.save(file("golden_map.npy"), maps.astype(np.float32))
    text = open(file("bundle.toml")).read()
    if "\nmap = " not in text:
        text = text.replace("\nfeatures = 96\n", '\nfeatures = 96\nmap = "where"\n', 1)
        text = text.replace('\nfeatures = "golden_features.npy"\n', '\nfeatures = "golden_features.npy"\nmap = "golden_map.npy"\n', 1)
        text = text.replace('"golden_windows.npy" = ', '"golden_map.npy" = ""\n"golden_windows.npy" = ', 1)
    if a.version:
        text = re.sub(r'version = "[^"]*"', f'version = "{a.version}"', text, count=1)
    for name in ("encoder.onnx", "golden_map.npy"):
        text = re.sub(rf'"{name}" = "[^"]*"', f'"{name}" = "{hashlib.sha256(open(file(name), "rb").read()).hexdigest()}"', text)
    before = hashlib.sha256(open(file("bundle.toml"), "rb").read()).hexdigest()
    open(file("bundle.toml"), "w").write(text)
    if os.path.exists(file("ordinary.json")):  # what is ordinary to the head stays so: its features do
        ordinary = open(file("ordinary.json")).read()
        open(file("ordinary.json"), "w").write(ordinary.replace(before, hashlib.sha256(text.encode()).hexdigest()))


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--work", required=True, help="where frames and weights are kept; about 4 GB")
    args.add_argument("--data")
    args.add_argument("--cache")
    args.add_argument("--weights")
    args.add_argument("--go-on", action="store_true", help="train on the map that is there already")
    args.add_argument("--minutes", type=float, default=40, help="of processor time for training")
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--workers", type=int, default=2, help="processes that render, and threads that run the encoder")
    args.add_argument("--batch", type=int, default=128, help="frames a step")
    args.add_argument("--device", default="cpu", help="cuda: trained on a GPU, and --minutes are then of the clock")
    args.add_argument("--shards", type=int, default=48, help="of 250 clips")
    args.add_argument("--first", type=int, default=7001, help="seed of the first of them")
    args.add_argument("--version", help="of the bundle that is written")
    args.add_argument("--out", default=".")
    a = args.parse_args()
    torch.set_num_threads(a.threads)
    os.makedirs(a.work, exist_ok=True)
    path = os.path.join(a.out, "encoder.onnx")
    layers, net = Layers(path, a.workers), Map()
    net.load_state_dict(torch.load(a.weights) if a.weights else train(a, layers))
    x, _ = frames(7901, 40, None)
    model = append(onnx.load(path), net.eval(), layers, ranges(net, *layers.floats(*map(torch.from_numpy, layers.bytes(x)))))
    onnx.save(model, path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    golden = np.load(os.path.join(a.out, "golden_frames.npy"))
    contract(a, np.concatenate([plain.run(["where"], {"levels": f[None]})[0] for f in golden]))
    print(f"surest cell alone: mean IoU of 0.5 or more in {100 * examine(model):.1f} % of 250 clips (seed 71), int8")


if __name__ == "__main__":
    main()
