#!/usr/bin/env bash
# The GPIO sink (tests/gpio.rs) against a real kernel driver, gpio-sim, in an emulated machine.
#
#   tests/vm/gpio.sh
#
# Debian's kernel lacks gpio-sim: it is built from Debian's own kernel source of the same version (150 MB to fetch, once,
# into VM_CACHE). Needs what run.sh needs, and gcc, make, xz-utils, bc, libelf1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd)
die() { echo "gpio.sh: $*" >&2; exit 2; }
for tool in apt-get dpkg gcc make xz; do command -v "$tool" > /dev/null || die "$tool is missing"; done
cache=${VM_CACHE:-$HOME/.cache/lookout-vm}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# the kernel that boot.sh will use: it fetches it when it first boots
if [ ! -e "$cache/amd64/ok" ]; then echo true > "$work/true.sh"; MODULES= "$here/boot.sh" "$work/true.sh" > /dev/null; fi
version=$(ls "$cache/amd64/lib/modules")
module=$cache/gpio-sim-$version.ko

# unpack PACKAGE... : under $x, nothing is installed
x=$cache/build-$version
unpack() {
  mkdir -p "$x/dl"
  ( cd "$x/dl"; rm -f ./*.deb; apt-get -q download "$@" >&2; for deb in *.deb; do dpkg -x "$deb" "$x"; done; rm -f ./*.deb )
}

if [ ! -e "$module" ]; then
  echo "gpio.sh: building gpio-sim for $version" >&2
  unpack "linux-headers-$version" "linux-headers-${version%-amd64}-common" linux-kbuild-6.1 linux-source-6.1
  headers=$x/usr/src/linux-headers-$version
  sed -i "s#include /usr/src/#include $x/usr/src/#" "$headers/Makefile"
  tar xf "$x/usr/src/linux-source-6.1.tar.xz" -C "$work" --strip-components=1 --wildcards \
    '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' '*/kernel/irq/irq_sim.c'
  mkdir "$work/ko"; cp "$work"/drivers/gpio/* "$work/kernel/irq/irq_sim.c" "$work/ko/"
  # irq_to_desc is not for modules; this is the same call by number.
  sed -i 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq(irqnum);/' "$work/ko/irq_sim.c"
  printf 'obj-m := gpio-sim-all.o\ngpio-sim-all-y := gpio-sim.o irq_sim.o\n' > "$work/ko/Kbuild"
  make -s -C "$headers" M="$work/ko" modules >&2
  strip --strip-debug "$work/ko/gpio-sim-all.ko"
  mv "$work/ko/gpio-sim-all.ko" "$module"
  rm -rf "$x"
fi

cd "$top"
tests=$(cargo test --locked --no-run --test gpio --message-format=json 2> "$work/cargo" | sed -n '/"name":"gpio"/s/.*"executable":"\([^"]*\)".*/\1/p')
[ -x "$tests" ] || { cat "$work/cargo" >&2; die "tests/gpio.rs did not build"; }
cp "$tests" "$work/gpio-tests"; strip "$work/gpio-tests"
MODULES=configfs "$here/boot.sh" "$here/guest/gpio.sh" "$work/gpio-tests:/bin/gpio-tests" "$module:/ko/gpio-sim.ko"
echo "gpio.sh: OK"
