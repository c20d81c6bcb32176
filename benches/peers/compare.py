"""Every runtime on every network, in turn in one run; prints medians and ratios, writes results.json, RESULTS.md and the chart.

    compare.py WORK --lookout BIN --tract BIN [--core N] [--fifo] [--quick] [--nets NAME,...] [--out DIR]

For a network all runtimes are loaded first, each in its process, pinned to the same core; then they take turns: a round is a
slice of each (SLICE_MS of processor time, at least three inferences), and there are many short rounds, so that a busy moment of
the machine falls on everybody. A runtime's figure is the median of its rounds' medians. --fifo gives whoever has its turn real-time
priority, for machines that others use too.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

import numpy as np

import chart
import exact

HERE = pathlib.Path(__file__).parent
PEER = HERE / "peer.py"
# Row title -> (runtime of peer.py, file, further arguments). Where AMX exists, every int8 row is run with and without it.
PEERS = {
    "LiteRT int8": ("ai-edge-litert", "int8.tflite"),
    "OpenVINO QDQ int8": ("openvino", "qdq.onnx"),
    "ONNX Runtime QDQ int8": ("onnxruntime", "qdq.onnx"),
    "ONNX Runtime QLinear int8": ("onnxruntime", "qlinear.onnx"),
    "ncnn int8": ("ncnn", "int8"),
    "LiteRT f32": ("ai-edge-litert", "f32.tflite"),
    "OpenVINO f32": ("openvino", "f32.onnx"),
    "ONNX Runtime f32": ("onnxruntime", "f32.onnx"),
    "ncnn f32": ("ncnn", "f32"),
}
TRACT = {"stock tract QDQ int8": "qdq.onnx", "stock tract QLinearConv int8": "conv.onnx", "stock tract f32": "f32.onnx"}
LIMIT = " without AMX"


def pinned(core):
    """Limits this process, and what it starts, to one core."""
    return lambda: os.sched_setaffinity(0, {core})


class Turn:
    """Real-time priority for a process while it has its turn."""

    def __init__(self, process, on):
        self.process, self.on = process, on

    def __enter__(self):
        if self.on:
            os.sched_setscheduler(self.process, os.SCHED_FIFO, os.sched_param(10))

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            if self.on:
                os.sched_setscheduler(self.process, os.SCHED_OTHER, os.sched_param(0))


class Talk:
    """A process that answers a line of milliseconds with a line of times: peer.py or stock_tract."""

    def __init__(self, command, shape, a):
        self.fifo, pipe = a.fifo, subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=pinned(a.core))
        self.ask(json.dumps(shape))

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            said = [line for line in self.process.stderr.read().strip().split("\n") if line.strip()]
            # Python ends with what went wrong, tract begins with it.
            raise RuntimeError((said[-1] if said[0].startswith("Traceback") else said[0])[:200] if said else f"ended with {self.process.wait()}")
        return json.loads(answer)

    def round(self, slice_ms):
        with Turn(self.process.pid, self.fifo):
            return self.ask(str(slice_ms))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()


class Lookout:
    """`lookout bench --onnx`, started anew each round: loading is not counted, three runs warm it up."""

    def __init__(self, binary, file, isa, a):
        self.command = [binary, "bench", "--onnx", str(file), "--json"] + (["--isa", isa] if isa else [])
        self.a = a
        first = self.round(0)
        self.took, self.isa, self.allocs = first["median"], first["isa"], first["allocs"]

    def round(self, slice_ms):
        runs = max(20, int(slice_ms / self.took)) if slice_ms else 20
        command, pipe = [*self.command, "--rounds", str(min(runs, 10_000))], subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=pinned(self.a.core))
        with Turn(process.pid, self.a.fifo):
            out, said = process.communicate()
        if process.returncode:
            raise RuntimeError(said.strip().split("\n")[0][:200])
        found = json.loads(out.strip().split("\n")[-1])
        self.took = found["cpu_ms_median"]
        return {
            "median": found["cpu_ms_median"], "min": found["cpu_ms_min"], "runs": found["rounds"],
            "isa": found["isa"], "allocs": found["allocs"],
        }  # fmt: skip

    def close(self):
        pass


def isas(binary):
    """Instruction sets to force, where this lookout can be told: the best by itself and AVX2."""
    told = subprocess.run([binary, "bench", "--help"], capture_output=True, text=True).stdout
    return {"lookout": None} | ({"lookout AVX2": "avx2"} if "--isa" in told else {})


def players(at, a, amx):
    """Row title -> a function that starts it."""
    shape = [1, *np.load(at / "x.npy", mmap_mode="r").shape[1:]]
    rows = {}
    for title, isa in isas(a.lookout).items():
        rows[title] = lambda isa=isa: Lookout(a.lookout, at / "qdq.onnx", isa, a)
    for title, (runtime, file) in PEERS.items():
        if not (at / file).exists() and not (at / f"{file}.param").exists():
            continue
        command = [sys.executable, str(PEER), runtime, str(at / file)]
        rows[title] = lambda c=command: Talk(c, shape, a)
        if amx and "int8" in title and runtime != "ncnn":
            rows[title + LIMIT] = lambda c=command: Talk([*c, "--no-amx"], shape, a)
    for title, file in TRACT.items():
        if (at / file).exists():
            rows[title] = lambda f=at / file: Talk([a.tract, str(f)], shape, a)
    return rows


def measure(at, a, amx):
    """Row title -> median, min, runs, rounds; or the reason why it has none."""
    started, found = {}, {}
    for title, start in players(at, a, amx).items():
        try:
            started[title] = start()
        except RuntimeError as e:
            found[title] = {"failed": str(e)}
    rounds = {title: [] for title in started}
    for turn in range(a.rounds + 1):
        best = min((r[0]["median"] for r in rounds.values() if r), default=0)
        for title, player in started.items():
            # A row that is far from the best has its say every fourth time.
            if turn % 4 and rounds[title] and rounds[title][0]["median"] > 2.5 * best and not title.startswith("lookout"):
                continue
            one = player.round(a.slice)
            if turn:  # the first turn warms caches
                rounds[title].append(one)
    for title, player in started.items():
        player.close()
        all_ = rounds[title]
        found[title] = {
            "median": statistics.median(r["median"] for r in all_),
            "low": sorted(r["median"] for r in all_)[len(all_) // 4],
            "min": min(r["min"] for r in all_),
            "runs": sum(r["runs"] for r in all_),
            "rounds": len(all_),
        } | {k: all_[-1][k] for k in ("isa", "allocs") if k in all_[-1]}
    return found


def call_cost(a):
    """What an empty network costs in each peer: the Python call and the runtime's own entry, µs."""
    import graph
    import onnx
    from onnx import TensorProto, helper

    import ncnn_form
    import tflite

    at = a.work / "nets/.empty"
    at.mkdir(parents=True, exist_ok=True)
    info = lambda n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 1, 1])  # noqa: E731
    g = helper.make_graph([helper.make_node("GlobalAveragePool", ["x"], ["y"])], "empty", [info("x")], [info("y")])
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), at / "f32.onnx")
    tflite.write(graph.read(at / "f32.onnx"), str(at / "f32.tflite"), False)
    ncnn_form.write(graph.read(at / "f32.onnx"), str(at / "f32"), False)
    cost = {}
    for name, runtime, file in (
        ("LiteRT", "ai-edge-litert", "f32.tflite"), ("OpenVINO", "openvino", "f32.onnx"),
        ("ONNX Runtime", "onnxruntime", "f32.onnx"), ("ncnn", "ncnn", "f32"),
    ):  # fmt: skip
        talk = Talk([sys.executable, str(PEER), runtime, str(at / file)], [1, 1, 1, 1], a)
        cost[name] = min(talk.round(20)["median"] for _ in range(3)) * 1e3
        talk.close()
    return cost


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", info)
    numbers = [re.search(rf"{k}\s*: (.*)", info) for k in ("cpu family", "model", "stepping")]
    flags = re.search(r"(?:flags|Features)\s*: (.*)", info)[1].split()
    shown = [f for f in ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm") if f in flags]
    return {
        "cpu": (name[1] if name else platform.machine()) + " (family %s, model %s, stepping %s)" % tuple(n[1] if n else "?" for n in numbers),
        "isa": shown,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
    }


def versions(a):
    said = {p: importlib.metadata.version(p) for p in ("ai-edge-litert", "openvino", "onnxruntime", "ncnn", "onnx")}
    said["lookout"] = subprocess.run([a.lookout, "--version"], capture_output=True, text=True).stdout.strip()
    toml = (HERE.parents[1] / "Cargo.toml").read_text()
    said["tract"] = re.search(r'tract-onnx = \{ version = "=([0-9.]+)"', toml)[1]
    return said


def table(result):
    """Markdown: a row for each runtime and form, a column for each network: ms and the ratio to the best int8 peer without AMX."""
    names = list(result["nets"])
    titles = []
    for net in result["nets"].values():
        titles += [t for t in net["times"] if t not in titles]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for title in titles:
        cells = []
        for name in names:
            net = result["nets"][name]
            one = net["times"].get(title)
            if one is None:
                cells.append("none")
            elif "failed" in one:
                cells.append("refused")
            else:
                cells.append(f"{digits(one['median'])} ({one['median'] / net['best']:.2f})")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def digits(ms):
    return f"{ms:.4f}" if ms < 0.1 else f"{ms:.3f}" if ms < 10 else f"{ms:.1f}"


def best_peer(times):
    """The fastest int8 peer that has the same instructions as lookout: without AMX where there is AMX."""
    rows = {t: v for t, v in times.items() if "int8" in t and not t.startswith(("lookout", "stock")) and "failed" not in v}
    limited = {t: v for t, v in rows.items() if t.endswith(LIMIT) or t.startswith("ncnn")} if any(t.endswith(LIMIT) for t in rows) else {}
    return min((limited or rows).items(), key=lambda row: row[1]["median"])


def goals(result):
    """The ratios that are asked for."""
    lines = ["| network | best int8 peer, same instructions | lookout / it | best int8 peer, all it has | lookout / it | lookout AVX2 / lookout | tract f32 / lookout AVX2 | tract QDQ / lookout | tract f32 / lookout |", "|---|---|---|---|---|---|---|---|---|"]
    for name, net in result["nets"].items():
        t = {k: v["median"] for k, v in net["times"].items() if "median" in v}
        peers = {k: v for k, v in t.items() if "int8" in k and not k.startswith(("lookout", "stock"))}
        over = min(peers, key=peers.get)
        ratio = lambda a, b: f"{t[a] / t[b]:.2f}" if a in t and b in t else "none"  # noqa: E731
        lines.append(
            f"| {name} | {net['best_title'].removesuffix(LIMIT)} | {ratio('lookout', net['best_title'])} | {over} | {ratio('lookout', over)}"
            f" | {ratio('lookout AVX2', 'lookout')} | {ratio('stock tract f32', 'lookout AVX2')}"
            f" | {ratio('stock tract QDQ int8', 'lookout')} | {ratio('stock tract f32', 'lookout')} |"
        )
    return "\n".join(lines)


def legend(isa):
    if "amx_int8" not in isa:
        return "Median; in brackets the ratio to the best int8 peer."
    return f"""Median; in brackets the ratio to the best int8 peer that uses the same instructions as lookout (AVX-512 VNNI). "{LIMIT.strip()}": the kernel refuses the
process AMX, and the runtime takes its next best path; rows without that remark take whatever the processor has."""


def report(result):
    m, notes = result["machine"], []
    for name, net in result["nets"].items():
        notes += [f"- {name}: {form}: {why}" for form, why in net["missing"].items()]
        notes += [f"- {name}: {title}: {one['failed']}" for title, one in net["times"].items() if "failed" in one]
    isa = {v["times"]["lookout"].get("isa") for v in result["nets"].values() if "isa" in v["times"].get("lookout", {})}
    allocs = {n: v["times"]["lookout"].get("allocs") for n, v in result["nets"].items() if "lookout" in v["times"]}
    return f"""# Results

{result["date"]}, `{result["command"]}`: {result["rounds"]} rounds of {result["slice_ms"]} ms. {m["cpu"]}, {m["cores"]} cores, other load {m["load"]:.1f}, {" ".join(m["isa"])}; Linux {m["kernel"]}.
{", ".join(f"{k} {v}" for k, v in result["versions"].items() if k != "lookout")}; {result["versions"]["lookout"]}, instruction set {", ".join(sorted(isa))}.

![](chart.svg)

## One inference, ms of processor time on one core

{legend(m["isa"])}

{table(result)}

The empty network (one node on one number) costs, Python call included, in µs: {", ".join(f"{k} {v:.1f}" for k, v in result["call_us"].items())}. It is not subtracted.

## Ratios

{goals(result)}

Allocations a run in lookout: {", ".join(f"{n} {v:g}" for n, v in allocs.items() if v is not None)}.

## Same answers

Against ONNX Runtime with graph optimisations off, on the int8 file: how many of the best classes are equal where its probability is ahead by at least 0.05,
and the share of outputs within one quantisation step. "Features" is the network cut behind its average pool.

{exact.table(result["exact"])}

## Empty cells

{chr(10).join(notes) or "None."}
"""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--lookout", required=True)
    p.add_argument("--tract", required=True)
    p.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    p.add_argument("--fifo", action="store_true", help="real-time priority for whoever has its turn (root)")
    p.add_argument("--quick", action="store_true", help="a few short rounds, to try things")
    p.add_argument("--rounds", type=int)
    p.add_argument("--nets")
    p.add_argument("--out", type=pathlib.Path, help="where RESULTS.md and chart.svg go (default: WORK)")
    p.add_argument("--command", default="sh benches/peers/run.sh")
    a = p.parse_args()
    a.out = a.out or a.work
    a.out.mkdir(parents=True, exist_ok=True)
    a.slice, a.rounds = (30, a.rounds or 3) if a.quick else (100, a.rounds or 15)
    amx = "amx_int8" in machine()["isa"]
    have = sorted((d for d in (a.work / "nets").iterdir() if (d / "net.json").exists()), key=lambda d: (order(d.name), d.name))
    result = {
        "date": datetime.date.today().isoformat(), "command": a.command, "machine": machine(), "versions": versions(a),
        "rounds": a.rounds, "slice_ms": a.slice, "call_us": call_cost(a), "nets": {}, "exact": {},
    }  # fmt: skip
    for at in have:
        if a.nets and at.name not in a.nets.split(","):
            continue
        note = json.loads((at / "net.json").read_text())
        times = measure(at, a, amx)
        title, best = best_peer(times)
        result["nets"][at.name] = {"times": times, "best": best["median"], "best_title": title, **note}
        print(f"\n{at.name}, ms (ratio to {title})")
        for row, one in sorted(times.items(), key=lambda r: r[1].get("median", 1e9)):
            said = one.get("failed") or f"{digits(one['median']):>9} ({one['median'] / best['median']:5.2f})  min {digits(one['min'])}"
            print(f"  {row:<42} {said}", flush=True)
        result["exact"][at.name] = exact.compare(at, a.lookout)
        print(f"  {exact.line(result['exact'][at.name])}", flush=True)
        write(result, a)
    print(f"\nwritten: {a.out}/RESULTS.md, {a.out}/chart.svg, {a.work}/results.json")


def write(result, a):
    """After each network, so that a broken-off run leaves what it had."""
    (a.work / "results.json").write_text(json.dumps(result, indent=1))
    (a.out / "RESULTS.md").write_text(report(result))
    (a.out / "chart.svg").write_text(chart.draw(result))


def order(name):
    names = ["bundle", "mobilenet_v2_0.35_96", "mobilenet_v2_1.0_224", "mobilenet_v3_small_224", "resnet18_224"]
    return names.index(name) if name in names else len(names)


if __name__ == "__main__":
    main()
