#!/bin/sh
# The binary that is shipped, for a 64-bit ARM board: static (runs on any image with Linux 3.7 or later), stripped, bundle included.
#
#   board/firmware.sh [cargo options]        leaves target/aarch64-unknown-linux-gnu/firmware/lookout
#
# Needs Rust's aarch64 standard library (`rustup target add aarch64-unknown-linux-gnu`, or RUSTC= a compiler that has it) and
# Debian's gcc-aarch64-linux-gnu. Without unwind tables: the firmware profile aborts on a panic, and nothing reads them in a stripped binary.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER:-aarch64-linux-gnu-gcc}"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static -C force-unwind-tables=no"
exec cargo build --profile firmware --target aarch64-unknown-linux-gnu --bin lookout --locked "$@"
