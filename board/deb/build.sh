#!/usr/bin/env bash
# Builds lookout's Debian package with cargo-deb, from a program that is already built.
#
#   board/deb/build.sh PROGRAM ARCH OUT.deb       ARCH: arm64 (what is shipped; PROGRAM from board/firmware.sh) or amd64
#
# cargo-deb is a tool, not a dependency: `cargo install cargo-deb --locked` once. What is in the package is said in Cargo.toml,
# under [package.metadata.deb].
set -euo pipefail
[ $# = 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
[ -x "$1" ] || { echo "build.sh: no program $1" >&2; exit 2; }
program=$(realpath "$1") out=$(realpath -m "$3")
case $2 in arm64) target=aarch64-unknown-linux-gnu ;; amd64) target=x86_64-unknown-linux-gnu ;; *) echo "build.sh: ARCH is arm64 or amd64, not $2" >&2; exit 2 ;; esac
cargo deb --version > /dev/null 2>&1 || { echo "build.sh: cargo-deb is missing: cargo install cargo-deb --locked" >&2; exit 2; }
cd "$(dirname "$0")/../.."
# cargo-deb takes the program from a target folder of its own making: nothing is compiled, nothing of ours is touched.
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/$target/release"
cp "$program" "$tmp/$target/release/lookout"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
CARGO_TARGET_DIR=$tmp cargo deb --quiet --no-build --no-strip --locked --target "$target" --deb-version "$(cargo pkgid | sed 's/.*[#@]//')-1" --output "$out"
dpkg-deb --info "$out" | sed -n 's/^ \(Package\|Version\|Architecture\|Installed-Size\)/\1/p'
