#!/usr/bin/env bash
# The shipped program against real kernel drivers: camera (vivid) to serial port (8250) in an emulated machine.
#
#   tests/vm/run.sh [LOOKOUT [SCENARIO]]     LOOKOUT: the program (default: target/release/lookout, built if need be)
#                                            SCENARIO: camera, mjpg or classes (default: all)
#
# README.md says what is tried. About three minutes; needs qemu-system-x86, cpio, kmod, v4l-utils, python3, and what modules.sh needs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd)
for tool in qemu-system-x86_64 cpio depmod v4l2-ctl python3; do
  command -v "$tool" > /dev/null || { echo "run.sh: $tool is missing (Debian: apt-get install qemu-system-x86 cpio kmod v4l-utils python3)" >&2; exit 2; }
done
lookout=${1:-} only=${2:-}
if [ -z "$lookout" ]; then
  ( cd "$top" && cargo build --release --locked )
  lookout=${CARGO_TARGET_DIR:-$top/target}/release/lookout
fi

work=$(mktemp -d); tap=
trap '[ -z "$tap" ] || kill "$tap" 2> /dev/null || true; rm -rf "$work"' EXIT

# scenario SCRIPT SECTION... : boots SCRIPT with the wire tapped, then judges the sections
scenario() {
  local script=$1 status=0; shift
  echo "-- $script: $*"
  python3 "$here/wire.py" tap "$work/serial" "$work/wire" & tap=$!
  SERIAL=$work/serial "$here/boot.sh" "$here/guest/$script" "$here/guest/lib.sh" "$lookout:/bin/lookout" "$(command -v v4l2-ctl)" \
    ${FILES[@]+"${FILES[@]}"} > "$work/console" 2>&1 || status=$?
  wait "$tap" || status=1; tap=
  grep -av 'SeaBIOS\|Booting from' "$work/console" || true
  [ "$status" = 0 ] || { echo "run.sh: $script ended with status $status"; return 1; }
  python3 "$here/wire.py" judge "$work/wire" "$@" || { echo "-- what was on the wire:"; cat "$work/wire"; return 1; }
}

FILES=()
[ -n "$only" ] && [ "$only" != camera ] || scenario camera.sh yuyv nv12 grey unplug stall refused

# MJPG as a USB camera sends it, which vivid cannot: the pictures of camera.avi through v4l2loopback.
if [ -z "$only" ] || [ "$only" = mjpg ]; then
  mkdir "$work/frames"; "$here/frames.py" "$here/camera.avi" "$work/frames"
  modules=$("$here/modules.sh")
  FILES=("$modules/v4l2loopback.ko:/ko/v4l2loopback.ko")
  for picture in "$work"/frames/*; do FILES+=("$picture:/frames/${picture##*/}"); done
  MODULES=videodev scenario mjpg.sh mjpg
fi

# The demo's clip at the 40 Hz of the emulated HDMI link, after three seconds in which nothing moves.
if [ -z "$only" ] || [ "$only" = classes ]; then
  "$lookout" demo --save - | "$here/clip.py" 40 3 > "$work/clip.grey"
  FILES=("$work/clip.grey:/clip.grey")
  MEM=1024 scenario classes.sh classes
fi
echo "run.sh: OK"
