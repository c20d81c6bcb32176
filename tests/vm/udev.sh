#!/usr/bin/env bash
# systemd's udev with its rules and board/udev's for the guest: prints FILE:DEST for boot.sh, a line each.
#
# Debian's package, unpacked once into the cache and not installed; its libraries are those of this machine.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
root=${VM_CACHE:-$HOME/.cache/lookout-vm}/udev
if [ ! -e "$root/ok" ]; then
  mkdir -p "$root/dl"; chmod 755 "$root/dl"
  ( cd "$root/dl"; rm -f ./*.deb; apt-get -q download udev >&2; dpkg -x udev_*.deb "$root" )
  rm -r "$root/dl"; touch "$root/ok"
fi
echo "$root/bin/udevadm:/bin/udevadm"
echo "$root/bin/udevadm:/lib/systemd/systemd-udevd"
echo "$root/lib/udev/v4l_id:/lib/udev/v4l_id"
for rules in "$root"/lib/udev/rules.d/*.rules "$top"/board/udev/*.rules; do echo "$rules:/lib/udev/rules.d/${rules##*/}"; done
