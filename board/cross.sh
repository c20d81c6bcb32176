#!/usr/bin/env bash
# Builds or tests lookout for 64-bit ARM Linux, on an x86-64 Debian or Ubuntu machine.
#
#   board/cross.sh [--static | --dynamic | --glibc 2.31] [cargo arguments; default: build --release]
#   board/cross.sh --setup         installs what is missing (apt, as root)
#
#   --static       (default) one file for every 64-bit ARM Linux from 3.7 on, whatever its C library
#   --dynamic      linked to glibc: 2.34 or newer has to be on the board (Raspberry Pi OS 12, JetPack 6)
#   --glibc X.YY   linked to an older glibc, through cargo-zigbuild (2.31: Raspberry Pi OS 11, JetPack 5)
#
# `test` and `run` work too, by board/foreign.sh: under qemu-user. The standard library for aarch64 is rustup's (`rustup target add
# aarch64-unknown-linux-gnu`) where it is installed, else that of Debian's compiler (`--setup` brings it).
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
env=AARCH64_UNKNOWN_LINUX_GNU

# Debian's rustc and the arm64 standard library of the very same version: a std of Debian is usable from every host. Taken out
# of its package, since installing it would drag in an LLVM for arm64.
debian_std() {
  local version unpacked
  version=$(dpkg-query -W -f '${Version}' libstd-rust-web-dev)
  [ "$(cat "/opt/rust-$target/version" 2> /dev/null)" = "$version" ] && [ -e "/usr/lib/rustlib/$target" ] && return
  unpacked=$(mktemp -d); chmod 755 "$unpacked"
  (cd "$unpacked" && apt-get -q download "libstd-rust-web-dev:arm64=$version" && dpkg -x ./*.deb x)
  rm -rf "/opt/rust-$target"; mkdir -p "/opt/rust-$target"
  cp -a "$unpacked/x/usr/lib/rustlib/$target" "/opt/rust-$target/"
  ln -sfn "/opt/rust-$target/$target" "/usr/lib/rustlib/$target"
  echo "$version" > "/opt/rust-$target/version"; rm -rf "$unpacked"
}

has_std() { [ -d "$("$1" --print sysroot 2> /dev/null)/lib/rustlib/$target/lib" ]; }

setup() {
  export DEBIAN_FRONTEND=noninteractive
  local packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)
  has_std rustc || packages+=(rustc-web libstd-rust-web-dev)
  dpkg --print-foreign-architectures | grep -qx arm64 || dpkg --add-architecture arm64
  apt-get -q update || echo "apt-get update had errors; going on with what it knows"
  apt-get -q install -y --no-install-recommends "${packages[@]}"
  has_std rustc || debian_std
}

mode=static glibc=
case ${1:-} in
  --setup) setup; exit ;;
  --static) shift ;;
  --dynamic) mode=dynamic; shift ;;
  --glibc) mode=zig glibc=${2:?which glibc, 2.31 for one}; shift 2 ;;
  -*) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
[ $# -gt 0 ] || set -- build --release

if [ -z "${RUSTC:-}" ] && ! has_std rustc; then
  has_std /usr/bin/rustc || { echo "cross.sh: no standard library for $target: rustup target add $target, or board/cross.sh --setup" >&2; exit 2; }
  export RUSTC=/usr/bin/rustc
fi
flags="CARGO_TARGET_${env}_RUSTFLAGS"
linker="CARGO_TARGET_${env}_LINKER"
command=$1; shift
case $mode in
  zig)
    [ "$command" != build ] || command=zigbuild
    exec cargo "$command" --target "$target.$glibc" "$@" ;;
  static) export "$flags=-C target-feature=+crt-static ${!flags:-}" ;;
esac
export "$linker=${!linker:-aarch64-linux-gnu-gcc}"
case $command in
  test | run | bench)
    # What a program on ARM finds in /proc/cpuinfo; qemu-user 7 shows this machine's. And the C library, for --dynamic.
    export QEMU_LD_PREFIX=${CARGO_TARGET_DIR:-$PWD/target}/arm-root
    mkdir -p "$QEMU_LD_PREFIX/proc"; ln -sfn /usr/aarch64-linux-gnu/lib "$QEMU_LD_PREFIX/lib"
    printf 'processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n' > "$QEMU_LD_PREFIX/proc/cpuinfo"
    board/foreign.sh arm64 cargo "$command" --target "$target" "$@" ;;
  *) exec cargo "$command" --target "$target" "$@" ;;
esac
