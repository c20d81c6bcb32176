"""Freshly rendered clips, unseen seeds and unseen backgrounds: is the one answer per clip right?

    python3 evaluate.py --clips 1000 --seed 20261121 --lookout ../../target/release/lookout      the real thing
    python3 evaluate.py --clips 1000 --seed 20261121 --onnx . [--weights float.pt]               ONNX Runtime, and the float networks
    ... --card card.md                                                                           what came out, as the bundle's model card

Each clip is 4.5 s of one place; its class (in turn) starts after 1.3 to 2.3 s. With --lookout every clip is written as Y4M and
given to `lookout classify --json`. With --onnx the same rules (decision and answer) are applied here to the same bundle, and with
--weights also to the float networks before quantisation.

Needs: python3-opencv, python3-numpy; for --onnx python3-torch, onnx, onnxruntime.
"""
import argparse
import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib

import numpy as np

import footage
import render
import shaper

WINDOW = 16  # net.py's, which needs PyTorch


def y4m(clip):
    """A clip as Y4M: luma, neutral chroma, 10 pictures a second."""
    high, wide = clip.shape[1:]
    grey = np.full(2 * ((high + 1) // 2) * ((wide + 1) // 2), 128, np.uint8).tobytes()
    return b"".join([f"YUV4MPEG2 W{wide} H{high} F10:1 Ip A1:1 C420\n".encode()] + [b"FRAME\n" + p.tobytes() + grey for p in clip])


def segments(p, enter, leave, ticks):
    """The device's decision on probabilities [n,classes]: list of (class, first tick, end tick); `ticks` = min_ms in ticks."""
    out, on, low, entering = [], None, None, None
    for k, row in enumerate(p):
        best = max((c for c in range(1, len(row)) if row[c] >= enter and not (on and on[0] == c)), key=lambda c: row[c], default=None)
        entering = None if best is None else entering if entering and entering[0] == best else (best, k)
        if entering and k - entering[1] >= ticks:
            if on:
                out.append((*on, min(entering[1], low if low is not None else k)))
            on, low, entering = entering, None, None
        elif on:
            low = None if row[on[0]] >= leave else k if low is None else low
            if low is not None and k - low >= ticks:
                out.append((*on, low))
                on, low = None, None
    if on:
        out.append((*on, len(p)))
    return [(c, a, max(a, b)) for c, a, b in out]


def answer(p, enter, leave, ticks):
    """The device's one answer for a clip: the segments' class of most weight, else that of the mean."""
    weight = np.zeros(p.shape[1])
    for c, a, b in segments(p, enter, leave, ticks):
        weight[c] += p[a:max(b, a + 1), c].mean() * (b - a)
    return int(weight.argmax()) if weight.max() > 0 else int(p.mean(0).argmax())


def shaped(clips):
    """[N,WINDOW-1+T,S,S,5]: before its first picture the world stands still, as `lookout classify` takes it."""
    return np.stack([shaper.shape(np.concatenate([c[:1].repeat(WINDOW - 1, 0), c])).transpose(0, 2, 3, 1) for c in clips])


def probabilities(encoder, head, x, warmth):
    """p [N,windows,classes] of shaped clips [N,T,S,S,5]."""
    import torch
    from train import predict
    y = torch.zeros(x.shape[:2], dtype=torch.int64)
    logits, _, _ = predict(encoder, head, [(torch.from_numpy(x), y, y[:, 0])])
    return torch.softmax(logits / warmth, -1).numpy()


def table(name, mains, answers):
    """Prints overall and per-class accuracy and the confusions; the same as a row of the model card."""
    names = render.LABELS
    right = np.array([m == a for m, a in zip(mains, answers)])
    each = " ".join(f"{n} {100 * right[np.array(mains) == c].mean():.1f}" for c, n in enumerate(names) if c in mains)
    print(f"{name}: {100 * right.mean():.2f} % of {len(mains)} clips right | {each}")
    wrong = {}
    for m, a in zip(mains, answers):
        if m != a:
            key = f"{names[m]}->{names[a] if a is not None else 'none'}"
            wrong[key] = wrong.get(key, 0) + 1
    confused = ", ".join(f"{k} {v}" for k, v in sorted(wrong.items(), key=lambda i: -i[1]))
    print("   " + confused, flush=True)
    return f"| {name.strip()} | {100 * right.mean():.2f} % of {len(mains)} | {each} | {confused or 'none'} |"


def card(path, bundle, rows):
    """Writes the model card of the bundle in the folder `bundle`: what it is, what it was measured with, and the rows of `table`."""
    with open(os.path.join(bundle, "bundle.toml"), "rb") as f:
        contract = tomllib.load(f)
    files = []
    for name in sorted(n for n in os.listdir(bundle) if n.endswith(".onnx")):
        with open(os.path.join(bundle, name), "rb") as f:
            content = f.read()
        files.append(f"| `{name}` | {len(content)} bytes | sha256 {hashlib.sha256(content).hexdigest()} |")
    with open(path, "w") as f:
        f.write(f"""# Model card: {contract["name"]} {contract["version"]}

Written by `evaluate.py {" ".join(map(os.path.basename, sys.argv[1:]))}` on {datetime.date.today().isoformat()}, {platform.machine()}. README.md beside it says what
the classes mean, where the clips come from and what is known to go wrong.

| file | size | |
|---|---|---|
{chr(10).join(files)}

Classes: {", ".join(contract["head"]["labels"])}. Temperature {contract["head"]["temperature"]}; a class begins at {contract["decision"]["enter"]} and ends
below {contract["decision"]["leave"]}, after {contract["decision"]["min_ms"]} ms.

One answer a clip, of clips, places and backgrounds that training never saw:

| what | right | each class, % | taken for another |
|---|---|---|---|
{chr(10).join(rows)}
""")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--clips", type=int, default=1000)
    args.add_argument("--seed", type=int, default=20261121)
    args.add_argument("--split", default="test")
    args.add_argument("--data", default="../../../shared/data")
    args.add_argument("--cache")
    args.add_argument("--lookout", help="binary: ask the real thing")
    args.add_argument("--bundle", help="folder of a bundle for --lookout (default: the one baked in)")
    args.add_argument("--gate", choices=["on", "off"], default="on", help="for --lookout: encode every tick with `off`")
    args.add_argument("--onnx", help="folder of a bundle: ask ONNX Runtime")
    args.add_argument("--weights", help="float weights, with --onnx")
    args.add_argument("--card", help="a file: what came out, as the model card of --onnx, --bundle, or the bundle beside this script")
    args.add_argument("--keep", help="a .npz file where rendered exams are kept between runs")
    a = args.parse_args()
    mains, rows = [i % 7 for i in range(a.clips)], []
    if a.keep and os.path.exists(a.keep):
        with np.load(a.keep) as z:
            clips = [z[f"c{i}"] for i in range(a.clips)]
    else:
        found = footage.load(a.data, a.cache)
        clips = [render.clip(a.seed, i, m, found, a.split, exam=True)[0] for i, m in enumerate(mains)]
        if a.keep:
            np.savez(a.keep, **{f"c{i}": c for i, c in enumerate(clips)})
    if a.lookout:
        answers = []
        with tempfile.TemporaryDirectory() as folder:
            for first in range(0, len(clips), 50):
                paths = []
                for i, clip in enumerate(clips[first:first + 50]):
                    paths.append(os.path.join(folder, f"{i}.y4m"))
                    with open(paths[-1], "wb") as f:
                        f.write(y4m(clip))
                bundle = ["--bundle", a.bundle] if a.bundle else []
                said = subprocess.run([a.lookout, "classify", "--json", "--gate", a.gate, *bundle, *paths], stdout=subprocess.PIPE, check=True)
                for line in said.stdout.decode().splitlines():
                    label = json.loads(line)["label"]
                    answers.append(render.LABELS.index(label) if label in render.LABELS else None)
        rows.append(table(f"lookout classify --gate {a.gate}", mains, answers))
    if a.onnx:
        import torch
        from export import Written, dequantised
        from net import Encoder, Head
        torch.set_num_threads(1)
        with open(os.path.join(a.onnx, "bundle.toml"), "rb") as f:
            contract = tomllib.load(f)
        d, warmth = contract["decision"], contract["head"]["temperature"]
        rules = d["enter"], d["leave"], d["min_ms"] / contract["time"]["tick_ms"]
        x = shaped(clips)
        if a.weights:
            state = torch.load(a.weights, map_location="cpu")
            encoder, head = Encoder(), Head()
            encoder.load_state_dict(state["encoder"]), head.load_state_dict(state["head"])
            rows.append(table("float", mains, [answer(p, *rules) for p in probabilities(encoder, head, x, warmth)]))
            small = probabilities(Written(os.path.join(a.onnx, "encoder.onnx")), dequantised(head), x, warmth)
            rows.append(table("int8 ", mains, [answer(p, *rules) for p in small]))
    if a.card:
        card(a.card, a.onnx or a.bundle or os.path.dirname(os.path.abspath(__file__)), rows)


if __name__ == "__main__":
    main()
