#!/usr/bin/env python3
"""What deny.toml allows, checked for every crate of Cargo.lock by cargo's own metadata: licences, sources, banned crates, wildcards.

  tests/deny.py        in the repository; needs cargo and python3

`cargo deny check` does the same and more (licence texts, known holes where RustSec's database can be reached). It takes longer to
build than all of our own tests: this is what every change can afford. One line a finding, exit code 1 where there is one.
"""
import json
import pathlib
import re
import subprocess
import sys
import tomllib

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def satisfied(expression, allowed):
    """Does an SPDX expression (AND binds tighter than OR; old crates write / for OR) hold with these licences?"""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        good = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            good |= both()
        return good

    def both():
        good = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            good &= one()
        return good

    def one():
        name = tokens.pop(0)
        if name == "(":
            good = either()
            tokens.pop(0)
            return good
        if tokens and tokens[0] == "WITH":
            name += " WITH " + tokens[1]
            del tokens[:2]
        return name in allowed

    return either()


def main():
    top = pathlib.Path(__file__).resolve().parent.parent
    rules = tomllib.loads((top / "deny.toml").read_text())
    said = subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked"], cwd=top, capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"deny.py: cargo metadata failed: {said.stderr.strip()}")
    packages = json.loads(said.stdout)["packages"]
    allowed, banned = set(rules["licenses"]["allow"]), {crate["name"] for crate in rules["bans"]["deny"]}
    wrong = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if not satisfied(package["license"] or "none", allowed):
            wrong.append(f"{name}: licence {package['license']}, allowed are {sorted(allowed)}")
        if package["source"] is None:
            if not pathlib.Path(package["manifest_path"]).is_relative_to(top):
                wrong.append(f"{name}: comes from {package['manifest_path']}, outside of the repository")
            wrong += [f"{name}: any version of {d['name']} (*)" for d in package["dependencies"] if d["req"] == "*" and not d.get("path")]
        elif package["source"] != CRATES_IO:
            wrong.append(f"{name}: comes from {package['source']}, expected crates.io")
        if package["name"] in banned:
            wrong.append(f"{name}: is banned")
    print("\n".join(wrong + [f"deny.py: {len(packages)} crates, {len(wrong)} findings"]))
    sys.exit(1 if wrong else 0)


main()
