"""What `lookout teach` computes, in numpy: to choose its constants with, and to hold the Rust against (src/taught).

    python3 discriminant.py --keep DIR --vary [--rounds 12]     one line a constant that is varied, on the clips of `teach.py --set choose --keep DIR`
    python3 discriminant.py --keep DIR --set report             the same arithmetic on those that are reported
    python3 discriminant.py --golden ../../tests/golden/taught.json

The clips must have been rendered by teach.py (its two commands; --lookout /bin/true is enough). Figures differ a little from those of the program:
nobody is refused here, and other examples are drawn.

Needs: python3-numpy; without --golden also onnx, onnxruntime.
"""
import argparse
import json
import os

import numpy as np

SPAN, STEP, MOST, ENOUGH = 10, 4, 64, 3
WISHES = {
    "shrink": 0.5, "ridge": 0.05, "doubt": 0.15, "weight": 6.0, "behind": 0.28, "behind_one": 0.28, "certain": 6.0,
    "most_radius": 3.0, "least_radius": 2.5, "own": 0.25, "volume": 0.6, "root": True, "nameless": True, "span": SPAN,
}


def over(rows, span):
    """[T,n,span]: the last `span` rows at each tick; before the first one the world stood as it showed."""
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([rows[:1].repeat(span - 1, 0), rows]), span, 0)


def trace(states, root=True, span=SPAN):
    """[T,2n]: src/taught/trace.rs."""
    w = over(states, span)
    spread = w.std(-1)
    return np.concatenate([w.mean(-1), np.sqrt(spread) if root else spread], 1)


def example(x, p, span=SPAN):
    """Traces that are kept of a recording: src/taught/show.rs."""
    busy = over((p[:, :1] < 0.5).astype(float), span)[:, 0].mean(-1) >= 0.5 - 1e-3
    if busy.sum() < ENOUGH:
        busy[:] = True
    return x[-STEP * MOST:][busy[-STEP * MOST:]][::-1][::STEP]


def fit(ordinary, count, covariance, nameless, examples, w):
    """src/taught/fit.rs. `ordinary`, `nameless`: means; `count`: traces that `covariance` is of; `examples` [class][example][n,numbers]."""
    means = [np.mean([e.mean(0) for e in of], 0) for of in examples]
    scatter, n = covariance * count, count
    for of, mean in zip(examples, means):
        d = np.concatenate(of) - mean
        scatter, n = scatter + w["weight"] * d.T @ d, n + w["weight"] * len(d)
    c = scatter / n
    numbers = len(c)
    shrunk = (1 - w["shrink"]) * c + np.diag(w["shrink"] * np.diag(c) + w["ridge"] * np.trace(c) / numbers + 1e-9)
    white = np.linalg.inv(np.linalg.cholesky(shrunk))
    unit = np.trace(white @ c @ white.T)
    far, spread = [], []
    for of in examples:
        most = w["most_radius"]
        if len(of) > 1:
            doubt = 1 + w["doubt"] / (len(of) - 1)
            others = [np.mean([o.mean(0) for k, o in enumerate(of) if k != i], 0) for i in range(len(of))]
            apart = [np.square((e - m) @ white.T).sum(1) / doubt for e, m in zip(of, others)]
            most = np.clip(1.1 * max(v.max() for v in apart) / unit, w["least_radius"], most)
            spread.append(np.log(np.mean([v.mean() for v in apart])))
        else:
            spread.append(None)
        far.append(most * unit)
    usual = np.mean([s for s in spread if s is not None] or [0.0])
    own = np.array([0.0 if s is None else w["own"] * (s - usual) for s in spread])
    nameless_behind = (w["behind"] + w["behind_one"] / min(len(of) for of in examples)) * unit
    return {
        "white": white, "places": np.array([*ordinary, *nameless, *means]) @ white.T, "taught": len(means),
        "doubt": np.array([1.0] * (len(ordinary) + len(nameless)) + [(1 + w["doubt"] / len(of)) * np.exp(o) for of, o in zip(examples, own)]),
        "behind": np.array([0.0] * len(ordinary) + [nameless_behind] * len(nameless) + [w["volume"] * unit * o for o in own]),
        "radius": np.array([np.inf] * (len(ordinary) + len(nameless)) + far),
    }


def judge(f, x, p, w):
    """[T,own + taught] probabilities: src/taught.rs. `x` traces, `p` the bundle's own probabilities."""
    z = x @ f["white"].T
    d = np.maximum(0, np.square(z).sum(1)[:, None] - 2 * z @ f["places"].T + np.square(f["places"]).sum(1)) / f["doubt"]
    d = np.where(d <= f["radius"], d + f["behind"], np.inf)
    most = over(p, w["span"]).mean(-1).max(1)
    d[:, -f["taught"]:] += (-2 * w["certain"] * np.log(np.maximum(1 - most, 0.02)))[:, None]
    q = np.exp(0.5 * (d.min(1, keepdims=True) - d))
    q = (q / q.sum(1, keepdims=True))[:, -f["taught"]:]
    return np.concatenate([p * np.maximum(0, 1 - q.sum(1, keepdims=True)), q], 1)


def golden(path):
    """A made-up head of three units with two classes, a motion without a name and two taught classes: the lesson as a file, and what is expected."""
    rng = np.random.default_rng(5)

    def packed(v):
        v = np.float32(v).ravel()
        scale = np.float32(np.abs(v).max())
        level = np.round(v / scale * np.float32(32767)).astype(int)
        return f"{scale}:" + "".join(f"{n & 0xFFFF:04x}" for n in level), level / 32767.0 * float(scale)

    whole = lambda v: (lambda text, back: (text, back.reshape(np.shape(v))))(*packed(v))
    centres = rng.uniform(0, 0.8, (5, 6))
    classes, means = [], []
    for c, count in zip(centres[:3], (120.0, 80.0, 60.0)):
        text, mean = whole(c)
        classes.append({"count": count, "mean": text})
        means.append(mean)
    a = rng.normal(0, 0.2, (9, 6))
    lower = np.tril_indices(6)
    text, back = whole((a.T @ a / 9)[lower])
    covariance = np.zeros((6, 6))
    covariance[lower] = back
    covariance = covariance + np.tril(covariance, -1).T
    steps, examples = [], []
    for label, c, n, wide in (("up", centres[3], 2, 0.08), ("round", centres[4], 3, 0.14)):
        of, said = [], []
        for _ in range(n):
            rows = [whole(c + rng.normal(0, wide, 6)) for _ in range(4)]
            said.append({"from": "golden", "traces": [t for t, _ in rows]})
            of.append(np.array([v for _, v in rows]))
        examples.append(of)
        steps.append({"shown": {"label": label, "examples": said}})
    f = fit(means[:2], 260.0, covariance, means[2:], examples, WISHES)
    # Slowly from the place of one class to that of the next.
    route = np.repeat(centres[[0, 3, 4, 1, 2, 3]][:, :3], 12, 0)
    smooth = np.array([route[max(0, t - 9):t + 1].mean(0) for t in range(len(route))])
    # Swinging by the square of the spread: what its fourth root will be about.
    swing = np.repeat(np.square(centres[[0, 3, 4, 1, 2, 3]][:, 3:]), 12, 0) * np.where(np.arange(72) % 2, 1, -1)[:, None]
    states = np.float32(smooth + swing)
    own = np.float32(0.5 + 0.45 * np.sin(np.arange(72) / 6))
    p = np.stack([own, 1 - own], 1)
    out = judge(f, trace(states.astype(float)), p.astype(float), WISHES)
    lesson = {"bundle": "golden", "ordinary": {"classes": classes, "covariance": text}, "steps": steps}
    rounded = lambda v: np.round(np.float64(v), 7).tolist()
    with open(path, "w") as file:
        json.dump({"lesson": lesson, "states": rounded(states), "own": rounded(p), "expected": rounded(out)}, file)
        file.write("\n")


def clips(keep, folder, count, net):
    """(states, probabilities) of each clip; kept in the folder `states`."""
    out = []
    for i in range(count):
        path = os.path.join(keep, "states", folder, f"{i}.npz")
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            states, p = net(os.path.join(keep, folder, f"{i}.y4m"))
            np.savez(path, states=states, p=p)
        kept = np.load(path)
        out.append((kept["states"], kept["p"]))
    return out


def network():
    """path of a clip -> its states [T,96] and probabilities [T,7], by onnxruntime and numpy."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    import shaper

    here = os.path.dirname(os.path.abspath(__file__))
    encoder = onnxruntime.InferenceSession(os.path.join(here, "encoder.onnx"))
    w = {i.name: numpy_helper.to_array(i) for i in onnx.load(os.path.join(here, "head.onnx")).graph.initializer}
    wx, wr = (np.float32(w[n + "_s8"][0]) * w[n + "_scale"][:, None] for n in "WR")
    out, bias = np.float32(w["out_s8"]) * w["out_scale"][:, None], w["B"][0][:384] + w["B"][0][384:]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))

    def run(path):
        head, rest = open(path, "rb").read().split(b"\n", 1)
        wide, high = (int(next(t for t in head.split() if t[:1] == k)[1:]) for k in (b"W", b"H"))
        frame = wide * high if b"Cmono" in head else wide * high + 2 * ((wide + 1) // 2) * ((high + 1) // 2)
        luma = [np.frombuffer(rest, np.uint8, wide * high, at + 6).reshape(high, wide) for at in range(0, len(rest), frame + 6)]
        planes = shaper.shape(np.stack([luma[0]] * 15 + luma))
        f = np.concatenate([encoder.run(None, {encoder.get_inputs()[0].name: x[None]})[0] for x in planes]) @ wx.T + bias
        n = len(f) - 15
        h, c = np.zeros((n, 96), np.float32), np.zeros((n, 96), np.float32)
        for k in range(16):
            i, o, forget, new = np.split(f[k:k + n] + h @ wr.T, 4, 1)
            c = sigmoid(forget) * c + sigmoid(i) * np.tanh(new)
            h = sigmoid(o) * np.tanh(c)
        logits = (h @ out.T + w["out_bias"]) / 0.744  # bundle.toml's temperature
        p = np.exp(logits - logits.max(1, keepdims=True))
        return h, p / p.sum(1, keepdims=True)

    return run


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--golden", metavar="FILE")
    args.add_argument("--keep")
    args.add_argument("--set", choices=["choose", "seen", "report"], default="choose")
    args.add_argument("--vary", action="store_true", help="constants, too")
    args.add_argument("--rounds", type=int, default=12)
    a = args.parse_args()
    if a.golden:
        return golden(a.golden)
    import evaluate
    import nameless
    import teach

    net = network()
    show = [clips(a.keep, f"{a.set}/show/{n}", 40, net) for n in teach.NAMES]
    exam = [clips(a.keep, f"{a.set}/exam/{n}", 60, net) for n in teach.NAMES]
    old, ordinary = clips(a.keep, f"{a.set}/old", 210, net), clips(a.keep, "ordinary", 280, net)
    motions = [clips(a.keep, f"nameless-24/{n}", 24, net) for n in nameless.NAMES]
    answer = lambda p: evaluate.answer(p, 0.7, 0.35, 2)  # bundle.toml's [decision]
    before = np.mean([answer(p) == i % 7 for i, (_, p) in enumerate(old)])
    print(f"old classes, nothing taught: {100 * before:.1f} %; per variation: new classes, old classes (- before), alike, with 5 and with 1 example")
    variations = [{}, *({k: v} for k, vs in (
        ("certain", (0, 8)), ("behind", (0.1, 9)), ("doubt", (0.1, 0.2)), ("own", (0,)), ("weight", (1, 12)),
        ("shrink", (0.2, 0.8)), ("ridge", (0.01, 0.2)), ("span", (6, 14)), ("root", (False,)), ("nameless", (False,)),
    ) for v in vs if a.vary)]
    for change in variations:
        w = {**WISHES, **change}
        at = lambda x: trace(x[0], w["root"], w["span"])
        rows = [(at(x)[::-1][::STEP], over(x[1], w["span"]).mean(-1).argmax(1)[::-1][::STEP]) for x in ordinary]
        x, c = (np.concatenate(v) for v in zip(*rows))
        groups = [x[c == k] for k in range(7)]
        unnamed = [np.concatenate([example(at(m), m[1], w["span"]) for m in of]) for of in motions] if w["nameless"] else []
        d = np.concatenate([g - g.mean(0) for g in groups + unnamed])
        known = ([g.mean(0) for g in groups], len(d), d.T @ d / len(d), [g.mean(0) for g in unnamed])
        said = []
        for shots in (5, 1):
            new, lost, alike = [], [], []
            for r in range(a.rounds):
                rng = np.random.default_rng([shots, r, 1])
                shown = [[example(at(of[i]), of[i][1], w["span"]) for i in rng.choice(40, shots, replace=False)] for of in show]
                ask = lambda f, set: np.array([answer(judge(f, at(x), x[1], w)) for x in set])
                f = fit(*known, shown, w)
                new.append(np.mean([(ask(f, e) == 7 + k).mean() for k, e in enumerate(exam)]))
                lost.append(np.mean(ask(f, old) == np.arange(len(old)) % 7) - before)
                k = r % 3
                alike.append(np.mean(ask(fit(*known, shown[:k] + shown[k + 1:], w), exam[k]) >= 7))
            said.append(f"{100 * np.mean(new):5.1f} {100 * np.mean(lost):+5.1f} {100 * np.mean(alike):4.0f}")
        print(f"{str(change or 'as it is'):25} " + "   ".join(said), flush=True)


if __name__ == "__main__":
    main()
