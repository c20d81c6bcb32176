#!/bin/bash
# aarch64 instructions for one inference on Cortex-A72 (Raspberry Pi 4) and Cortex-A76 (Pi 5), lookout beside its peers, under qemu-user.
#
#   benches/peers/aarch64.sh [--lookout BIN] [--work DIR] [--out DIR] [--nets NAME,...] [--cpus NAME,...] [--no-peers]
#
# On Debian 12 with apt, gcc and run.sh having made the networks in WORK. Fetches, without installing, qemu-user (the static one of
# Debian has no plugins) and an arm64 Python with the peers' arm64 wheels. --lookout: an aarch64 binary; else one is cross-built, for which
# cargo needs the target (RUSTC, linker: see README.md). Writes aarch64.md to OUT (default: WORK).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/peers lookout='' out='' nets=bundle,mobilenet_v2_0.35_96,mobilenet_v2_1.0_224 cpus=cortex-a72,cortex-a76 peers=yes
while [ $# -gt 0 ]; do
  case $1 in
    --lookout) lookout=$(realpath "$2"); shift 2 ;;
    --work) work=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --nets) nets=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --no-peers) peers=''; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
out=${out:-$work}; arm=$work/arm sys=$work/arm/root
mkdir -p "$arm/debs" "$sys"

fetch() { # fetch FOLDER PACKAGE...: unpacks Debian packages there
  local to=$1; shift
  (cd "$arm/debs" && apt-get -q download "$@" > /dev/null)
  for package; do dpkg -x "$arm/debs/${package%:*}"_*.deb "$to"; done
}
[ -x "$arm/qemu/usr/bin/qemu-aarch64" ] || fetch "$arm/qemu" qemu-user
cc -O2 -Wall -Wextra -shared -fPIC -o "$arm/count.so" "$here/count.c"
if [ -n "$peers" ] && [ ! -d "$arm/site/onnxruntime" ]; then
  dpkg --print-foreign-architectures | grep -qx arm64 || { dpkg --add-architecture arm64 && apt-get -q update; }
  fetch "$sys" {python3.11-minimal,libpython3.11-minimal,libpython3.11-stdlib,libc6,libstdc++6,libgcc-s1,zlib1g,libexpat1,libgomp1,libffi8,libssl3,libbz2-1.0,liblzma5,libuuid1}:arm64
  # Wheels for arm64 Debian 12, of the versions that run.sh uses.
  "$work/venv/bin/pip" install -q --disable-pip-version-check --target "$arm/site" --only-binary=:all: --python-version 3.11 \
    --platform manylinux_2_36_aarch64 --platform manylinux_2_35_aarch64 --platform manylinux_2_34_aarch64 --platform manylinux_2_31_aarch64 \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_26_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 $(grep -E '^(numpy|onnxruntime|ncnn|ai-edge-litert)=' "$here/requirements.txt")
fi
if [ -z "$lookout" ]; then
  (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile firmware --target aarch64-unknown-linux-gnu --bin lookout)
  lookout=$target/aarch64-unknown-linux-gnu/firmware/lookout
fi

# What the runtimes look at to know the core: the file system below `qemu -L` is seen first.
core() {
  local part=0xd08 features='fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid'
  [ "$1" = cortex-a72 ] || { part=0xd0b; features="$features atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"; }
  mkdir -p "$sys/proc" "$sys/sys/devices/system/cpu"
  printf 'processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 3\n\n' \
    "$features" $part > "$sys/proc/cpuinfo"
  for list in possible present online; do echo 0 > "$sys/sys/devices/system/cpu/$list"; done
}
qemu() { "$arm/qemu/usr/bin/qemu-aarch64" -L "$sys" -cpu "$1" -plugin "$arm/count.so" "${@:2}"; }
# Between looks at the clock: an inference, next to nothing, an inference... The last ones, those above half of the largest, in the middle.
middle() { sed -n 's/^instructions //p' | tail -n 12 | sort -n | awk '{a[NR]=$1} END {for (i=1;i<=NR;i++) if (a[i]*2>a[NR]) b[++n]=a[i]; if (n) printf "%.2f", b[int((n+1)/2)]/1e6; else printf "none"}'; }
timed() { qemu "$1" "$lookout" bench --onnx "$2/qdq.onnx" --rounds 20 --json 2>&1 >/dev/null | middle; }
peer() { # peer CPU RUNTIME FILE SHAPE
  printf '%s\n0\n0\n' "$4" | PYTHONHOME=$sys/usr PYTHONPATH=$arm/site PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 \
    qemu "$1" "$sys/usr/bin/python3.11" "$here/peer.py" "$2" "$3" 2>&1 >/dev/null | tee "$arm/last.log" | middle
}
table=$(mktemp); trap 'rm -f "$table"' EXIT
row() { printf '| %s | %s | %s | %s |\n' "$@" | tee -a "$table"; }
for cpu in ${cpus//,/ }; do
  core "$cpu"
  for net in ${nets//,/ }; do
    at=$work/nets/$net
    row "$net" "$cpu" "lookout" "$(timed "$cpu" "$at")"
    [ -n "$peers" ] || continue
    shape=$("$work/venv/bin/python" -c "import numpy, sys; print([1, *numpy.load(sys.argv[1]).shape[1:]])" "$at/x.npy")
    row "$net" "$cpu" "LiteRT int8" "$(peer "$cpu" ai-edge-litert "$at/int8.tflite" "$shape")"
    row "$net" "$cpu" "ONNX Runtime QDQ int8" "$(peer "$cpu" onnxruntime "$at/qdq.onnx" "$shape")"
    row "$net" "$cpu" "ncnn int8" "$(peer "$cpu" ncnn "$at/int8" "$shape")"
  done
done
{
  printf '# aarch64: million instructions per inference\n\n'
  printf '%s, counted under qemu-user %s, lookout and the versions of requirements.txt. Instructions, not time.\n\n' "$(date -I)" "$("$arm/qemu/usr/bin/qemu-aarch64" --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')"
  printf '| network | core | runtime | M instructions |\n|---|---|---|---|\n'
  cat "$table"
} > "$out/aarch64.md"
echo "written: $out/aarch64.md"
