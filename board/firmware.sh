#!/usr/bin/env bash
# The program that is shipped, for 64-bit ARM boards: static (any Linux from 3.7 on), stripped, bundle included.
# 10 MB at most (README.md here); more is refused, so that nobody finds out on a board.
#
#   board/firmware.sh [cargo options]        leaves target/aarch64-unknown-linux-gnu/firmware/lookout
#
# Needs what board/cross.sh needs. Without tables for unwinding (board/no-unwind.ld): the firmware profile aborts on a panic. Where
# qemu-user is installed, the result has to play the demo right before this script is content with it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
# Panics name their file: cargo's folder and this one would be in the program, and another user's build another file.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C force-unwind-tables=no --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo --remap-path-prefix=$PWD=lookout"
board/cross.sh --static rustc --profile firmware --bin lookout --locked "$@" -- -C link-arg=-Wl,-T,"$PWD/board/no-unwind.ld"
program=${CARGO_TARGET_DIR:-target}/$target/firmware/lookout
size=$(stat -c %s "$program")
echo "$program: $size bytes"
[ "$size" -le 10000000 ] || { echo "firmware.sh: more than 10 MB" >&2; exit 1; }
if command -v qemu-aarch64-static > /dev/null; then
  for cpu in cortex-a72 cortex-a76; do
    echo "$cpu: $(qemu-aarch64-static -cpu $cpu "$program" demo | grep -o '^\([0-9]*\) of \1 ticks right')" || { echo "firmware.sh: the demo went wrong on $cpu" >&2; exit 1; }
  done
fi
