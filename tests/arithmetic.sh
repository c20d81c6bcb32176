#!/usr/bin/env bash
# NEON, its dot product and the plain loops on 64-bit ARM against their definitions, bit for bit: the tests of src/qnn/kernels,
# src/head/dot and gates, src/shaper/flow and scale and src/lanes.rs, under qemu-user as three processors.
#
#   tests/arithmetic.sh [CPU...]     default: cortex-a53 (no dot product), cortex-a72 (none either), cortex-a76
#
# These files need nothing but the standard library, so they are compiled by themselves in seconds, without tract and the rest
# (the whole suite on ARM: board/README.md). Needs what board/cross.sh --setup installs.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
target=aarch64-unknown-linux-gnu
has_std() { [ -d "$("$1" --print sysroot 2> /dev/null)/lib/rustlib/$target/lib" ]; }
rustc=${RUSTC:-rustc}
has_std "$rustc" || rustc=/usr/bin/rustc
has_std "$rustc" || { echo "arithmetic.sh: no standard library for $target: rustup target add $target, or board/cross.sh --setup" >&2; exit 2; }
for tool in aarch64-linux-gnu-gcc qemu-aarch64-static; do
  command -v $tool > /dev/null || { echo "arithmetic.sh: $tool is missing: board/cross.sh --setup" >&2; exit 2; }
done
[ $# -gt 0 ] || set -- cortex-a53 cortex-a72 cortex-a76

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
ln -s "$top"/src/{qnn,head,shaper,lanes.rs,rng.rs} "$work"
cat > "$work/arithmetic.rs" <<'RUST'
#![allow(unused, missing_docs, reason = "a part of the program, to be tested alone")]
mod lanes;
mod rng;
mod head { mod dot; mod gates; }
mod qnn { mod halves; pub mod kernels; }
mod shaper { mod flow; mod scale; }
RUST
"$rustc" --edition 2024 --test --target $target -O -C debug-assertions -C target-feature=+crt-static -C linker=aarch64-linux-gnu-gcc \
  -o "$work/arithmetic" "$work/arithmetic.rs"
for cpu in "$@"; do
  echo "$cpu: $(qemu-aarch64-static -cpu "$cpu" "$work/arithmetic" 2>&1 | tee "$work/log" | grep '^test result: ok')" || { cat "$work/log"; exit 1; }
done
