#!/usr/bin/env bash
# Kernel modules that Debian's kernel lacks, built for the one that boot.sh boots; prints their folder.
#
#   tests/vm/modules.sh          -> FOLDER with gpio-sim.ko and v4l2loopback.ko
#
# gpio-sim comes from Debian's own kernel source of the same version, v4l2loopback from its package of that name (150 MB to fetch,
# once, into VM_CACHE). Nothing is installed. Needs what boot.sh needs, and gcc, make, xz-utils, bc, libelf1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
die() { echo "modules.sh: $*" >&2; exit 2; }
for tool in apt-get dpkg gcc make xz; do command -v "$tool" > /dev/null || die "$tool is missing"; done
cache=${VM_CACHE:-$HOME/.cache/lookout-vm}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# the kernel that boot.sh will use: it fetches it when it first boots
if [ ! -e "$cache/amd64/ok" ]; then echo true > "$work/true.sh"; MODULES= "$here/boot.sh" "$work/true.sh" > /dev/null; fi
version=$(ls "$cache/amd64/lib/modules")
out=$cache/modules-$version
if [ ! -e "$out/v4l2loopback.ko" ]; then
  echo "modules.sh: building gpio-sim and v4l2loopback for $version" >&2
  x=$cache/build-$version
  mkdir -p "$x/dl" "$work/ko"
  ( cd "$x/dl"; rm -f ./*.deb
    apt-get -q download "linux-headers-$version" "linux-headers-${version%-amd64}-common" linux-kbuild-6.1 linux-source-6.1 v4l2loopback-dkms >&2
    for deb in *.deb; do dpkg -x "$deb" "$x"; done )
  headers=$x/usr/src/linux-headers-$version
  sed -i "s#include /usr/src/#include $x/usr/src/#" "$headers/Makefile"
  tar xf "$x/usr/src/linux-source-6.1.tar.xz" -C "$work" --strip-components=1 --wildcards \
    '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' '*/kernel/irq/irq_sim.c'
  cp "$work"/drivers/gpio/* "$work/kernel/irq/irq_sim.c" "$x"/usr/src/v4l2loopback-*/v4l2loopback*.[ch] "$work/ko/"
  # irq_to_desc is not for modules; this is the same call by number.
  sed -i 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq(irqnum);/' "$work/ko/irq_sim.c"
  printf 'obj-m := gpio-sim-all.o v4l2loopback.o\ngpio-sim-all-y := gpio-sim.o irq_sim.o\n' > "$work/ko/Kbuild"
  make -s -C "$headers" M="$work/ko" modules >&2
  strip --strip-debug "$work"/ko/*.ko
  mkdir -p "$out"
  mv "$work/ko/gpio-sim-all.ko" "$out/gpio-sim.ko"
  mv "$work/ko/v4l2loopback.ko" "$out/v4l2loopback.ko" # last: with it the folder is whole
  rm -rf "$x"
fi
echo "$out"
