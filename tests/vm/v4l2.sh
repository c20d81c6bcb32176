#!/usr/bin/env bash
# v4l2-ctl for a guest of 64-bit ARM, with its libraries: prints FILE:DEST for boot.sh, a line each.
#
# Debian's packages, unpacked once into the cache and not installed. apt has to know of arm64 (`dpkg --add-architecture arm64`).
set -euo pipefail
root=${VM_CACHE:-$HOME/.cache/lookout-vm}/arm64-v4l2
if [ ! -e "$root/ok" ]; then
  mkdir -p "$root/dl"; chmod 755 "$root/dl"
  ( cd "$root/dl"; rm -f ./*.deb
    apt-get -q download {v4l-utils,libv4l-0,libv4lconvert0,libc6,libstdc++6,libgcc-s1,libjpeg62-turbo}:arm64 >&2
    for deb in *.deb; do dpkg -x "$deb" "$root"; done )
  rm -r "$root/dl"; touch "$root/ok"
fi
echo "$root/usr/bin/v4l2-ctl:/bin/v4l2-ctl"
cd "$root"
find lib usr/lib \( -name 'ld-linux-*.so.1' -o -name 'libv4l2.so.0' -o -name 'libv4lconvert.so.0' -o -name 'libstdc++.so.6' -o -name 'libm.so.6' \
  -o -name 'libgcc_s.so.1' -o -name 'libc.so.6' -o -name 'libjpeg.so.62' \) -not -path '*/gconv/*' | while read -r lib; do
  echo "$root/$lib:/lib/$(basename "$lib")"
done
