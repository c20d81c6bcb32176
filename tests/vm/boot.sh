#!/usr/bin/env bash
# Boots Debian's kernel in QEMU (emulated, no KVM needed), runs one script in it as root, ends with its exit status.
#
#   boot.sh SCRIPT [FILE[:DEST]...]     SCRIPT: for busybox sh. FILE lands in /bin, or at DEST; a program brings its libraries.
#
#   ARCH       amd64 (default, q35) or arm64 (virt, Cortex-A72)
#   SERIAL     path of a Unix socket that is the guest's second serial port, /dev/ttyS1 (arm64: /dev/ttyS0); it waits for nobody
#   SERIAL_TTY path of a terminal instead
#   MODULES    kernel modules put into the guest, with what they need (default: vivid)
#   VM_CACHE   where kernel and busybox are kept (default: ~/.cache/lookout-vm; 0.5 GB)
#   VM_TIMEOUT seconds (default 480)
#   QEMU_ARGS  more of qemu's own, QEMU_ENV variables for it (NAME=VALUE); VM_REBOOT=1: a reset boots the same guest again instead of ending it
#
# Status: the script's; 124 after the time-out; 125 when the guest ended without a status (panic, reset).
# Needs: qemu-system-x86 (arm64: qemu-system-arm), cpio, kmod, and apt-get to fetch the kernel package once (nothing is installed).
set -euo pipefail
die() { echo "boot.sh: $*" >&2; exit 2; }
arch=${ARCH:-amd64}
# -cpu of x86-64: emulated AVX and FMA cost twenty times what the program's plain kernels do: a tick would take a second.
case $arch in
  amd64) qemu=qemu-system-x86_64 machine=(-M q35 -cpu "max,-avx,-avx2,-fma") console=ttyS0 second=(-serial chardev:second) ;;
  arm64) qemu=qemu-system-aarch64 machine=(-M virt -cpu cortex-a72) console=ttyAMA0 second=(-device pci-serial,chardev=second) ;;
  *) die "ARCH=$arch: amd64 or arm64 expected" ;;
esac
[ $# -ge 1 ] && [ -r "$1" ] || die "a script to run in the guest is needed"
script=$1; shift
for tool in $qemu cpio depmod apt-get dpkg gzip; do
  command -v "$tool" > /dev/null || die "$tool is missing (Debian: apt-get install qemu-system-x86 qemu-system-arm cpio kmod)"
done
# apt names the packages of another machine with its architecture, and has to know of it.
of=; [ "$arch" = "$(dpkg --print-architecture)" ] || of=:$arch

root=${VM_CACHE:-$HOME/.cache/lookout-vm}/$arch
if [ ! -e "$root/ok" ]; then
  echo "boot.sh: fetching Debian's kernel and busybox into $root" >&2
  mkdir -p "$root/dl"
  ( cd "$root/dl"; rm -f ./*.deb
    image=$(apt-cache depends "linux-image-$arch$of" 2> /dev/null | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\).*/\1/p' | head -1)
    [ -n "$image" ] || die "apt knows no linux-image-$arch$of (dpkg --add-architecture $arch? apt-get update?)"
    apt-get -q download "${image%:*}$of" "busybox-static$of" >&2
    for deb in *.deb; do dpkg -x "$deb" "$root"; done )
  depmod -b "$root" "$(ls "$root/lib/modules")"
  rm -r "$root/dl"; touch "$root/ok"
fi
version=$(ls "$root/lib/modules")

tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
r=$tmp/root
mkdir -p "$r"/{bin,dev,proc,sys,tmp,etc,"lib/modules/$version"}
cp "$root/bin/busybox" "$r/bin/"; ln -s busybox "$r/bin/sh"
for module in ${MODULES-vivid}; do
  modprobe -d "$root" -S "$version" --show-depends "$module" || die "the kernel $version has no module $module"
done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r ko; do
  to=$r/${ko#"$root"/}; mkdir -p "${to%/*}"; cp "$ko" "$to"
done
cp "$root/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$r/lib/modules/$version/"
depmod -b "$r" "$version"
for file; do
  from=${file%%:*} to=/bin/$(basename "${file%%:*}"); [ "$file" = "$from" ] || to=${file#*:}
  [ -r "$from" ] || die "no $from"
  mkdir -p "$r${to%/*}"; cp -L "$from" "$r$to"
  { ldd "$from" 2> /dev/null || true; } | grep -o '/[^ ]*' | while read -r lib; do
    [ -e "$r$lib" ] || { mkdir -p "$r${lib%/*}"; cp -L "$lib" "$r$lib"; }
  done || true
done
cp "$script" "$r/test.sh"
cat > "$r/init" <<'INIT'
#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null; mount -t tmpfs tmp /tmp
modprobe configfs 2>/dev/null && mount -t configfs config /sys/kernel/config
echo "VM-UP $(cut -d' ' -f1 /proc/uptime)"
sh /test.sh < /dev/null; status=$?
sync; echo "VM-EXIT:$status"
poweroff -f
INIT
chmod +x "$r/init"
( cd "$r" && find . | cpio -o -H newc --quiet ) | gzip -1 > "$tmp/initrd"

if [ -n "${SERIAL_TTY:-}" ]; then
  second=(-chardev "serial,id=second,path=$SERIAL_TTY" "${second[@]}")
elif [ -n "${SERIAL:-}" ]; then
  second=(-chardev "socket,id=second,path=$SERIAL,server=on,wait=off" "${second[@]}")
else
  second=(-serial null)
fi
set +e
timeout --foreground "${VM_TIMEOUT:-480}" env ${QEMU_ENV:-} $qemu "${machine[@]}" -accel tcg,thread=multi -m "${MEM:-768}" -smp "${SMP:-2}" \
  -nographic -nodefaults -net none ${QEMU_ARGS:-} $([ -n "${VM_REBOOT:-}" ] || echo -no-reboot) -kernel "$root/boot/vmlinuz-$version" -initrd "$tmp/initrd" \
  -append "console=$console panic=-1 quiet loglevel=3 mitigations=off nokaslr" -serial stdio "${second[@]}" \
  < /dev/null 2>&1 | tr -d '\r' | tee "$tmp/console"
[ "${PIPESTATUS[0]}" != 124 ] || { echo "boot.sh: still running after ${VM_TIMEOUT:-480} s" >&2; exit 124; }
status=$(sed -n 's/.*VM-EXIT:\([0-9]*\).*/\1/p' "$tmp/console" | tail -1)
exit "${status:-125}"
