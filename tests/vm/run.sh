#!/usr/bin/env bash
# The shipped program against real kernel drivers: camera (vivid) to serial port (8250) in an emulated machine.
#
#   tests/vm/run.sh [LOOKOUT [SCENARIO]]     LOOKOUT: the program (default: target/release/lookout, built if need be)
#                                            SCENARIO: camera, faults, doctor, outside, watchdog, mjpg, classes (default: all of these) or arm
#   LOOKOUT_ARM  the same program for 64-bit ARM (static); with it there is one more scenario, arm
#   CYCLES   how often faults.sh unplugs and renumbers (default 10; before a release 1000, with VM_TIMEOUT=20000)
#   SILENCE  seconds that the camera gives no frames (default 12; before a release 60)
#   JUMPS    how often it sends the wall clock through five centuries of trouble (default 8; before a release 600)
#
# README.md says what is tried. About eleven minutes; needs qemu-system-x86, cpio, kmod, v4l-utils, python3, and what modules.sh needs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd)
for tool in qemu-system-x86_64 cpio depmod v4l2-ctl python3 socat gcc mkfs.ext4; do
  command -v "$tool" > /dev/null || { echo "run.sh: $tool is missing (Debian: apt-get install qemu-system-x86 cpio kmod v4l-utils python3 socat gcc e2fsprogs)" >&2; exit 2; }
done
lookout=${1:-} only=${2:-}
if [ -z "$lookout" ]; then
  ( cd "$top" && cargo build --release --locked )
  lookout=${CARGO_TARGET_DIR:-$top/target}/release/lookout
fi

work=$(mktemp -d); tap=
trap '[ -z "$tap" ] || kill "$tap" 2> /dev/null || true; rm -rf "$work"' EXIT

# scenario SCRIPT SECTION... : boots SCRIPT with the wire tapped, then judges the sections. Once more where it went wrong: all limits are in
# real time, and an emulated machine whose host is busy elsewhere for a moment is late; what is wrong with the program is wrong twice.
scenario() {
  booted "$@" || { echo "-- once more: $1"; booted "$@"; }
}

booted() {
  local script=$1 status=0; shift
  echo "-- $script: $*"
  if [ -n "${HAND:-}" ]; then
    rm -rf "$HAND"; mkdir "$HAND"; python3 "$here/hand.py" "$HAND" "$work/wire" & tap=$!
    until [ -e "$HAND/wire" ]; do sleep 0.1; done
  else
    python3 "$here/wire.py" tap "$work/serial" "$work/wire" & tap=$!
  fi
  SERIAL=$work/serial SERIAL_TTY=${HAND:+$HAND/wire} "$here/boot.sh" "$here/guest/$script" "$here/guest/lib.sh" "$lookout:/bin/lookout" $([ "${ARCH:-amd64}" = arm64 ] || command -v v4l2-ctl) \
    ${FILES[@]+"${FILES[@]}"} > "$work/console" 2>&1 || status=$?
  wait "$tap" || status=1; tap=
  grep -av 'SeaBIOS\|Booting from' "$work/console" || true
  [ "$status" = 0 ] || { echo "run.sh: $script ended with status $status"; return 1; }
  python3 "$here/wire.py" judge "$work/wire" "$@" || { echo "-- what was on the wire:"; cat "$work/wire"; return 1; }
}

# A small network where times are judged: an emulated processor is to be late because of faults, not because of arithmetic. `classes` runs the
# bundle that is shipped.
SMALL=()
for file in "$top"/tests/bundles/resnet/*; do SMALL+=("$file:/bundle/${file##*/}"); done

FILES=("${SMALL[@]}")
[ -n "$only" ] && [ "$only" != camera ] || scenario camera.sh yuyv nv12 grey unplug stall refused

# What goes wrong with cameras, and how long it takes to be noticed and to be over.
if [ -z "$only" ] || [ "$only" = faults ]; then
  gcc -shared -fPIC -O1 -o "$work/refuse.so" "$here/guest/refuse.c" -ldl
  echo "${CYCLES:-10}" > "$work/cycles"
  FILES=("$work/refuse.so:/lib/refuse.so" "$work/cycles:/cycles" "$(command -v socat)" "${SMALL[@]}")
  echo "${JUMPS:-8}" > "$work/jumps"
  echo "${SILENCE:-12}" > "$work/silence"
  modules=$("$here/modules.sh")
  FILES+=("$work/jumps:/jumps" "$work/silence:/silence" "$modules/gpio-sim.ko:/ko/gpio-sim.ko")
  MODULES="vivid configfs dummy_hcd libcomposite usb_f_acm cdc-acm" VM_TIMEOUT=${VM_TIMEOUT:-900} \
    scenario faults.sh c1 c2 c3 c4 c5 c6 c7 c9 c10 t1 t2 g1 s2
fi

# What `lookout doctor` says of a machine that is broken in one way at a time.
if [ -z "$only" ] || [ "$only" = doctor ]; then
  modules=$("$here/modules.sh")
  mapfile -t FILES < <("$here/udev.sh"); FILES+=("$modules/gpio-sim.ko:/ko/gpio-sim.ko" "${SMALL[@]}")
  MODULES="vivid configfs softdog dummy_hcd libcomposite usb_f_acm cdc-acm" scenario doctor.sh doctor
fi

# What is done from outside: to the wire (BREAK, CTS) and to a card on USB (slow, pulled out, back).
if [ -z "$only" ] || [ "$only" = outside ]; then
  gcc -shared -fPIC -O1 -o "$work/cts.so" "$here/cts.c" -ldl
  truncate -s 64M "$work/card"; mkfs.ext4 -q "$work/card"
  FILES=("$(command -v socat)" "${SMALL[@]}")
  far=$work/far
  HAND=$far QEMU_ENV="LD_PRELOAD=$work/cts.so LOOKOUT_CTS_LOW=$far/low" \
    QEMU_ARGS="-qmp unix:$far/qmp,server=on,wait=off -chardev socket,id=hand,path=$far/hand,server=on,wait=off -device pci-serial,chardev=hand
      -object throttle-group,id=slow -device qemu-xhci,id=usb -device usb-storage,drive=card,id=stick,bus=usb.0
      -blockdev {\"driver\":\"throttle\",\"node-name\":\"card\",\"throttle-group\":\"slow\",\"file\":{\"driver\":\"file\",\"filename\":\"$work/card\"}}" \
    MODULES="vivid xhci_pci usb_storage sd_mod ext4" scenario outside.sh s1 s1-three-wires s5 p4
fi

# A machine that hangs is reset by its hardware watchdog and reports again.
if [ -z "$only" ] || [ "$only" = watchdog ]; then
  truncate -s 1M "$work/disk"
  FILES=("${SMALL[@]}")
  QEMU_ARGS="-device i6300esb -watchdog-action reset -drive file=$work/disk,format=raw,if=virtio" VM_REBOOT=1 \
    MODULES="vivid i6300esb virtio_blk virtio_pci" scenario watchdog.sh w3 w3-again
fi

# MJPG as a USB camera sends it, which vivid cannot: the pictures of camera.avi through v4l2loopback.
if [ -z "$only" ] || [ "$only" = mjpg ]; then
  mkdir "$work/frames"; "$here/frames.py" "$here/camera.avi" "$work/frames"
  modules=$("$here/modules.sh")
  FILES=("$modules/v4l2loopback.ko:/ko/v4l2loopback.ko" "${SMALL[@]}")
  for picture in "$work"/frames/*; do FILES+=("$picture:/frames/${picture##*/}"); done
  MODULES=videodev scenario mjpg.sh mjpg
fi

# The demo's clip at the 40 Hz of the emulated HDMI link, after three seconds in which nothing moves.
if [ -z "$only" ] || [ "$only" = classes ]; then
  "$lookout" demo --save - | "$here/clip.py" 40 3 > "$work/clip.grey"
  FILES=("$work/clip.grey:/clip.grey")
  MEM=1024 scenario classes.sh classes
fi
# A 64-bit ARM machine sees the same clip, and what its black box kept says the same again: there, and on this machine.
if [ "$only" = arm ] || { [ -z "$only" ] && [ -n "${LOOKOUT_ARM:-}" ]; }; then
  [ -r "${LOOKOUT_ARM:-}" ] || { echo "run.sh: arm: LOOKOUT_ARM names no program (board/cross.sh builds one)" >&2; exit 2; }
  here_lookout=$lookout lookout=$LOOKOUT_ARM
  "$here_lookout" demo --save - | "$here/clip.py" 40 3 > "$work/clip.grey"
  truncate -s 64M "$work/disk"
  mapfile -t FILES < <("$here/v4l2.sh"); FILES+=("$work/clip.grey:/clip.grey")
  ARCH=arm64 MEM=1024 QEMU_ARGS="-drive file=$work/disk,format=raw,if=virtio" MODULES="vivid virtio_blk virtio_pci" scenario arm.sh classes
  mkdir "$work/kept"; tar -C "$work/kept" -xf "$work/disk"
  for clip in "$work"/kept/*.lkb; do
    "$here_lookout" run --board host --source "$clip" --report stdout 2> /dev/null | sed -n 's/^\$PLKTE,[0-9]*,S,\([^*]*\),[^,]*$/\1/p' | cmp - "$clip.again" ||
      { echo "run.sh: $clip says something else on this machine"; exit 1; }
  done
  echo "arm: $(ls "$work"/kept/*.lkb | wc -l) clips say the same on $(uname -m), to the last digit"
fi
echo "run.sh: OK"
