#!/usr/bin/env python3
"""Runs `lookout classify --json` over a set that make.py built and says what it got right.

    python3 tests/real/score.py OUT --lookout target/release/lookout [--split all|unseen|known] [--bundle DIR] [--wrong]

Prints clips right per class, the confusion (rows: label, columns: answer) and, with --wrong, every miss. Needs only Python.
"""

import argparse
import collections
import csv
import json
import os
import subprocess
import sys


def answers(lookout, bundle, paths):
    """The answer of each clip by file name, and its segments."""
    found = {}
    for start in range(0, len(paths), 50):
        command = [lookout, "classify", "--json", *(["--bundle", bundle] if bundle else []), *paths[start : start + 50]]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            found[os.path.basename(row["clip"])] = (row.get("label"), row.get("p"), row.get("segments", []))
        if done.returncode:
            print(f"{lookout} ended with {done.returncode}", file=sys.stderr)
    return found


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("set")
    args.add_argument("--lookout", default="target/release/lookout")
    args.add_argument("--split", default="all", choices=["all", "unseen", "known"])
    args.add_argument("--bundle")
    args.add_argument("--wrong", action="store_true")
    args = args.parse_args()
    with open(os.path.join(args.set, "labels.csv"), newline="", encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f) if args.split in ("all", r["split"])]
    found = answers(args.lookout, args.bundle, [os.path.join(args.set, r["file"]) for r in rows])
    table = collections.defaultdict(collections.Counter)
    for r in rows:
        label, p, segments = found.get(r["file"], ("(none)", None, []))
        table[r["label"]][label] += 1
        if args.wrong and label != r["label"]:
            parts = " ".join(f"{s['label']} {s['start_ms']}-{s['end_ms']} {s['p']:.2f}" for s in segments)
            print(f"{r['file']}: {label} {p}  [{parts}]  {r['source']}: {r['how']}")
    names = sorted(set(table) | {a for c in table.values() for a in c})
    print(f"{'':9}{'right':>7} of    " + "".join(f"{n[:8]:>9}" for n in names))
    shares = []
    for label in sorted(table):
        total, right = sum(table[label].values()), table[label][label]
        shares.append(right / total)
        print(f"{label:9}{100 * right / total:6.1f}% {total:4}  " + "".join(f"{table[label][n] or '.':>9}" for n in names))
    right, total = sum(table[n][n] for n in table), sum(sum(c.values()) for c in table.values())
    print(f"{'all':9}{100 * right / max(1, total):6.1f}% {total:4}   mean of classes {100 * sum(shares) / max(1, len(shares)):.1f}%")


if __name__ == "__main__":
    main()
