#!/usr/bin/env bash
# Builds a flashable disk image for 64-bit ARM machines with UEFI (QEMU virt; untested on hardware).
#
#   board/image/build.sh DEB IMAGE      DEB: lookout's package for arm64 (board/deb/build.sh); IMAGE: the file to write
#
# Beside IMAGE it leaves IMAGE.root.squashfs (what an updater writes into the other slot) and IMAGE.root.tar.gz (the same root
# without a kernel, for boards that bring their vendor's). Runs as root on Debian 12, for mmdebstrap; mounts nothing, runs no ARM code:
# packages are unpacked, and what their scripts would have set up (users, units, kernel modules) the host's own tools set up.
#
#   partition        size   what
#   lookout-boot    128 MB  FAT: systemd-boot, the kernel, lookout.toml (edit it with any computer); mounted read-only
#   lookout-a       160 MB  root, squashfs, read-only
#   lookout-b       160 MB  empty: the other slot, for RAUC, SWUpdate or Mender
#   lookout-state    64 MB  ext4: bundles and reports; the only thing that is ever written
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 2 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2; }
[ -r "$1" ] || { echo "build.sh: cannot read $1" >&2; exit 2; }
deb=$(realpath "$1"); image=$(realpath -m "$2")
for tool in mmdebstrap mksquashfs sfdisk mkfs.vfat mcopy mke2fs depmod cpio systemd-sysusers systemctl dpkg-deb; do
  command -v "$tool" > /dev/null || { echo "build.sh: $tool is missing (Debian: apt-get install mmdebstrap squashfs-tools fdisk dosfstools mtools e2fsprogs kmod cpio systemd)" >&2; exit 2; }
done
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2> /dev/null || date +%s)}
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
root=$tmp/root

# The variant takes these and what they depend on, not even the essential ones by itself.
packages=base-files,base-passwd,dash,coreutils,sed,grep,libc-bin,systemd,systemd-sysv,udev,kmod,mount,util-linux,e2fsprogs,usr-is-merged
packages+=,busybox-static,systemd-boot-efi,linux-image-arm64
mmdebstrap --mode=root --variant=extract --architectures=arm64 --include="$packages" --aptopt='APT::Install-Recommends "false"' \
  --setup-hook=/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh bookworm "$root" "${LOOKOUT_MIRROR:-http://deb.debian.org/debian}" \
  "deb http://deb.debian.org/debian-security bookworm-security main"
dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink

# What the packages' own scripts would have done.
cat "$here"/root/etc/fstab > "$root/etc/fstab"
cp -r "$here"/root/. "$root/"
systemd-sysusers --root="$root" 2> "$tmp/sysusers" || { cat "$tmp/sysusers"; exit 1; }
systemctl --root="$root" enable lookout.service
mv "$root/etc/lookout/lookout.toml" "$tmp/lookout.toml"; ln -s /boot/lookout.toml "$root/etc/lookout/lookout.toml"
: > "$root/etc/machine-id"                          # filled in memory at each start
echo lookout > "$root/etc/hostname"
rm -f "$root/etc/resolv.conf"
# No login: nobody is let in over the reporting line. The kernel's systemd.debug_shell opens a shell for a developer.
ln -sfn /dev/null "$root/etc/systemd/system/getty.target"
ln -sfn /dev/null "$root/etc/systemd/system/serial-getty@.service"
mkdir -p "$root/var/lib/lookout" "$root/boot"

# The kernel with the modules of ./modules, and an initramfs of busybox and what finds the root.
version=$(ls "$root/usr/lib/modules")
kernel=$root/usr/lib/modules/$version
mv "$root/boot/vmlinuz-$version" "$tmp/vmlinuz"; rm -f "$root"/boot/*
mkdir "$tmp/kept"
grep -v '^#' "$here/modules" | while read -r path; do
  mkdir -p "$tmp/kept/$(dirname "$path")"; [ ! -e "$kernel/kernel/$path" ] || mv "$kernel/kernel/$path" "$tmp/kept/$path"
done
rm -rf "$kernel/kernel"; mv "$tmp/kept" "$kernel/kernel"
depmod -b "$root/usr" "$version" 2> /dev/null || depmod -b "$root" "$version"

early="virtio_pci virtio_blk mmc_block nvme usb_storage uas sd_mod squashfs"
ram=$tmp/ram; mkdir -p "$ram"/{bin,dev,proc,sys,root,"lib/modules/$version"}
cp "$root/bin/busybox" "$ram/bin/busybox"; cp "$here/init" "$ram/init"; chmod 755 "$ram/init"; echo "$early" > "$ram/modules"
for applet in sh mount umount modprobe sed grep cat basename dirname sleep switch_root reboot; do ln -s busybox "$ram/bin/$applet"; done
for module in $early; do modprobe -d "$root" -S "$version" --show-depends "$module" || true; done |
  awk '$1 == "insmod" { print $2 }' | sort -u | while read -r ko; do
  to=$ram/lib/modules/$version/kernel/${ko#*"/$version/kernel/"}; mkdir -p "${to%/*}"; cp "$ko" "$to"
done
cp "$kernel"/modules.{order,builtin,builtin.modinfo} "$ram/lib/modules/$version/"; depmod -b "$ram" "$version"
(cd "$ram" && find . -print0 | sort -z | cpio --null -o -H newc --quiet --reproducible) | gzip -9n > "$tmp/initrd"

# The root: without manuals, package lists and the boot loader (each package's copyright file stays).
cp "$root/usr/lib/systemd/boot/efi/systemd-bootaa64.efi" "$tmp/boot.efi"
find "$root/usr/share/doc" -type f ! -name copyright -delete
rm -rf "$root"/usr/share/{man,info,locale,lintian,bash-completion} "$root"/var/lib/apt/* "$root"/var/cache/* "$root/usr/lib/systemd/boot"
tar -C "$root" --sort=name --numeric-owner --exclude="./usr/lib/modules/$version" -c . | gzip -1n > "$image.root.tar.gz"
mksquashfs "$root" "$image.root.squashfs" -noappend -quiet -no-progress -comp zstd -Xcompression-level 6
size=$(stat -c %s "$image.root.squashfs")
[ "$size" -le $((160 << 20)) ] || { echo "build.sh: the root has $size bytes, its partition $((160 << 20))" >&2; exit 1; }

# The partitions, each made as a file and put in its place: no loop device, no mount.
mib() { echo $(($1 * 2048)); }                      # in sectors
rm -f "$image"; truncate -s 516M "$image"
sfdisk -q "$image" << TABLE
label: gpt
label-id: 6C6F6F6B-6F75-7400-0000-000000000000
start=$(mib 1), size=$(mib 128), type=uefi, name=lookout-boot
start=$(mib 129), size=$(mib 160), type=linux, name=lookout-a
start=$(mib 289), size=$(mib 160), type=linux, name=lookout-b
start=$(mib 449), size=$(mib 64), type=linux, name=lookout-state
TABLE
truncate -s 128M "$tmp/fat"
mkfs.vfat -F 32 -n LOOKOUT -i 6c6f6f6b "$tmp/fat" > /dev/null
mkdir -p "$tmp/esp"/{EFI/BOOT,loader/entries,a}
cp "$tmp/boot.efi" "$tmp/esp/EFI/BOOT/BOOTAA64.EFI"
cp "$tmp/vmlinuz" "$tmp/initrd" "$tmp/esp/a/"; cp "$tmp/lookout.toml" "$tmp/esp/"
printf 'timeout 0\ndefault a.conf\neditor no\n' > "$tmp/esp/loader/loader.conf"
printf 'title lookout, slot a\nlinux /a/vmlinuz\ninitrd /a/initrd\noptions %s\n' \
  "root=PARTLABEL=lookout-a systemd.volatile=state panic=5 quiet loglevel=4 ${LOOKOUT_CMDLINE:-console=tty0}" > "$tmp/esp/loader/entries/a.conf"
mcopy -s -m -i "$tmp/fat" "$tmp/esp"/* ::/
owner=$(awk -F: '$1 == "lookout" { print $3 ":" $4 }' "$root/etc/passwd")
mke2fs -q -t ext4 -L lookout-state -m 1 -E "lazy_itable_init=0,root_owner=$owner" "$tmp/state" 64M
place() { dd if="$1" of="$image" bs=1M seek="$2" conv=notrunc,sparse status=none; }
place "$tmp/fat" 1; place "$image.root.squashfs" 129; place "$tmp/state" 449
echo "$image: root $((size >> 20)) MB, kernel $version; $(du -m "$image" | cut -f1) MB on this disk"
